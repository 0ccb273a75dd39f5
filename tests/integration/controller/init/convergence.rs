//! What an account has after `init`, and that another run changes only what is not so.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, Tag, Tagging, VersioningConfiguration,
};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Proxy, count};
use fleetkey_tests::tls::TestCa;
use serde_json::json;

use super::setting::{bare, bucket, changed, files, init, policies, results, shipped, topics};

/// A rule that somebody else has set on the bucket, and the lifecycle that it makes.
fn theirs() -> Result<(LifecycleRule, BucketLifecycleConfiguration)> {
    let logs = LifecycleRule::builder()
        .id("logs")
        .filter(LifecycleRuleFilter::builder().prefix("logs/").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build()?;
    let lifecycle = BucketLifecycleConfiguration::builder().rules(logs.clone()).build()?;
    Ok((logs, lifecycle))
}

#[tokio::test]
async fn a_bare_account_is_set_up_and_a_second_run_changes_nothing() -> Result<()> {
    let mut operator = bare().await?;
    let planned = operator.run(&["init", "--dry-run", "--output", "json"]).await?.ended(0);
    assert_eq!(results(&planned)?[0], format!("make bucket {}: planned", operator.cloud.bucket()));
    assert!(operator.cloud.s3().head_bucket().bucket(operator.cloud.bucket()).send().await.is_err());
    assert!(policies(&operator.cloud).await?.is_empty() && topics(&operator.cloud, Cloud::REGION).await?.is_empty());

    let made = init(&operator, &[]).await?.ended(0);
    assert!(made.stderr.contains("hint: attach the policies"), "{}", made.stderr);
    let is = bucket(&operator.cloud).await?;
    assert_eq!(is.blocked, [Some(true); 4]);
    assert_eq!((is.ownership.as_str(), is.encryption.as_str()), ("BucketOwnerEnforced", "AES256"));
    assert_eq!(is.versioning, "Enabled");
    assert_eq!(is.tags, BTreeMap::from([("fleetkey:created-by".to_owned(), "fleetkey".to_owned())]));
    assert_eq!(topics(&operator.cloud, Cloud::REGION).await?, [Cloud::TOPIC]);
    let made = policies(&operator.cloud).await?;
    let names: Vec<_> = made.keys().cloned().collect();
    let files = files()?;
    assert_eq!(names, files.iter().map(|file| format!("fleetkey-{file}")).collect::<Vec<_>>());
    for file in &files {
        let wanted = ("/fleetkey/".to_owned(), shipped(file, &operator.cloud)?);
        assert_eq!(made[&format!("fleetkey-{file}")], wanted, "{file}");
    }

    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let again = init(&operator, &[]).await?.ended(0);
    assert_eq!(changed(&again)?, Vec::<String>::new());
    assert!(again.stderr.contains("everything is as it should be"), "{}", again.stderr);
    let writes = count(&proxy.take_calls()).into_keys();
    let writes: Vec<_> =
        writes.filter(|call| [":Put", ":Create", ":Delete"].iter().any(|verb| call.contains(verb))).collect();
    assert_eq!(writes, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn no_lifecycle_rule_ends_what_is_current_or_touches_keys_and_revocations() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &["--no-policies"]).await?.ended(0);
    let rules = bucket(&operator.cloud).await?.rules;
    let prefixes: Vec<_> = rules.iter().filter_map(|rule| rule.filter()?.prefix()).collect();
    assert_eq!(prefixes, ["agent/", "status/"]);
    for rule in &rules {
        assert_eq!(rule.expiration().map(|when| (when.days(), when.date())), Some((None, None)), "{rule:?}");
        assert!(rule.noncurrent_version_expiration().is_some_and(|when| when.noncurrent_days() > Some(0)), "{rule:?}");
    }
    Ok(())
}

#[tokio::test]
async fn only_what_differs_is_changed_and_what_others_set_beside_it_stays() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &[]).await?.ended(0);
    let (s3, name) = (operator.cloud.s3(), operator.cloud.bucket());
    let off = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    s3.put_bucket_versioning().bucket(&name).versioning_configuration(off).send().await?;
    let (logs, theirs) = theirs()?;
    s3.put_bucket_lifecycle_configuration().bucket(&name).lifecycle_configuration(theirs).send().await?;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags =
        Tagging::builder().tag_set(tag("team", "web")?).tag_set(tag("fleetkey:created-by", "fleetkey")?).build()?;
    s3.put_bucket_tagging().bucket(&name).tagging(tags).send().await?;
    let arn = format!("arn:aws:iam::{}:policy/fleetkey/fleetkey-agent-report", operator.cloud.account_id());
    // As many versions as IAM keeps.
    for at in 0..4 {
        let other = json!({"Version": "2012-10-17", "Statement": [{"Sid": format!("V{at}"), "Effect": "Deny",
            "Action": "s3:GetObject", "Resource": "*"}]});
        let call = operator.cloud.iam().create_policy_version().policy_arn(&arn).policy_document(other.to_string());
        call.set_as_default(true).send().await?;
    }

    let ran = init(&operator, &[]).await?.ended(0);
    let wanted = [
        "change versions of the bucket: done",
        "change lifecycle of the bucket: done",
        "change policy fleetkey-agent-report: done",
    ];
    assert_eq!(changed(&ran)?, wanted);
    let is = bucket(&operator.cloud).await?;
    assert_eq!(is.versioning, "Enabled");
    assert!(is.rules.contains(&logs) && is.rules.len() == 3, "{:?}", is.rules);
    assert_eq!(is.tags.get("team").map(String::as_str), Some("web"));
    let report = &policies(&operator.cloud).await?["fleetkey-agent-report"];
    assert_eq!(report.1, shipped("agent-report", &operator.cloud)?);
    let versions = operator.cloud.iam().list_policy_versions().policy_arn(&arn).send().await?;
    assert_eq!(versions.versions().len(), 5);
    assert_eq!(changed(&init(&operator, &[]).await?.ended(0))?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_others_set_while_somebody_is_asked_stays_too() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &["--no-policies"]).await?.ended(0);
    let (s3, name) = (operator.cloud.s3(), operator.cloud.bucket());
    s3.delete_bucket_tagging().bucket(&name).send().await?;
    s3.delete_bucket_lifecycle().bucket(&name).send().await?;
    let (logs, theirs) = theirs()?;
    let tags = Tagging::builder().tag_set(Tag::builder().key("team").value("web").build()?).build()?;
    let set = async || {
        s3.put_bucket_lifecycle_configuration().bucket(&name).lifecycle_configuration(theirs).send().await?;
        s3.put_bucket_tagging().bucket(&name).tagging(tags).send().await?;
        Ok(())
    };
    operator.asked(&["init", "--no-policies"], "y\n", set).await?.ended(0);
    let is = bucket(&operator.cloud).await?;
    assert_eq!(is.tags.keys().collect::<Vec<_>>(), ["fleetkey:created-by", "team"]);
    assert!(is.rules.contains(&logs) && is.rules.len() == 3, "{:?}", is.rules);
    Ok(())
}

#[tokio::test]
async fn a_rule_of_others_that_would_delete_keys_is_told() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &["--no-policies"]).await?.ended(0);
    let all = LifecycleRule::builder()
        .id("all")
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build()?;
    let theirs = BucketLifecycleConfiguration::builder().rules(all).build()?;
    let put = operator.cloud.s3().put_bucket_lifecycle_configuration().bucket(operator.cloud.bucket());
    put.lifecycle_configuration(theirs).send().await?;
    let ran = init(&operator, &["--no-policies"]).await?.ended(0);
    assert!(
        ran.stderr.contains("warning: lifecycle rule all of the bucket, which is not Fleetkey's"),
        "{}",
        ran.stderr
    );
    Ok(())
}

#[tokio::test]
async fn a_second_region_gets_a_topic_and_takes_nothing_from_the_first() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &["--for", "operators"]).await?.ended(0);
    let ran = init(&operator, &["--for", "operators", "--regions", "eu-west-1"]).await?.ended(0);
    assert!(ran.stderr.contains("the policies go on to allow us-west-2"), "{}", ran.stderr);
    for region in ["us-west-2", "eu-west-1"] {
        assert_eq!(topics(&operator.cloud, region).await?, [Cloud::TOPIC], "{region}");
    }
    let ssh = &policies(&operator.cloud).await?["fleetkey-controller-ssh"].1;
    let look = &ssh["Statement"][0]["Condition"]["StringEquals"]["aws:RequestedRegion"];
    assert_eq!(*look, json!(["eu-west-1", "us-west-2"]));
    assert_eq!(changed(&init(&operator, &["--for", "operators"]).await?.ended(0))?, Vec::<String>::new());

    let drop = ["--for", "operators", "--drop-region", "eu-west-1"];
    init(&operator, &drop).await?.ended(0);
    let ssh = &policies(&operator.cloud).await?["fleetkey-controller-ssh"].1;
    assert_eq!(*ssh, shipped("controller-ssh", &operator.cloud)?);
    Ok(())
}

#[tokio::test]
async fn over_tls_the_bucket_is_shut_to_those_who_come_without() -> Result<()> {
    let mut operator = bare().await?;
    let ca = TestCa::new()?;
    let proxy = Proxy::start_tls(Moto::shared()?.address(), &ca)?;
    operator.go_through(proxy.endpoint());
    let bundle = ca.ca_bundle();
    let bundle = bundle.to_str().context("the path is text")?;
    let variables = [("FLEETKEY_ZONE", "us-west-2a"), ("SSL_CERT_FILE", bundle)];
    let arguments = ["init", "--yes", "--no-policies", "--output", "json"];
    let ran = operator.run_with(&arguments, &variables).await?.ended(0);
    assert!(results(&ran)?.contains(&"change transport of the bucket: done".to_owned()), "{}", ran.stdout);
    let answer = operator.cloud.s3().get_bucket_policy().bucket(operator.cloud.bucket()).send().await?;
    let policy: serde_json::Value = serde_json::from_str(answer.policy().context("there is a policy")?)?;
    let arn = format!("arn:aws:s3:::{}", operator.cloud.bucket());
    let wanted = json!([{"Sid": "FleetkeyTlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [arn, format!("{arn}/*")], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]);
    assert_eq!(policy["Statement"], wanted);
    let again = operator.run_with(&arguments, &variables).await?.ended(0);
    assert_eq!(changed(&again)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn the_first_write_makes_the_bucket_as_init_does() -> Result<()> {
    let operator = bare().await?;
    let file = operator.key_file(&TestKey::new("alice")?)?;
    operator.register(&file, &[]).await?.ended(0);
    assert_eq!(bucket(&operator.cloud).await?.versioning, "Enabled");
    assert_eq!(changed(&init(&operator, &["--no-policies"]).await?.ended(0))?, Vec::<String>::new());
    Ok(())
}
