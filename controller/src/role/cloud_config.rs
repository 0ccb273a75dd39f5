//! What a role may tell cloud-init, and what every box is told.

use super::fields::Findings;
use super::node::{Key, Node, Place, Value};

/// What holds on every box: a role that says otherwise is refused, rather than left to wonder.
const FIXED: [(&str, bool, &str); 3] = [
    ("ssh_pwauth", false, "nobody logs in to a box by password"),
    ("disable_root", true, "nobody logs in to a box as root"),
    ("ssh_deletekeys", true, "a box made from an image must not have the host keys of another"),
];

/// What cloud-init is told on every box.
pub(super) fn base(place: &Place) -> Node {
    let node = |value| Node { value, place: place.clone() };
    let key = |name: &str| Key { name: name.to_owned(), place: place.clone() };
    let mut entries: Vec<(Key, Node)> =
        FIXED.into_iter().map(|(name, on, _)| (key(name), node(Value::Bool(on)))).collect();
    // The controller learns the host keys from the console, and trusts no other.
    let emit = vec![(key("emit_keys_to_console"), node(Value::Bool(true)))];
    entries.push((key("ssh"), node(Value::Map(emit))));
    node(Value::Map(entries))
}

/// Nothing.
pub(super) fn empty(place: &Place) -> Node {
    Node { value: Value::Map(Vec::new()), place: place.clone() }
}

/// Tells what in a role's `cloud_config` would lock people out of its boxes, or let others in.
pub(super) fn check(config: &Node, findings: &mut Findings) {
    for (key, node) in findings.any_map(config, "cloud_config") {
        let fixed = FIXED.iter().find(|(name, ..)| *name == key.name);
        if let Some((name, on, why)) = fixed.filter(|(_, on, _)| node.value != Value::Bool(*on)) {
            findings.error(&node.place, format!("{name} is {on} on every box: {why}; take this out"));
        }
        if key.name == "users" && !lists_default(node) {
            let hint = "write `- default` as its first item";
            findings
                .error(&node.place, format!("without the default user nobody can log in with the launch key; {hint}"));
        }
    }
    let emit = config.get("ssh").and_then(|ssh| ssh.get("emit_keys_to_console"));
    if let Some(node) = emit.filter(|node| node.value != Value::Bool(true)) {
        findings.error(
            &node.place,
            "the host keys are taken from the console, so they must be printed there; take this out",
        );
    }
}

fn lists_default(users: &Node) -> bool {
    match &users.value {
        Value::List(items) => items.iter().any(|item| item.value == Value::Text("default".to_owned())),
        _ => false,
    }
}

/// The tree without entries that are null: those say that what was inherited is taken out.
pub(super) fn without_nulls(node: Node) -> Node {
    let value = match node.value {
        Value::Map(entries) => {
            let stated = entries.into_iter().filter(|(_, node)| node.value != Value::Null);
            Value::Map(stated.map(|(key, node)| (key, without_nulls(node))).collect())
        }
        other => other,
    };
    Node { value, place: node.place }
}
