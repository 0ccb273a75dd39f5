//! The instance profile of a role's boxes: its name, what is in it, and how it becomes so. Pure.
//!
//! The name carries the region: IAM is one for all regions, and the policies of the agent are bound to one.

use std::collections::BTreeMap;

use fleetkey_common::aws_names::AbsoluteName;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::Change;
use crate::aws::instance_profiles::{IamRole, PATH, Profile};
use crate::refusal::Refusal;

/// The longest name of an IAM role, in characters.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const LONGEST: usize = 64;

/// How much of a name that is too long stands for itself; the rest is told apart by a digest.
const KEPT: usize = 47;

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The IAM role.
    pub(crate) role: Option<IamRole>,
    /// The instance profile.
    pub(crate) profile: Option<Profile>,
}

/// The name of the profile, and of the IAM role in it, of the boxes of this name in a region.
pub(crate) fn name(of: &AbsoluteName, region: &str) -> String {
    let name = format!("{}.{region}", of.to_aws_name());
    if name.len() <= LONGEST {
        return name;
    }
    // Names are ASCII.
    let digest = hex::encode(Sha256::digest(&name));
    format!("{}-{}", &name[..KEPT], &digest[..LONGEST - KEPT - 1])
}

/// Who may take on the IAM role: EC2, which calls itself otherwise in China.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
pub(crate) fn trust(partition: &str) -> Value {
    let service = if partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" };
    json!({"Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
}

/// What has to change so that a profile has these policies and no other.
///
/// # Errors
/// When there is one of that name that Fleetkey did not make: its policies are somebody else's.
pub(crate) fn changes(name: &str, wanted: &BTreeMap<String, Value>, found: &Found) -> Result<Vec<Change>, Refusal> {
    let role_path = found.role.as_ref().map(|role| ("IAM role", &role.path));
    let profile_path = found.profile.as_ref().map(|profile| ("instance profile", &profile.path));
    if let Some((kind, path)) = role_path.into_iter().chain(profile_path).find(|(_, path)| *path != PATH) {
        return Err(Refusal::new(format!("there is an {kind} {path}{name} that Fleetkey did not make"))
            .hint("delete or rename it, or give another --namespace"));
    }
    let mut changes = Vec::new();
    if found.role.is_none() {
        changes.push(Change::MakeIamRole { name: name.to_owned() });
    }
    let there = found.role.as_ref().map(|role| role.policies.clone()).unwrap_or_default();
    for (policy, document) in wanted {
        if there.get(policy) != Some(document) {
            let (role, policy) = (name.to_owned(), policy.clone());
            changes.push(Change::PutPolicy { role, policy, document: document.clone() });
        }
    }
    for policy in there.keys().filter(|policy| !wanted.contains_key(*policy)) {
        changes.push(Change::DeletePolicy { role: name.to_owned(), policy: policy.clone() });
    }
    if found.profile.is_none() {
        changes.push(Change::MakeProfile { name: name.to_owned() });
    }
    let inside = found.profile.as_ref().map_or(&[][..], |profile| profile.roles.as_slice());
    let strangers = inside.iter().filter(|role| *role != name);
    changes.extend(strangers.map(|role| Change::RemoveRole { profile: name.to_owned(), role: role.clone() }));
    if !inside.iter().any(|role| role == name) {
        changes.push(Change::AddRole { profile: name.to_owned() });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(of: &[(&str, u32)]) -> BTreeMap<String, Value> {
        of.iter().map(|(name, content)| ((*name).to_owned(), json!({ "Version": content }))).collect()
    }

    fn shown(wanted: &[(&str, u32)], found: &Found) -> Vec<String> {
        let changes = changes("web", &policies(wanted), found).unwrap();
        changes.iter().map(|change| format!("{} {}", change.action(), change.what())).collect()
    }

    #[test]
    fn a_profile_that_is_not_there_is_made_with_all_that_is_wanted() {
        let made = shown(&[("agent", 1), ("own", 1)], &Found::default());
        assert_eq!(
            made,
            [
                "make IAM role web",
                "put policy agent of IAM role web",
                "put policy own of IAM role web",
                "make instance profile web",
                "add IAM role web to its instance profile",
            ]
        );
    }

    #[test]
    fn policies_that_the_role_no_longer_has_go_and_those_that_differ_are_put_again() {
        let role = Some(IamRole { path: PATH.into(), policies: policies(&[("agent", 1), ("old", 1), ("own", 1)]) });
        let profile = |roles: &[&str]| {
            Some(Profile { path: PATH.into(), roles: roles.iter().map(ToString::to_string).collect() })
        };
        let found = Found { role: role.clone(), profile: profile(&["web"]) };
        let wanted = [("agent", 1), ("own", 2)];
        assert_eq!(shown(&wanted, &found), ["put policy own of IAM role web", "delete policy old of IAM role web"]);
        assert!(shown(&[("agent", 1), ("old", 1), ("own", 1)], &found).is_empty());
        let found = Found { role, profile: profile(&["other"]) };
        let changes = shown(&[("agent", 1), ("old", 1), ("own", 1)], &found);
        assert_eq!(
            changes,
            ["remove IAM role other from instance profile web", "add IAM role web to its instance profile"]
        );
    }

    #[test]
    fn what_fleetkey_did_not_make_is_left_alone() {
        let found = Found { role: Some(IamRole { path: "/".into(), policies: BTreeMap::new() }), profile: None };
        let error = changes("admin.us-west-2", &BTreeMap::new(), &found).unwrap_err();
        assert_eq!(error.to_string(), "there is an IAM role /admin.us-west-2 that Fleetkey did not make");
    }

    #[test]
    fn a_name_carries_its_region_and_one_that_iam_would_refuse_is_cut_and_told_apart_by_a_digest() {
        let of = |text: &str| name(&text.parse().unwrap(), "us-west-2");
        assert_eq!(of("/prod/web_1"), "prod_web__1.us-west-2");
        let (one, other) = (of(&format!("/{}/web", "a".repeat(60))), of(&format!("/{}/web", "a".repeat(61))));
        assert_eq!((one.len(), other.len()), (64, 64));
        assert_ne!(one, other);
        assert!(one.starts_with(&"a".repeat(47)));
    }
}
