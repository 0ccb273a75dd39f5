//! Queues of agents whose instances are gone, and their subscriptions (case R11 of the tests): an instance that dies without
//! a word leaves both.
//!
//! A queue is an agent's by its name and by the tags that the agent gives it. Its instance is gone when no region has
//! it; an agent that has told of itself lately is alive wherever it runs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::ground::{AT_ONCE, Ground, is_instance_id};
use super::thing::{Thing, Verdict, unless_marked};
use super::{About, Deleted, Sweep};
use crate::aws::queues::{self, Subscription};
use crate::aws::{CallError, bucket::Listed};

const KIND: &str = "queues";

/// What the names of agents' queues begin with: see the agent's `trigger::queue`.
const PREFIX: &str = "fleetkey-agent_";

/// The tags that an agent gives its queue.
const INSTANCE_TAG: &str = "fleetkey:instance-id";
const MADE_BY_TAG: &str = "fleetkey:created-by";
const MADE_BY: &str = "fleetkey-agent";

/// What the id of a subscription is shown with.
const SUBSCRIPTION: &str = "subscription of ";

/// The kind.
#[derive(Debug)]
pub(super) struct Queues;

/// What is known of the queue of an instance that is gone.
struct Known {
    tags: BTreeMap<String, String>,
    made: Option<Timestamp>,
}

impl Sweep for Queues {
    fn about(&self) -> About {
        // The id of an instance never comes back: nothing of one that is gone comes into use again.
        About { kind: KIND, regional: true, unasked: true, guarded: true }
    }

    fn look<'a>(&'a self, ground: &'a Ground, region: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let (sqs, sns) = (ground.sqs(region), ground.sns(region));
            let urls: BTreeMap<String, String> =
                queues::list(&sqs, PREFIX).await?.into_iter().filter_map(of_url).collect();
            let found = queues::subscriptions(&sns).await?.into_iter();
            let found: Vec<_> = found.filter_map(|one| of_subscription(one, region, &ground.caller.account)).collect();
            let ids: BTreeSet<String> = urls.keys().chain(found.iter().map(|(id, _)| id)).cloned().collect();
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let ids: Vec<String> = ids.into_iter().collect();
            let statuses = ground.statuses().await?;
            let living = ground.living(&ids, region).await?;
            let gone = urls.into_iter().map(|(id, url)| {
                let lives = living.contains(&id);
                let sqs = &sqs;
                async move {
                    let known = if lives { None } else { known(sqs, &url).await? };
                    Ok::<_, CallError>((id, url, lives, known))
                }
            });
            let asked: Vec<_> = stream::iter(gone).buffered(AT_ONCE).try_collect().await?;
            let mut things = Vec::new();
            let mut unused = BTreeMap::new();
            for (id, url, lives, known) in asked {
                let Some(thing) = judge_queue(&id, url, lives, known, statuses.get(&id)) else { continue };
                unused.insert(id, thing.clone());
                things.push(thing.in_region(region));
            }
            // First what leads to a queue, then the queue.
            let subscriptions = found.into_iter().map(|(id, one)| {
                let lives = living.contains(&id);
                judge_subscription(&id, one, lives, unused.get(&id), statuses.get(&id)).in_region(region)
            });
            Ok(subscriptions.chain(things).collect())
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let region = thing.region.as_deref().unwrap_or_default();
            if thing.id.starts_with(SUBSCRIPTION) {
                queues::unsubscribe(&ground.sns(region), &thing.handle).await?;
            } else {
                queues::delete(&ground.sqs(region), &thing.handle).await?;
            }
            Ok(Deleted::Gone)
        }
        .boxed_local()
    }
}

async fn known(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<Option<Known>, CallError> {
    let Some(tags) = queues::tags(sqs, url).await? else { return Ok(None) };
    Ok(Some(Known { tags, made: queues::made(sqs, url).await? }))
}

/// The instance whose queue has this URL, which ends in the queue's name.
fn of_url(url: String) -> Option<(String, String)> {
    let id = url.rsplit('/').next()?.strip_prefix(PREFIX).filter(|id| is_instance_id(id))?.to_owned();
    Some((id, url))
}

/// The instance whose queue hears a subscription: `arn:aws:sqs:<region>:<account>:fleetkey-agent_<instance id>`, of this
/// account and region.
fn of_subscription(one: Subscription, region: &str, account: &str) -> Option<(String, Subscription)> {
    let parts: Vec<&str> = one.endpoint.split(':').collect();
    let ["arn", _, "sqs", in_region, of, name] = parts[..] else { return None };
    let id = name.strip_prefix(PREFIX).filter(|id| is_instance_id(id))?.to_owned();
    (in_region == region && of == account).then_some((id, one))
}

/// What becomes of a queue; `None` for one that is gone by now.
fn judge_queue(id: &str, url: String, lives: bool, known: Option<Known>, status: Option<&Listed>) -> Option<Thing> {
    let name = format!("{PREFIX}{id}");
    if lives {
        return Some(Thing::new(KIND, name, Verdict::Kept("its instance is there".to_owned())));
    }
    let Known { tags, made } = known?;
    let tag = |tag: &str| tags.get(tag).map(String::as_str);
    let verdict = if tag(MADE_BY_TAG) == Some(MADE_BY) && tag(INSTANCE_TAG) == Some(id) {
        unless_marked(&tags, gone(id))
    } else {
        Verdict::Kept("it has not the tags of an agent's queue".to_owned())
    };
    Some(Thing { handle: url, since: alive(made, status), ..Thing::new(KIND, name, verdict) })
}

/// What becomes of a subscription. One whose queue is there goes with it, and not otherwise.
fn judge_subscription(
    id: &str,
    one: Subscription,
    lives: bool,
    queue: Option<&Thing>,
    status: Option<&Listed>,
) -> Thing {
    let (verdict, since) = match queue {
        _ if lives => (Verdict::Kept("its instance is there".to_owned()), None),
        Some(queue) => (queue.verdict.clone(), queue.since),
        None => (Verdict::Unused(format!("{}, and so is the queue", gone(id))), alive(None, status)),
    };
    Thing { handle: one.arn, since, ..Thing::new(KIND, format!("{SUBSCRIPTION}{PREFIX}{id}"), verdict) }
}

fn gone(id: &str) -> String {
    format!("instance {id} is gone")
}

/// When the agent was last known to be alive: at the latest of when it made its queue and when it told of itself.
fn alive(made: Option<Timestamp>, status: Option<&Listed>) -> Option<Timestamp> {
    made.max(status.and_then(|status| status.modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "i-0123456789abcdef0";

    fn known(tags: &[(&str, &str)]) -> Known {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Known { tags, made: Some("2026-01-01T00:00:00Z".parse().unwrap()) }
    }

    fn status(moment: &str) -> Listed {
        Listed { key: format!("status/{ID}.json"), bytes: 1, modified: Some(moment.parse().unwrap()) }
    }

    #[test]
    fn r11_a_queue_goes_when_its_instance_is_gone_and_the_agent_made_it() {
        let own = [(MADE_BY_TAG, MADE_BY), (INSTANCE_TAG, ID)];
        let judge = |lives, known| judge_queue(ID, "u".into(), lives, known, None).map(|thing| thing.goes());
        assert_eq!(judge(false, Some(known(&own))), Some(true));
        assert_eq!(judge(true, None), Some(false));
        assert_eq!(judge(false, None), None);
        for tags in
            [&[][..], &own[..1], &[own[0], (INSTANCE_TAG, "i-11111111")], &[own[0], own[1], ("fleetkey:keep", "")]]
        {
            assert_eq!(judge(false, Some(known(tags))), Some(false), "{tags:?}");
        }
    }

    #[test]
    fn a_queue_is_as_old_as_the_last_sign_of_life() {
        let own = [(MADE_BY_TAG, MADE_BY), (INSTANCE_TAG, ID)];
        let since = |status: Option<&Listed>| {
            judge_queue(ID, "u".into(), false, Some(known(&own)), status).unwrap().since.unwrap().to_string()
        };
        assert_eq!(since(None), "2026-01-01T00:00:00Z");
        assert_eq!(since(Some(&status("2026-03-01T00:00:00Z"))), "2026-03-01T00:00:00Z");
        assert_eq!(since(Some(&status("2025-03-01T00:00:00Z"))), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn only_queues_of_instances_of_this_account_and_region_are_looked_at() {
        let subscription =
            |endpoint: &str| of_subscription(Subscription { arn: "a".into(), endpoint: endpoint.into() }, "r-1", "1");
        let own = format!("arn:aws:sqs:r-1:1:{PREFIX}{ID}");
        assert_eq!(subscription(&own).map(|(id, _)| id).as_deref(), Some(ID));
        for other in [
            format!("arn:aws:sqs:r-2:1:{PREFIX}{ID}"),
            format!("arn:aws:sqs:r-1:2:{PREFIX}{ID}"),
            format!("arn:aws:sqs:r-1:1:{PREFIX}host-7"),
            format!("arn:aws:sqs:r-1:1:cgcloud-agent_{ID}"),
            format!("{own}:x"),
            "https://example.com".to_owned(),
        ] {
            assert!(subscription(&other).is_none(), "{other}");
        }
        let url = |name: &str| of_url(format!("https://sqs.r-1.amazonaws.com/1/{name}")).is_some();
        assert!(url(&format!("{PREFIX}{ID}")));
        for name in ["fleetkey-agent_", "fleetkey-agent_i-xyz", "fleetkey-agent_I-01234567", "other", ""] {
            assert!(!url(name), "{name}");
        }
    }

    #[test]
    fn a_subscription_goes_with_its_queue_and_without_one_when_the_instance_is_gone() {
        let one = || Subscription { arn: "a".into(), endpoint: String::new() };
        let kept = judge_queue(ID, "u".into(), false, Some(known(&[])), None).unwrap();
        assert!(!judge_subscription(ID, one(), false, Some(&kept), None).goes());
        assert!(!judge_subscription(ID, one(), true, None, None).goes());
        let status = status("2026-03-01T00:00:00Z");
        let left = judge_subscription(ID, one(), false, None, Some(&status));
        assert!(left.goes() && left.since.is_some() && left.handle == "a");
    }
}
