//! What a name that fits no box may have meant: boxes of the same role elsewhere, roles of nearly the same name. Pure.

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use fleetkey_common::did_you_mean::did_you_mean;

/// How many names a hint has.
const NAMED: usize = 5;

/// Hints for `wanted`, of which there is nothing. `seen` are the names of boxes of the same role in any namespace, and of
/// all boxes of the namespace; each may be there several times.
pub(crate) fn hints(wanted: &AbsoluteName, namespace: &Namespace, seen: &[AbsoluteName]) -> Vec<String> {
    let mut names: Vec<&AbsoluteName> = seen.iter().collect();
    names.sort();
    names.dedup();
    let mut hints = Vec::new();
    let elsewhere: Vec<String> = names
        .iter()
        .filter(|name| name.base_name() == wanted.base_name() && **name != wanted)
        .map(|name| format!("{name} ({})", count(seen, name)))
        .collect();
    if !elsewhere.is_empty() {
        hints.push(format!("in other namespaces there are {}", listed(&elsewhere)));
    }
    let here: Vec<&str> =
        names.iter().filter(|name| namespace.contains(name)).map(|name| namespace.relative(name)).collect();
    let close = did_you_mean(namespace.relative(wanted), &here);
    if !close.is_empty() {
        hints.push(format!("no box is called that{close}"));
    } else if elsewhere.is_empty() && !here.is_empty() {
        let here: Vec<String> = here.into_iter().map(str::to_owned).collect();
        hints.push(format!("in {namespace} there are {}", listed(&here)));
    }
    hints
}

fn count(seen: &[AbsoluteName], name: &AbsoluteName) -> String {
    match seen.iter().filter(|other| *other == name).count() {
        1 => "1 box".to_owned(),
        count => format!("{count} boxes"),
    }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(wanted: &str, seen: &[&str]) -> String {
        let seen: Vec<AbsoluteName> = seen.iter().map(|name| name.parse().unwrap()).collect();
        hints(&wanted.parse().unwrap(), &"/prod/".parse().unwrap(), &seen).join("\n")
    }

    #[test]
    fn boxes_of_the_role_in_other_namespaces_are_named_and_counted() {
        let told = near("/prod/web", &["/test/web", "/test/web", "/web", "/prod/db"]);
        assert_eq!(told, "in other namespaces there are /test/web (2 boxes), /web (1 box)");
    }

    #[test]
    fn a_name_that_is_nearly_right_is_asked_back_and_any_other_gets_those_that_there_are() {
        assert_eq!(near("/prod/wbe", &["/prod/web", "/prod/db"]), "no box is called that (did you mean \"web\"?)");
        assert_eq!(near("/prod/jenkins", &["/prod/web", "/prod/db", "/prod/web"]), "in /prod/ there are db, web");
        let many: Vec<String> = (0..8).map(|number| format!("/prod/n{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(near("/prod/other", &many), "in /prod/ there are n0, n1, n2, n3, n4, and 3 more");
        assert_eq!(near("/prod/web", &[]), "");
    }
}
