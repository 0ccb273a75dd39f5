//! The page that people start from: its commands for the box are run as they stand, in a real box.

use std::path::Path;

use fleetkey_tests::keys::TestKey;
use fleetkey_tests::nspawn::SystemdBox;
use fleetkey_tests::program;

const CLONE: &str = "/root/fleetkey";
const KEY_FILE: &str = "/home/ubuntu/.ssh/authorized_keys";

/// A file of the repository.
fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shell blocks below a heading of the page.
fn blocks(page: &str, heading: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading is there");
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().expect("a split gives a part").to_owned()).collect()
}

#[test]
fn every_command_for_the_box_does_what_the_page_says() {
    let (alice, safe) = (TestKey::new("alice@laptop").unwrap(), TestKey::new("safe@office").unwrap());
    let mut builder = SystemdBox::builder()
        .file("/usr/lib/sysusers.d/ubuntu.conf", 0o644, "u ubuntu 1500 - /home/ubuntu /bin/bash\n")
        .file("/usr/lib/tmpfiles.d/ubuntu.conf", 0o644, "d /home/ubuntu 0755 ubuntu ubuntu\n")
        .file(&format!("{CLONE}/alice.pub"), 0o644, format!("{}\n", alice.line()))
        .file(&format!("{CLONE}/safe.pub"), 0o644, format!("{}\n", safe.line()));
    for path in ["systemd/fleetkey-agent.service", "systemd/fleetkey.sysusers", "packaging/agent.toml"] {
        builder = builder.file(&format!("{CLONE}/{path}"), 0o644, repository(path));
    }
    let agent = std::fs::read(program("fleetkey-agent")).unwrap();
    let booted = builder.file(&format!("{CLONE}/target/release/fleetkey-agent"), 0o755, agent).boot();
    let run = |script: &str| booted.sh(&format!("set -eu; cd {CLONE}; exec 2>&1\n{script}"));
    let page = repository("docs/usage/start.md");

    let files = blocks(&page, "People in files");
    let [install, person, look] = files.as_slice() else { panic!("the section has other blocks: {files:#?}") };
    run(install);
    assert!(!booted.path(KEY_FILE).exists(), "as packaged it touches nothing");
    let said = run(person);
    assert!(said.contains(&format!("+{} alice", alice.public())), "the dry run shows the line:\n{said}");
    booted.wait_for("alice's line", |booted| booted.sh(&format!("cat {KEY_FILE} || true")).contains(" alice\n"));
    let said = run(look);
    assert!(said.contains("in step") && said.contains("yes: alice may log in to ubuntu"), "{said}");

    // There is no AWS here: of the section on IAM, what can be told without one.
    let iam = blocks(&page, "People in IAM");
    let configure = iam.iter().find(|block| block.contains("agent.toml")).expect("a block writes the configuration");
    let (until_aws, _) = configure.split_once("fleetkey-agent sync").expect("the block has a dry run");
    let said = run(until_aws);
    assert!(said.contains("ubuntu") && said.contains("@@developers"), "{said}");
    assert!(said.contains("fleetkey-agent-notifications"), "push is on: {said}");
}
