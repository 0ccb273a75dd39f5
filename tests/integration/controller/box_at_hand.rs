//! A box to log in to: an instance to EC2, and to ssh a real sshd on this machine.
//!
//! Its private address, which the moto server gives to whoever asks for it, is this machine's loopback. What its
//! console shows is told by the test: moto's own has no host keys.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use fleetkey_tests::sandbox::Sandbox;
use fleetkey_tests::sshd::Sshd;

use super::fleetkey::{Operator, Ran};

/// The role of the box, in the namespace `/`.
pub(super) const ROLE: &str = "web";

/// The account that the tag of the box names.
pub(super) const ADMIN: &str = "admin";

/// What sshd is told.
const SSHD: &str = "AuthorizedKeysFile /etc/test-keys/%u\nAcceptEnv LANG";

/// A machine with the account, in which sshd is to run.
pub(super) fn machine() -> Result<Sandbox> {
    let sandbox = Sandbox::options().start()?;
    sandbox.add_account(ADMIN)?;
    Ok(sandbox)
}

/// An operator, and a box that lets her key in.
pub(super) struct BoxAtHand<'sandbox> {
    pub(super) operator: Operator,
    pub(super) proxy: Proxy,
    pub(super) sshd: Sshd<'sandbox>,
    pub(super) id: String,
    key: TestKey,
    sandbox: &'sandbox Sandbox,
}

impl<'sandbox> BoxAtHand<'sandbox> {
    /// A box whose console shows its host keys.
    pub(super) async fn new(sandbox: &'sandbox Sandbox) -> Result<Self> {
        let mut operator = Operator::new("alice").await?;
        let moto = tokio::task::spawn_blocking(Moto::shared).await??;
        let proxy = Proxy::start(moto.address())?;
        operator.go_through(proxy.endpoint());
        let id = launch(&operator.cloud).await?;
        let key = TestKey::new("alice@test")?;
        sandbox.write(format!("/etc/test-keys/{ADMIN}"), format!("{}\n", key.line()))?;
        let sshd = Sshd::start(sandbox, SSHD)?;
        let made = Self { operator, proxy, sshd, id, key, sandbox };
        made.print(&console(&[&made.host_key()?]));
        Ok(made)
    }

    /// The public half of sshd's host key.
    pub(super) fn host_key(&self) -> Result<String> {
        Ok(self.sandbox.read("/run/test-sshd/host_key.pub")?.trim_end().to_owned())
    }

    /// Puts another sshd with another host key in place of the one that runs.
    pub(super) fn change_host_key(&mut self) -> Result<()> {
        self.sandbox.run("sh", &["-c", "rm /run/test-sshd/host_key*"])?;
        self.sshd = Sshd::start(self.sandbox, SSHD)?;
        Ok(())
    }

    /// From now on, the console shows this.
    pub(super) fn print(&self, console: &str) {
        let output = STANDARD.encode(console);
        let body = format!(
            "<GetConsoleOutputResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>test</requestId>\
             <instanceId>{}</instanceId><timestamp>2026-11-21T04:00:00.000Z</timestamp><output>{output}</output>\
             </GetConsoleOutputResponse>",
            self.id
        );
        self.proxy.answer("ec2:GetConsoleOutput", 200, &body);
    }

    /// Options of ssh by which it uses nothing of this machine's own.
    pub(super) fn options(&self) -> String {
        let (key, port) = (self.key.private().display(), self.sshd.port());
        format!("-F none -i {key} -p {port} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes")
    }

    /// The same but for the configuration, for an ssh that is given one.
    pub(super) fn login(&self) -> String {
        self.options().replacen("-F none ", "", 1)
    }

    /// The file of the key that the box lets in.
    pub(super) fn private_key(&self) -> &Path {
        self.key.private()
    }

    /// `fleetkey ssh` with these flags, and this command for the box.
    pub(super) async fn ssh(&self, flags: &[&str], command: &[&str]) -> Result<Ran> {
        let options = self.options();
        let options: Vec<&str> = options.split(' ').collect();
        self.operator.run(&[&["ssh", "-n", "/", ROLE], flags, &["--"], &options, command].concat()).await
    }

    /// `fleetkey rsync` with these words for rsync.
    pub(super) async fn rsync(&self, words: &[&str]) -> Result<Ran> {
        let options = self.options();
        self.operator.run(&[&["rsync", "-n", "/", "--ssh-opts", &options, ROLE], words].concat()).await
    }

    /// The file in which the operator's Fleetkey keeps the box's host keys.
    pub(super) fn known_hosts(&self) -> PathBuf {
        let folder = format!(".local/state/fleetkey/known_hosts.d/{}", Cloud::REGION);
        self.operator.path(&folder).join(&self.id)
    }

    /// Whether anybody has logged in to the box.
    pub(super) fn was_entered(&self) -> Result<bool> {
        Ok(self.sshd.log().text()?.contains("Accepted publickey"))
    }
}

/// Starts an instance that is a box, at this machine's own address.
pub(super) async fn launch(cloud: &Cloud) -> Result<String> {
    let ec2 = cloud.ec2();
    let vpc = ec2.create_vpc().cidr_block("127.0.0.0/16").send().await?.vpc.context("a VPC")?;
    let subnet = ec2.create_subnet().set_vpc_id(vpc.vpc_id).cidr_block("127.0.0.0/24").send().await?;
    let subnet = subnet.subnet.context("a subnet")?;
    let tags = [("Name", ROLE), ("generation", "0"), ("fleetkey:admin", ADMIN)];
    let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build()).to_vec();
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance).set_tags(Some(tags)).build();
    let image = ec2.describe_images().send().await?.images.unwrap_or_default().pop().context("an image")?;
    let run = ec2.run_instances().set_image_id(image.image_id).min_count(1).max_count(1).tag_specifications(tags);
    let run = run.set_subnet_id(subnet.subnet_id).private_ip_address("127.0.0.1").send().await?;
    let id = run.instances.unwrap_or_default().pop().and_then(|instance| instance.instance_id);
    id.context("an instance")
}

/// A console on which cloud-init is through and has printed these keys.
pub(super) fn console(keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| format!("{key}\r\n")).collect::<Vec<_>>().concat();
    format!(
        "[    0.000000] Linux version 6.1.0-25-cloud-amd64\r\n\
         -----BEGIN SSH HOST KEY KEYS-----\r\n{keys}-----END SSH HOST KEY KEYS-----\r\n{FINISHED}"
    )
}

/// The last line of a boot.
pub(super) const FINISHED: &str = "[    7.492310] cloud-init[412]: Cloud-init v. 22.4.2 finished at Sat, 21 Nov 2026 \
    04:00:00 +0000. Datasource DataSourceEc2Local.  Up 7.48 seconds\r\n";
