//! A thing that may be swept: what it is, how large and how old, and whether it goes. Pure.

use std::collections::BTreeMap;

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use jiff::{SignedDuration, Timestamp};

use super::KEEP_TAG;

/// Bytes in a GiB.
const GIB: u64 = 1 << 30;

/// A thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    /// The kind, as the command line names it.
    pub(crate) kind: &'static str,
    /// The region; `None` for what the account has once.
    pub(crate) region: Option<String>,
    /// Its id or name, as people know it.
    pub(crate) id: String,
    /// By what it is deleted, where that is not its id: a URL, an ARN.
    pub(super) handle: String,
    /// The boxes that it is of, if it says so.
    pub(crate) of: Option<AbsoluteName>,
    /// Its size, where that costs something.
    pub(crate) bytes: Option<u64>,
    /// When it was made, or last known to be of use; `None` where nobody knows.
    pub(crate) since: Option<Timestamp>,
    /// Whether it goes, and why.
    pub(crate) verdict: Verdict,
}

/// Whether a thing goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody uses it.
    Unused(String),
    /// It stays.
    Kept(String),
}

impl Thing {
    /// A thing of which nothing but this is known.
    pub(super) fn new(kind: &'static str, id: impl Into<String>, verdict: Verdict) -> Self {
        let id = id.into();
        Self { kind, region: None, handle: id.clone(), id, of: None, bytes: None, since: None, verdict }
    }

    /// The same of a region.
    pub(super) fn in_region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    /// The same with a size in GiB.
    pub(super) fn gib(self, gib: u32) -> Self {
        Self { bytes: Some(u64::from(gib) * GIB), ..self }
    }

    /// Whether it goes.
    pub(crate) fn goes(&self) -> bool {
        matches!(self.verdict, Verdict::Unused(_))
    }

    /// Why it goes, or stays.
    pub(crate) fn why(&self) -> &str {
        match &self.verdict {
            Verdict::Unused(why) | Verdict::Kept(why) => why,
        }
    }

    /// Where the thing is, among all.
    pub(crate) fn place(&self) -> (&'static str, Option<&str>, &str) {
        (self.kind, self.region.as_deref(), &self.id)
    }

    /// The same, and it stays if it is not older than that. What is of an unknown age is as old as one likes: it is of
    /// a kind that says so.
    pub(super) fn held_while_young(mut self, now: Timestamp, older_than: SignedDuration) -> Self {
        let young = |since: &Timestamp| now.duration_since(*since) < older_than;
        if self.goes() && self.since.as_ref().is_some_and(young) {
            self.verdict = Verdict::Kept(format!("too young; {}", self.why()));
        }
        self
    }
}

/// The boxes that a thing with these tags is of, by the full name in this tag: `None` for what is not of the namespace.
pub(super) fn tagged_name(tags: &BTreeMap<String, String>, tag: &str, namespace: &Namespace) -> Option<AbsoluteName> {
    tags.get(tag)?.parse().ok().filter(|name| is_of(namespace, name))
}

/// Whether boxes of this name are boxes of the namespace, or of one below it.
pub(super) fn is_of(namespace: &Namespace, name: &AbsoluteName) -> bool {
    namespace.contains(name) && !name.base_name().is_empty()
}

/// The verdict on what is not in use: it goes, unless somebody has marked it.
pub(super) fn unless_marked(tags: &BTreeMap<String, String>, why: impl Into<String>) -> Verdict {
    if tags.contains_key(KEEP_TAG) {
        return Verdict::Kept(format!("it carries the tag {KEEP_TAG}"));
    }
    Verdict::Unused(why.into())
}

/// A size in words.
pub(super) fn size(bytes: u64) -> String {
    let unit = |one: u64, name: &str| {
        let tenths = bytes / (one / 10).max(1);
        if tenths.is_multiple_of(10) || tenths >= 100 {
            format!("{} {name}", tenths / 10)
        } else {
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    };
    match bytes {
        ..1024 => format!("{bytes} B"),
        1024..1_048_576 => unit(1 << 10, "KiB"),
        1_048_576..GIB => unit(1 << 20, "MiB"),
        GIB.. => unit(GIB, "GiB"),
    }
}

/// An age in words, in its largest unit.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(since: Option<&str>) -> Thing {
        let since = since.map(|text| text.parse().unwrap());
        Thing { since, ..Thing::new("snapshots", "snap-1", Verdict::Unused("no image has it".to_owned())) }
    }

    #[test]
    fn what_is_young_stays_and_what_is_old_or_of_no_known_age_goes() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let week = SignedDuration::from_hours(7 * 24);
        let held = |since| thing(since).held_while_young(now, week);
        assert!(held(Some("2026-11-14T11:59:59Z")).goes() && held(None).goes());
        let young = held(Some("2026-11-14T12:00:01Z"));
        assert_eq!(young.verdict, Verdict::Kept("too young; no image has it".to_owned()));
        // A clock that is behind makes nothing older.
        assert!(!held(Some("2026-12-01T00:00:00Z")).goes());
        let all = thing(Some("2026-11-21T12:00:00Z")).held_while_young(now, SignedDuration::ZERO);
        assert!(all.goes());
    }

    #[test]
    fn only_a_full_name_in_the_namespace_makes_a_thing_one_of_its_boxes() {
        let prod: Namespace = "/prod/".parse().unwrap();
        let name = |text: &str| {
            let tags = BTreeMap::from([("t".to_owned(), text.to_owned())]);
            tagged_name(&tags, "t", &prod).map(|name| name.to_string())
        };
        assert_eq!(name("/prod/web").as_deref(), Some("/prod/web"));
        assert_eq!(name("/prod/sub/web").as_deref(), Some("/prod/sub/web"));
        for other in ["/production/web", "/web", "prod_web", "/prod/", "/prod//web", "/prod/Web", "/prod/../web", ""] {
            assert_eq!(name(other), None, "{other:?}");
        }
        assert_eq!(tagged_name(&BTreeMap::new(), "t", &prod), None);
    }

    #[test]
    fn sizes_and_ages_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (4_300_000, "4.1 MiB"),
            (8 * GIB, "8 GiB"),
            (2048 * GIB, "2048 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (since, text) in [
            ("2026-11-21T11:59:30Z", "30s"),
            ("2026-11-21T11:00:00Z", "60m"),
            ("2026-11-20T00:00:00Z", "36h"),
            ("2026-11-01T00:00:00Z", "20d"),
            ("2026-11-22T00:00:00Z", "0s"),
        ] {
            assert_eq!(age(since.parse().unwrap(), now), text);
        }
    }
}
