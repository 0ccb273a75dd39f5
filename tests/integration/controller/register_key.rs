//! Keys registered: what is in the registries afterwards, and what bad input gets.

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};

use super::fleetkey::Operator;

#[tokio::test]
async fn a_key_is_found_in_every_registry_afterwards_and_a_second_run_changes_nothing() -> Result<()> {
    for key in [TestKey::new("alice@home")?, TestKey::rsa()?] {
        let operator = Operator::new("alice").await?;
        let file = operator.key_file(&key)?;
        let first = operator.register(&file, &["--expires", "2090-12-31"]).await?.ended(0);
        assert!(first.stderr.contains("is registered as alice's key until 2091-01-01T00:00:00Z"), "{}", first.stderr);

        let objects = operator.cloud.objects("").await?;
        let body = format!("{}\n", key.line()).into_bytes();
        assert_eq!(objects[&Cloud::person_object("alice", &key)], body);
        assert_eq!(objects[&format!("ssh_pubkey:{}", key.public().ec2_fingerprint())], body);
        let pairs = operator.cloud.ec2().describe_key_pairs().send().await?;
        let pair = &pairs.key_pairs()[0];
        // What CGCloud's agents look for, whichever rule the fingerprint was made by.
        assert_eq!(objects[&format!("ssh_pubkey:{}", pair.key_fingerprint().unwrap_or_default())], body);
        assert_eq!(operator.pairs().await?["alice"], key.public().to_string());
        let tags: Vec<_> = pair.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?))).collect();
        assert!(tags.contains(&("fleetkey:expires", "2091-01-01T00:00:00Z")), "{tags:?}");
        let head = operator.cloud.s3().head_object().bucket(operator.cloud.bucket());
        let head = head.key(Cloud::person_object("alice", &key)).send().await?;
        let metadata = head.metadata().context("the object has metadata")?;
        assert_eq!(metadata["expires"], "2091-01-01T00:00:00Z");
        assert_eq!(metadata["registered-by"], format!("arn:aws:iam::{}:user/alice", operator.cloud.account_id()));
        assert!(metadata["registered-at"].parse::<jiff::Timestamp>().is_ok(), "{metadata:?}");

        assert_eq!(operator.register(&file, &[]).await?.ended(0).steps()?, ["hint done"]);
    }
    Ok(())
}

#[tokio::test]
async fn the_hint_arrives_at_a_queue_and_is_one_that_agents_understand() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let file = operator.key_file(&TestKey::new("alice")?)?;
    let topic = operator.cloud.create_topic("other-topic").await?;
    let queue = operator.cloud.sqs().create_queue().queue_name("q").send().await?;
    let url = queue.queue_url().context("the queue has a URL")?;
    let arn = format!("arn:aws:sqs:us-west-2:{}:q", operator.cloud.account_id());
    operator.cloud.sns().subscribe().topic_arn(topic).protocol("sqs").endpoint(arn).send().await?;
    operator.register(&file, &["--topic", "other-topic"]).await?.ended(0);
    let answer = operator.cloud.sqs().receive_message().queue_url(url).wait_time_seconds(5).send().await?;
    let body = answer.messages()[0].body().context("the message has a body")?;
    assert!(fleetkey_common::message::parse(body).is_ok(), "{body}");
    Ok(())
}

#[tokio::test]
async fn r7_a_name_of_64_characters_with_every_sign_is_registered_and_found() -> Result<()> {
    let name: String = "Az09_+=,.@-".chars().cycle().take(64).collect();
    let operator = Operator::new(&name).await?;
    let key = TestKey::new("long")?;
    operator.register(&operator.key_file(&key)?, &[]).await?.ended(0);
    assert!(operator.cloud.objects("people/").await?.contains_key(&Cloud::person_object(&name, &key)));
    assert_eq!(operator.pairs().await?[&name], key.public().to_string());
    operator.revoke(&["--person", &name]).await?.ended(0);
    assert!(operator.cloud.objects("people/").await?.is_empty() && operator.pairs().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_run_that_any_call_stopped_is_finished_by_the_same_command() -> Result<()> {
    let key = TestKey::new("alice")?;
    for (target, grants) in [("s3:PutObject", false), ("ec2:ImportKeyPair", false), ("sns:Publish", true)] {
        let mut operator = Operator::new("alice").await?;
        let file = operator.key_file(&key)?;
        let proxy = Proxy::start(Moto::shared()?.address())?;
        operator.go_through(proxy.endpoint());
        proxy.spoil(target, Fault::ServerError);
        let stopped = operator.register(&file, &[]).await?.ended(1);
        assert!(stopped.stderr.contains("is not registered everywhere: "), "{}", stopped.stderr);
        assert!(stopped.stderr.contains("hint: the same command goes on where this one stopped"), "{}", stopped.stderr);
        let person = Cloud::person_object("alice", &key);
        assert_eq!(operator.cloud.objects("people/").await?.contains_key(&person), grants, "{target}");

        proxy.heal();
        operator.register(&file, &[]).await?.ended(0);
        let objects = operator.cloud.objects("").await?;
        assert!(objects.contains_key(&person), "{target}");
        assert!(objects.keys().filter(|path| path.starts_with("ssh_pubkey:")).count() == 2, "{target}: {objects:?}");
        assert_eq!(operator.pairs().await?["alice"], key.public().to_string());
    }
    Ok(())
}

#[tokio::test]
async fn a_replacement_that_stopped_between_delete_and_import_is_finished_without_force_too() -> Result<()> {
    let (old, new) = (TestKey::new("old")?, TestKey::new("new")?);
    let mut operator = Operator::new("alice").await?;
    operator.cloud.import_key_pair("alice", &old).await?;
    let file = operator.key_file(&new)?;
    let refused = operator.register(&file, &[]).await?.ended(1);
    assert!(refused.stderr.contains("the EC2 key pair alice holds another key"), "{}", refused.stderr);
    assert!(operator.cloud.objects("").await?.is_empty(), "a refusal writes nothing");

    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("ec2:ImportKeyPair", Fault::ServerError);
    operator.register(&file, &["--force"]).await?.ended(1);
    assert!(operator.pairs().await?.is_empty());
    proxy.heal();
    operator.register(&file, &[]).await?.ended(0);
    assert_eq!(operator.pairs().await?["alice"], new.public().to_string());
    Ok(())
}

#[tokio::test]
async fn fault_16_what_ec2_says_is_told_with_what_was_tried() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    let file = operator.key_file(&TestKey::new("alice")?)?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.spoil("ec2:DescribeKeyPairs", Fault::Throttle);
    let ran = operator.register(&file, &[]).await?.ended(1);
    assert!(ran.stderr.contains("error: nothing was changed: ec2 DescribeKeyPairs failed: "), "{}", ran.stderr);
    assert!(operator.cloud.objects("").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_key_of_another_is_refused_and_moved_by_force() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let key = TestKey::new("shared")?;
    let file = operator.key_file(&key)?;
    operator.register(&file, &["--person", "bob"]).await?.ended(0);
    let refused = operator.register(&file, &[]).await?.ended(1);
    let expected = format!("error: {} is registered as bob's key\n", key.fingerprint());
    assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
    operator.register(&file, &["--force"]).await?.ended(0);
    let people: Vec<_> = operator.cloud.objects("people/").await?.into_keys().collect();
    assert_eq!(people, [Cloud::person_object("alice", &key)]);
    assert_eq!(operator.pairs().await?.into_keys().collect::<Vec<_>>(), ["alice"]);
    Ok(())
}

#[tokio::test]
async fn whoever_is_no_user_has_to_name_the_person_and_a_dry_run_writes_nothing() -> Result<()> {
    let cloud = Cloud::new().await?;
    let file = TestKey::new("alice")?;
    // The account's own credentials are those of a role.
    let role = cloud.instance_role("role");
    let token = Some(role.session_token.clone());
    let credentials =
        aws_credential_types::Credentials::new(role.access_key_id, role.secret_access_key, token, None, "test");
    let operator = Operator::with(cloud, &credentials)?;
    let file = operator.key_file(&file)?;
    let refused = operator.register(&file, &[]).await?.ended(2);
    assert!(refused.stderr.contains("is not an IAM user, so whose key is it?"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: give --person NAME"), "{}", refused.stderr);
    let planned = operator.register(&file, &["--person", "alice", "--dry-run"]).await?.ended(0).steps()?;
    assert_eq!(planned, ["put planned", "import planned", "put planned", "hint planned"]);
    assert!(operator.cloud.objects("").await?.is_empty() && operator.pairs().await?.is_empty());

    // Or says once for all commands who they are.
    let refused = operator.run(&["create", "generic-debian-12-box", "-n", "/", "--dry-run"]).await?.ended(2);
    assert!(refused.stderr.contains("error: it is not known who __me__ is: "), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: say so by FLEETKEY_ME"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("--person"), "create has no such flag: {}", refused.stderr);
    let file = file.to_str().context("the path is text")?;
    let me = [("FLEETKEY_ZONE", "us-west-2a"), ("FLEETKEY_ME", "alice")];
    let ran = operator.run_with(&["register-key", file], &me).await?.ended(0);
    assert!(ran.stderr.contains("is registered as alice's key"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test]
async fn bad_command_lines_end_with_2_and_bad_files_with_1_before_anything_is_sent() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    // Nothing listens there: a call would be the error that is told.
    operator.go_through("http://127.0.0.1:9".to_owned());
    let key = TestKey::new("alice")?;
    let good = operator.key_file(&key)?;
    for (more, said) in [
        (&["--expires", "2020-01-01"][..], "error: --expires: 2020-01-02T00:00:00Z is in the past"),
        (&["--expires", "soon"], "is no time; give a date"),
        (&["--person", "a\nb"], "has the character '\\n'"),
        (&["--person", "a/b"], "has the character '/'"),
        (&["--bucket", "a/b"], "--bucket \"a/b\" is not a valid bucket name"),
        (&["--region", "evil.example/"], "is not a valid region name"),
        (&["--quiet", "--verbose"], "cannot be used with"),
    ] {
        let ran = operator.register(&good, more).await?.ended(2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{more:?}: {}", ran.stderr);
    }
    let private = std::fs::read_to_string(key.private())?;
    for (name, content, said) in [
        ("private", private.as_str(), "is a private key; it was not sent anywhere"),
        ("empty", "", "is empty"),
        ("two", &format!("{}\n{}\n", key.line(), key.line()), "holds 2 keys"),
        ("options", &format!("no-pty {}\n", key.line()), "has options before the key"),
    ] {
        let ran = operator.register(&operator.file(name, content)?, &[]).await?.ended(1);
        assert!(ran.stderr.contains(said), "{name}: {}", ran.stderr);
    }
    let ran = operator.register(&good, &[]).await?.ended(1);
    assert!(
        ran.stderr.starts_with("error: AWS does not say who is calling: sts GetCallerIdentity failed: "),
        "{}",
        ran.stderr
    );
    let nowhere = operator.run_with(&["register-key", &good.display().to_string()], &[]).await?.ended(2);
    assert!(nowhere.stderr.starts_with("error: no AWS region is known\nhint: "), "{}", nowhere.stderr);
    Ok(())
}
