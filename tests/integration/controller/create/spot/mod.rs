//! Spot instances: what EC2 is told, how a launch falls through zones and types, and that no request is left open.

mod at_once;
mod input;
mod market;
mod open;
mod permissions;
mod withdrawn;

use std::collections::BTreeMap;
use std::time::Duration;

use fleetkey_tests::proxy::Call;

/// More than the program needs on a busy machine.
const LONG: Duration = Duration::from_mins(1);

const REQUEST: &str = "ec2:RequestSpotInstances";
const DESCRIBE: &str = "ec2:DescribeSpotInstanceRequests";
const CANCEL: &str = "ec2:CancelSpotInstanceRequests";

/// What a create is told whose spot request may stay open.
const TIMED: [&str; 3] = ["--spot", "--spot-timeout", "5m"];

/// The calls of this action, each with the fields of its form.
fn calls(all: &[Call], action: &str) -> Vec<BTreeMap<String, String>> {
    let of_action = all.iter().filter(|call| format!("{}:{}", call.service, call.action) == action);
    of_action.map(form).collect()
}

fn form(call: &Call) -> BTreeMap<String, String> {
    let body = String::from_utf8_lossy(&call.body);
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How often an action was called.
fn count(all: &[Call], action: &str) -> usize {
    calls(all, action).len()
}
