//! The command lines of ssh to one box. Pure; whoever has one runs it.
//!
//! Everything is said by options: no shell reads anything, and no configuration is written. What the operator's own
//! `~/.ssh/config` says about keys, users or hosts on the way counts; about host keys it does not, since ssh takes the
//! first value that it is given for an option, and takes the command line's before any file's (ssh_config(5)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleetkey_common::names::AccountName;

use super::known_hosts::KnownHosts;
use super::route::{AddressKind, Route};
use super::words;
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::refusal::Refusal;

/// The program.
pub(crate) const PROGRAM: &str = "ssh";

/// How long one attempt to connect may take, in seconds, while a box is waited for.
const CONNECT_TIMEOUT: &str = "ConnectTimeout=10";

/// The way to one box, as one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ssh {
    id: String,
    account: AccountName,
    address: IpAddr,
    known_hosts: PathBuf,
    /// By which way: `Name=value`.
    way: Vec<String>,
    straight: bool,
    options: Vec<OsString>,
    /// A variable that the program has, and whatever it starts, where it logs nobody in.
    variable: Option<(&'static str, String)>,
}

impl Ssh {
    /// The way to a box: by the address that the route says, else the public one, else the private one.
    pub(crate) fn to(fleet: &Fleet, instance: &Instance, account: AccountName, route: &Route) -> anyhow::Result<Self> {
        route.check_programs()?;
        let known_hosts = KnownHosts::open(&fleet.region)?.file(&instance.id)?;
        Ok(Self::new(&fleet.region, instance, account, route, known_hosts)?)
    }

    fn new(
        region: &str,
        instance: &Instance,
        account: AccountName,
        route: &Route,
        known_hosts: PathBuf,
    ) -> Result<Self, Refusal> {
        let id = instance.id.clone();
        let address = address(instance, route)?;
        check_known_hosts(&known_hosts)?;
        let way = route.options(&id, region).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (straight, options) = (route.is_straight(), Vec::new());
        Ok(Self { id, account, address, known_hosts, way, straight, options, variable: None })
    }

    /// The same with options that the operator gave for ssh.
    #[must_use]
    pub(crate) fn with_options(self, options: Vec<OsString>) -> Self {
        Self { options, ..self }
    }

    /// The same with a variable for what it starts on the way.
    #[must_use]
    pub(crate) fn with_variable(self, name: &'static str, value: String) -> Self {
        Self { variable: Some((name, value)), ..self }
    }

    /// The instance id of the box.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The account that is logged in to.
    pub(crate) fn account(&self) -> &AccountName {
        &self.account
    }

    /// Where it is connected to.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it is connected to without any other machine or program in between, as far as is known here.
    pub(super) fn is_straight(&self) -> bool {
        self.straight
    }

    /// `-p PORT`, if the operator gave a port.
    pub(super) fn port(&self) -> Vec<OsString> {
        words::port(&self.options)
    }

    /// The file of the host keys that are trusted.
    pub(crate) fn known_hosts(&self) -> &Path {
        &self.known_hosts
    }

    /// A login, or a command of these words, which ssh joins by blanks.
    pub(crate) fn login(&self, words: &[OsString]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(self.trust()).args(self.way()).args(&self.options).args(self.destination());
        if !words.is_empty() {
            // A command that begins with a dash is no option.
            command.arg("--").args(words);
        }
        command
    }

    /// A remote command that is run by the program itself: nobody is asked anything, and ssh says on stderr what it
    /// does, as [`super::ready`] reads it.
    pub(crate) fn probe(&self, remote: &str) -> Command {
        let mut command = self.unattended();
        command.args(self.destination()).args(["--", remote]);
        command
    }

    /// What ssh would go by if it logged in: it says so, and connects to nothing.
    pub(crate) fn asked(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("-G").args(self.way()).args(&self.options).args(self.destination());
        command
    }

    /// A connection that ends before anybody is logged in.
    pub(crate) fn knock(&self) -> Command {
        let mut command = self.unattended();
        command.args(["-o", "PreferredAuthentications=none"]).args(self.destination()).args(["--", "true"]);
        command
    }

    fn unattended(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["-v", "-n", "-T", "-a", "-x"]);
        for option in ["BatchMode=yes", CONNECT_TIMEOUT, "ClearAllForwardings=yes"] {
            command.args(["-o", option]);
        }
        command.args(self.trust()).args(self.way()).args(words::connecting(&self.options));
        // What is read is read in English.
        command.env("LC_ALL", "C").envs(self.variable.clone());
        command
    }

    /// The words that rsync is to run as its ssh, before the destination, quoted as rsync reads them.
    pub(crate) fn for_rsync(&self) -> OsString {
        let program = std::iter::once(OsString::from(PROGRAM));
        words::for_rsync(program.chain(self.trust()).chain(self.way()).chain(self.options.iter().cloned()))
    }

    /// The words that make ssh hold the box to the keys that are kept of it, whatever else it is told.
    fn trust(&self) -> impl Iterator<Item = OsString> {
        // A shared connection to the same address may lead to a box that was there before.
        let options = trust(&self.id, &self.known_hosts).into_iter().chain([("ControlPath", "none".to_owned())]);
        options.flat_map(|(name, value)| ["-o".into(), format!("{name}={value}").into()])
    }

    /// The words that make ssh go by the way asked for.
    fn way(&self) -> impl Iterator<Item = OsString> {
        self.way.iter().flat_map(|option| ["-o".into(), option.into()])
    }

    fn destination(&self) -> [OsString; 3] {
        ["-l".into(), self.account.as_str().into(), self.address.to_string().into()]
    }
}

/// The options of ssh that hold a box to the keys that are kept of it: name and value.
pub(crate) fn trust(id: &str, known_hosts: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("HostKeyAlias", id.to_owned()),
        ("UserKnownHostsFile", format!("\"{}\"", known_hosts.display())),
        ("GlobalKnownHostsFile", "/dev/null".to_owned()),
        ("StrictHostKeyChecking", "yes".to_owned()),
        ("VerifyHostKeyDNS", "no".to_owned()),
        ("NoHostAuthenticationForLocalhost", "no".to_owned()),
        ("UpdateHostKeys", "no".to_owned()),
        ("CheckHostIP", "no".to_owned()),
    ]
}

/// Refuses a file of host keys of which ssh cannot be told: quotation marks, and what ssh puts in values for.
pub(crate) fn check_known_hosts(file: &Path) -> Result<(), Refusal> {
    if file.to_str().is_some_and(|path| !path.contains(['"', '\\', '$', '%', '\n', '\r'])) {
        return Ok(());
    }
    Err(Refusal::new(format!("ssh cannot be told of host keys in {}", file.display()))
        .hint("set XDG_STATE_HOME to a folder without quotation marks, \\, $ and % in its path"))
}

/// The address of a box by which a route leads to it.
pub(crate) fn address(instance: &Instance, route: &Route) -> Result<IpAddr, Refusal> {
    let id = &instance.id;
    let (public, private) = (instance.public_address.as_deref(), instance.private_address.as_deref());
    let (name, address) = match route.kind() {
        Some(AddressKind::Public) => ("public address", public),
        Some(AddressKind::Private) => ("private address", private),
        None => ("address", public.or(private)),
    };
    let address = address.ok_or_else(|| {
        let refusal = Refusal::new(format!("box {id} has no {name}"));
        if route.address.is_some() { refusal.hint("leave --address out to use the one that it has") } else { refusal }
    })?;
    // Anything else could be taken for an option, or for the name of another machine.
    address
        .parse()
        .map_err(|_| Refusal::new(format!("EC2 says that the address of box {id} is {address:?}, which is no address")))
}

/// Why a program did not start.
pub(crate) fn not_installed(program: impl AsRef<OsStr>, error: io::Error) -> anyhow::Error {
    let program = program.as_ref().display();
    let refusal = Refusal::new(format!("cannot run {program}"));
    let refusal = match error.kind() {
        io::ErrorKind::NotFound => refusal.hint(format!("install {program}, or put it on the PATH")),
        _ => refusal,
    };
    anyhow::Error::from(error).context(refusal)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
