//! What the first act is played before: an AWS account with its people and groups, an operator's machine and a box.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::keys::TestKey;
use crate::moto::Moto;
use crate::process::describe;
use crate::program;
use crate::proxy::Proxy;
use crate::sandbox::Sandbox;

/// The group that alice joins.
pub(super) const DEVELOPERS: &str = "developers";

/// The group that bob joins.
pub(super) const OPERATORS: &str = "operators";

/// The people of the story, by their keys.
#[derive(Debug)]
pub(super) struct People {
    /// Comes, and goes again.
    pub(super) alice: TestKey,
    /// Has an RSA key, registered as CGCloud does.
    pub(super) bob: TestKey,
    /// Is there from the start.
    pub(super) carol: TestKey,
    /// Is nobody's friend.
    pub(super) mallory: TestKey,
    /// The key in the safe.
    pub(super) break_glass: TestKey,
}

/// Everything but the agent and sshd.
#[derive(Debug)]
pub(super) struct Backdrop<'runtime> {
    /// The people of the story.
    pub(super) people: People,
    /// The box.
    pub(super) sandbox: Sandbox,
    /// The only way of the box to AWS.
    pub(super) proxy: Proxy,
    /// AWS, as an administrator reaches it.
    pub(super) cloud: Cloud,
    operator: Sandbox,
    topic: String,
    runtime: &'runtime Runtime,
    cancel: CancellationToken,
    /// Ends last.
    _moto: Moto,
}

impl<'runtime> Backdrop<'runtime> {
    /// Starts moto, fills the account, and makes two machines.
    pub(super) fn raise(runtime: &'runtime Runtime, cancel: CancellationToken) -> Result<Self> {
        let moto = Moto::start()?;
        let people = People {
            alice: TestKey::new("alice@laptop")?,
            bob: TestKey::rsa()?,
            carol: TestKey::new("carol@laptop")?,
            mallory: TestKey::new("mallory@elsewhere")?,
            break_glass: TestKey::new("safe@office")?,
        };
        let (cloud, topic) = until(&cancel, runtime, fill(&moto, &people))?;
        let proxy = Proxy::start(moto.address())?;
        let operator = Sandbox::options().program(program("fleetkey"), "/usr/bin/fleetkey").start()?;
        operator.write("/root/.aws/credentials", cloud.credentials_file())?;
        operator.write("/root/alice.pub", format!("{}\n", people.alice.line()))?;
        let sandbox = Sandbox::new()?;
        Ok(Self { people, sandbox, proxy, cloud, operator, topic, runtime, cancel, _moto: moto })
    }

    /// Waits for AWS, unless somebody interrupts.
    pub(super) fn aws<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        until(&self.cancel, self.runtime, call)
    }

    /// Tells the agents to look, as CGCloud's controller does.
    pub(super) fn hint(&self) -> Result<()> {
        self.aws(self.cloud.publish_hint(&self.topic))
    }

    /// Runs `fleetkey` on the operator's machine.
    pub(super) fn fleetkey(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.operator.command("env");
        command.args(["--chdir=/root", "fleetkey"]).args(arguments);
        // Where the operator's AWS is; what is not said here is taken from nowhere else.
        command.env("AWS_ENDPOINT_URL", self.cloud.endpoint()).env("AWS_REGION", Cloud::REGION);
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let output = command.stdin(Stdio::null()).output().context("cannot run fleetkey")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fleetkey {}: {}: {said}", arguments.join(" "), describe(output.status));
        Ok(())
    }
}

fn until<T>(cancel: &CancellationToken, runtime: &Runtime, call: impl Future<Output = Result<T>>) -> Result<T> {
    runtime.block_on(async {
        tokio::select! {
            () = cancel.cancelled() => bail!("interrupted"),
            done = call => done,
        }
    })
}

/// An account as it is before the story: carol may log in, and alice has no key yet.
async fn fill(moto: &Moto, people: &People) -> Result<(Cloud, String)> {
    let cloud = Cloud::on(moto).await?;
    for user in ["alice", "bob", "carol"] {
        cloud.create_user(user).await?;
    }
    for group in [DEVELOPERS, OPERATORS] {
        cloud.create_group(group).await?;
    }
    cloud.put_person_key("carol", &people.carol).await?;
    cloud.add_to_group("carol", DEVELOPERS).await?;
    cloud.put_cgcloud_key("bob", &people.bob).await?;
    let topic = cloud.create_topic(Cloud::TOPIC).await?;
    Ok((cloud, topic))
}
