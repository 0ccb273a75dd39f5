//! Boxes as a configuration of ssh, a Host block each, and the names by which they can be called. Pure.
//!
//! A name that would stand for two boxes stands for none. Names are made of namespaces, roles and ids alone, whose
//! letters are known; no other tag gets in but as the account, which is one by its type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fleetkey_common::aws_names::Namespace;
use fleetkey_common::names::AccountName;

use crate::instance::Instance;
use crate::selection::parse_instance_id;

/// A box as ssh is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// What it is, for people: one line.
    pub(crate) title: String,
    /// The names by which it can be called, its id first.
    pub(crate) names: Vec<String>,
    /// The account that is logged in to, if known.
    pub(crate) account: Option<AccountName>,
    /// Further options: name and value, as ssh_config(5) has them.
    pub(crate) options: Vec<(&'static str, String)>,
}

/// The names of boxes, each of which stands for one of them alone.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By instance id; the id itself comes first.
    by_id: BTreeMap<String, Vec<String>>,
    /// Those that would have stood for several, or for a machine that is no box, or stand for another already.
    pub(crate) left_out: BTreeSet<String>,
}

impl Names {
    /// Names boxes with their ordinals, as seen from a namespace, by names that are not `taken` by boxes of other ids; with
    /// `full`, only by such as say the namespace.
    pub(crate) fn of(
        boxes: &[(usize, Instance)],
        namespace: &Namespace,
        taken: &BTreeMap<String, String>,
        full: bool,
    ) -> Self {
        let mut of_name: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, found) in boxes {
            *of_name.entry(found.name.as_str()).or_default() += 1;
        }
        let candidates = boxes.iter().map(|(ordinal, found)| {
            let mut names =
                vec![format!("{}.{ordinal}", found.name.as_str().trim_start_matches('/').replace('/', "."))];
            let role = namespace.relative(&found.name);
            // One with a dot could be that of a machine on the internet.
            if !full && namespace.contains(&found.name) && !role.contains(['/', '.']) {
                names.push(format!("{role}-{ordinal}"));
                if of_name.get(found.name.as_str()) == Some(&1) {
                    names.push(role.to_owned());
                }
            }
            (found.id.as_str(), names)
        });
        let candidates: Vec<_> = candidates.collect();
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for name in candidates.iter().flat_map(|(_, names)| names) {
            *count.entry(name).or_default() += 1;
        }
        let good = |id: &str, name: &String| {
            let free = taken.get(name).is_none_or(|other| other == id);
            free && count.get(name.as_str()) == Some(&1) && parse_instance_id(name).is_err() && !is_a_machine(name)
        };
        let mut names = Self::default();
        for (id, candidates) in &candidates {
            let (good, bad): (Vec<String>, Vec<String>) = candidates.iter().cloned().partition(|name| good(id, name));
            names.left_out.extend(bad);
            names.by_id.insert((*id).to_owned(), std::iter::once((*id).to_owned()).chain(good).collect());
        }
        names
    }

    /// The names of one of the boxes.
    pub(crate) fn of_box(&self, id: &str) -> Vec<String> {
        self.by_id.get(id).cloned().unwrap_or_default()
    }
}

/// Whether ssh, without a configuration, takes a name for an address, or for this machine. An address is numbers with dots
/// between them, also hexadecimal ones and fewer than four: inet_aton(3).
fn is_a_machine(name: &str) -> bool {
    let decimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = |part: &str| {
        let digits = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    name.eq_ignore_ascii_case("localhost") || name.split('.').all(|part| decimal(part) || hexadecimal(part))
}

/// The text of a configuration: a line that says what it is, and the blocks.
pub(crate) fn render(head: &str, hosts: &[Host]) -> String {
    let mut text = format!("# {head}\n");
    for host in hosts {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n# {}\nHost {}\n", host.title, host.names.join(" "));
        match &host.account {
            Some(account) => {
                let _ = writeln!(text, "    User {account}");
            }
            None => text += "    # its admin account is not known: ssh -l names one\n",
        }
        for (name, value) in &host.options {
            let _ = writeln!(text, "    {name} {value}");
        }
    }
    text
}

/// The names that blocks of a configuration made by [`render`] have, each with the id of its box.
pub(crate) fn names_in(text: &str) -> impl Iterator<Item = (String, String)> {
    let blocks = text.lines().filter_map(|line| line.strip_prefix("Host "));
    blocks.flat_map(|names| {
        let id = names.split(' ').next().unwrap_or_default();
        names.split(' ').map(|name| (name.to_owned(), id.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::tests::instance;

    fn named(boxes: &[(usize, &str, &str)], namespace: &str, taken: &[&str]) -> Vec<String> {
        let boxes: Vec<_> =
            boxes.iter().map(|(ordinal, id, name)| (*ordinal, instance(&format!("i-0123456{id}"), name))).collect();
        let taken = taken.iter().map(|name| ((*name).to_owned(), "i-01234569".to_owned())).collect();
        let names = Names::of(&boxes, &namespace.parse().unwrap(), &taken, false);
        boxes.iter().map(|(_, found)| names.of_box(&found.id)[1..].join(" ")).collect()
    }

    #[test]
    fn a_box_has_its_full_name_and_a_short_one_in_its_namespace() {
        let boxes = [(0, "1", "/prod/web"), (1, "2", "/prod/web"), (0, "3", "/prod/db"), (0, "4", "/prod/sub/db")];
        assert_eq!(
            named(&boxes, "/prod/", &[]),
            ["prod.web.0 web-0", "prod.web.1 web-1", "prod.db.0 db-0 db", "prod.sub.db.0"]
        );
        assert_eq!(named(&boxes[2..], "/", &[]), ["prod.db.0", "prod.sub.db.0"]);
        assert_eq!(named(&[(0, "1", "/web")], "/", &[]), ["web.0 web-0 web"]);
        let boxes = [(0, instance("i-01234561", "/prod/db"))];
        let names = Names::of(&boxes, &"/prod/".parse().unwrap(), &BTreeMap::new(), true);
        assert_eq!(names.of_box("i-01234561"), ["i-01234561", "prod.db.0"]);
    }

    #[test]
    fn a_name_that_could_stand_for_two_stands_for_none() {
        // The first box of web and the only one of web-0; /a/b.c and /a.b/c; a role called like the id of another box.
        assert_eq!(named(&[(0, "1", "/web"), (0, "2", "/web-0")], "/", &[]), ["web.0 web", "web-0.0 web-0-0"]);
        assert_eq!(named(&[(0, "1", "/a/b.c"), (0, "2", "/a.b/c")], "/", &[]), ["", ""]);
        assert_eq!(named(&[(0, "1", "/i-01234562"), (0, "2", "/x")], "/", &[])[0], "i-01234562.0 i-01234562-0");
        assert_eq!(named(&[(0, "1", "/web")], "/", &["web", "web.0"]), ["web-0"]);
    }

    #[test]
    fn t5_no_name_of_a_box_is_that_of_a_machine_on_the_internet() {
        assert_eq!(named(&[(0, "1", "/github.com")], "/", &[]), ["github.com.0"]);
        assert_eq!(named(&[(0, "1", "/github/com")], "/", &[]), ["github.com.0"]);
    }

    #[test]
    fn t5_no_name_of_a_box_is_an_address_or_that_of_this_machine() {
        for name in ["/10/0/0", "/10.0.0", "/192.168.1", "/10", "/0x7f/0/0", "/0x7f.1"] {
            assert_eq!(named(&[(1, "1", name)], "/prod/", &[]), [""], "{name}");
        }
        assert_eq!(named(&[(5, "1", "/5")], "/", &[]), ["5-5"]);
        assert_eq!(named(&[(0, "1", "/localhost")], "/", &[]), ["localhost.0 localhost-0"]);
        assert_eq!(named(&[(1, "1", "/10/web")], "/", &[]), ["10.web.1"]);
    }

    #[test]
    fn blocks_are_written_and_their_names_found_again() {
        let host = |names: &[&str], account: Option<&str>| Host {
            title: "/web, 0, running".to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
            account: account.map(|account| account.parse().unwrap()),
            options: vec![("HostKeyAlias", "i-01234561".to_owned())],
        };
        let text = render("made", &[host(&["i-01234561", "web"], Some("admin")), host(&["i-01234562"], None)]);
        insta::assert_snapshot!(text, @"
        # made

        # /web, 0, running
        Host i-01234561 web
            User admin
            HostKeyAlias i-01234561

        # /web, 0, running
        Host i-01234562
            # its admin account is not known: ssh -l names one
            HostKeyAlias i-01234561
        ");
        let found: Vec<_> = names_in(&text).map(|(name, id)| format!("{name} {id}")).collect();
        assert_eq!(found, ["i-01234561 i-01234561", "web i-01234561", "i-01234562 i-01234562"]);
        // The same box in another file, as that of a namespace above, is no other box.
        let boxes = [(0, instance("i-01234561", "/web"))];
        let names = Names::of(&boxes, &"/".parse().unwrap(), &names_in(&text).collect(), false);
        assert_eq!(names.of_box("i-01234561"), ["i-01234561", "web.0", "web-0", "web"]);
    }
}
