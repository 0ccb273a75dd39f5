//! The first act: who may log in is said by IAM groups, and whose key is whose by the public-key bucket.
//!
//! Times count from the return of the call that made the change.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Runtime;

use super::backdrop::{Backdrop, DEVELOPERS, OPERATORS};
use super::door::{ACCOUNT, Door};
use super::story::{Outcome, Stop, Story};
use crate::agent::{Agent, AgentConfig};
use crate::cloud::Cloud;
use crate::keys::TestKey;

/// What the agent keeps on this box.
const KEY_FILE: &str = "/home/demo/.ssh/authorized_keys";

/// What the agent logs once hints get to it.
const LISTENING: &str = "listening for hints";

/// What the agent tells systemd while it lives by what it knew before.
const LAST_KNOWN: &str = "last known serves";

/// The box, at work.
struct Stage<'b> {
    backdrop: &'b Backdrop<'b>,
    door: Door<'b>,
    /// `None` only if it could not be started again.
    agent: Option<Agent<'b>>,
}

/// Plays the act; all that it built is gone when this returns.
pub(super) fn play(story: &mut Story<'_>, runtime: &Runtime) -> Result<(), Stop> {
    story.act("Act 1. Groups in IAM say who may log in");
    let cancel = story.cancel();
    let backdrop = story.prepare("AWS with its people and groups", || Backdrop::raise(runtime, cancel.clone()))?;
    let mut stage = story.prepare("a box: sshd and the agent, listening for hints", || Stage::set(&backdrop, story))?;
    story.note("    After each change in IAM, CGCloud's hint to look is published.");
    story.columns("key file", "in all");
    let told = stage.tell(story);
    if let (Err(stop), Some(agent)) = (&told, &stage.agent) {
        story.show_log(stop, &agent.log().text().unwrap_or_default());
    }
    told
}

impl<'b> Stage<'b> {
    fn set(backdrop: &'b Backdrop<'b>, story: &Story<'_>) -> Result<Self> {
        let sandbox = &backdrop.sandbox;
        let door = Door::open(sandbox, KEY_FILE, "", story.cancel())?;
        sandbox.write("/etc/fleetkey/break_glass.pub", format!("{}\n", backdrop.people.break_glass.line()))?;
        let cloud = backdrop.cloud.through(&backdrop.proxy.endpoint());
        let specs = [format!("@@{DEVELOPERS}"), format!("@@{OPERATORS}")];
        let config = AgentConfig::iam(&cloud).grant(ACCOUNT, &specs.each_ref().map(String::as_str));
        let mut agent = Agent::start(sandbox, &config)?;
        agent.wait_ready()?;
        let stage = Self { backdrop, door, agent: Some(agent) };
        stage.wait_for_push()?;
        stage.door.wait("carol is let in", || stage.door.has(&backdrop.people.carol))?;
        Ok(stage)
    }

    fn tell(&mut self, story: &mut Story<'_>) -> Result<(), Stop> {
        story.step("fleetkey register-key alice.pub --person alice", || self.alice_registers())?;
        story.step("alice joins developers", || self.alice_joins())?;
        story.step("bob, with an RSA key, joins operators", || self.bob_joins())?;
        story.step("a key is slipped into the block by hand", || self.mallory_tries())?;
        story.step("the key file is deleted", || self.key_file_deleted())?;
        story.step("AWS is down, the agent restarts", || self.aws_goes_down())?;
        story.step("AWS is back", || self.aws_comes_back())?;
        story.step("alice leaves developers", || self.alice_leaves())?;
        story.step("fleetkey revoke-key, of bob's", || self.bob_is_revoked())?;
        story.step("carol, the last, leaves", || self.carol_leaves())?;
        story.step(&format!("fleetkey-agent explain {ACCOUNT} --key alice.pub"), || self.explain_alice())
    }

    fn alice_registers(&self) -> Result<Outcome> {
        let alice = &self.backdrop.people.alice;
        self.backdrop.fleetkey(&["register-key", "alice.pub", "--person", "alice"])?;
        let key = Cloud::person_object("alice", alice);
        let objects = self.backdrop.aws(self.backdrop.cloud.objects("people/alice/"))?;
        ensure!(objects.contains_key(&key), "the bucket has no {key}");
        self.door.expect("alice, who is in no group,", alice, false)?;
        Ok(Outcome::held())
    }

    fn alice_joins(&self) -> Result<Outcome> {
        let backdrop = self.backdrop;
        backdrop.aws(backdrop.cloud.add_to_group("alice", DEVELOPERS))?;
        Ok(self.follow(Instant::now(), &backdrop.people.alice, true)?.saying("she is in"))
    }

    fn bob_joins(&self) -> Result<Outcome> {
        let backdrop = self.backdrop;
        backdrop.aws(backdrop.cloud.add_to_group("bob", OPERATORS))?;
        Ok(self.follow(Instant::now(), &backdrop.people.bob, true)?.saying("he is in"))
    }

    fn mallory_tries(&self) -> Result<Outcome> {
        let mallory = &self.backdrop.people.mallory;
        self.door.smuggle_in(mallory.line())?;
        let since = Instant::now();
        self.door.wait("mallory's key is taken out", || Ok(!self.door.has(mallory)?))?;
        let file = since.elapsed();
        self.door.expect("mallory", mallory, false)?;
        Ok(Outcome::after(file, since.elapsed()).saying("gone"))
    }

    fn key_file_deleted(&self) -> Result<Outcome> {
        let people = &self.backdrop.people;
        self.door.delete_key_file()?;
        let since = Instant::now();
        self.door.wait("the key file is back", || Ok(self.door.has(&people.alice)? && self.door.has(&people.bob)?))?;
        let file = since.elapsed();
        self.door.expect("alice", &people.alice, true)?;
        Ok(Outcome::after(file, since.elapsed()).saying("back"))
    }

    fn aws_goes_down(&mut self) -> Result<Outcome> {
        let alice = &self.backdrop.people.alice;
        self.backdrop.proxy.refuse();
        self.door.expect("alice", alice, true)?;
        let agent = self.agent.take().context("the agent is gone")?;
        let agent = self.agent.insert(agent.restart()?);
        agent.wait_ready()?;
        self.door.expect("alice, after a restart of the agent,", alice, true)?;
        // It has asked, and was refused: from here on it is the last known that serves.
        self.wait_for_status("the agent finds AWS gone", |status| status.contains(LAST_KNOWN))?;
        self.door.expect("alice, after a look that failed,", alice, true)?;
        Ok(Outcome::held().saying("alice is still in"))
    }

    fn aws_comes_back(&mut self) -> Result<Outcome> {
        self.backdrop.proxy.heal();
        self.wait_for_push()?;
        self.wait_for_status("the agent finds AWS back", |status| !status.contains(LAST_KNOWN))?;
        Ok(Outcome::held().saying("the agent is in step again"))
    }

    fn alice_leaves(&self) -> Result<Outcome> {
        let backdrop = self.backdrop;
        backdrop.aws(backdrop.cloud.remove_from_group("alice", DEVELOPERS))?;
        let outcome = self.follow(Instant::now(), &backdrop.people.alice, false)?;
        self.door.expect("carol", &backdrop.people.carol, true)?;
        Ok(outcome.saying("she is out"))
    }

    fn bob_is_revoked(&self) -> Result<Outcome> {
        let bob = &self.backdrop.people.bob;
        let fingerprint = bob.fingerprint().to_string();
        self.backdrop.fleetkey(&["revoke-key", &fingerprint, "--yes", "--why", "laptop lost"])?;
        // The program has published the hint itself.
        Ok(self.door.follow(Instant::now(), bob, false)?.saying("he is out"))
    }

    fn carol_leaves(&self) -> Result<Outcome> {
        let backdrop = self.backdrop;
        backdrop.aws(backdrop.cloud.remove_from_group("carol", DEVELOPERS))?;
        let outcome = self.follow(Instant::now(), &backdrop.people.carol, false)?;
        let block = self.door.block()?;
        let safe = backdrop.people.break_glass.public().to_string();
        ensure!(block.len() == 1 && block[0].contains(&safe), "the block holds {block:#?}");
        self.door.expect("the break-glass key", &backdrop.people.break_glass, true)?;
        Ok(outcome.saying("only break-glass is left"))
    }

    fn explain_alice(&self) -> Result<Outcome> {
        let sandbox = &self.backdrop.sandbox;
        sandbox.write("/root/alice.pub", format!("{}\n", self.backdrop.people.alice.line()))?;
        let mut command = sandbox.command("env");
        command.args(["--chdir=/root", "fleetkey-agent", "explain", ACCOUNT, "--key", "alice.pub"]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said_no = output.status.code() == Some(1) && text.lines().any(|line| line.starts_with("no: "));
        ensure!(said_no, "it says {text:?} {:?}", String::from_utf8_lossy(&output.stderr));
        Ok(Outcome::held().quoting(&text))
    }

    /// Publishes the hint, and waits until the box has followed the change that was made at `since`.
    fn follow(&self, since: Instant, key: &TestKey, wanted: bool) -> Result<Outcome> {
        self.backdrop.hint()?;
        self.door.follow(since, key, wanted)
    }

    fn wait_for_push(&self) -> Result<()> {
        let agent = self.agent.as_ref().context("the agent is gone")?;
        self.door.wait("hints get to the agent", || Ok(agent.log().text()?.contains(LISTENING)))
    }

    /// Waits for what the agent tells systemd of itself.
    fn wait_for_status(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let agent = self.agent.as_mut().context("the agent is gone")?;
        self.door.wait(what, || Ok(agent.notices().last("STATUS").is_some_and(&wanted)))
    }
}
