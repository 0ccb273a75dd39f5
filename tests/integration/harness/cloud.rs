//! The moto server and the accounts on it.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;

#[tokio::test]
async fn accounts_on_the_shared_server_see_nothing_of_each_other() -> Result<()> {
    let (mine, other) = (Cloud::new().await?, Cloud::new().await?);
    assert_ne!(mine.account_id(), other.account_id());
    let key = TestKey::new("alice@test")?;
    mine.create_user("alice").await?;
    mine.create_group("developers").await?;
    mine.add_to_group("alice", "developers").await?;
    mine.import_key_pair("alice", &key).await?;
    mine.put_person_key("alice", &key).await?;
    mine.create_topic(Cloud::TOPIC).await?;
    mine.sqs().create_queue().queue_name("q").send().await?;

    let group = mine.iam().get_group().group_name("developers").send().await?;
    let arn = format!("arn:aws:iam::{}:user/alice", mine.account_id());
    assert_eq!(group.users().iter().map(aws_sdk_iam::types::User::arn).collect::<Vec<_>>(), [arn.as_str()]);
    let gone = other.iam().get_group().group_name("developers").send().await.expect_err("not in this account");
    assert_eq!(gone.code(), Some("NoSuchEntity"));
    assert!(other.ec2().describe_key_pairs().send().await?.key_pairs().is_empty());
    assert!(other.sns().list_topics().send().await?.topics().is_empty());
    assert!(other.queues().await?.is_empty());
    assert!(other.objects("").await?.is_empty());
    assert_eq!(mine.queues().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn each_registry_gives_back_the_key_that_was_put_there() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (key, rsa) = (TestKey::new("alice@test")?, TestKey::rsa()?);
    cloud.create_user("alice").await?;
    cloud.put_person_key("alice", &key).await?;
    cloud.put_cgcloud_key("alice-rsa", &rsa).await?;
    cloud.revoke(key.fingerprint()).await?;
    let id = cloud.upload_iam_key("alice", &rsa).await?;
    cloud.set_iam_key_active("alice", &id, false).await?;

    let objects = cloud.objects("").await?;
    assert_eq!(objects[&Cloud::person_object("alice", &key)], format!("{}\n", key.line()).into_bytes());
    assert_eq!(objects[&format!("ssh_pubkey:{}", rsa.public().ec2_fingerprint())], rsa.line().as_bytes());
    assert!(objects.contains_key(&format!("revoked/{}", key.fingerprint().to_hex())));
    cloud.unrevoke(key.fingerprint()).await?;
    cloud.delete_person_key("alice", &key).await?;
    assert_eq!(cloud.objects("").await?.len(), 1);
    let listed = cloud.iam().list_ssh_public_keys().user_name("alice").send().await?;
    assert_eq!(listed.ssh_public_keys()[0].status().as_str(), "Inactive");
    Ok(())
}

#[tokio::test]
async fn a_published_hint_reaches_a_subscribed_queue() -> Result<()> {
    let cloud = Cloud::new().await?;
    let topic = cloud.create_topic(Cloud::TOPIC).await?;
    let queue = cloud.sqs().create_queue().queue_name("box").send().await?.queue_url.context("a URL")?;
    let arn = format!("arn:aws:sqs:{}:{}:box", Cloud::REGION, cloud.account_id());
    cloud.sns().subscribe().topic_arn(&topic).protocol("sqs").endpoint(&arn).send().await?;
    assert_eq!(cloud.subscriptions().await?, [arn]);
    cloud.publish_hint(&topic).await?;
    let received = cloud.sqs().receive_message().queue_url(&queue).wait_time_seconds(10).send().await?;
    let body = received.messages()[0].body().context("a message has a body")?;
    assert!(body.contains("eyJ2ZXJzaW9uIjogMSwgInR5cGUiOiAxfQ=="), "{body}");
    Ok(())
}

#[tokio::test]
async fn a_server_of_its_own_enforces_policies_when_told_to() -> Result<()> {
    let moto = tokio::task::spawn_blocking(Moto::start).await??;
    let cloud = Cloud::on(&moto).await?;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::{}/people/*"}}]}}"#,
        cloud.bucket()
    );
    let limited = cloud.create_limited_user("agent", &[&policy]).await?;
    let key = TestKey::new("alice@test")?;
    cloud.put_person_key("alice", &key).await?;
    moto.enforce_iam(0)?;
    let agent = cloud.with_credentials(limited);
    let object = Cloud::person_object("alice", &key);
    agent.s3().get_object().bucket(agent.bucket()).key(object).send().await?;
    let refused = agent.ec2().describe_key_pairs().send().await.expect_err("not allowed");
    // EC2 itself says UnauthorizedOperation here.
    assert_eq!(refused.code(), Some("AccessDenied"));
    // The test itself may still do everything.
    cloud.put_person_key("bob", &key).await?;
    cloud.create_group("developers").await?;
    Ok(())
}
