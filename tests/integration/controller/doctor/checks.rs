//! Each check but for permissions, and what keeps them from being made.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::proxy::{Fault, Proxy, count};
use fleetkey_tests::stub::{Answer, Stub};

use super::super::fleetkey::Operator;
use super::lines::{at_work, doctor, lines, of, told};

#[tokio::test]
async fn an_account_that_is_set_up_and_an_operator_at_work_lack_nothing() -> Result<()> {
    let mut operator = at_work().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let lines = lines(&doctor(&operator, &[]).await?.ended(0))?;
    let account = operator.cloud.account_id();
    assert_eq!(of(&lines, "credentials"), [format!("ok arn:aws:iam::{account}:user/alice")]);
    assert_eq!(of(&lines, "clock"), ["ok in step with AWS's"]);
    assert_eq!(of(&lines, "region"), ["ok us-west-2"]);
    assert_eq!(of(&lines, "topic"), ["ok fleetkey-agent-notifications in us-west-2"]);
    assert_eq!(of(&lines, "bucket").len(), 8);
    let keys = of(&lines, "key");
    assert!(keys.len() == 2 && keys[0].ends_with(" of alice is registered"), "{keys:?}");
    assert_eq!(keys[1], "ok key pair alice in us-west-2");
    let version = env!("CARGO_PKG_VERSION");
    let wanted = [
        format!("ok deb x86_64 {version}"),
        format!("ok rpm x86_64 {version}-1"),
        "ok none for deb arm64, rpm arm64".into(),
    ];
    assert_eq!(of(&lines, "package"), wanted);
    assert_eq!(of(&lines, "programs").len(), 2);
    for check in ["programs", "credentials", "clock", "region", "bucket", "topic", "key", "package"] {
        assert!(of(&lines, check).iter().all(|line| line.starts_with("ok ")), "{check}: {lines:#?}");
    }
    // It has looked, and touched nothing.
    let calls = count(&proxy.take_calls()).into_keys();
    let writes = calls.filter(|call| [":Put", ":Create", ":Delete", ":Publish"].iter().any(|verb| call.contains(verb)));
    assert_eq!(writes.collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_bare_account_lacks_bucket_topic_key_and_package_and_each_line_says_what_mends_it() -> Result<()> {
    let operator = Operator::new("alice").await?;
    operator.cloud.s3().delete_bucket().bucket(operator.cloud.bucket()).send().await?;
    let ran = doctor(&operator, &[]).await?.ended(1);
    assert!(ran.stderr.contains("error: 2 things are missing"), "{}", ran.stderr);
    let found = lines(&ran)?;
    let name = operator.cloud.bucket();
    let mend = format!("fleetkey init --region us-west-2 --bucket {name}");
    told(&found, "bucket", &format!("missing there is no bucket {name}"), &mend);
    told(&found, "topic", "missing there is no topic", "fleetkey init --region us-west-2");
    for check in ["key", "package"] {
        told(&found, check, "unknown not looked at: see bucket", "");
    }

    operator.run(&["init", "--yes", "--no-policies"]).await?.ended(0);
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(
        &found,
        "key",
        "missing alice has no registered key",
        "fleetkey register-key ~/.ssh/id_ed25519.pub --person alice",
    );
    told(&found, "package", "missing no package of the agent is published", "fleetkey agent publish FILE");
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_was_not_set_up_is_told_setting_by_setting() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "bucket", "missing public access: not blocked", "fleetkey init");
    told(&found, "bucket", "warning tag: not fleetkey:created-by=fleetkey", " --adopt");
    for setting in ["ownership", "encryption", "versions", "lifecycle"] {
        told(&found, "bucket", &format!("warning {setting}: not "), "fleetkey init");
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_of_others_in_the_buckets_policy_is_told() -> Result<()> {
    let operator = at_work().await?;
    let bucket = operator.cloud.bucket();
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{"Sid": "Bobs", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "s3:PutObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*")}]});
    operator.cloud.s3().put_bucket_policy().bucket(&bucket).policy(policy.to_string()).send().await?;
    let found = lines(&doctor(&operator, &[]).await?.ended(0))?;
    told(&found, "bucket", "warning statement Bobs of its policy allows what it says", "get-bucket-policy");
    Ok(())
}

/// moto lets every account at every bucket, so that what S3 says is put in its mouth.
#[tokio::test]
async fn a_bucket_that_lets_the_caller_in_to_nothing_is_not_called_ok() -> Result<()> {
    let mut operator = at_work().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.play(|call| {
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        let body = if call.action.starts_with("Head") { "" } else { denied };
        (call.service == "s3").then(|| (403, body.to_owned()))
    });
    let found = lines(&doctor(&operator, &["--as", "publishers"]).await?)?;
    let said = of(&found, "bucket");
    let begins = format!("unknown {} answers, and lets the caller in to nothing", operator.cloud.bucket());
    assert!(said.len() == 1 && said[0].starts_with(&begins), "{said:?}");

    // Who may list by prefix alone is refused at first, too.
    proxy.heal();
    proxy.answer("s3:HeadBucket", 403, "");
    let found = lines(&doctor(&operator, &["--as", "publishers"]).await?)?;
    told(&found, "bucket", &format!("ok {} in us-west-2", operator.cloud.bucket()), "");
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_revoked_or_over_lets_nobody_in_and_is_told() -> Result<()> {
    let operator = at_work().await?;
    let (over, soon, good) = (TestKey::new("over")?, TestKey::new("soon")?, TestKey::new("good")?);
    let end = |hours: i64| -> Result<String> {
        Ok(jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(hours))?.to_string())
    };
    for (key, hours) in [(&over, -1), (&soon, 24)] {
        let path = Cloud::person_object("alice", key);
        operator.cloud.put_object(&path, key.line(), &[("expires", &end(hours)?)]).await?;
    }
    operator.cloud.put_person_key("alice", &good).await?;
    operator.cloud.revoke(good.fingerprint()).await?;
    let found = lines(&doctor(&operator, &[]).await?.ended(0))?;
    for (key, said) in [(&over, "has ended"), (&soon, "ends in"), (&good, "is revoked")] {
        told(&found, "key", &format!("warning {} of alice {said}", key.fingerprint()), "fleetkey register-key");
    }

    let bob = TestKey::new("bob")?;
    operator.cloud.put_person_key("bob", &bob).await?;
    operator.cloud.revoke(bob.fingerprint()).await?;
    let found = lines(&doctor(&operator, &["--person", "bob"]).await?.ended(1))?;
    told(&found, "key", "missing no key lets bob in", "fleetkey register-key");
    told(&found, "key", "warning us-west-2 has no key pair bob", "fleetkey register-key");
    Ok(())
}

#[tokio::test]
async fn a_package_of_another_version_is_told() -> Result<()> {
    let operator = at_work().await?;
    let packages = Packages::stand_in()?;
    let old = packages.deb_changed("old", "sed -i 's/^Version: .*/Version: 0.0.9/' DEBIAN/control")?;
    operator.run(&["agent", "publish", old.to_str().context("the path is text")?]).await?.ended(0);
    let found = lines(&doctor(&operator, &[]).await?.ended(0))?;
    let version = env!("CARGO_PKG_VERSION");
    told(
        &found,
        "package",
        &format!("warning deb x86_64 0.0.9, and this program is {version}"),
        "fleetkey agent publish",
    );
    Ok(())
}

#[tokio::test]
async fn without_credentials_region_or_network_it_still_answers() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let found = lines(&operator.run_with(&["doctor", "--output", "json"], &[]).await?.ended(1))?;
    told(&found, "region", "missing none is chosen", "aws configure set region");
    for check in ["bucket", "topic", "key", "package", "permissions"] {
        told(&found, check, "unknown not looked at: see region", "");
    }
    told(&found, "credentials", "ok arn:aws:iam::", "");
    told(&found, "clock", "ok ", "");

    operator.file(".aws/credentials", "")?;
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "credentials", "missing there are none", "aws sso login");
    told(&found, "clock", "ok ", "");
    for check in ["region", "bucket", "topic", "key", "package", "permissions"] {
        told(&found, check, "unknown not looked at: see credentials", "");
    }

    let mut operator = Operator::new("alice").await?;
    operator.go_through("http://127.0.0.1:9".to_owned());
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "credentials", "missing sts GetCallerIdentity failed: ", "the network");
    told(&found, "clock", "missing s3 HeadBucket in us-west-2 failed: ", "the network");
    told(&found, "programs", "ok ", "");
    Ok(())
}

#[tokio::test]
async fn credentials_that_aws_does_not_know_are_told() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("sts", Fault::Refuse("ExpiredToken", "The security token included in the request is expired"));
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "credentials", "missing sts GetCallerIdentity failed: ExpiredToken", "aws sso login");
    Ok(())
}

#[tokio::test]
async fn credentials_that_end_soon_are_told() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let of_role = operator.cloud.instance_role("role");
    let ends = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 400)?;
    let told_so = serde_json::json!({
        "Version": 1, "AccessKeyId": of_role.access_key_id, "SecretAccessKey": of_role.secret_access_key,
        "SessionToken": of_role.session_token, "Expiration": ends.to_string(),
    });
    let file = operator.file("told.json", &told_so.to_string())?;
    operator.file(".aws/credentials", "")?;
    operator.file(".aws/config", &format!("[default]\ncredential_process = cat {}\n", file.display()))?;
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "credentials", "warning those of arn:aws:sts::", "aws sso login");
    told(&found, "key", "unknown the caller is no IAM user", "--person");
    Ok(())
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_whatever_aws_answers() -> Result<()> {
    for (seconds, state, way) in [(-600, "missing", "ahead of"), (90, "warning", "behind"), (-30, "ok", "ahead of")] {
        let date = move || {
            let there = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
            there.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
        };
        let stub = Stub::start(move |_| Answer::new(503, "text/plain", "").with_header("Date", &date()))?;
        let mut operator = Operator::new("alice").await?;
        operator.go_through(stub.endpoint());
        let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
        let said = of(&found, "clock");
        let words: Vec<&str> = said[0].splitn(4, ' ').collect();
        assert!(words[0] == state && words[3].starts_with(way), "{said:?}");
        // The date has whole seconds, and a busy machine takes some between a question and its answer.
        assert!(words[1].parse::<i64>()?.abs_diff(seconds.abs()) < 20, "{said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn programs_that_are_not_there_are_told() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let variables = [("FLEETKEY_ZONE", "us-west-2a"), ("PATH", "/nonexistent")];
    let found = lines(&operator.run_with(&["doctor", "--output", "json"], &variables).await?.ended(1))?;
    told(&found, "programs", "missing ssh cannot be run", "openssh-client");
    told(&found, "programs", "warning rsync cannot be run", "install");
    Ok(())
}

/// moto fails in a region that it does not know, where AWS has no host of that name, and knows no region that is off.
#[tokio::test]
async fn a_region_that_is_none_or_is_off_is_told() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    let answer = |regions: &str| {
        format!(
            "<DescribeRegionsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>x</requestId>\
             <regionInfo>{regions}</regionInfo></DescribeRegionsResponse>"
        )
    };
    let off = "<item><regionName>us-west-2</regionName><optInStatus>not-opted-in</optInStatus></item>";
    for (regions, begins, mend) in [
        ("", "missing EC2 knows no region us-west-2", "aws configure set region"),
        (off, "missing us-west-2 is off for the account", "aws account enable-region --region-name us-west-2"),
    ] {
        proxy.answer("ec2:DescribeRegions", 200, &answer(regions));
        let found = lines(&doctor(&operator, &["--as", "publishers"]).await?.ended(1))?;
        told(&found, "region", begins, mend);
    }
    proxy.heal();
    let found = lines(&doctor(&operator, &["--region", "us-west-9", "--as", "publishers"]).await?.ended(1))?;
    told(&found, "region", "missing ec2 DescribeRegions us-west-9 failed: ", "if there is a region us-west-9");
    Ok(())
}

#[tokio::test]
async fn a_check_that_hangs_is_cut_off_and_stops_no_other() -> Result<()> {
    let mut operator = at_work().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("sns:GetTopicAttributes", Fault::Hang);
    proxy.spoil("ec2:DescribeKeyPairs", Fault::ServerError);
    let ran = doctor(&operator, &["--timeout", "15s", "--as", "publishers"]).await?.ended(1);
    let found = lines(&ran)?;
    told(&found, "topic", "missing no answer within 15s", "--timeout");
    told(&found, "key", "missing ec2 DescribeKeyPairs failed: InternalError", "the network");
    for check in ["credentials", "bucket", "package"] {
        assert!(of(&found, check).iter().all(|line| line.starts_with("ok ")), "{check}: {found:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_call_is_told_and_the_table_is_for_people() -> Result<()> {
    let operator = Operator::new("alice").await?;
    for (arguments, said) in [
        (&["doctor", "--as", "everybody"][..], "invalid value 'everybody'"),
        (&["doctor", "--timeout", "0s"], "give a time such as 90s or 15m"),
        (&["doctor", "--person", "a/b"], "invalid value 'a/b'"),
        (&["doctor", "web"], "unexpected argument"),
    ] {
        let ran = operator.run(arguments).await?.ended(2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    let started = std::time::Instant::now();
    let ran = operator.run(&["doctor", "--verbose"]).await?.ended(1);
    assert!(ran.stdout.starts_with("CHECK        STATE"), "{}", ran.stdout);
    assert!(ran.stderr.contains("checked: clock; "), "{}", ran.stderr);
    assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    Ok(())
}
