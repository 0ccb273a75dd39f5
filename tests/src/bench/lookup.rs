//! `authorized-keys`, which sshd runs at each login, on a box with 10,000 keys, next to keymaker's command.

use anyhow::{Context as _, Result, ensure};

use super::people::{GROUP, key, name};
use super::repeat::{output, repeat, repeat_inside, sandbox};
use super::report::{Row, Unit};
use super::rivals::Rivals;
use super::samples::Samples;
use super::{ACCOUNT, AGENT, Bench};
use crate::agent::AgentConfig;
use crate::keys::TestKey;
use crate::sandbox::Sandbox;

/// Keys of the account.
const KEYS: usize = 10_000;

/// The folder of the keys inside.
const FOLDER: &str = "/srv/fleetkey";

/// Runs of the agent's command, and of keymaker's.
const RUNS: usize = 100;
const RIVAL_RUNS: usize = 15;

/// A look-up of one key, and of all keys.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    bench.progress.say("look-up: a box with 10,000 keys");
    let sandbox = box_with_keys()?;
    let wanted = key(KEYS / 2)?;
    let fingerprint = wanted.fingerprint().to_string();
    let one = ["authorized-keys", ACCOUNT, &fingerprint];
    let found = sandbox.run(AGENT, &one)?;
    ensure!(found.lines().count() == 1 && found.contains(&wanted.to_string()), "a look-up of one key gave {found:?}");
    let all = sandbox.run(AGENT, &one[..2])?.lines().count();
    ensure!(all == KEYS, "a look-up of all keys gave {all}");
    let one = Samples::milliseconds(repeat_inside(&sandbox, RUNS, AGENT, &one)?)?;
    let all = Samples::milliseconds(repeat_inside(&sandbox, RUNS, AGENT, &["authorized-keys", ACCOUNT])?)?;

    bench.progress.say("look-up: keymaker");
    let keymaker = Samples::milliseconds(keymaker(bench)?)?;
    let what = "`authorized-keys`: one key among 10,000";
    bench.report.rows.push(Row::new(what, Unit::Milliseconds, &one).aim(3.0).next_to("keymaker", &keymaker));
    bench.report.rows.push(Row::new("`authorized-keys`: all 10,000 keys", Unit::Milliseconds, &all));
    bench.report.notes.push(
        "Look-up: the whole program, from its start to its end. keymaker is run as its `keymaker install` sets it up, \
         a script that runs `keymaker get_authorized_keys PERSON`; it asks STS and IAM (here moto) each time, for \
         a person with one key, so its time does not depend on how many people there are. Fleetkey's reads the disk alone."
            .to_owned(),
    );
    Ok(())
}

/// A box whose agent has seen all keys, from the `directory` source: where they came from makes no difference here.
fn box_with_keys() -> Result<Sandbox> {
    let sandbox = sandbox()?;
    sandbox.add_account(ACCOUNT)?;
    let mut members = String::new();
    for number in 0..KEYS {
        let name = name(number);
        sandbox.write(format!("{FOLDER}/people/{name}.pub"), format!("{} {name}\n", key(number)?))?;
        members.extend([name.as_str(), "\n"]);
    }
    sandbox.write(format!("{FOLDER}/groups/{GROUP}"), members)?;
    std::fs::create_dir_all(sandbox.path(format!("{FOLDER}/revoked")))?;
    AgentConfig::directory(FOLDER).grant(ACCOUNT, &[&format!("@@{GROUP}")]).write(&sandbox)?;
    sandbox.run(AGENT, &["sync"])?;
    Ok(sandbox)
}

fn keymaker(bench: &Bench) -> Result<Vec<std::time::Duration>> {
    let cloud = bench.cloud()?;
    let key = TestKey::new("alice@bench")?;
    bench.runtime.block_on(async {
        cloud.create_user("alice").await?;
        cloud.upload_iam_key("alice", &key).await
    })?;
    let rivals = Rivals::new(&cloud)?;
    let mut command = rivals.keymaker("alice");
    let found = output(&mut command).context("keymaker against moto")?;
    ensure!(found.trim() == key.line(), "keymaker finds {found:?}, not {:?}", key.line());
    repeat(RIVAL_RUNS, &mut command)
}

/// The size of what is installed.
pub(super) fn sizes(bench: &mut Bench) -> Result<()> {
    let agent = crate::program("fleetkey-agent");
    let bytes = std::fs::metadata(&agent).with_context(|| format!("cannot look at {}", agent.display()))?.len();
    let size = Samples::one(super::machine::mebibytes(bytes))?;
    let rivals = Samples::one(super::rivals::installed_size()?)?;
    bench.report.rows.push(
        Row::new("size of the `fleetkey-agent` binary", Unit::Mebibytes, &size).next_to("keymaker and awscli", &rivals),
    );
    bench.report.notes.push(
        "Size: of keymaker and awscli, the files of their virtual environment, without the Python that they run with."
            .to_owned(),
    );
    Ok(())
}
