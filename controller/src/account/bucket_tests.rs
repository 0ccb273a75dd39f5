use fleetkey_common::bucket::{PEOPLE, REVOKED, SSH_PUBKEY};

use super::*;

const ARN: &str = "arn:aws:s3:::123456789012-fleetkey";

fn others(id: &str, prefix: &str, days: Option<i32>) -> LifecycleRule {
    let expiration = LifecycleExpiration::builder().set_days(days).build();
    LifecycleRule::builder()
        .id(id)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .status(ExpirationStatus::Enabled)
        .expiration(expiration)
        .build()
        .unwrap()
}

#[test]
fn no_rule_deletes_what_is_current_and_none_is_about_keys_or_revocations() {
    for rule in with_rules(&[]).unwrap() {
        let expiration = rule.expiration().unwrap();
        assert_eq!((expiration.days(), expiration.date()), (None, None), "{rule:?}");
        for keys in [PEOPLE, SSH_PUBKEY, REVOKED] {
            let prefix = prefix(&rule);
            assert!(!prefix.is_empty() && !keys.starts_with(prefix) && !prefix.starts_with(keys), "{rule:?}");
        }
    }
    assert!(dangerous(&with_rules(&[]).unwrap()).is_empty());
}

#[test]
fn rules_and_statements_of_others_are_kept_and_those_of_fleetkey_put_right() {
    let other = others("logs", "logs/", Some(30));
    let stale = others("fleetkey-old-packages", "agent/", Some(30));
    let wanted = with_rules(&[other.clone(), stale.clone()]).unwrap();
    assert_eq!(wanted.len(), 3);
    assert!(wanted.contains(&other) && !wanted.contains(&stale));
    assert!(has_rules(&wanted) && !has_rules(&[other.clone(), stale]) && !has_rules(&[other]));

    let other = json!({"Sid": "Logs", "Effect": "Allow"});
    let stale = json!({"Sid": TLS_SID, "Effect": "Allow"});
    let policy = json!({"Version": "2008-10-17", "Statement": [other, stale]});
    assert!(!is_tls_only(Some(&policy), ARN));
    let wanted = with_tls_only(Some(&policy), ARN);
    assert_eq!(wanted, json!({"Version": "2008-10-17", "Statement": [other, tls_only(ARN)]}));
    assert!(is_tls_only(Some(&wanted), ARN) && !is_tls_only(Some(&wanted), "arn:aws:s3:::other"));
    let alone = with_tls_only(Some(&json!({"Statement": other})), ARN);
    // Without a version, a policy is of 2008-10-17.
    assert_eq!(alone, json!({"Statement": [other, tls_only(ARN)]}));
    let named = with_tls_only(Some(&json!({"Id": "ours", "Version": "2012-10-17", "Statement": []})), ARN);
    assert_eq!(named, json!({"Id": "ours", "Version": "2012-10-17", "Statement": [tls_only(ARN)]}));
    let new = with_tls_only(None, ARN);
    assert_eq!(new, json!({"Version": "2012-10-17", "Statement": [tls_only(ARN)]}));
    assert!(is_tls_only(Some(&new), ARN));
}

#[test]
fn statements_of_others_that_allow_something_are_told_and_those_that_deny_are_not() {
    let statement = |sid: &str, effect: &str| json!({"Sid": sid, "Effect": effect, "Principal": "*"});
    let policy = json!({"Statement": [statement("Writers", "Allow"), statement("NoOld", "Deny"),
        {"Effect": "Allow"}, tls_only(ARN)]});
    assert_eq!(strangers(Some(&policy)), ["Writers", "without a Sid"]);
    assert_eq!(strangers(Some(&json!({"Statement": statement("One", "Allow")}))), ["One"]);
    assert!(strangers(Some(&with_tls_only(None, ARN))).is_empty() && strangers(None).is_empty());
}

#[test]
fn rules_of_others_that_would_delete_keys_or_packages_are_told() {
    let rules = [
        others("all", "", Some(30)),
        others("one", "people/alice/", Some(1)),
        others("packages", "agent/", Some(365)),
        others("logs", "logs/", Some(30)),
        others("versions", "", None),
    ];
    assert_eq!(dangerous(&rules), ["all", "one", "packages"]);
}

#[test]
fn a_new_bucket_has_nothing_of_what_is_wanted_and_one_that_was_set_up_all_of_it() {
    let bare = Found::default();
    assert!(Setting::ALL.iter().all(|setting| !bare.has(*setting, ARN)));
    let whole = Found {
        tags: marked(BTreeMap::from([("team".to_owned(), "x".to_owned())])),
        private: true,
        owned: true,
        encryption: Some("aws:kms".to_owned()),
        versioned: true,
        rules: with_rules(&[]).unwrap(),
        policy: Some(with_tls_only(None, ARN)),
    };
    assert!(Setting::ALL.iter().all(|setting| whole.has(*setting, ARN)));
    assert_eq!(whole.tags.len(), 2);
}
