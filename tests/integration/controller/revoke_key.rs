//! Keys revoked: barred first, gone from every registry afterwards, never taken again.

use anyhow::{Context as _, Result};
use fleetkey_common::bucket::Revocation;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};

use super::fleetkey::Operator;

fn revoked_object(key: &TestKey) -> String {
    format!("revoked/{}", key.fingerprint().to_hex())
}

#[tokio::test]
async fn a_key_leaves_every_registry_by_any_of_its_fingerprints_and_is_never_taken_again() -> Result<()> {
    let key = TestKey::rsa()?;
    let names = [key.fingerprint().to_string(), key.fingerprint().to_hex(), key.public().ec2_fingerprint().to_string()];
    for name in names {
        let operator = Operator::new("alice").await?;
        let file = operator.key_file(&key)?;
        operator.register(&file, &[]).await?.ended(0);
        operator.cloud.upload_iam_key("alice", &key).await?;
        operator.cloud.put_object("people/bob/laptop.pub", format!("{}\n", key.line()), &[]).await?;

        operator.revoke(&[&name, "--why", "lost laptop"]).await?.ended(0);
        let objects = operator.cloud.objects("").await?;
        assert_eq!(objects.keys().collect::<Vec<_>>(), [&revoked_object(&key)], "{name}");
        let revocation: Revocation = serde_json::from_slice(&objects[&revoked_object(&key)])?;
        assert_eq!(revocation.why, "lost laptop");
        assert_eq!(revocation.who, format!("arn:aws:iam::{}:user/alice", operator.cloud.account_id()));
        assert!(operator.pairs().await?.is_empty());
        let listed = operator.cloud.iam().list_ssh_public_keys().user_name("alice").send().await?;
        assert!(listed.ssh_public_keys().is_empty());

        let refused = operator.register(&file, &["--force"]).await?.ended(1);
        assert!(refused.stderr.contains("was revoked as alice's by arn:aws:iam:"), "{}", refused.stderr);
        let again = operator.revoke(&[&key.fingerprint().to_string(), "--why", "other"]).await?.ended(0);
        assert_eq!(again.steps()?, ["bar already", "hint done"]);
        let kept: Revocation =
            serde_json::from_slice(&operator.cloud.objects("revoked/").await?[&revoked_object(&key)])?;
        assert_eq!(kept.why, "lost laptop", "the first reason stands");
    }
    Ok(())
}

#[tokio::test]
async fn a_person_loses_all_keys_and_nobody_else_does() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let [first, second, third, others] =
        [TestKey::new("1")?, TestKey::new("2")?, TestKey::rsa()?, TestKey::new("other")?];
    operator.cloud.put_person_key("alice", &first).await?;
    operator.cloud.put_cgcloud_key("alice", &second).await?;
    operator.cloud.upload_iam_key("alice", &third).await?;
    operator.register(&operator.key_file(&others)?, &["--person", "bob"]).await?.ended(0);
    operator.cloud.put_object("people/carol/mixed", format!("{}\n{}\n", first.line(), others.line()), &[]).await?;
    let before = operator.cloud.objects("").await?;

    let planned = operator.run(&["revoke-key", "--person", "alice", "--dry-run"]).await?.ended(0);
    assert!(planned.stdout.starts_with("ACTION"), "{}", planned.stdout);
    assert_eq!(operator.cloud.objects("").await?, before);

    let ran = operator.revoke(&["--person", "alice"]).await?.ended(0);
    assert!(ran.stderr.contains("people/carol/mixed holds other keys too and is left as it is"), "{}", ran.stderr);
    let objects = operator.cloud.objects("").await?;
    for key in [&first, &second, &third] {
        assert!(objects.contains_key(&revoked_object(key)));
        assert!(!objects.contains_key(&Cloud::person_object("alice", key)));
    }
    assert!(!objects.contains_key(&revoked_object(&others)));
    assert_eq!(objects[&Cloud::person_object("bob", &others)], before[&Cloud::person_object("bob", &others)]);
    assert_eq!(operator.pairs().await?.into_keys().collect::<Vec<_>>(), ["bob"]);

    let nobody = operator.revoke(&["--person", "alice"]).await?.ended(1);
    assert!(nobody.stderr.contains("no registry that could be read has a key of alice"), "{}", nobody.stderr);
    Ok(())
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_barred_all_the_same() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let key = TestKey::new("unknown")?;
    let ran = operator.revoke(&[&key.fingerprint().to_string()]).await?.ended(0);
    assert!(ran.stderr.contains("it is barred all the same"), "{}", ran.stderr);
    assert!(operator.cloud.objects("revoked/").await?.contains_key(&revoked_object(&key)));
    Ok(())
}

#[tokio::test]
async fn whatever_fails_the_key_is_barred_the_rest_is_removed_and_the_hinted_command_finishes() -> Result<()> {
    let in_iam = ["iam:ListSSHPublicKeys", "iam:DeleteSSHPublicKey"];
    let elsewhere = ["ec2:DeleteKeyPair", "ec2:DescribeKeyPairs", "s3:DeleteObject", "sns"];
    for target in in_iam.into_iter().chain(elsewhere) {
        let mut operator = Operator::new("alice").await?;
        let key = TestKey::rsa()?;
        operator.register(&operator.key_file(&key)?, &[]).await?.ended(0);
        operator.cloud.upload_iam_key("alice", &key).await?;
        let proxy = Proxy::start(Moto::shared()?.address())?;
        operator.go_through(proxy.endpoint());
        proxy.spoil(target, Fault::ServerError);
        let ran = operator.revoke(&["--person", "alice"]).await?.ended(1);
        assert!(operator.cloud.objects("revoked/").await?.contains_key(&revoked_object(&key)), "{target}");
        let people = operator.cloud.objects("people/").await?;
        // It says whose key it is for as long as IAM has the key.
        let stays = target == "s3:DeleteObject" || in_iam.contains(&target);
        assert_eq!(people.is_empty(), !stays, "{target}: {}", ran.stderr);
        let hint = format!("hint: run again to finish: fleetkey revoke-key {}", key.fingerprint());
        assert!(ran.stderr.contains(&hint), "{target}: {}", ran.stderr);

        proxy.heal();
        operator.revoke(&[&key.fingerprint().to_string()]).await?.ended(0);
        let left: Vec<_> = operator.cloud.objects("").await?.into_keys().collect();
        assert_eq!(left, [revoked_object(&key)], "{target}");
        assert!(operator.pairs().await?.is_empty(), "{target}");
        let listed = operator.cloud.iam().list_ssh_public_keys().user_name("alice").send().await?;
        assert!(listed.ssh_public_keys().is_empty(), "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_terminal_nothing_is_revoked_unless_told_so() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let key = TestKey::new("alice")?;
    operator.cloud.put_person_key("alice", &key).await?;
    let ran = operator.run(&["revoke-key", "--person", "alice"]).await?.ended(2);
    assert!(ran.stderr.contains("there is no terminal to ask on\nhint: --yes goes ahead"), "{}", ran.stderr);
    assert!(operator.cloud.objects("revoked/").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn bad_command_lines_end_with_2() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let key = TestKey::new("alice")?.fingerprint().to_string();
    for (arguments, said) in [
        (&["revoke-key"][..], "required arguments were not provided"),
        (&["revoke-key", &key, "--person", "alice"], "cannot be used with"),
        (&["revoke-key", "nonsense", "--yes"], "\"nonsense\" is not a fingerprint"),
        (&["revoke-key", &key, "--why", "a\nb"], "a reason is one line of plain text"),
        (&["revoke-key", "--person", "a%0Ab"], "has the character '%'"),
    ] {
        let ran = operator.run(arguments).await?.ended(2);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
    let unknown = operator.revoke(&["cb:62:d3:17:a2:47:cc:b5:6e:95:1d:37:90:8b:12:ff"]).await?.ended(1);
    let said = unknown.stderr.lines().next().context("it says why")?;
    assert!(said.ends_with("tells which key cb:62:d3:17:a2:47:cc:b5:6e:95:1d:37:90:8b:12:ff is"), "{said}");
    Ok(())
}
