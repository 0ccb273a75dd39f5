//! Keys that expire: sshd refuses them after their time even with the agent dead, and the agent takes them out.

use std::time::Duration;

use anyhow::Result;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sshd::Sshd;
use jiff::Timestamp;

use crate::ground::{SOON, directory, holds, in_step, key_file, machine, polling, put, syncs, wait_for_keys};

/// A line with an expiry this much later than now, in UTC.
fn expiring(key: &TestKey, seconds: u64) -> String {
    let at = Timestamp::now() + Duration::from_secs(seconds);
    format!("expiry-time=\"{}\" {}\n", at.strftime("%Y%m%d%H%M%SZ"), key.line())
}

#[test]
fn expiry_a_key_goes_when_its_time_is_past_and_the_source_is_not_asked_for_it() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let (soon, later) = (TestKey::new("soon")?, TestKey::new("later")?);
    put(&sandbox, "people/soon.pub", expiring(&soon, 20))?;
    put(&sandbox, "people/later.pub", expiring(&later, 3600))?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["soon", "later"]))?;
    assert!(holds(&sandbox, "ubuntu", &[&soon, &later])?);
    let file = sandbox.read(key_file("ubuntu"))?;
    assert_eq!(file.matches("expiry-time=\"").count(), 2, "{file}");
    let looks = syncs(&sandbox);
    wait_for_keys(&sandbox, "ubuntu", &[&later])?;
    assert_eq!(syncs(&sandbox), looks);
    Ok(())
}

#[test]
fn expiry_sshd_refuses_the_key_after_its_time_although_the_agent_is_dead() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    let config = directory().grant("ubuntu", &["alice"]);
    let agent = in_step(&sandbox, &config)?;
    let sshd = Sshd::start(&sandbox, "AuthorizedKeysFile .ssh/authorized_keys")?;
    put(&sandbox, "people/alice.pub", expiring(&alice, 30))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    agent.kill9()?;
    assert!(sshd.can_log_in("ubuntu", &alice)?, "{}", sshd.log().text()?);
    sshd.wait_for_login("ubuntu", &alice, false, SOON)?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?, "its line still stands");
    let _agent = in_step(&sandbox, &config)?;
    assert!(holds(&sandbox, "ubuntu", &[])?);
    Ok(())
}

#[tokio::test]
async fn expiry_of_an_object_in_the_bucket_counts_and_one_that_cannot_be_read_lets_nobody_in() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(TestKey::new);
    let (alice, bob, carol) = (alice?, bob?, carol?);
    for (person, key, expires) in
        [("alice", &alice, "2100-01-01T00:00:00Z"), ("bob", &bob, "2020-01-01T00:00:00Z"), ("carol", &carol, "soon")]
    {
        cloud.put_object(&Cloud::person_object(person, key), key.line(), &[("expires", expires)]).await?;
    }
    let _agent = in_step(&sandbox, &polling(&cloud).grant("ubuntu", &["alice", "bob", "carol"]))?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    assert!(sandbox.read(key_file("ubuntu"))?.contains("expiry-time=\"2100010100"));
    Ok(())
}
