//! Who gets in, what the network lets through, and what the box may do.

use std::collections::BTreeSet;

use aws_sdk_iam::Client as IamClient;
use fleetkey_common::aws_names::AbsoluteName;
use fleetkey_common::bucket::person_prefix;
use fleetkey_common::key_spec::KeySpec;

use crate::aws::security_groups::Group;
use crate::aws::{CallError, instance_profiles, key_pairs, people, security_groups};
use crate::fleet::Fleet;
use crate::ingress::{self, Rules, Ssh};
use crate::launch::plan::Change;
use crate::launch::request::Request;
use crate::launch::{BOX_TAG, World, boot, is_of, keys, profile};
use crate::refusal::Refusal;
use crate::role::Role;

/// The key pair that EC2 is told of, after everybody who is named was found.
pub(super) async fn key_pair(world: &World, request: &Request, role: &Role) -> anyhow::Result<Option<String>> {
    let keys = &request.keys;
    let pairs: BTreeSet<_> = key_pairs::list(&world.fleet.ec2).await?.into_iter().map(|pair| pair.name).collect();
    let mut registered = keys::Registered { pairs, ..keys::Registered::default() };
    for name in keys.names() {
        if !registered.pairs.contains(name.as_str()) && !world.bucket.list(&person_prefix(name)).await?.is_empty() {
            registered.people.insert(name.clone());
        }
    }
    for spec in &keys.specs {
        let (kind, name, there) = match spec {
            KeySpec::User(name) => ("user", name.to_string(), people::user_exists(&world.iam, name).await?),
            KeySpec::Group(name) => ("group", name.to_string(), people::group_exists(&world.iam, name).await?),
            KeySpec::Name(_) | KeySpec::Glob(_) | KeySpec::Me => continue,
        };
        if !there {
            return Err(Refusal::usage(format!("--keypairs {spec}: there is no IAM {kind} {name}"))
                .hint("names count with their case")
                .into());
        }
    }
    Ok(keys.key_pair(&registered, request.agent && role.agent, &request.region)?)
}

/// The security group, if it is there, and what makes it let in what the role says.
pub(super) async fn group_changes(
    world: &World,
    of: &AbsoluteName,
    role: &Role,
    network: &str,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let (fleet, name) = (&world.fleet, of.to_aws_name());
    let found = security_groups::find(&fleet.ec2, network, &name).await?;
    let mut changes = Vec::new();
    let there = if let Some(group) = &found {
        check_group(fleet, of, group)?;
        group.rules.clone()
    } else {
        changes.push(Change::MakeGroup { name, network: network.to_owned() });
        Rules::new()
    };
    let ssh = world.entry.resolve(fleet, &there).await?;
    changes.extend(rule_changes(role, &there, &ssh));
    Ok((found.map(|group| group.id), changes))
}

/// Refuses a group of the name of Fleetkey's that Fleetkey did not make.
pub(in crate::launch) fn check_group(fleet: &Fleet, of: &AbsoluteName, group: &Group) -> Result<(), Refusal> {
    if is_of(group, of) {
        return Ok(());
    }
    let Group { id, name, .. } = group;
    let tag = format!("Key={BOX_TAG},Value={of} --region {}", fleet.region);
    Err(Refusal::new(format!("there is a security group {name} ({id}) that Fleetkey did not make"))
        .hint(format!("aws ec2 create-tags --resources {id} --tags {tag} lets Fleetkey have it"))
        .hint("or delete or rename it, or give another --namespace"))
}

/// What makes a group that lets in what is `there` let in what the role says, and SSH from where it is said.
pub(in crate::launch) fn rule_changes(role: &Role, there: &Rules, ssh: &Ssh) -> impl Iterator<Item = Change> + use<> {
    Change::of_rules(ingress::changes(&ingress::wanted(&role.ingress), there, ssh))
}

/// The instance profile's name, and what gives it the policies that the role says; none for a role without any.
pub(super) async fn profile_changes(
    world: &World,
    of: &AbsoluteName,
    role: &Role,
) -> anyhow::Result<(Option<String>, Vec<Change>)> {
    let name = profile::name(of, &world.fleet.region);
    let wanted = boot::policies(world, role);
    let found = find_profile(&world.iam, &name).await?;
    if wanted.is_empty() && found == profile::Found::default() {
        return Ok((None, Vec::new()));
    }
    let changes = profile::changes(&name, &wanted, &found)?;
    Ok((Some(name), changes))
}

/// What there is of a profile.
pub(in crate::launch) async fn find_profile(iam: &IamClient, name: &str) -> Result<profile::Found, CallError> {
    let (role, profile) =
        tokio::try_join!(instance_profiles::find_role(iam, name), instance_profiles::find_profile(iam, name))?;
    Ok(profile::Found { role, profile })
}
