//! Instance profiles and the IAM role in each: looked at, made, changed, deleted.
//!
//! A profile and its role have one name, and are made below [`PATH`], so that policies can tell them from others.

use std::collections::BTreeMap;

use aws_sdk_iam::Client;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{CallError, failed};

/// Where profiles and roles are made: a part of their ARNs.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
pub(crate) const PATH: &str = "/fleetkey/";

/// An IAM role as IAM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IamRole {
    /// Where it was made.
    pub(crate) path: String,
    /// Its inline policies by name.
    pub(crate) policies: BTreeMap<String, Value>,
}

/// An instance profile as IAM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Where it was made.
    pub(crate) path: String,
    /// The names of the roles in it: one at most.
    pub(crate) roles: Vec<String>,
}

/// The role of this name with its inline policies.
pub(crate) async fn find_role(client: &Client, name: &str) -> Result<Option<IamRole>, CallError> {
    let answer = client.get_role().role_name(name).send().await;
    let Some(answer) = there(answer.map_err(failed(format!("iam GetRole {name}"))))? else { return Ok(None) };
    let path = answer.role.map(|role| role.path).unwrap_or_default();
    let mut policies = BTreeMap::new();
    let mut pages = client.list_role_policies().role_name(name).into_paginator().send();
    while let Some(page) = pages.next().await {
        for policy in page.map_err(failed(format!("iam ListRolePolicies {name}")))?.policy_names {
            let answer = client.get_role_policy().role_name(name).policy_name(&policy).send().await;
            let answer = there(answer.map_err(failed(format!("iam GetRolePolicy {policy} of {name}"))))?;
            // One that is no JSON is unlike any that is wanted.
            policies.extend(answer.map(|answer| (policy, document(&answer.policy_document))));
        }
    }
    Ok(Some(IamRole { path, policies }))
}

/// The profile of this name.
pub(crate) async fn find_profile(client: &Client, name: &str) -> Result<Option<Profile>, CallError> {
    let answer = client.get_instance_profile().instance_profile_name(name).send().await;
    let answer = there(answer.map_err(failed(format!("iam GetInstanceProfile {name}"))))?;
    let read = |profile: aws_sdk_iam::types::InstanceProfile| Profile {
        path: profile.path,
        roles: profile.roles.into_iter().map(|role| role.role_name).collect(),
    };
    Ok(answer.and_then(|answer| answer.instance_profile).map(read))
}

/// A role or a profile below [`PATH`], as a listing tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its name.
    pub(crate) name: String,
    /// Its ARN.
    pub(crate) arn: String,
    /// When it was made.
    pub(crate) since: Option<Timestamp>,
    /// What a role says of itself; nothing for a profile.
    pub(crate) description: Option<String>,
}

/// The roles below [`PATH`].
pub(crate) async fn list_roles(client: &Client) -> Result<Vec<Made>, CallError> {
    let mut pages = client.list_roles().path_prefix(PATH).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let roles = page.map_err(failed(format!("iam ListRoles {PATH}")))?.roles;
        found.extend(roles.into_iter().filter(|role| role.path == PATH).map(|role| Made {
            since: moment(role.create_date),
            name: role.role_name,
            arn: role.arn,
            description: role.description,
        }));
    }
    Ok(found)
}

/// The profiles below [`PATH`].
pub(crate) async fn list_profiles(client: &Client) -> Result<Vec<Made>, CallError> {
    let mut pages = client.list_instance_profiles().path_prefix(PATH).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let profiles = page.map_err(failed(format!("iam ListInstanceProfiles {PATH}")))?.instance_profiles;
        found.extend(profiles.into_iter().filter(|profile| profile.path == PATH).map(|profile| Made {
            since: moment(profile.create_date),
            name: profile.instance_profile_name,
            arn: profile.arn,
            description: None,
        }));
    }
    Ok(found)
}

/// When a role was last used, as far as IAM says: within the hour it may not, and never after 400 days.
pub(crate) async fn last_used(client: &Client, role: &str) -> Result<Option<Timestamp>, CallError> {
    let answer = client.get_role().role_name(role).send().await;
    let answer = there(answer.map_err(failed(format!("iam GetRole {role}"))))?;
    let used = answer.and_then(|answer| answer.role?.role_last_used?.last_used_date);
    Ok(used.and_then(moment))
}

fn moment(time: aws_sdk_iam::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

/// The ARNs of the managed policies that are attached to a role; none for one that is gone.
pub(crate) async fn attached(client: &Client, role: &str) -> Result<Vec<String>, CallError> {
    let mut pages = client.list_attached_role_policies().role_name(role).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = there(page.map_err(failed(format!("iam ListAttachedRolePolicies {role}"))))?;
        let policies = page.and_then(|page| page.attached_policies).unwrap_or_default();
        found.extend(policies.into_iter().filter_map(|policy| policy.policy_arn));
    }
    Ok(found)
}

/// Detaches a managed policy from a role. Detached already: done.
pub(crate) async fn detach(client: &Client, role: &str, arn: &str) -> Result<(), CallError> {
    let answer = client.detach_role_policy().role_name(role).policy_arn(arn).send().await;
    there(answer.map_err(failed(format!("iam DetachRolePolicy {arn} of {role}"))))?;
    Ok(())
}

/// Deletes a profile, whatever role is in it, and says whether it was there.
pub(crate) async fn delete_whole_profile(client: &Client, name: &str) -> Result<bool, CallError> {
    let Some(found) = find_profile(client, name).await? else { return Ok(false) };
    for role in &found.roles {
        remove_role(client, name, role).await?;
    }
    delete_profile(client, name).await.map(|()| true)
}

/// Deletes a role with its inline policies, and says whether it was there. IAM deletes none to which a managed policy is
/// attached: that is taken away first if `detaching`.
pub(crate) async fn delete_whole_role(client: &Client, name: &str, detaching: bool) -> Result<bool, CallError> {
    let Some(found) = find_role(client, name).await? else { return Ok(false) };
    if detaching {
        for policy in attached(client, name).await? {
            detach(client, name, &policy).await?;
        }
    }
    for policy in found.policies.keys() {
        delete_policy(client, name, policy).await?;
    }
    delete_role(client, name).await.map(|()| true)
}

/// Makes a role that EC2 instances may take on, and says whether it did: `false` if there is one of that name.
pub(crate) async fn create_role(
    client: &Client,
    name: &str,
    description: &str,
    trust: &Value,
) -> Result<bool, CallError> {
    let call = client.create_role().role_name(name).path(PATH).description(description);
    let answer = call.assume_role_policy_document(trust.to_string()).send().await;
    new(answer.map_err(failed(format!("iam CreateRole {name}"))))
}

/// Puts an inline policy in place of whatever has its name.
pub(crate) async fn put_policy(client: &Client, role: &str, name: &str, document: &Value) -> Result<(), CallError> {
    let call = client.put_role_policy().role_name(role).policy_name(name).policy_document(document.to_string());
    call.send().await.map_err(failed(format!("iam PutRolePolicy {name} of {role}")))?;
    Ok(())
}

/// Deletes an inline policy. Gone already: done.
pub(crate) async fn delete_policy(client: &Client, role: &str, name: &str) -> Result<(), CallError> {
    let answer = client.delete_role_policy().role_name(role).policy_name(name).send().await;
    there(answer.map_err(failed(format!("iam DeleteRolePolicy {name} of {role}"))))?;
    Ok(())
}

/// Makes a profile, and says whether it did: `false` if there is one of that name.
pub(crate) async fn create_profile(client: &Client, name: &str) -> Result<bool, CallError> {
    let answer = client.create_instance_profile().instance_profile_name(name).path(PATH).send().await;
    new(answer.map_err(failed(format!("iam CreateInstanceProfile {name}"))))
}

/// Puts a role into a profile. There already: done.
pub(crate) async fn add_role(client: &Client, profile: &str, role: &str) -> Result<(), CallError> {
    let answer = client.add_role_to_instance_profile().instance_profile_name(profile).role_name(role).send().await;
    match answer.map_err(failed(format!("iam AddRoleToInstanceProfile {role} to {profile}"))) {
        // A profile holds one role: somebody else was faster.
        Err(error) if error.code.as_deref() != Some("LimitExceeded") => Err(error),
        _ => Ok(()),
    }
}

/// Takes a role out of a profile. Out already: done.
pub(crate) async fn remove_role(client: &Client, profile: &str, role: &str) -> Result<(), CallError> {
    let answer = client.remove_role_from_instance_profile().instance_profile_name(profile).role_name(role);
    let answer = answer.send().await;
    there(answer.map_err(failed(format!("iam RemoveRoleFromInstanceProfile {role} from {profile}"))))?;
    Ok(())
}

/// Deletes a profile that holds no role. Gone already: done.
pub(crate) async fn delete_profile(client: &Client, name: &str) -> Result<(), CallError> {
    let answer = client.delete_instance_profile().instance_profile_name(name).send().await;
    there(answer.map_err(failed(format!("iam DeleteInstanceProfile {name}"))))?;
    Ok(())
}

/// Deletes a role that has no inline policy. Gone already: done.
pub(crate) async fn delete_role(client: &Client, name: &str) -> Result<(), CallError> {
    let answer = client.delete_role().role_name(name).send().await;
    there(answer.map_err(failed(format!("iam DeleteRole {name}"))))?;
    Ok(())
}

/// `None` for what is not there.
fn there<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(error) if error.code.as_deref() == Some("NoSuchEntity") => Ok(None),
        answer => answer.map(Some),
    }
}

/// Whether something was made, or was there already.
fn new<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Err(error) if error.code.as_deref() == Some("EntityAlreadyExists") => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// A policy as IAM gives it: JSON, percent-encoded.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html>
fn document(encoded: &str) -> Value {
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
