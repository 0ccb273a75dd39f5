//! Instance profiles and the IAM role in each: looked at, made, changed, deleted.
//!
//! A profile and its role have one name, and are made below [`PATH`], so that policies can tell them from others.

use std::collections::BTreeMap;

use aws_sdk_iam::{Client, types};
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

/// What IAM tells of a role that is asked for, and of none in a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Where it was made.
    pub(crate) path: String,
    /// When it was last used, as far as IAM says: within the hour it may not, and never after 400 days.
    pub(crate) last_used: Option<Timestamp>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// What there is to know of the role of this name.
pub(crate) async fn about_role(client: &Client, name: &str) -> Result<Option<About>, CallError> {
    let answer = client.get_role().role_name(name).send().await;
    let answer = there(answer.map_err(failed(format!("iam GetRole {name}"))))?;
    Ok(answer.map(|answer| answer.role.map(read).unwrap_or_default()))
}

fn read(role: types::Role) -> About {
    let last_used = role.role_last_used.and_then(|used| used.last_used_date).and_then(moment);
    About { path: role.path, last_used, tags: tags(role.tags) }
}

/// The role of this name with its inline policies.
pub(crate) async fn find_role(client: &Client, name: &str) -> Result<Option<IamRole>, CallError> {
    let Some(About { path, .. }) = about_role(client, name).await? else { return Ok(None) };
    Ok(Some(IamRole { path, policies: inline_policies(client, name).await? }))
}

/// The inline policies of a role, by name.
async fn inline_policies(client: &Client, name: &str) -> Result<BTreeMap<String, Value>, CallError> {
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
    Ok(policies)
}

/// The profile of this name.
pub(crate) async fn find_profile(client: &Client, name: &str) -> Result<Option<Profile>, CallError> {
    let read = |profile: types::InstanceProfile| Profile {
        path: profile.path,
        roles: profile.roles.into_iter().map(|role| role.role_name).collect(),
    };
    Ok(get_profile(client, name).await?.map(read))
}

/// The tags of the profile of this name, which no listing tells; none of one that is gone.
pub(crate) async fn profile_tags(client: &Client, name: &str) -> Result<BTreeMap<String, String>, CallError> {
    Ok(tags(get_profile(client, name).await?.and_then(|profile| profile.tags)))
}

async fn get_profile(client: &Client, name: &str) -> Result<Option<types::InstanceProfile>, CallError> {
    let answer = client.get_instance_profile().instance_profile_name(name).send().await;
    let answer = there(answer.map_err(failed(format!("iam GetInstanceProfile {name}"))))?;
    Ok(answer.and_then(|answer| answer.instance_profile))
}

fn tags(tags: Option<Vec<types::Tag>>) -> BTreeMap<String, String> {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}

/// The profiles that hold a role, with their paths, but for its own: that of its name below [`PATH`].
pub(crate) async fn other_profiles(client: &Client, role: &str) -> Result<Vec<String>, CallError> {
    let mut pages = client.list_instance_profiles_for_role().role_name(role).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = there(page.map_err(failed(format!("iam ListInstanceProfilesForRole {role}"))))?;
        let profiles = page.map(|page| page.instance_profiles).unwrap_or_default().into_iter();
        let others = profiles.filter(|profile| profile.path != PATH || profile.instance_profile_name != role);
        found.extend(others.map(|profile| format!("{}{}", profile.path, profile.instance_profile_name)));
    }
    Ok(found)
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

/// Deletes a profile below [`PATH`], whatever role is in it, and says whether it was there. IAM goes by the name alone,
/// which somebody else may have taken below another path: that one is left as it is.
pub(crate) async fn delete_whole_profile(client: &Client, name: &str) -> Result<bool, CallError> {
    let found = find_profile(client, name).await?.filter(|found| found.path == PATH);
    let Some(found) = found else { return Ok(false) };
    for role in &found.roles {
        remove_role(client, name, role).await?;
    }
    delete_profile(client, name).await.map(|()| true)
}

/// Deletes a role below [`PATH`] with its inline policies, and says whether it was there. One of the name below another
/// path is left as it is. IAM deletes none to which a managed policy is attached: that is taken away first if
/// `detaching`.
pub(crate) async fn delete_whole_role(client: &Client, name: &str, detaching: bool) -> Result<bool, CallError> {
    if about_role(client, name).await?.is_none_or(|found| found.path != PATH) {
        return Ok(false);
    }
    let policies = inline_policies(client, name).await?;
    if detaching {
        for policy in attached(client, name).await? {
            detach(client, name, &policy).await?;
        }
    }
    for policy in policies.keys() {
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
