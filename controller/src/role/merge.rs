//! The merge rule, the same for roles and what is in them: maps merge, lists append, anything else overrides.
//!
//! `null` takes out what was inherited. The one exception is an image, which is replaced whole: half of one image and
//! half of another would be a third.

use super::node::{Key, Node, Value};
use super::problem::Problem;

/// The field whose entries are replaced whole.
const IMAGES: &str = "base_images";

/// Lays a role over what it extends.
///
/// # Errors
/// Where one has a list or a map and the other has something else.
pub(super) fn merge(base: Node, over: Node) -> Result<Node, Problem> {
    merge_at(&mut Vec::new(), base, over)
}

fn merge_at(path: &mut Vec<String>, base: Node, over: Node) -> Result<Node, Problem> {
    let whole = path.len() == 2 && path[0] == IMAGES;
    match (base.value, over.value) {
        (Value::Null, value) | (_, value @ Value::Null) => Ok(Node { value, place: over.place }),
        (_, value) if whole => Ok(Node { value, place: over.place }),
        (Value::Map(mut entries), Value::Map(more)) => {
            for (key, node) in more {
                lay(path, &mut entries, key, node)?;
            }
            Ok(Node { value: Value::Map(entries), place: over.place })
        }
        (Value::List(mut items), Value::List(more)) => {
            items.extend(more);
            Ok(Node { value: Value::List(items), place: over.place })
        }
        (base_value @ (Value::Map(_) | Value::List(_)), value)
        | (base_value, value @ (Value::Map(_) | Value::List(_))) => {
            let message = format!(
                "{} is {} here and {} in {}, and these do not merge; write it in the same form",
                path.join("."),
                value.kind(),
                base_value.kind(),
                base.place
            );
            Err(Problem { place: over.place, message })
        }
        (_, value) => Ok(Node { value, place: over.place }),
    }
}

/// Puts one entry into a map, merged with the one that is there.
fn lay(path: &mut Vec<String>, entries: &mut Vec<(Key, Node)>, key: Key, node: Node) -> Result<(), Problem> {
    let Some(at) = entries.iter().position(|(known, _)| known.name == key.name) else {
        entries.push((key, node));
        return Ok(());
    };
    // Its place in the order is kept.
    let (_, base) = &mut entries[at];
    let base = std::mem::replace(base, Node { value: Value::Null, place: node.place.clone() });
    path.push(key.name.clone());
    let merged = merge_at(path, base, node)?;
    path.pop();
    entries[at] = (key, merged);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::yaml;
    use super::*;

    fn merged(base: &str, over: &str) -> String {
        let read = |name: &str, text: &str| yaml::parse(&Arc::from(name), text.as_bytes()).unwrap();
        match merge(read("base.yaml", base), read("over.yaml", over)) {
            Ok(node) => serde_saphyr::to_string(&node).unwrap(),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn maps_merge_lists_append_and_all_else_overrides() {
        let base = "a: {x: 1, y: {z: [1]}}\nl: [a, b]\ns: old\nkept: true\n";
        let over = "s: new\na: {y: {z: [2], w: 3}}\nl: [b, c]\nadded: 1\n";
        insta::assert_snapshot!(merged(base, over), @r#"
        a:
          x: 1
          "y":
            z:
            - 1
            - 2
            w: 3
        l:
        - a
        - b
        - b
        - c
        s: new
        kept: true
        added: 1
        "#);
    }

    #[test]
    fn null_takes_out_what_was_inherited() {
        insta::assert_snapshot!(merged("a: [1]\nb: {c: 1, d: 2}\n", "a: null\nb: {c: ~}\n"), @r"
        a: null
        b:
          c: null
          d: 2
        ");
        insta::assert_snapshot!(merged("a: null\n", "a: [1]\n"), @r"
        a:
        - 1
        ");
    }

    #[test]
    fn an_image_is_replaced_whole() {
        let base = "base_images: {x86_64: {ssm: /aws/service/x}, arm64: {ssm: /aws/service/y}}\n";
        insta::assert_snapshot!(merged(base, "base_images: {x86_64: {owner: self, name: mine-*}}\n"), @r"
        base_images:
          x86_64:
            owner: self
            name: mine-*
          arm64:
            ssm: /aws/service/y
        ");
    }

    #[test]
    fn what_does_not_merge_is_told_with_both_places() {
        insta::assert_snapshot!(merged("a: {runcmd: [x]}\n", "a:\n  runcmd: x\n"), @"over.yaml:2:11: a.runcmd is a text here and a list in base.yaml:1:13, and these do not merge; write it in the same form");
        insta::assert_snapshot!(merged("a: {b: c}\n", "a: [b]\n"), @"over.yaml:1:4: a is a list here and a map in base.yaml:1:4, and these do not merge; write it in the same form");
        insta::assert_snapshot!(merged("a: 1\n", "a: {b: 1}\n"), @"over.yaml:1:4: a is a map here and a whole number in base.yaml:1:4, and these do not merge; write it in the same form");
    }
}
