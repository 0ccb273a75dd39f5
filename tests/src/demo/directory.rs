//! The second act: persons and groups are files on the box. There is no AWS, nor any network to reach one by.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::door::{ACCOUNT, Door};
use super::story::{Outcome, Stop, Story};
use crate::agent::{Agent, AgentConfig};
use crate::keys::TestKey;
use crate::program;
use crate::sandbox::Sandbox;

/// The packaged folder of persons and groups.
const FOLDER: &str = "/etc/fleetkey/directory";

/// The group that the grant names.
const GROUP: &str = "/etc/fleetkey/directory/groups/admins";

/// What the agent keeps on this box: a file of root's own.
const KEY_FILE: &str = "/etc/ssh/fleetkey/authorized_keys.d/demo";

/// What sshd is told, beside what it reads anyway: the line that is shipped for accounts of this mode.
const SSHD: &str = include_str!("../../../packaging/sshd/60-fleetkey-system.conf");

/// The people of this act.
struct People {
    dave: TestKey,
    erin: TestKey,
}

struct Stage<'b> {
    sandbox: &'b Sandbox,
    people: &'b People,
    door: Door<'b>,
    agent: Agent<'b>,
}

/// Plays the act; all that it built is gone when this returns.
pub(super) fn play(story: &mut Story<'_>) -> Result<(), Stop> {
    story.act("Act 2. Files on the box say who may log in, with no AWS at all");
    let (sandbox, people) = story.prepare("a box without a network", || {
        let agent = program("fleetkey-agent");
        let sandbox = Sandbox::options().own_network().program(agent, "/usr/bin/fleetkey-agent").start()?;
        let people = People { dave: TestKey::new("dave@laptop")?, erin: TestKey::new("erin@laptop")? };
        Ok((sandbox, people))
    })?;
    let stage = story.prepare("sshd and the agent, mode \"system\"", || Stage::set(&sandbox, &people, story))?;
    let told = stage.tell(story);
    if let Err(stop) = &told {
        story.show_log(stop, &stage.agent.log().text().unwrap_or_default());
    }
    told
}

impl<'b> Stage<'b> {
    fn set(sandbox: &'b Sandbox, people: &'b People, story: &Story<'_>) -> Result<Self> {
        for folder in ["people", "groups"] {
            let folder = sandbox.path(format!("{FOLDER}/{folder}"));
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let folder = sandbox.path("/etc/ssh/fleetkey");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let door = Door::open(sandbox, KEY_FILE, SSHD, story.cancel())?;
        let config = AgentConfig::directory(FOLDER).grant_in_mode(ACCOUNT, &["@@admins"], "system");
        let mut agent = Agent::start(sandbox, &config)?;
        agent.wait_ready()?;
        Ok(Self { sandbox, people, door, agent })
    }

    fn tell(&self, story: &mut Story<'_>) -> Result<(), Stop> {
        story.step("people/ and groups/ are filled", || self.people_come())?;
        story.step("dave's line goes from groups/admins", || self.dave_goes())
    }

    fn people_come(&self) -> Result<Outcome> {
        let People { dave, erin } = self.people;
        for (person, key) in [("dave", dave), ("erin", erin)] {
            self.sandbox.write(format!("{FOLDER}/people/{person}.pub"), format!("{}\n", key.line()))?;
        }
        self.sandbox.write(GROUP, "dave\nerin\n")?;
        let outcome = self.door.follow(Instant::now(), dave, true)?;
        self.door.expect("erin", erin, true)?;
        Ok(outcome.saying("dave is in"))
    }

    fn dave_goes(&self) -> Result<Outcome> {
        let People { dave, erin } = self.people;
        self.sandbox.write(GROUP, "erin\n")?;
        let outcome = self.door.follow(Instant::now(), dave, false)?;
        self.door.expect("erin", erin, true)?;
        let home = self.sandbox.path("/home/demo/.ssh");
        ensure!(!home.exists(), "the agent made {} in mode \"system\"", home.display());
        Ok(outcome.saying("he is out"))
    }
}
