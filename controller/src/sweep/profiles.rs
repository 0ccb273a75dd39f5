//! Instance profiles of roles, each with the IAM role in it, that no instance of any region has.
//!
//! IAM is one for all regions and refuses nothing: it would delete the profile of a box that runs. So every region must
//! say that no instance has it. Only what `create` made counts: below its path, under the name that it gives to boxes
//! of the namespace.

use std::collections::{BTreeMap, BTreeSet};

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::ground::{AT_ONCE, Ground};
use super::thing::{Thing, Verdict, is_of};
use super::{About, Deleted, Sweep};
use crate::aws::instance_profiles::{self, Made};
use crate::aws::{CallError, instances};
use crate::launch::{described, profile};

const KIND: &str = "profiles";

/// The kind.
#[derive(Debug)]
pub(super) struct Profiles;

/// A profile and the role of its name, of which one may be missing.
#[derive(Debug, Default, Clone)]
struct Pair {
    profile: Option<Made>,
    role: Option<Made>,
}

impl Sweep for Profiles {
    fn about(&self) -> About {
        About { kind: KIND, regional: false, unasked: true, guarded: false }
    }

    fn look<'a>(&'a self, ground: &'a Ground, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<Thing>, CallError>> {
        async move {
            let iam = &ground.iam;
            let profiles = instance_profiles::list_profiles(iam).await?;
            let pairs = pairs(profiles, instance_profiles::list_roles(iam).await?);
            let pairs: Vec<_> = pairs
                .into_iter()
                .filter_map(|(name, pair)| Some((of(&name, &pair, &ground.namespace, &ground.everywhere)?, name, pair)))
                .filter(|((_, region), ..)| ground.swept.contains(region))
                .collect();
            if pairs.is_empty() {
                return Ok(Vec::new());
            }
            let used: BTreeSet<String> =
                ground.everywhere(async |ec2| instances::profiles(ec2).await).await?.into_iter().flatten().collect();
            let things = pairs.into_iter().map(|((of, _), name, pair)| {
                let used = &used;
                async move {
                    let free = pair.profile.as_ref().is_none_or(|profile| !used.contains(&profile.arn));
                    // What is in use anyway need not be asked when it was used.
                    let last_used = match &pair.role {
                        Some(role) if free => instance_profiles::last_used(iam, &role.name).await?,
                        _ => None,
                    };
                    Ok::<_, CallError>(judge(of, &name, &pair, free, last_used))
                }
            });
            stream::iter(things).buffered(AT_ONCE).try_collect().await
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let iam = &ground.iam;
            instance_profiles::delete_whole_profile(iam, &thing.id).await?;
            instance_profiles::delete_whole_role(iam, &thing.id, true).await?;
            Ok(Deleted::Gone)
        }
        .boxed_local()
    }
}

/// Profiles and roles together, by their name.
fn pairs(profiles: Vec<Made>, roles: Vec<Made>) -> BTreeMap<String, Pair> {
    let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
    for profile in profiles {
        let pair = pairs.entry(profile.name.clone()).or_default();
        pair.profile = Some(profile);
    }
    for role in roles {
        let pair = pairs.entry(role.name.clone()).or_default();
        pair.role = Some(role);
    }
    pairs
}

/// The boxes that a pair is of, and their region, if they are of the namespace: what the role says of itself, or what
/// the name says, must be what `create` would have called it.
fn of(name: &str, pair: &Pair, namespace: &Namespace, regions: &[String]) -> Option<(AbsoluteName, String)> {
    let said = pair.role.as_ref().and_then(|role| described(role.description.as_deref()?));
    regions.iter().find_map(|region| {
        let by_name = || AbsoluteName::from_aws_name(name.strip_suffix(region)?.strip_suffix('.')?).ok();
        let of = said.clone().or_else(by_name)?;
        let ours = is_of(namespace, &of) && profile::name(&of, region) == name;
        ours.then(|| (of, region.clone()))
    })
}

fn judge(of: AbsoluteName, name: &str, pair: &Pair, free: bool, last_used: Option<Timestamp>) -> Thing {
    let verdict = if free {
        let what = match (&pair.profile, &pair.role) {
            (Some(_), Some(_)) => "no instance has it; its IAM role goes with it",
            (Some(_), None) => "no instance has it",
            (None, _) => "an IAM role in no instance profile",
        };
        Verdict::Unused(what.to_owned())
    } else {
        Verdict::Kept("an instance has it".to_owned())
    };
    let made = |one: &Option<Made>| one.as_ref().and_then(|one| one.since);
    let since = last_used.max(made(&pair.profile)).max(made(&pair.role));
    Thing { of: Some(of), since, ..Thing::new(KIND, name, verdict) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, description: Option<&str>) -> Made {
        let moment = Some("2026-01-01T00:00:00Z".parse().unwrap());
        Made { name: name.into(), arn: format!("arn:{name}"), since: moment, description: description.map(Into::into) }
    }

    #[test]
    fn only_what_create_would_call_so_is_of_the_namespace() {
        let regions = ["us-west-2".to_owned(), "eu-west-1".to_owned()];
        let prod: Namespace = "/prod/".parse().unwrap();
        let of = |name: &str, description: Option<&str>| {
            let role = description.map(|text| made(name, Some(text)));
            let pair = Pair { profile: Some(made(name, None)), role };
            of(name, &pair, &prod, &regions).map(|(of, region)| format!("{of} {region}"))
        };
        let long: AbsoluteName = format!("/prod/{}", "a".repeat(70)).parse().unwrap();
        let cut = profile::name(&long, "eu-west-1");
        assert_eq!(of("prod_web.us-west-2", None).as_deref(), Some("/prod/web us-west-2"));
        assert_eq!(of("prod_web.us-west-2", Some("Fleetkey:/prod/web")).as_deref(), Some("/prod/web us-west-2"));
        assert_eq!(of(&cut, Some(&format!("Fleetkey:{long}"))), Some(format!("{long} eu-west-1")));
        for (name, description) in [
            ("prod_web.us-east-1", None),
            ("other_web.us-west-2", None),
            ("prod_web.us-west-2", Some("Fleetkey:/prod/other")),
            ("prod_.us-west-2", None),
            ("prod_web", None),
            ("Prod_web.us-west-2", None),
            (".us-west-2", None),
            (cut.as_str(), None),
        ] {
            assert_eq!(of(name, description), None, "{name} {description:?}");
        }
    }

    #[test]
    fn a_profile_is_as_old_as_the_last_use_of_its_role() {
        let pairs = pairs(vec![made("a", None)], vec![made("a", None), made("b", None)]);
        assert_eq!(pairs.len(), 2);
        let of = |name: &str| -> AbsoluteName { format!("/{name}").parse().unwrap() };
        let used = "2026-03-01T00:00:00Z".parse().unwrap();
        let thing = judge(of("a"), "a", &pairs["a"], true, Some(used));
        assert_eq!((thing.goes(), thing.since), (true, Some(used)));
        assert!(!judge(of("a"), "a", &pairs["a"], false, None).goes());
        let alone = judge(of("b"), "b", &pairs["b"], true, None);
        assert_eq!(alone.why(), "an IAM role in no instance profile");
    }
}
