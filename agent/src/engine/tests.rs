use std::sync::Arc;

use fleetkey_common::registry::{Lookup, RegistryError};
use fleetkey_common::registry::{RegisteredKey, Registry};
use tempfile::TempDir;

use super::*;
use crate::config::settings::Grant;
use crate::key_set::tests::{entry, key};
use crate::source::Membership;

fn host() -> HostIdentity {
    HostIdentity { instance_id: Some("i-1".to_owned()), product_uuid: None, machine_id: None }
}

fn account() -> AccountName {
    "ubuntu".parse().unwrap()
}

/// Settings with one grant, and everything below `folder`.
fn settings(folder: &TempDir, specs: &[&str], allowed_options: &[&str]) -> Arc<Settings> {
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, "source = \"directory\"\n").unwrap();
    let mut settings = crate::config::load(&path, &crate::config::Flags::default()).unwrap().settings;
    let keys = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    settings.grants = vec![Grant { account: account(), keys, mode: Mode::Shared }];
    settings.render.allowed_options = allowed_options.iter().map(|&option| option.to_owned()).collect();
    settings.paths.state = folder.path().join("state");
    settings.paths.runtime = folder.path().join("run");
    settings.guard.break_glass = folder.path().join("break_glass.pub");
    Arc::new(settings)
}

fn engine(settings: &Arc<Settings>) -> Engine {
    Engine::open(Arc::clone(settings), host(), "/proc/self/exe".into())
}

fn fault() -> Fault {
    Fault("no answer".into())
}

/// alice in the group `dev`, with one key, or what failed of it.
fn look(group_fails: bool, keys_fail: bool) -> Findings {
    let alice: fleetkey_common::names::PersonName = "alice".parse().unwrap();
    let mut findings = Findings { revoked: Some(Ok(BTreeSet::new())), ..Findings::default() };
    let members = if group_fails { Err(fault()) } else { Ok(Membership::Of(BTreeSet::from([alice.clone()]))) };
    findings.groups.insert("dev".parse().unwrap(), members);
    if !group_fails {
        let error = RegistryError { registry: Registry::S3, action: "GetObject".into(), cause: "throttled".into() };
        let lookup = if keys_fail {
            Lookup { fault: Some(Arc::new(error)), ..Lookup::default() }
        } else {
            Lookup { keys: vec![(*entry("alice", "@@dev", 1).registered).clone()], ..Lookup::default() }
        };
        findings.keys.insert(alice, BTreeMap::from([(Registry::S3, lookup)]));
    }
    findings
}

/// Makes a moment older.
fn age(moment: &mut Moment, by: Duration) {
    moment.boot_id = "the boot before".to_owned();
    moment.wall -= by;
}

#[test]
fn faults_that_take_turns_do_not_make_the_last_known_good_for_ever() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, &["@@dev"], &[]);
    let mut engine = engine(&settings);
    engine.take(&look(false, false), Duration::ZERO);
    let part = Part::Keys("alice".parse().unwrap(), Registry::S3);
    engine.take(&look(false, true), Duration::ZERO);
    age(engine.state.failing.get_mut(&part).unwrap(), settings.guard.max_stale + Duration::from_mins(1));
    // What hides a fault does not end it.
    engine.take(&look(true, false), Duration::ZERO);
    engine.take(&Findings::unreachable(fault()), Duration::ZERO);
    assert_eq!(engine.key_set().fingerprints(&account()).len(), 1);
    assert!(engine.too_old().is_empty(), "this look could not tell of it");
    engine.take(&look(false, true), Duration::ZERO);
    assert_eq!(engine.key_set().fingerprints(&account()).len(), 0);
    assert_eq!(engine.too_old(), &BTreeSet::from([part]));
    engine.take(&look(false, false), Duration::ZERO);
    assert_eq!(engine.key_set().fingerprints(&account()).len(), 1);
    assert!(engine.state.failing.is_empty() && engine.too_old().is_empty());
}

#[test]
fn a_box_that_was_off_for_longer_than_max_stale_lets_nobody_in_by_a_first_look_that_fails() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, &["@@dev"], &[]);
    for failed in [look(true, false), look(false, true), Findings::unreachable(fault())] {
        let mut engine = engine(&settings);
        engine.take(&look(false, false), Duration::ZERO);
        age(&mut engine.state.reached, settings.guard.max_stale + Duration::from_mins(1));
        assert!(!engine.last_good_serves());
        engine.take(&failed, Duration::ZERO);
        assert_eq!(engine.key_set().fingerprints(&account()).len(), 0);
    }
}

#[test]
fn a_look_that_did_not_reach_the_source_does_not_count_as_one_that_did() {
    let folder = TempDir::new().unwrap();
    let mut engine = engine(&settings(&folder, &["@@dev"], &[]));
    engine.take(&look(false, false), Duration::ZERO);
    age(&mut engine.state.reached, Duration::from_hours(1));
    let reached = engine.state.reached.clone();
    engine.take(&Findings::unreachable(fault()), Duration::ZERO);
    assert_eq!(engine.state.reached, reached);
}

#[test]
fn t6_a_key_with_an_option_that_is_allowed_no_more_goes_at_the_reload_and_is_not_taken_from_the_cache() {
    let folder = TempDir::new().unwrap();
    let mut engine = engine(&settings(&folder, &["@@dev"], &["command"]));
    let mut findings = look(false, false);
    let lookup = findings.keys.values_mut().next().unwrap().get_mut(&Registry::S3).unwrap();
    let restrictions =
        Restrictions { options: BTreeSet::from(["command=\"backup\"".to_owned()]), ..Restrictions::default() };
    let place: Arc<str> = "people/alice/1.pub".into();
    lookup.keys = vec![RegisteredKey { key: key(1), restrictions, place, version: "v".into() }];
    engine.take(&findings, Duration::ZERO);
    engine.reconfigure(settings(&folder, &["@@dev"], &["command"]));
    assert!(engine.cache().get(Registry::S3, "people/alice/1.pub", "v").is_some());
    engine.reconfigure(settings(&folder, &["@@dev"], &[]));
    assert_eq!(engine.key_set().fingerprints(&account()).len(), 0);
    assert!(engine.cache().get(Registry::S3, "people/alice/1.pub", "v").is_none());
}

#[test]
fn whoever_writes_ever_new_lines_neither_fills_the_memory_nor_has_the_registries_asked_without_end() {
    let folder = TempDir::new().unwrap();
    let mut engine = engine(&settings(&folder, &["@@dev"], &[]));
    let mut now = Duration::from_secs(1000);
    let mut questions = 0;
    for round in 0..100_u8 {
        engine.files.entry(account()).or_default().foreign = vec![key(round)];
        let candidates = engine.candidates(now);
        if !candidates.is_empty() {
            questions += 1;
            engine.learn(&candidates, Ok(BTreeSet::new()), now);
        }
        assert!(engine.unknown.len() <= 1);
        now += Duration::from_millis(200);
    }
    assert_eq!(questions, 2);
    engine.forget_unknown();
    assert_eq!(engine.candidates(now).len(), 1, "after a hint it is asked at once");
}

#[test]
fn a_key_for_emergencies_stands_as_root_put_it_down_also_when_it_is_registered_with_restrictions() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, &["@@dev"], &[]);
    std::fs::write(&settings.guard.break_glass, format!("{}\n", key(1))).unwrap();
    let mut engine = engine(&settings);
    engine.break_glass.refresh();
    let mut findings = look(false, false);
    let lookup = findings.keys.values_mut().next().unwrap().get_mut(&Registry::S3).unwrap();
    lookup.keys[0].restrictions.options.insert("from=\"192.0.2.1\"".to_owned());
    engine.take(&findings, Duration::ZERO);
    let wanted = engine.wanted(&account(), Timestamp::now());
    assert_eq!(wanted.len(), 1);
    assert!(wanted[0].restrictions.is_none());
}

#[test]
fn an_expiry_is_told_by_the_moment_for_which_the_lines_were_made() {
    let folder = TempDir::new().unwrap();
    let mut engine = engine(&settings(&folder, &["@@dev"], &[]));
    let mut findings = look(false, false);
    let expires: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let lookup = findings.keys.values_mut().next().unwrap().get_mut(&Registry::S3).unwrap();
    lookup.keys[0].restrictions.expires = Some(expires);
    engine.take(&findings, Duration::ZERO);
    let before: Timestamp = "2029-12-31T23:59:59Z".parse().unwrap();
    assert_eq!(engine.next_expiry(before), Some(expires));
    assert_eq!(engine.next_expiry(expires), None);
}

#[tokio::test]
async fn r9_a_pass_over_some_accounts_leaves_the_others_alone() {
    let folder = TempDir::new().unwrap();
    let mut settings = Arc::unwrap_or_clone(settings(&folder, &["@@dev"], &[]));
    let [first, second] = ["no-such-account-1", "no-such-account-2"].map(|name| name.parse::<AccountName>().unwrap());
    settings.grants = [&first, &second]
        .map(|account| Grant { account: account.clone(), keys: vec!["@@dev".parse().unwrap()], mode: Mode::Shared })
        .to_vec();
    let mut engine = engine(&Arc::new(settings));
    engine.take(&look(false, false), Duration::ZERO);
    let only = BTreeSet::from([first.clone()]);
    let pass = engine.pass(Scope::Only(only.clone())).await;
    assert_eq!((&pass.tried, &pass.failed), (&only, &only));
    assert!(engine.files().contains_key(&first) && !engine.files().contains_key(&second));
    let both = BTreeSet::from([first, second]);
    let pass = engine.pass(Scope::All).await;
    assert_eq!((&pass.tried, &pass.failed), (&both, &both));
    let gone = BTreeSet::from(["gone".parse().unwrap()]);
    let pass = engine.pass(Scope::Only(gone.clone())).await;
    assert_eq!((&pass.tried, &pass.failed), (&gone, &BTreeSet::new()), "nothing is left to be tried of it");
}

#[test]
fn the_headline_says_whether_the_last_known_serves_or_is_too_old() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder, &["@@dev"], &[]);
    let mut engine = engine(&settings);
    engine.take(&look(false, false), Duration::ZERO);
    engine.take(&look(true, false), Duration::ZERO);
    let headline = |engine: &Engine| {
        let now = Some(Timestamp::now());
        let surroundings = crate::report::Surroundings {
            instance_id: None,
            started_at: Timestamp::now(),
            looked_at: now,
            push: "off".to_owned(),
            config_error: None,
            autostop: None,
        };
        crate::report::Status::new(engine, surroundings).headline()
    };
    assert!(headline(&engine).contains("; last known serves: group dev: no answer"), "{}", headline(&engine));
    let since = engine.state.failing.get_mut(&Part::Group("dev".parse().unwrap())).unwrap();
    age(since, settings.guard.max_stale + Duration::from_mins(1));
    engine.take(&look(true, false), Duration::ZERO);
    assert!(
        headline(&engine).contains("; too long unknown to let anybody in: group dev: no answer"),
        "{}",
        headline(&engine)
    );
}
