//! Cancels spot requests so that none is left open, and finds what was filled in that very moment. Goes on when the
//! program is asked to end: a second Ctrl-C ends it, and the journal has what is left to do.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::super::World;
use super::super::answers::is_passing;
use super::verdict::Verdict;
use crate::aws::launch::Launch;
use crate::aws::spot;
use crate::refusal::Refusal;
use crate::wait::{Look, WaitError, Waiter};

/// How long is tried to cancel.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// How long EC2 may take to show a request that it has heard, before there was none.
const SPREAD: Duration = Duration::from_secs(10);

/// After how long EC2 has shown everything that it knows of: what it does not show then is over and gone.
pub(super) const FORGOTTEN: SignedDuration = SignedDuration::from_mins(30);

/// Cancels the requests of a launch, and gives the instances that they came to: those of `known` ids, or, where EC2's
/// answer was not heard, those with the token of the launch.
///
/// # Errors
/// When it is not certain that none of them is open. They end by themselves when their time is up.
pub(in super::super) async fn withdraw(
    world: &World,
    launch: &Launch,
    sent: Timestamp,
    known: &[String],
) -> anyhow::Result<Vec<String>> {
    let (ec2, printer) = (&world.fleet.ec2, world.printer);
    let waiter = Waiter::new(printer, CancellationToken::new(), PATIENCE);
    let old = Timestamp::now().duration_since(sent) > FORGOTTEN;
    let ids = if known.is_empty() { heard_of(world, launch, old).await? } else { known.to_vec() };
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let named = ids.join(", ");
    let what = format!("spot request {named} is cancelled");
    let cancelled = waiter.wait(&what, async || match spot::cancel(ec2, &ids).await {
        Err(error) if is_passing(&error) => Ok(Look::NotYet(error.cause)),
        Err(error) if error.code.as_deref() == Some("InvalidSpotInstanceRequestID.NotFound") => {
            Ok(if old { Look::Done(()) } else { Look::NotYet(error.cause) })
        }
        done => Ok(Look::Done(done?)),
    });
    cancelled.await.map_err(|error| left_open(world, &ids, error))?;
    let what = format!("EC2 says what became of spot request {named}");
    let filled = waiter.wait(&what, async || {
        let found = match spot::with_ids(ec2, &ids).await {
            Err(error) if is_passing(&error) => return Ok(Look::NotYet(error.cause)),
            found => found?,
        };
        // What EC2 does not show yet may be filled.
        if found.len() < ids.len() && !old {
            return Ok(Look::NotYet("it does not show all of them yet".to_owned()));
        }
        let mut instances = Vec::new();
        for request in &found {
            match Verdict::of(request) {
                Verdict::Filled(instance) => instances.push(instance),
                Verdict::Undecided | Verdict::Held(_) => return Ok(Look::NotYet(request.code.clone())),
                Verdict::Over(_) => {}
            }
        }
        Ok(Look::Done(instances))
    });
    let filled = filled.await.map_err(|error| left_open(world, &ids, error))?;
    printer.note(&match filled.as_slice() {
        [] => format!("spot request {named} is cancelled"),
        instances => format!("spot request {named} was filled before it was cancelled: box {}", instances.join(", ")),
    });
    Ok(filled)
}

/// The requests with the launch's token, for which EC2 gets some time.
async fn heard_of(world: &World, launch: &Launch, old: bool) -> anyhow::Result<Vec<String>> {
    let waiter = Waiter::new(world.printer, CancellationToken::new(), if old { PATIENCE } else { SPREAD });
    let found =
        waiter.wait("EC2 shows the spot request whose answer was not heard", async || {
            match spot::with_token(&world.fleet.ec2, &launch.token).await {
                Err(error) if is_passing(&error) => Ok(Look::NotYet(error.cause)),
                Err(error) => Err(error.into()),
                Ok(found) if found.is_empty() && !old => Ok(Look::NotYet("it shows none".to_owned())),
                Ok(found) => Ok(Look::Done(found.into_iter().map(|request| request.id).collect())),
            }
        });
    found.await.map_err(|error| {
        let until = launch.open().map(|open| format!("; if there is one, it ends at {:.0}", open.until));
        let words = format!("EC2 has not answered to a spot request, and shows none{}", until.unwrap_or_default());
        unsure(error, Refusal::new(words).hint("the same command looks again, and goes on with what came of it"))
    })
}

fn left_open(world: &World, ids: &[String], error: WaitError) -> anyhow::Error {
    let (named, region) = (ids.join(" "), &world.fleet.region);
    let refusal = Refusal::new(format!("spot request {named} may still be open"));
    let hint = format!("aws ec2 cancel-spot-instance-requests --spot-instance-request-ids {named} --region {region}");
    unsure(error, refusal.hint(format!("cancel it with: {hint}")))
}

/// An error in which the words of EC2 are kept, and its code is not: nobody is to take it for an answer to the launch.
fn unsure(error: WaitError, refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{:#}", error.into_anyhow()).context(refusal)
}
