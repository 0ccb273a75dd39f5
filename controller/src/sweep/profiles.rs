//! Instance profiles of roles, each with the IAM role in it, that no instance of any region has.
//!
//! IAM is one for all regions and refuses little: it would delete the profile of a box that runs. So every region must
//! say that no instance has it. A role that another profile holds IAM would keep, though without its policies, so that
//! it is asked for such profiles first. Only what `create` made counts: below its path, under the name that it gives to
//! boxes of the namespace. Where one of the two is below another path, it is somebody else's, and stays.

use std::collections::{BTreeMap, BTreeSet};

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::ground::{AT_ONCE, Ground};
use super::thing::{Thing, Verdict, is_of, unless_marked};
use super::{About, Deleted, Sweep};
use crate::aws::instance_profiles::{self, Made, PATH};
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

/// What is known of the use of a pair.
#[derive(Debug, Default, Clone)]
struct Use {
    /// What has it, in words.
    by: Option<String>,
    /// When its role was last used.
    last: Option<Timestamp>,
    /// The tags of both.
    tags: BTreeMap<String, String>,
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
                async move { Ok::<_, CallError>(judge(of, &name, &pair, in_use(iam, &pair, used).await?)) }
            });
            stream::iter(things).buffered(AT_ONCE).try_collect().await
        }
        .boxed_local()
    }

    fn delete<'a>(&'a self, ground: &'a Ground, thing: &'a Thing) -> LocalBoxFuture<'a, Result<Deleted, CallError>> {
        async move {
            let iam = &ground.iam;
            let role = instance_profiles::about_role(iam, &thing.id).await?.filter(|role| role.path == PATH);
            if role.is_some() && !instance_profiles::other_profiles(iam, &thing.id).await?.is_empty() {
                return Ok(Deleted::InUse);
            }
            instance_profiles::delete_whole_profile(iam, &thing.id).await?;
            instance_profiles::delete_whole_role(iam, &thing.id, true).await?;
            Ok(Deleted::Gone)
        }
        .boxed_local()
    }
}

/// What uses a pair, `used` being the ARNs of the profiles that instances have.
async fn in_use(iam: &aws_sdk_iam::Client, pair: &Pair, used: &BTreeSet<String>) -> Result<Use, CallError> {
    let mut found = Use::default();
    if let Some(profile) = &pair.profile {
        // Of what is in use anyway, nothing more need be asked.
        if used.contains(&profile.arn) {
            return Ok(Use { by: Some("an instance has it".to_owned()), ..found });
        }
        found.tags = instance_profiles::profile_tags(iam, &profile.name).await?;
    }
    if let Some(role) = &pair.role {
        let others = instance_profiles::other_profiles(iam, &role.name).await?;
        if let Some(other) = others.first() {
            return Ok(Use { by: Some(format!("the instance profile {other} has its IAM role")), ..found });
        }
        let about = instance_profiles::about_role(iam, &role.name).await?.unwrap_or_default();
        found.tags.extend(about.tags);
        found.last = about.last_used;
    }
    Ok(found)
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

fn judge(of: AbsoluteName, name: &str, pair: &Pair, used: Use) -> Thing {
    let what = match (&pair.profile, &pair.role) {
        (Some(_), Some(_)) => "no instance has it; its IAM role goes with it",
        (Some(_), None) => "no instance has it",
        (None, _) => "an IAM role in no instance profile",
    };
    let verdict = used.by.map_or_else(|| unless_marked(&used.tags, what), Verdict::Kept);
    let made = |one: &Option<Made>| one.as_ref().and_then(|one| one.since);
    let since = used.last.max(made(&pair.profile)).max(made(&pair.role));
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
        let last = Some("2026-03-01T00:00:00Z".parse().unwrap());
        let thing = judge(of("a"), "a", &pairs["a"], Use { last, ..Use::default() });
        assert_eq!((thing.goes(), thing.since), (true, last));
        let by = Some("an instance has it".to_owned());
        assert!(!judge(of("a"), "a", &pairs["a"], Use { by, ..Use::default() }).goes());
        let alone = judge(of("b"), "b", &pairs["b"], Use::default());
        assert_eq!(alone.why(), "an IAM role in no instance profile");
    }
}
