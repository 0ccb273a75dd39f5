//! What the agent makes of its source's answers: a failure is never an empty answer, an empty answer is never a
//! failure, and what failed is looked up again by itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::proxy::Fault;

use crate::ground::{
    SOURCE, ask, directory, holds, in_step, key_file, machine, polling, proxied, put_group, put_person, revoke, status,
    take, wait_for_keys, wait_for_looks, wait_for_status, wait_in_step,
};

#[tokio::test]
async fn t13_a_throttled_lookup_lets_nobody_new_in_and_takes_nobody_out() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    cloud.create_group("ops").await?;
    for (user, key) in [("alice", &alice), ("bob", &bob)] {
        cloud.create_user(user).await?;
        cloud.put_person_key(user, key).await?;
    }
    cloud.add_to_group("alice", "ops").await?;
    let mut agent = in_step(&sandbox, &polling(&through).grant("ubuntu", &["@@ops"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    proxy.spoil("iam", Fault::Throttle);
    cloud.add_to_group("bob", "ops").await?;
    cloud.remove_from_group("alice", "ops").await?;
    for target in ["iam", "s3", "*"] {
        proxy.spoil(target, Fault::Throttle);
        wait_for_looks(&sandbox, 2)?;
        let now = status(&sandbox);
        assert!(now["faults"].to_string().contains("Rate exceeded"), "{target}: {now:#}");
        assert!(holds(&sandbox, "ubuntu", &[&alice])?, "{target}: {now:#}");
    }
    proxy.heal();
    wait_for_keys(&sandbox, "ubuntu", &[&bob])?;
    wait_in_step(&mut agent)
}

#[test]
fn r1_the_last_key_is_taken_out_and_the_file_lets_nobody_in() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    put_person(&sandbox, "alice", &[&alice])?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    revoke(&sandbox, &alice)?;
    wait_for_keys(&sandbox, "ubuntu", &[])?;
    let file = sandbox.read(key_file("ubuntu"))?;
    assert!(file.lines().all(|line| line.starts_with('#')), "{file}");
    Ok(())
}

#[tokio::test]
async fn r2_an_empty_group_a_group_that_is_gone_and_a_failed_call_are_three_things() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["empty", "gone"])?;
    let alice = TestKey::new("alice")?;
    cloud.create_user("alice").await?;
    cloud.put_person_key("alice", &alice).await?;
    for group in ["empty", "gone"] {
        cloud.create_group(group).await?;
        cloud.add_to_group("alice", group).await?;
    }
    let config = polling(&through).grant("empty", &["@@empty"]).grant("gone", &["@@gone"]);
    let mut agent = in_step(&sandbox, &config)?;

    proxy.spoil("iam:GetGroup", Fault::ServerError);
    for group in ["empty", "gone"] {
        cloud.remove_from_group("alice", group).await?;
    }
    cloud.delete_group("gone").await?;
    wait_for_status(&sandbox, "both faults", |status| status["faults"].as_object().is_some_and(|all| all.len() == 2))?;
    wait_for_looks(&sandbox, 1)?;
    for account in ["empty", "gone"] {
        assert!(holds(&sandbox, account, &[&alice])?, "{account}");
    }

    let start = Instant::now();
    proxy.heal();
    wait_for_keys(&sandbox, "empty", &[])?;
    assert!(holds(&sandbox, "gone", &[&alice])?, "a group that is gone is asked for twice");
    let told = wait_for_status(&sandbox, "it is held", |now| now["accounts"]["gone"]["held"].is_string())?;
    assert!(told["notices"].to_string().contains("there is no IAM group gone"), "{told:#}");
    assert!(told["accounts"]["gone"]["held"].to_string().contains("a group is gone"), "{told:#}");
    wait_for_keys(&sandbox, "gone", &[])?;
    assert!(start.elapsed() >= Duration::from_secs(10), "{:?}", start.elapsed());
    wait_in_step(&mut agent)
}

#[test]
fn r3_a_group_that_fails_is_kept_as_it_was_and_the_others_are_kept_current() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(TestKey::new);
    let (alice, bob, carol, dave) = (alice?, bob?, carol?, dave?);
    for (person, key) in [("alice", &alice), ("bob", &bob), ("carol", &carol), ("dave", &dave)] {
        put_person(&sandbox, person, &[key])?;
    }
    put_group(&sandbox, "ops", &["alice"])?;
    put_group(&sandbox, "devs", &["bob"])?;
    let mut agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops", "@@devs"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;

    // A list that somebody else could have written is not believed. Where the agent looks it is never root's.
    sandbox.write(format!("{SOURCE}/aside"), "carol\n")?;
    sandbox.run("sh", &["-c", &format!("cd {SOURCE} && chown ubuntu aside && mv aside groups/ops")])?;
    put_group(&sandbox, "devs", &["dave"])?;
    wait_for_status(&sandbox, "the fault", |status| status["faults"]["group ops"].is_string())?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &dave])?;
    put_group(&sandbox, "ops", &["carol"])?;
    wait_for_keys(&sandbox, "ubuntu", &[&carol, &dave])?;
    wait_in_step(&mut agent)
}

#[tokio::test]
async fn fault_1_each_group_is_looked_up_by_its_own_name() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu", "jenkins"])?;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(TestKey::new);
    let (alice, bob, carol) = (alice?, bob?, carol?);
    for (user, key, group) in [("alice", &alice, "ops"), ("bob", &bob, "ci"), ("carol", &carol, "developers")] {
        cloud.create_user(user).await?;
        cloud.create_group(group).await?;
        cloud.add_to_group(user, group).await?;
        cloud.put_person_key(user, key).await?;
    }
    let _agent = in_step(&sandbox, &polling(&cloud).grant("ubuntu", &["@@ops"]).grant("jenkins", &["@@ci"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    wait_for_keys(&sandbox, "jenkins", &[&bob])?;
    Ok(())
}

#[tokio::test]
async fn fault_2_no_bad_answer_of_any_kind_empties_a_file() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["ubuntu"])?;
    let alice = TestKey::new("alice")?;
    cloud.create_user("alice").await?;
    cloud.create_group("ops").await?;
    cloud.add_to_group("alice", "ops").await?;
    cloud.put_person_key("alice", &alice).await?;
    let mut agent = in_step(&sandbox, &polling(&through).grant("ubuntu", &["@@ops"]))?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice])?;
    for fault in [Fault::Garbage, Fault::HalfBody, Fault::ServerError, Fault::Close] {
        proxy.spoil("*", fault);
        wait_for_looks(&sandbox, 2)?;
        assert!(holds(&sandbox, "ubuntu", &[&alice])?, "{fault:?}: {:#}", status(&sandbox));
        assert!(status(&sandbox)["faults"].as_object().is_some_and(|all| !all.is_empty()), "{fault:?} is told");
    }
    proxy.heal();
    wait_in_step(&mut agent)
}

#[tokio::test]
async fn fault_4_a_key_whose_download_failed_is_fetched_although_nothing_changed_since() -> Result<()> {
    let cloud = Cloud::new().await?;
    let (proxy, through) = proxied(&cloud)?;
    let sandbox = machine(&["ubuntu"])?;
    let (alice, bob) = (TestKey::new("alice")?, TestKey::new("bob")?);
    cloud.put_person_key("alice", &alice).await?;
    let mut agent = in_step(&sandbox, &polling(&through).grant("ubuntu", &["alice", "bob"]))?;
    proxy.spoil("s3:GetObject", Fault::ServerError);
    cloud.put_person_key("bob", &bob).await?;
    wait_for_status(&sandbox, "the fault", |status| status["faults"]["keys of bob in s3"].is_string())?;
    wait_for_looks(&sandbox, 1)?;
    assert!(holds(&sandbox, "ubuntu", &[&alice])?);
    proxy.heal();
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob])?;
    wait_in_step(&mut agent)
}

#[test]
fn fault_16_a_person_without_a_registered_key_is_told_by_name() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    put_person(&sandbox, "alice", &[&TestKey::new("alice")?])?;
    put_group(&sandbox, "ops", &["alice", "bob"])?;
    let agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops", "@carol", "@@nobodies"]))?;
    let notices = status(&sandbox)["notices"].to_string();
    for wanted in ["no registry has a key of bob", "there is no IAM user carol", "there is no IAM group nobodies"] {
        assert!(notices.contains(wanted), "{wanted:?} is not in {notices}");
        assert!(agent.log().text()?.contains(wanted), "{wanted:?} is not in the log");
    }
    let key = TestKey::new("bob")?;
    sandbox.write("/tmp/bob.pub", key.line())?;
    let answer = ask(&sandbox, &["explain", "ubuntu", "--key", "/tmp/bob.pub"])?;
    assert!(
        answer.stdout.contains("no registry holds it") && answer.stdout.contains("hint: register it"),
        "{answer:?}"
    );
    take(&sandbox, "people/alice.pub")?;
    wait_for_keys(&sandbox, "ubuntu", &[]).map(drop)
}
