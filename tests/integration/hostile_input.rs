//! Keys and names that mean harm or are merely broken, from each registry to the key file.

use anyhow::Result;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::sandbox::Sandbox;
use nix::sys::signal::Signal;

use crate::ground::{
    bytes, directory, holds, in_step, key_file, machine, polling, put, put_person, status, wait_for_keys,
    wait_for_status,
};

/// The notices of the status, one a line.
fn notices(sandbox: &Sandbox) -> String {
    let notices = status(sandbox)["notices"].as_array().cloned().unwrap_or_default();
    notices.iter().filter_map(|notice| notice.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn t5_control_characters_in_the_directory_cost_only_the_line_they_stand_on() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(TestKey::new);
    let (alice, bob, mallory) = (alice?, bob?, mallory?);
    let bad = mallory.line();
    let lines = format!("{bad}\0\n{bad} a\rssh-ed25519 b\n{}\n{bad} \x1b[2J\n\x0b{bad}\n", alice.line());
    put(&sandbox, "people/alice.pub", lines)?;
    put_person(&sandbox, "bob", &[&bob])?;
    for name in ["people/eve%0Aroot.pub", "people/mal\nlory.pub", "people/..pub"] {
        put(&sandbox, name, format!("{bad}\n"))?;
    }
    put(&sandbox, "groups/ops", "alice\neve%0Aroot\n../people/bob\nmal\0lory\nmal\rlory\nbob\n")?;

    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["@@ops", "mal*", "e*"]))?;
    assert!(holds(&sandbox, "ubuntu", &[&alice, &bob])?, "{}", sandbox.read(key_file("ubuntu"))?);
    let file = bytes(&sandbox, &key_file("ubuntu"))?;
    assert!(file.iter().all(|&byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
    assert_eq!(notices(&sandbox).matches("a key of alice was refused").count(), 4, "{}", notices(&sandbox));
    Ok(())
}

#[tokio::test]
async fn t5_control_characters_in_buckets_users_and_object_names_are_refused_and_the_others_go_on() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let [alice, bob, carol, mallory] = ["alice", "bob", "carol", "mallory"].map(TestKey::new);
    let (alice, bob, carol, mallory) = (alice?, bob?, carol?, mallory?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.import_key_pair("bob", &bob).await?;
    for user in ["carol", "dave"] {
        cloud.create_user(user).await?;
    }
    cloud.upload_iam_key("carol", &carol).await?;

    // A second line behind a good key, and a key that ends in NUL: in the bucket, and uploaded to a user.
    let two_lines = format!("{}\n{}\n", alice.line(), mallory.line());
    cloud.put_object(&Cloud::person_object("alice", &alice), two_lines, &[]).await?;
    cloud.put_object(&Cloud::person_object("eve", &mallory), format!("{}\0", mallory.line()), &[]).await?;
    let upload = cloud.iam().upload_ssh_public_key().user_name("dave");
    upload.ssh_public_key_body(format!("{}\r{}", mallory.line(), mallory.line())).send().await?;
    // A name that decodes to something else; moto does not take one with the line break itself.
    cloud.put_object(&Cloud::person_object("eve%0Aroot", &mallory), mallory.line(), &[]).await?;
    let config = polling(&cloud).set("registries", vec!["s3", "ec2", "iam"]).grant("ubuntu", &["*"]);
    let _agent = in_step(&sandbox, &config)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &bob, &carol])?;
    let told = notices(&sandbox);
    for person in ["alice", "eve", "dave"] {
        assert!(told.contains(&format!("a key of {person} was refused")), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn t6_options_that_give_something_are_refused_from_each_registry_and_the_others_go_on() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let [alice, mallory, tight] = ["alice", "mallory", "tight"].map(TestKey::new);
    let (alice, mallory, tight) = (alice?, mallory?, tight?);
    cloud.put_person_key("alice", &alice).await?;
    cloud.put_object(&Cloud::person_object("tight", &tight), format!("no-pty {}", tight.line()), &[]).await?;
    let bad =
        ["command=\"id\"", "cert-authority", "environment=\"A=b\"", "command=\"id", "no-pty,,no-pty", "tunnel=\"0\""];
    for (number, options) in bad.iter().enumerate() {
        let (user, line) = (format!("eve{number}"), format!("{options} {}", mallory.line()));
        cloud.put_object(&Cloud::person_object(&user, &mallory), line.clone(), &[]).await?;
        cloud.create_user(&user).await?;
        cloud.iam().upload_ssh_public_key().user_name(&user).ssh_public_key_body(line).send().await?;
    }
    let config = polling(&cloud).set("registries", vec!["s3", "ec2", "iam"]).grant("ubuntu", &["*"]);
    let _agent = in_step(&sandbox, &config)?;
    wait_for_keys(&sandbox, "ubuntu", &[&alice, &tight])?;
    assert!(sandbox.read(key_file("ubuntu"))?.contains(&format!("no-pty {} tight", tight.public())));
    // Each was refused twice, by the bucket's reader and by IAM's, by a name that one can look up.
    let told = notices(&sandbox);
    assert_eq!(told.matches("was refused").count(), 2 * bad.len(), "{told}");
    assert!(!told.contains("no registry has a key of eve"), "it has, and that is what is told: {told}");
    Ok(())
}

#[test]
fn t6_an_option_that_the_box_allows_gets_through_and_no_other_does() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let (robot, mallory) = (TestKey::new("robot")?, TestKey::new("mallory")?);
    put(&sandbox, "people/robot.pub", format!("command=\"/usr/bin/backup\",no-pty {}\n", robot.line()))?;
    put(&sandbox, "people/mallory.pub", format!("environment=\"LD_PRELOAD=/tmp/x\" {}\n", mallory.line()))?;
    let config = directory().grant("ubuntu", &["robot", "mallory"]);
    let mut agent = in_step(&sandbox, &config)?;
    assert!(holds(&sandbox, "ubuntu", &[])?);
    config.set("render.allowed_options", vec!["command"]).write(&sandbox)?;
    agent.signal(Signal::SIGHUP)?;
    wait_for_keys(&sandbox, "ubuntu", &[&robot])?;
    let line = format!("command=\"/usr/bin/backup\",no-pty {} robot\n", robot.public());
    assert!(sandbox.read(key_file("ubuntu"))?.contains(&line));
    Ok(())
}

#[tokio::test]
async fn r7_t14_names_of_64_characters_with_every_sign_get_to_the_file() -> Result<()> {
    let cloud = Cloud::new().await?;
    let sandbox = machine(&["ubuntu"])?;
    let user = format!("A+b=c,d.e@f_g-H{}", "x".repeat(49));
    let group = format!("Ops+b=c,d.e@f_g-H{}", "y".repeat(47));
    assert_eq!((user.len(), group.len()), (64, 64));
    let (in_bucket, uploaded) = (TestKey::new("in-bucket")?, TestKey::new("uploaded")?);
    cloud.create_user(&user).await?;
    cloud.create_group(&group).await?;
    cloud.add_to_group(&user, &group).await?;
    cloud.put_person_key(&user, &in_bucket).await?;
    cloud.upload_iam_key(&user, &uploaded).await?;
    let config = polling(&cloud).set("registries", vec!["s3", "iam"]).grant("ubuntu", &[&format!("@@{group}")]);
    let _agent = in_step(&sandbox, &config)?;
    wait_for_keys(&sandbox, "ubuntu", &[&in_bucket, &uploaded])?;
    assert!(sandbox.read(key_file("ubuntu"))?.contains(&format!("{} {user}\n", in_bucket.public())));
    Ok(())
}

#[test]
fn r8_one_bad_key_among_many_costs_only_itself_and_is_told_by_its_place() -> Result<()> {
    let sandbox = machine(&["ubuntu"])?;
    let keys = (0..5).map(|number| TestKey::new(&format!("key{number}"))).collect::<Result<Vec<_>>>()?;
    let mut lines: Vec<_> = keys.iter().map(|key| key.line().to_owned()).collect();
    lines.insert(2, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIbroken broken".to_owned());
    put(&sandbox, "people/alice.pub", lines.join("\n"))?;
    let _agent = in_step(&sandbox, &directory().grant("ubuntu", &["alice"]))?;
    wait_for_keys(&sandbox, "ubuntu", &keys.iter().collect::<Vec<_>>())?;
    wait_for_status(&sandbox, "the bad key is told", |_| notices(&sandbox).contains("people/alice.pub, key 3"))?;
    Ok(())
}
