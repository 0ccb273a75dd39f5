//! The `agent.toml` that a box gets.

use std::fmt::Write as _;

use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::AccountName;

use super::autostop::Autostop;
use super::model::ManagedAccount;
use super::problem::RoleError;
use super::render::AgentInstall;
use super::words::AccountMode;

/// The file: who may log in to the admin account, then to each account of the role, then where things are, then when the
/// box powers itself off.
///
/// # Errors
/// When a key spec still stands for the caller, whom no box knows.
pub(super) fn agent_toml(
    admin: &AccountName,
    keys: &[KeySpec],
    accounts: &[ManagedAccount],
    install: &AgentInstall,
    autostop: Option<&Autostop>,
) -> Result<String, RoleError> {
    if keys.contains(&KeySpec::Me) {
        let why = "no box knows who that is; name the person";
        return Err(RoleError::Value { what: "key spec", value: "__me__".to_owned(), why });
    }
    let mut text =
        String::from("# Written by cloud-init when this box first booted, from the user-data that fleetkey made.\n");
    let registries: Vec<String> = install.registries.iter().map(|registry| quoted(registry.as_str())).collect();
    line(&mut text, "source = \"iam\"");
    line(&mut text, &format!("registries = [{}]", registries.join(", ")));
    for grant in grants(admin, keys, accounts) {
        let specs: Vec<String> = grant.keys.iter().map(|spec| quoted(&spec.to_string())).collect();
        line(&mut text, "\n[[grant]]");
        line(&mut text, &format!("account = {}", quoted(grant.account.as_str())));
        line(&mut text, &format!("keys = [{}]", specs.join(", ")));
        if grant.mode != AccountMode::Shared {
            line(&mut text, &format!("mode = {}", quoted(grant.mode.as_str())));
        }
    }
    line(&mut text, "\n[aws]");
    line(&mut text, &format!("bucket = {}", quoted(&install.bucket)));
    if let Some(endpoint) = &install.endpoint_url {
        // An endpoint of one's own says nothing of its region.
        line(&mut text, &format!("region = {}", quoted(&install.region)));
        line(&mut text, &format!("endpoint_url = {}", quoted(endpoint)));
    }
    line(&mut text, "\n[push]");
    line(&mut text, &format!("topic = {}", quoted(&install.topic)));
    if let Some(autostop) = autostop {
        line(&mut text, "\n[autostop]");
        for (field, value) in autostop.fields() {
            line(&mut text, &format!("{field} = {}", quoted(&value)));
        }
    }
    Ok(text)
}

/// One grant for each account. The admin account's own is the operator's choice, with what the role adds.
fn grants(admin: &AccountName, keys: &[KeySpec], accounts: &[ManagedAccount]) -> Vec<ManagedAccount> {
    let mode = accounts.iter().find(|known| known.account == *admin).map_or(AccountMode::Shared, |known| known.mode);
    let mut first = ManagedAccount { account: admin.clone(), keys: Vec::new(), mode };
    let added = accounts.iter().filter(|known| known.account == *admin).flat_map(|known| &known.keys);
    for spec in keys.iter().chain(added) {
        if !first.keys.contains(spec) {
            first.keys.push(spec.clone());
        }
    }
    let first = Some(first).filter(|grant| !grant.keys.is_empty());
    first.into_iter().chain(accounts.iter().filter(|known| known.account != *admin).cloned()).collect()
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// A basic string of TOML, which JSON's strings are but for DEL (<https://toml.io/en/v1.0.0#string>).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use fleetkey_common::registry::Registry;

    use super::super::words::AutostopAction;
    use super::*;

    fn install(endpoint: Option<&str>) -> AgentInstall {
        AgentInstall {
            url: "https://bucket.example/agent".to_owned(),
            sha256: "0".repeat(64),
            bucket: "123456789012-fleetkey".to_owned(),
            topic: "fleetkey-agent-notifications".to_owned(),
            region: "us-west-2".to_owned(),
            endpoint_url: endpoint.map(str::to_owned),
            registries: vec![Registry::S3, Registry::Ec2],
        }
    }

    fn account(name: &str, keys: &[&str], mode: AccountMode) -> ManagedAccount {
        let keys = keys.iter().map(|spec| spec.parse().unwrap()).collect();
        ManagedAccount { account: name.parse().unwrap(), keys, mode }
    }

    #[test]
    fn the_admin_account_is_the_operators_and_the_role_adds_to_it() {
        let keys = ["alice".parse().unwrap(), "@@developers".parse().unwrap()];
        let accounts = [
            account("jenkins", &["@@ci"], AccountMode::Exclusive),
            account("admin", &["@@developers", "bob"], AccountMode::Shared),
        ];
        let (after, action) = ("2h".parse().unwrap(), AutostopAction::Terminate);
        let autostop = Autostop { after, action, max_load: Some(1.5), max_stay: None };
        let text = agent_toml(&"admin".parse().unwrap(), &keys, &accounts, &install(None), Some(&autostop)).unwrap();
        insta::assert_snapshot!(text, @r#"
        # Written by cloud-init when this box first booted, from the user-data that fleetkey made.
        source = "iam"
        registries = ["s3", "ec2"]

        [[grant]]
        account = "admin"
        keys = ["alice", "@@developers", "bob"]

        [[grant]]
        account = "jenkins"
        keys = ["@@ci"]
        mode = "exclusive"

        [aws]
        bucket = "123456789012-fleetkey"

        [push]
        topic = "fleetkey-agent-notifications"

        [autostop]
        after = "2h"
        action = "terminate"
        max_load = "1.5"
        "#);
    }

    #[test]
    fn an_endpoint_of_ones_own_is_named_with_its_region() {
        let text =
            agent_toml(&"admin".parse().unwrap(), &[], &[], &install(Some("http://10.0.0.1:5000")), None).unwrap();
        insta::assert_snapshot!(text, @r#"
        # Written by cloud-init when this box first booted, from the user-data that fleetkey made.
        source = "iam"
        registries = ["s3", "ec2"]

        [aws]
        bucket = "123456789012-fleetkey"
        region = "us-west-2"
        endpoint_url = "http://10.0.0.1:5000"

        [push]
        topic = "fleetkey-agent-notifications"
        "#);
    }

    #[test]
    fn whoever_the_caller_is_must_be_known_by_then() {
        let error = agent_toml(&"admin".parse().unwrap(), &[KeySpec::Me], &[], &install(None), None).unwrap_err();
        insta::assert_snapshot!(error, @r#"key spec "__me__" cannot stand in user-data: no box knows who that is; name the person"#);
    }
}
