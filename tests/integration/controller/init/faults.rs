//! Parts that fail, interruptions, and what somebody else made under Fleetkey's names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};
use fleetkey_tests::tls::TestCa;
use nix::sys::signal::Signal;

use super::super::fleetkey::Operator;
use super::setting::{bare, bucket, changed, init, policies, results, topics};

#[tokio::test]
async fn a_part_that_fails_stops_no_other_and_another_run_finishes() -> Result<()> {
    let mut operator = bare().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    for broken in ["s3:PutBucketVersioning", "sns:CreateTopic"] {
        proxy.spoil(broken, Fault::Refuse("Broken", "it is broken"));
    }
    let ran = init(&operator, &["--for", "publishers"]).await?.ended(1);
    let said = results(&ran)?;
    for line in [
        "change versions of the bucket: failed",
        "change lifecycle of the bucket: done",
        "make topic fleetkey-agent-notifications: failed",
        "make policy fleetkey-controller-publish-agent: done",
    ] {
        assert!(said.contains(&line.to_owned()), "{line}: {said:?}");
    }
    assert!(ran.stderr.contains("error: not everything is set up: s3 PutBucketVersioning of "), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: sns CreateTopic "), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: the same command goes on"), "{}", ran.stderr);
    assert!(topics(&operator.cloud, "us-west-2").await?.is_empty());

    proxy.heal();
    let ran = init(&operator, &["--for", "publishers"]).await?.ended(0);
    let wanted = ["change versions of the bucket: done", "make topic fleetkey-agent-notifications: done"];
    assert_eq!(changed(&ran)?, wanted);
    Ok(())
}

#[tokio::test]
async fn without_the_bucket_nothing_is_set_on_it_and_the_rest_is_made() -> Result<()> {
    let mut operator = bare().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("s3:CreateBucket", Fault::Refuse("BucketAlreadyExists", "The name is not available."));
    let ran = init(&operator, &["--for", "publishers"]).await?.ended(1);
    let said = results(&ran)?;
    assert!(said.contains(&"change public access of the bucket: not-tried".to_owned()), "{said:?}");
    assert!(said.contains(&"make topic fleetkey-agent-notifications: done".to_owned()), "{said:?}");
    assert!(ran.stderr.contains("is another account's: names of buckets are shared by all"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_s3_does_not_know_everywhere_yet_is_tried_again() -> Result<()> {
    let mut operator = bare().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let asked = Arc::new(AtomicU32::new(0));
    let so_far = Arc::clone(&asked);
    proxy.play(move |call| {
        let early = call.action == "PutBucketTagging" && so_far.fetch_add(1, Ordering::Relaxed) < 2;
        let conflict = "<Code>OperationAborted</Code><Message>A conflicting operation is in progress.</Message>";
        early.then(|| (409, format!("<Error>{conflict}</Error>")))
    });
    operator.run(&["init", "--yes", "--no-policies", "--output", "json"]).await?.ended(0);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(bucket(&operator.cloud).await?.tags.len(), 1);
    Ok(())
}

#[tokio::test]
async fn interrupted_it_says_what_is_done_and_another_run_finishes() -> Result<()> {
    let mut operator = bare().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("sns:CreateTopic", Fault::Hang);
    let running = operator.start(&["init", "--yes", "--for", "publishers", "--output", "json"])?;
    tokio::time::timeout(Duration::from_mins(1), async {
        while proxy.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .context("the topic is asked for")?;
    running.signal(Signal::SIGINT)?;
    let ran = running.end().await?.ended(1);
    let said = results(&ran)?;
    assert!(said.contains(&"change versions of the bucket: done".to_owned()), "{said:?}");
    assert!(said.contains(&"make topic fleetkey-agent-notifications: unknown".to_owned()), "{said:?}");
    assert!(said.contains(&"make policy fleetkey-controller-publish-agent: not-tried".to_owned()), "{said:?}");
    assert!(ran.stderr.contains("error: interrupted before everything was set up"), "{}", ran.stderr);

    proxy.heal();
    init(&operator, &["--for", "publishers"]).await?.ended(0);
    assert_eq!(policies(&operator.cloud).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_somebody_else_is_refused_until_it_is_adopted() -> Result<()> {
    // The harness makes a bucket of that name, and says nothing of whose it is.
    let operator = Operator::new("alice").await?;
    operator.cloud.put_object("reports/2026.csv", "x", &[]).await?;
    let ran = init(&operator, &["--no-policies"]).await?.ended(1);
    assert!(ran.stderr.contains("with something in it, which does not say that it is Fleetkey's"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: --adopt takes it over"), "{}", ran.stderr);
    assert!(operator.cloud.s3().get_bucket_tagging().bucket(operator.cloud.bucket()).send().await.is_err());

    init(&operator, &["--no-policies", "--adopt"]).await?.ended(0);
    assert_eq!(bucket(&operator.cloud).await?.versioning, "Enabled");
    assert!(operator.cloud.objects("").await?.contains_key("reports/2026.csv"));
    assert_eq!(changed(&init(&operator, &["--no-policies"]).await?.ended(0))?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_statement_of_others_that_lets_somebody_in_is_told_and_is_why_s3_may_refuse_the_policy() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let bucket = operator.cloud.bucket();
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{"Sid": "Everybody", "Effect": "Allow",
        "Principal": "*", "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{bucket}/*")}]});
    operator.cloud.s3().put_bucket_policy().bucket(&bucket).policy(policy.to_string()).send().await?;
    let ca = TestCa::new()?;
    let proxy = Proxy::start_tls(Moto::shared()?.address(), &ca)?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("s3:PutBucketPolicy", Fault::Refuse("AccessDenied", "Access Denied"));
    let bundle = ca.ca_bundle();
    let bundle = bundle.to_str().context("the path is text")?;
    let variables = [("FLEETKEY_ZONE", "us-west-2a"), ("SSL_CERT_FILE", bundle)];
    let ran = operator.run_with(&["init", "--yes", "--no-policies"], &variables).await?.ended(1);
    let warning = "warning: statement Everybody of the bucket's policy, which is not Fleetkey's, allows what it says";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let hint = "S3 takes no policy that lets in everybody: look at Everybody in aws s3api get-bucket-policy";
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    assert!(!ran.stderr.contains("packaging/iam names the policy that has it"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn an_empty_bucket_is_nobodys() -> Result<()> {
    let operator = Operator::new("alice").await?;
    init(&operator, &["--no-policies"]).await?.ended(0);
    assert_eq!(bucket(&operator.cloud).await?.versioning, "Enabled");
    Ok(())
}

/// moto lets every account at every bucket, so that what S3 says is put in its mouth.
#[tokio::test]
async fn a_bucket_of_another_account_is_left_alone() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    proxy.answer("s3:GetBucketTagging", 403, denied);
    let ran = init(&operator, &["--no-policies", "--adopt"]).await?.ended(1);
    assert!(ran.stderr.contains("error: nothing was changed: s3 GetBucketTagging of "), "{}", ran.stderr);
    let hint = format!("hint: or the bucket {} is another account's", operator.cloud.bucket());
    assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_policy_of_somebody_else_under_that_name_is_refused() -> Result<()> {
    let operator = bare().await?;
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
    let theirs = operator.cloud.iam().create_policy().policy_name("fleetkey-controller-ssh");
    theirs.policy_document(document).send().await?;
    let ran = init(&operator, &[]).await?.ended(1);
    let error = "error: there is a policy /fleetkey-controller-ssh that Fleetkey did not make";
    assert!(ran.stderr.contains(error), "{}", ran.stderr);
    assert!(operator.cloud.s3().head_bucket().bucket(operator.cloud.bucket()).send().await.is_err());
    init(&operator, &["--no-policies"]).await?.ended(0);
    Ok(())
}

#[tokio::test]
async fn at_a_terminal_it_shows_the_plan_and_asks() -> Result<()> {
    let operator = bare().await?;
    let ran = operator.at_a_terminal(&["init", "--for", "publishers"], "n\n").await?.ended(1);
    assert!(ran.stdout.contains("Make these 9 changes in account "), "{}", ran.stdout);
    assert!(ran.stdout.contains("nothing was changed"), "{}", ran.stdout);
    assert!(operator.cloud.s3().head_bucket().bucket(operator.cloud.bucket()).send().await.is_err());
    let ran = operator.at_a_terminal(&["init", "--for", "publishers"], "y\n").await?.ended(0);
    assert!(ran.stdout.contains("is set up in us-west-2"), "{}", ran.stdout);
    Ok(())
}
