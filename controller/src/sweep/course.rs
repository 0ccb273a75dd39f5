//! All kinds in all regions: looked for at once, as far as a bound allows, and deleted one kind after another. A part
//! that fails stops no other.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::ground::{AT_ONCE, Ground};
use super::thing::Thing;
use super::{Deleted, KINDS, Sweep};
use crate::aws::CallError;

/// How many things are deleted at once: EC2 lets an account change less than it lets it ask.
const DELETIONS: usize = 4;

/// How many things that AWS does not guard are deleted after one look that they are still of no use.
const BATCH: usize = 500;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// All things, also those that stay; in the order of their deletion.
    pub(crate) things: Vec<Thing>,
    /// The parts that could not be looked at, of which nothing is deleted.
    pub(crate) failures: Vec<Failure>,
}

/// A part that could not be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The kind.
    pub(crate) kind: &'static str,
    /// The region; `None` for what the account has once.
    pub(crate) region: Option<String>,
    /// The call that failed.
    pub(crate) error: CallError,
}

/// A thing that was to go, and what became of it.
#[derive(Debug)]
pub(crate) struct Swept {
    /// The thing.
    pub(crate) thing: Thing,
    /// What became of it.
    pub(crate) fate: Fate,
    /// The call that failed.
    pub(crate) error: Option<CallError>,
}

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fate {
    /// It would be deleted.
    Planned,
    /// It is gone.
    Deleted,
    /// It came into use meanwhile, and stays.
    InUse,
    /// It could not be deleted.
    Failed,
    /// Somebody asked the program to end before.
    NotTried,
}

/// The kinds of these names; all that need not be named where there is none.
pub(crate) fn kinds(named: &[String]) -> Vec<&'static (dyn Sweep + Sync)> {
    let wanted = |sweep: &dyn Sweep| {
        let about = sweep.about();
        if named.is_empty() { about.unasked } else { named.iter().any(|name| name == about.kind) }
    };
    KINDS.into_iter().filter(|sweep| wanted(*sweep)).collect()
}

/// The parts of a survey: each kind in each region that has its own.
pub(crate) fn parts<'a>(
    ground: &'a Ground,
    kinds: &[&'static (dyn Sweep + Sync)],
) -> Vec<(&'static (dyn Sweep + Sync), Option<&'a str>)> {
    let regions = |sweep: &&'static (dyn Sweep + Sync)| -> Vec<_> {
        let sweep = *sweep;
        if sweep.about().regional {
            ground.swept.iter().map(|region| (sweep, Some(region.as_str()))).collect()
        } else {
            vec![(sweep, None)]
        }
    };
    kinds.iter().flat_map(regions).collect()
}

/// Looks at all parts. `seen` is called as each is done.
pub(crate) async fn survey(
    ground: &Ground,
    parts: Vec<(&'static (dyn Sweep + Sync), Option<&str>)>,
    seen: impl Fn(),
) -> Survey {
    let looks = stream::iter(parts).map(|(sweep, region)| async move {
        let looked = look(ground, sweep, region).await;
        (sweep, region, looked)
    });
    let mut looks = looks.buffered(AT_ONCE);
    let mut survey = Survey::default();
    while let Some((sweep, region, looked)) = looks.next().await {
        seen();
        match looked {
            Ok(things) => survey.things.extend(things),
            Err(error) => {
                let (kind, region) = (sweep.about().kind, region.map(str::to_owned));
                survey.failures.push(Failure { kind, region, error });
            }
        }
    }
    survey
}

/// Looks at one part.
async fn look(ground: &Ground, sweep: &dyn Sweep, region: Option<&str>) -> Result<Vec<Thing>, CallError> {
    let things = sweep.look(ground, region.unwrap_or_default()).await?;
    Ok(things.into_iter().map(|thing| thing.held_while_young(ground.now, ground.older_than)).collect())
}

/// Deletes things, one kind after another. Interrupted, it ends what it has begun; the same command goes on.
pub(crate) async fn carry_out(
    ground: &Ground,
    things: Vec<Thing>,
    interrupted: &CancellationToken,
    done: impl Fn(),
) -> Vec<Swept> {
    let mut swept = Vec::with_capacity(things.len());
    let mut of_kind: BTreeMap<&str, Vec<Thing>> = BTreeMap::new();
    for thing in things {
        of_kind.entry(thing.kind).or_default().push(thing);
    }
    for sweep in KINDS {
        let mut left = of_kind.remove(sweep.about().kind).unwrap_or_default();
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(BATCH));
            let batch = std::mem::replace(&mut left, rest);
            let (still, settled) = check_again(ground, sweep, batch, interrupted).await;
            for one in settled {
                done();
                swept.push(one);
            }
            let deletions = stream::iter(still).map(|thing| async {
                let one = delete(ground, sweep, thing, interrupted).await;
                done();
                one
            });
            swept.extend(deletions.buffered(DELETIONS).collect::<Vec<_>>().await);
        }
    }
    swept
}

/// Looks once more at what AWS does not guard, in each of its regions: the things that are still to go, and what became
/// of the others.
async fn check_again(
    ground: &Ground,
    sweep: &dyn Sweep,
    batch: Vec<Thing>,
    interrupted: &CancellationToken,
) -> (Vec<Thing>, Vec<Swept>) {
    if sweep.about().guarded || interrupted.is_cancelled() {
        return (batch, Vec::new());
    }
    let mut of_region: BTreeMap<Option<String>, Vec<Thing>> = BTreeMap::new();
    for thing in batch {
        of_region.entry(thing.region.clone()).or_default().push(thing);
    }
    let (mut still, mut settled) = (Vec::new(), Vec::new());
    for (region, things) in of_region {
        match look(ground, sweep, region.as_deref()).await {
            Ok(now) => {
                let now: BTreeMap<_, _> = now.iter().map(|thing| (thing.place(), thing)).collect();
                let unchanged =
                    |thing: &Thing| now.get(&thing.place()).is_some_and(|now| now.goes() && now.since == thing.since);
                let (unused, others): (Vec<_>, Vec<_>) = things.into_iter().partition(unchanged);
                still.extend(unused);
                settled.extend(others.into_iter().map(|thing| Swept { thing, fate: Fate::InUse, error: None }));
            }
            Err(error) => {
                let failed = |thing| Swept { thing, fate: Fate::Failed, error: Some(error.clone()) };
                settled.extend(things.into_iter().map(failed));
            }
        }
    }
    (still, settled)
}

async fn delete(ground: &Ground, sweep: &dyn Sweep, thing: Thing, interrupted: &CancellationToken) -> Swept {
    if interrupted.is_cancelled() {
        return Swept { thing, fate: Fate::NotTried, error: None };
    }
    match sweep.delete(ground, &thing).await {
        Ok(Deleted::Gone) => Swept { thing, fate: Fate::Deleted, error: None },
        Ok(Deleted::InUse) => Swept { thing, fate: Fate::InUse, error: None },
        Err(error) => Swept { thing, fate: Fate::Failed, error: Some(error) },
    }
}
