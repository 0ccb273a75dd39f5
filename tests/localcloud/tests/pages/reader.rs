//! Who reads a page and does what it says: alice, an operator with a cloud of her own, in a clone of the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fleetkey_localcloud::{LocalCloud, Options};
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::nspawn::script;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::pages::{Example, Place, Ran, Shell, repository};
use fleetkey_tests::process::bound;
use fleetkey_tests::program;
use fleetkey_tests::ssh_agent::SshAgent;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::on_box::OnBox;

/// The zone of all boxes.
const ZONE: &str = "us-west-2a";

/// Where her boxes are.
const NAMESPACE: &str = "/prod/";

/// Where pages say that her home is.
const HOME: &str = "/home/alice";

/// What pages say for the number of her account.
const ACCOUNT: &str = "123456789012";

/// IAM users, and the group that each is in. All have a key: `NAME.pub` in the clone, and `~/.ssh/NAME`.
const PEOPLE: [(&str, Option<&str>); 5] =
    [("alice", Some("developers")), ("bob", Some("developers")), ("carol", Some("ci")), ("dave", None), ("erin", None)];

/// Those of them whose keys are registered.
const REGISTERED: [&str; 3] = ["alice", "bob", "carol"];

/// The groups.
const GROUPS: [&str; 2] = ["developers", "ci"];

/// Her own roles: two plain ones, and that of the box of a page for whoever is root there.
const ROLES: [(&str, &str); 3] = [
    ("web", "extends: [generic-debian-12-box]\ninstance_type: t3.micro\n"),
    ("db", "extends: [generic-debian-12-box]\ninstance_type: t3.micro\n"),
    ("box", include_str!("box.yaml")),
];

/// What of the repository a clone has here.
const CLONE: [&str; 3] = ["docs", "packaging", "systemd"];

/// One reader of one page. The cloud ends with it.
pub(crate) struct Reader {
    operator: Shell,
    on_box: Option<OnBox>,
    home: TempDir,
    _keys: SshAgent,
    runtime: Runtime,
    cloud: LocalCloud,
}

impl Reader {
    /// A person with all that pages take for granted: credentials, keys, a few roles, and a bucket with the agent's
    /// package.
    pub(crate) fn new() -> Result<Self> {
        let cloud = LocalCloud::start(Options::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // In the cloud's folder, which goes with the cloud also when the tests are killed.
        let home = TempDir::new_in(cloud.folder())?;
        let keys = furnish(home.path())?;
        fs::write(home.path().join(".aws/credentials"), runtime.block_on(people(&cloud))?)?;
        let mut operator = Shell::start(command(home.path(), &cloud, &keys))?;
        let mut setup = "fleetkey agent publish target/packages/*.deb\n".to_owned();
        for name in REGISTERED {
            setup.extend(["fleetkey register-key ", name, ".pub --person ", name, "\n"]);
        }
        let ran = operator.run(&setup, Duration::from_mins(2))?;
        ensure!(ran.code == 0, "a reader cannot be prepared:\n{}", ran.output);
        Ok(Self { operator, on_box: None, home, _keys: keys, runtime, cloud })
    }

    /// Runs an example where it belongs. The first on a box, where the page has none, makes one of role `box`.
    pub(crate) fn run(&mut self, example: &Example, limit: Duration) -> Result<Ran> {
        let account = self.cloud.account().account_id().to_owned();
        let script = example.script.replace(ACCOUNT, &account);
        let mut ran = match example.place {
            Place::Operator => self.operator.run(&script, limit)?,
            Place::Box => self.box_shell()?.run(&script, limit)?,
        };
        let home = self.home.path().to_str().context("the home's path is UTF-8")?;
        ran.output = ran.output.replace(home, HOME).replace(&account, ACCOUNT);
        Ok(ran)
    }

    fn box_shell(&mut self) -> Result<&mut Shell> {
        let there = match self.on_box.take() {
            Some(mut there) => there.is_up()?.then_some(there),
            None => None,
        };
        let there = if let Some(there) = there {
            there
        } else {
            let id = self.box_id()?;
            OnBox::enter(&self.cloud, &id, self.home.path())?
        };
        Ok(&mut self.on_box.insert(there).shell)
    }

    /// The instance that runs and was launched last, or a new one.
    fn box_id(&mut self) -> Result<String> {
        let account = self.cloud.account();
        if let Some(id) = self.runtime.block_on(OnBox::newest(&account))? {
            return Ok(id);
        }
        let ran = self.operator.run("fleetkey create box --quiet", Duration::from_mins(3))?;
        ensure!(ran.code == 0, "there is no box for the page:\n{}", ran.output);
        self.runtime.block_on(OnBox::newest(&account))?.context("a box was created, and none runs")
    }
}

/// Makes what is in the home, which is the clone too; returns what holds her key.
fn furnish(home: &Path) -> Result<SshAgent> {
    let folders = [".ssh", ".aws", ".config/fleetkey/roles", "bin", "target/packages", "target/release"];
    folders.iter().try_for_each(|folder| fs::create_dir_all(home.join(folder)))?;
    for name in PEOPLE.map(|(name, _)| name).into_iter().chain(["safe"]).rev() {
        let key = TestKey::new(&format!("{name}@laptop"))?;
        fs::write(home.join(format!("{name}.pub")), format!("{}\n", key.line()))?;
        fs::copy(key.private(), home.join(".ssh").join(name))?;
        if name == "alice" {
            programs(home)?;
            return SshAgent::holding(&key);
        }
    }
    anyhow::bail!("alice is the first of the people")
}

/// Makes what she has installed and written, and the clone.
fn programs(home: &Path) -> Result<()> {
    for (name, role) in ROLES {
        fs::write(home.join(format!(".config/fleetkey/roles/{name}.yaml")), role)?;
    }
    for part in CLONE {
        let copied = Command::new("cp").arg("-r").arg(repository().join(part)).arg(home).status()?;
        ensure!(copied.success(), "{part} cannot be copied");
    }
    let packages = Packages::built()?;
    for package in [packages.deb()?, packages.rpm()?] {
        let name = package.file_name().context("a package has a name")?;
        fs::copy(&package, home.join("target/packages").join(name))?;
    }
    let links = [
        (program("fleetkey"), "bin/fleetkey"),
        (program("fleetkey-agent"), "target/release/fleetkey-agent"),
        (aws_cli()?, "bin/aws"),
    ];
    links.iter().try_for_each(|(to, name)| std::os::unix::fs::symlink(to, home.join(name)))?;
    // ssh finds a home by the user database, and not by $HOME.
    let machine = fs::read_to_string("/etc/passwd")?;
    let others = machine.lines().filter(|line| !line.starts_with("root:"));
    let me = format!("root:x:0:0:Alice:{}:/bin/bash", home.display());
    let all: Vec<_> = std::iter::once(me.as_str()).chain(others).collect();
    fs::write(home.join(".passwd"), all.join("\n") + "\n")?;
    Ok(())
}

/// Makes the people; returns alice's credentials in the form of `~/.aws/credentials`.
async fn people(cloud: &LocalCloud) -> Result<String> {
    let account = cloud.account();
    for group in GROUPS {
        account.create_group(group).await?;
    }
    for (name, group) in PEOPLE {
        account.create_user(name).await?;
        if let Some(group) = group {
            account.add_to_group(name, group).await?;
        }
    }
    let made = account.iam().create_access_key().user_name(PEOPLE[0].0).send().await?;
    let key = made.access_key().context("CreateAccessKey gives a key")?;
    let (id, secret) = (key.access_key_id(), key.secret_access_key());
    Ok(format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"))
}

/// The AWS CLI as PyPI has it.
fn aws_cli() -> Result<PathBuf> {
    let output = Command::new(script("prepare")).arg("bench").stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "tests/prepare cannot make the environment of the AWS CLI");
    Ok(Path::new(String::from_utf8(output.stdout)?.trim()).join("bin/aws"))
}

/// Her shell: in the cloud's network, with nothing in its environment but what an operator has.
fn command(home: &Path, cloud: &LocalCloud, keys: &SshAgent) -> Command {
    let within = cloud.command("unshare");
    let mut command = bound(within.get_program());
    let begin = "mount --bind \"$HOME/.passwd\" /etc/passwd; cd; exec bash --noprofile --norc";
    command.args(within.get_args()).args(["--mount", "--", "sh", "-ec", begin]).env_clear();
    command.env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", home.display()));
    command.env("HOME", home).env("USER", "alice").env("SSH_AUTH_SOCK", keys.socket());
    command.env("AWS_ENDPOINT_URL", cloud.endpoint()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_DEFAULT_REGION", "us-west-2").env("AWS_PAGER", "");
    command.env("FLEETKEY_ZONE", ZONE).env("FLEETKEY_NAMESPACE", NAMESPACE);
    command
}
