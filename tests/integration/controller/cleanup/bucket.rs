//! Keys and packages in the bucket.

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::Fault;
use serde_json::{Value, json};

use super::super::boxes::launch;
use super::ground::{ELSEWHERE, GONE, Ground, stays, swept};

const ONLY: [&str; 2] = ["--only", "keys"];

#[tokio::test]
async fn fault_9_keys_that_no_pair_of_any_region_and_no_person_has_are_swept_and_no_others() -> Result<()> {
    let ground = Ground::new().await?;
    let cloud = ground.cloud();
    let (near, far, person, unused, rsa) = (
        TestKey::new("near")?,
        TestKey::new("far")?,
        TestKey::new("person")?,
        TestKey::new("unused")?,
        TestKey::rsa()?,
    );
    let name = |key: &TestKey| format!("ssh_pubkey:{}", key.public().ec2_fingerprint());
    for key in [&near, &far, &person, &unused, &rsa] {
        cloud.put_object(&name(key), key.line(), &[]).await?;
    }
    cloud.import_key_pair("near", &near).await?;
    let material = aws_sdk_ec2::primitives::Blob::new(far.line());
    ground.ec2(ELSEWHERE).import_key_pair().key_name("far").public_key_material(material).send().await?;
    // By hand, under a name that does not say which keys are in it.
    cloud.put_object("people/bob/laptop", format!("{}\n{}\n", person.line(), rsa.line()), &[]).await?;
    let strange = ["ssh_pubkey:", "ssh_pubkey:x", "ssh_pubkey:../../people", "ssh_pubkeys:y"];
    for key in strange {
        cloud.put_object(key, unused.line(), &[]).await?;
    }
    let empty = format!("ssh_pubkey:{}", ["ab"; 16].join(":"));
    cloud.put_object(&empty, "no key\n", &[]).await?;

    let young = ground.cleanup(&[&ONLY[..], &["--yes", "-v", "--output", "json"]].concat()).await?.ended(0);
    let why = stays(&young);
    assert_eq!(swept(&young)?, Vec::<String>::new());
    assert_eq!([&near, &far].map(|key| why[&name(key)].as_str()), ["a key pair has it"; 2]);
    assert_eq!([&person, &rsa].map(|key| why[&name(key)].as_str()), ["a person has it"; 2]);
    assert_eq!(why[&name(&unused)], "too young; no key pair of any region and no person has it");
    assert_eq!(why[&empty], "it holds no key that can be read; look who put it there");
    assert_eq!(why.len(), 6, "{why:?}");
    // Also with --region every region is asked.
    let gone = ground.sweep(&[&ONLY[..], &["--region", "us-west-2"]].concat()).await?;
    assert_eq!(gone, [format!("keys {} deleted", name(&unused))]);
    assert_eq!(cloud.objects("ssh_pubkey").await?.len(), 9);
    Ok(())
}

#[tokio::test]
async fn when_one_region_cannot_be_asked_no_key_goes_and_everything_else_does() -> Result<()> {
    let ground = Ground::new().await?;
    let key = TestKey::new("unused")?;
    let object = format!("ssh_pubkey:{}", key.public().ec2_fingerprint());
    ground.cloud().put_object(&object, key.line(), &[]).await?;
    ground.status(GONE).await?;
    let all = ["--only", "keys", "status", "--yes", "--older-than", "0s", "--output", "json"];
    for fault in [Fault::ServerError, Fault::HalfBody, Fault::Garbage] {
        ground.proxy.spoil("ec2:DescribeKeyPairs ap-south-1", fault);
        ground.status(GONE).await?;
        let ran = ground.cleanup(&all).await?.ended(1);
        assert_eq!(swept(&ran)?, [format!("status status/{GONE}.json deleted")], "{fault:?}");
        assert!(ran.stderr.contains("warning: keys stay as they are: ec2 DescribeKeyPairs in ap-south-1 failed"));
        assert!(ran.stderr.contains("error: 1 could not be looked at\n"), "{}", ran.stderr);
    }
    assert_eq!(ground.cloud().objects("ssh_pubkey:").await?.len(), 1);
    ground.sweep(&[&ONLY[..], &["--skip-region", "ap-south-1"]].concat()).await?;
    assert!(ground.cloud().objects("ssh_pubkey:").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_registered_while_somebody_is_asked_stays() -> Result<()> {
    let ground = Ground::new().await?;
    let (late, unused) = (TestKey::new("late")?, TestKey::new("unused")?);
    let name = |key: &TestKey| format!("ssh_pubkey:{}", key.public().ec2_fingerprint());
    for key in [&late, &unused] {
        ground.cloud().put_object(&name(key), key.line(), &[]).await?;
    }
    let words = ["cleanup", "--namespace", "/prod/", "--only", "keys", "--older-than", "0s"];
    let register = async || ground.cloud().import_key_pair("late", &late).await.map(drop);
    let ran = ground.operator.asked(&words, "y\n", register).await?.ended(0);
    assert!(ran.stdout.contains("Delete for good: 2 keys ("), "{}", ran.stdout);
    let result = |key: &TestKey| {
        let line = ran.stdout.lines().rev().find(|line| line.contains(&name(key)));
        line.map(|line| line.trim_end().rsplit("  ").next().unwrap_or_default().to_owned())
    };
    assert_eq!((result(&late).as_deref(), result(&unused).as_deref()), (Some("in use"), Some("deleted")));
    assert_eq!(ground.cloud().objects("ssh_pubkey:").await?.into_keys().collect::<Vec<_>>(), [name(&late)]);
    Ok(())
}

/// moto lets every account at every bucket, whoever must own it: S3's answer is put in its mouth.
#[tokio::test]
async fn nothing_goes_of_a_bucket_of_another_account() -> Result<()> {
    let (ground, other) = (Ground::new().await?, Cloud::new().await?);
    let key = TestKey::new("theirs")?;
    let object = format!("ssh_pubkey:{}", key.public().ec2_fingerprint());
    for object in [object, format!("status/{GONE}.json")] {
        other.put_object(&object, key.line(), &[]).await?;
    }
    let owner = other.account_id().to_owned();
    ground.proxy.play(move |call| {
        let wrong = call.service == "s3" && call.owner.as_ref().is_some_and(|named| *named != owner);
        // An answer to HEAD has no body.
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        wrong.then(|| (403, if call.action == "HeadBucket" { String::new() } else { denied.to_owned() }))
    });
    let bucket = other.bucket();
    let all = ["--bucket", &bucket, "--only", "keys", "status", "--older-than", "0s", "--yes", "--output", "json"];
    let ran = ground.cleanup(&all).await?.ended(1);
    assert_eq!(swept(&ran)?, Vec::<String>::new());
    let hint = format!("hint: or the bucket {bucket} is another account's, of which nothing is swept");
    assert!(ran.stderr.contains(&hint), "{}", ran.stderr);
    assert_eq!(other.objects("").await?.len(), 2);
    Ok(())
}

/// A package of the index, by a digit of its digest, as published on a day of 2026.
fn package(digit: char, version: &str, day: &str) -> Value {
    json!({"key": key(digit), "sha256": digest(digit), "version": version, "format": "deb", "arch": "x86_64", "size": 4,
        "published_at": format!("2026-{day}T00:00:00Z"), "published_by": "arn:aws:iam::123456789012:user/alice"})
}

fn digest(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn key(digit: char) -> String {
    format!("agent/{}/fleetkey-agent_0_amd64.deb", digest(digit))
}

async fn publish(ground: &Ground, packages: &[Value]) -> Result<()> {
    let index = json!({"version": 1, "packages": packages}).to_string();
    ground.cloud().put_object("agent/index.json", index, &[]).await?;
    for package in packages {
        let key = package["key"].as_str().context("it has a key")?;
        ground.cloud().put_object(key, "deb\n", &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn packages_that_no_box_runs_are_swept_but_for_the_newest_and_what_may_still_be_fetched() -> Result<()> {
    let ground = Ground::new().await?;
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let newest = json!({"published_at": yesterday.to_string()});
    let mut last = package('4', "0.4.0", "01-04");
    last["published_at"] = newest["published_at"].clone();
    let packages =
        [package('1', "0.1.0-1", "01-01"), package('2', "0.2.0", "01-02"), package('3', "0.3.0", "01-03"), last];
    publish(&ground, &packages).await?;
    // Told by a living box, which says 0.1.0, and by one that is gone.
    let living = launch(ground.cloud(), &[("Name", "prod_web"), ("generation", "0")]).await?;
    ground.status(&living).await?;
    ground.cloud().put_object(&format!("status/{GONE}.json"), r#"{"agent":"0.2.0"}"#, &[]).await?;
    ground.cloud().put_object(&key('9'), "left by a publish that was interrupted", &[]).await?;
    ground.cloud().put_object("agent/notes.txt", "mine", &[]).await?;

    let only = ["--region", "us-west-2", "--only", "packages", "--older-than", "0s", "--output", "json", "-v"];
    let planned = ground.cleanup(&[&only[..], &["--dry-run"]].concat()).await?.ended(0);
    assert_eq!(swept(&planned)?, [format!("packages {} planned", key('2'))]);
    let why = stays(&planned);
    assert_eq!(why[&key('1')], "a box runs version 0.1.0-1");
    assert_eq!(why[&key('4')], "new boxes get it: the newest deb for x86_64");
    // It was the newest until yesterday, and the other is of today.
    assert_eq!([&why[&key('3')], &why[&key('9')]], ["a URL of it may still be valid"; 2]);

    let ran = ground.cleanup(&[&only[..], &["--yes"]].concat()).await?.ended(0);
    assert_eq!(swept(&ran)?, [format!("packages {} deleted", key('2'))]);
    let objects = ground.cloud().objects("agent/").await?;
    let mut expected: Vec<_> = ['1', '3', '4', '9'].map(key).into();
    expected.extend(["agent/index.json".to_owned(), "agent/notes.txt".to_owned()]);
    assert_eq!(objects.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let index: Value = serde_json::from_slice(&objects["agent/index.json"])?;
    let left: Vec<_> =
        index["packages"].as_array().context("it is a list")?.iter().map(|one| &one["version"]).collect();
    assert_eq!(left, ["0.1.0-1", "0.3.0", "0.4.0"]);

    // What cannot be read says nothing of what it names.
    publish(&ground, &packages).await?;
    ground.cloud().put_object("agent/index.json", "{", &[]).await?;
    let ran = ground.cleanup(&[&only[..], &["--yes"]].concat()).await?.ended(1);
    assert_eq!(swept(&ran)?, Vec::<String>::new());
    assert!(ran.stderr.contains("warning: packages stay as they are: "), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn a_package_that_is_published_again_while_somebody_is_asked_stays() -> Result<()> {
    let ground = Ground::new().await?;
    let packages = [package('1', "0.1.0", "01-01"), package('2', "0.2.0", "01-02")];
    publish(&ground, &packages).await?;
    let words = ["cleanup", "--namespace", "/prod/", "--region", "us-west-2", "--only", "packages"];
    let again = async || publish(&ground, &[packages[1].clone(), packages[0].clone()]).await;
    let ran = ground.operator.asked(&words, "y\n", again).await?.ended(0);
    assert!(ran.stdout.contains("in use"), "{}", ran.stdout);
    assert_eq!(ground.cloud().objects("agent/").await?.len(), 3);
    Ok(())
}
