//! The grants: from what was written to one [`Grant`] for each account.
//!
//! Whether an account exists on the box is not asked here: that can change while the agent runs.

use std::collections::BTreeMap;

use fleetkey_common::config_file::{Findings, List, Origin, Text};
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::names::AccountName;

use super::fragment::GrantFragment;
use super::settings::{Grant, Mode};
use super::values;

/// One grant that holds good, and where it was first written.
struct Checked {
    grant: Grant,
    account: Origin,
    mode: Origin,
}

/// One grant for each account, in the order in which the accounts are first named, and where each account is named.
pub(super) fn check(
    fragments: Vec<GrantFragment>,
    findings: &mut Findings,
) -> (Vec<Grant>, BTreeMap<AccountName, Origin>) {
    let mut checked: Vec<Checked> = Vec::new();
    for fragment in fragments {
        let Some(next) = check_one(fragment, findings) else { continue };
        match checked.iter_mut().find(|known| known.grant.account == next.grant.account) {
            Some(known) => merge(known, next, findings),
            None => checked.push(next),
        }
    }
    let places = checked.iter().map(|checked| (checked.grant.account.clone(), checked.account.clone())).collect();
    (checked.into_iter().map(|checked| checked.grant).collect(), places)
}

/// `None` when part of it is wrong or missing, which is then told.
fn check_one(fragment: GrantFragment, findings: &mut Findings) -> Option<Checked> {
    let mode_origin = fragment.mode.as_ref().map_or(&fragment.origin, |mode| &mode.origin).clone();
    // Every part is looked at before any is given up on, so that all faults are told at once.
    let mode = match &fragment.mode {
        Some(text) => check_mode(text, findings),
        None => Some(Mode::Shared),
    };
    if fragment.keys.is_none() && fragment.origin.is_flag() {
        findings
            .error(&fragment.origin, "has no =; write --grant ACCOUNT=SPEC,SPEC, such as --grant ubuntu=@@developers");
    }
    let keys = fragment.keys.map(|list| check_keys(list, findings));
    let account = fragment.account.and_then(|text| Some((check_account(&text, findings)?, text.origin)));
    let ((account, account_origin), keys, mode) = (account?, keys?, mode?);
    Some(Checked { grant: Grant { account, keys, mode }, account: account_origin, mode: mode_origin })
}

fn check_account(text: &Text, findings: &mut Findings) -> Option<AccountName> {
    if text.value.is_empty() {
        findings.error(&text.origin, "the account is empty; name a Linux account, such as \"ubuntu\"");
        return None;
    }
    text.value.parse().map_err(|error| findings.error(&text.origin, format!("{error}"))).ok()
}

fn check_mode(text: &Text, findings: &mut Findings) -> Option<Mode> {
    values::word(&text.value, values::MODES).map_err(|fault| findings.error(&text.origin, format!("mode {fault}"))).ok()
}

fn check_keys(list: List, findings: &mut Findings) -> Vec<KeySpec> {
    if list.value.is_empty() {
        findings.warn(&list.origin, "keys is empty: nobody but holders of break-glass keys is let in");
    }
    let mut specs: Vec<KeySpec> = Vec::with_capacity(list.value.len());
    for Text { value, origin } in list.value {
        match value.parse::<KeySpec>() {
            Ok(KeySpec::Me) => findings.error(
                &origin,
                "key spec \"__me__\" is for the controller, which knows its caller; name the person here",
            ),
            Ok(spec) if specs.contains(&spec) => {
                findings.warn(&origin, format!("key spec \"{spec}\" stands twice; take one out"));
            }
            Ok(spec) => specs.push(spec),
            Err(error) => findings.error(&origin, format!("{error}")),
        }
    }
    specs
}

fn merge(known: &mut Checked, next: Checked, findings: &mut Findings) {
    let (here, there) = (next.grant.mode, known.grant.mode);
    if here != there {
        let [here, there] = [here, there].map(|mode| values::name_of(&mode, values::MODES));
        let message = format!(
            "account {} has mode {here:?} here and {there:?} in {}; give all its grants one mode",
            next.grant.account,
            known.mode.nearby()
        );
        findings.error(&next.mode, message);
    }
    for spec in next.grant.keys {
        if !known.grant.keys.contains(&spec) {
            known.grant.keys.push(spec);
        }
    }
}
