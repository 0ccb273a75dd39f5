//! By which way a box is connected to: straight, over other machines, or through a tunnel that the `aws` program holds.
//! Pure, but for a look at the PATH.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use clap::ValueEnum;

use crate::refusal::Refusal;

/// AWS's own program, which holds the tunnels.
const AWS: &str = "aws";

/// What `aws ssm start-session` runs.
const PLUGIN: &str = "session-manager-plugin";

/// Which of a box's addresses is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AddressKind {
    /// The one on the internet
    Public,
    /// The one within its network
    Private,
}

/// Ways that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// Straight, whatever ssh's own configuration says
    Direct,
    /// Through an EC2 Instance Connect Endpoint of the box's network
    Eice,
    /// Through Systems Manager, whose agent runs on the box
    Ssm,
}

/// Machines on the way, as ssh -J takes them: words that are neither options nor anything to a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jump(String);

/// A way to a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// As ssh's own configuration says; straight, if it says nothing.
    #[default]
    Unsaid,
    /// Over these machines.
    Jump(Jump),
    /// One that has a name.
    Via(Via),
}

/// A way, and the address at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// The address asked for.
    pub(crate) address: Option<AddressKind>,
    /// The way.
    pub(crate) way: Way,
    /// The profile of AWS's configuration that the aws program goes by; `None` leaves it to AWS's own variables.
    pub(crate) aws_profile: Option<String>,
}

impl FromStr for Jump {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+=@:[]".contains(c);
        let hop = |hop: &str| {
            let host = hop.rsplit('@').next().unwrap_or_default();
            !host.is_empty() && !hop.starts_with(['-', '@']) && !host.starts_with('-') && hop.chars().all(plain)
        };
        if text.split(',').all(hop) && text != "none" {
            return Ok(Self(text.to_owned()));
        }
        Err("give [USER@]HOST[:PORT], and several with commas between them".to_owned())
    }
}

impl Jump {
    /// As it was given.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// How many machines come before the one that has one of these names, if any has.
    fn position(&self, names: &[String]) -> Option<usize> {
        let host = |hop: &str| split_port(hop).0.rsplit('@').next().unwrap_or_default().to_owned();
        self.0.split(',').position(|hop| names.contains(&host(hop)))
    }

    /// The first of the machines; `None` of none.
    fn first(&self, count: usize) -> Option<Self> {
        let hops: Vec<&str> = self.0.split(',').take(count).collect();
        (!hops.is_empty()).then(|| Self(hops.join(",")))
    }

    /// The words of an ssh whose input and output are a connection from the last of the machines to this address.
    fn tunnel(&self, address: IpAddr, port: u16) -> Vec<OsString> {
        let (before, last) = self.0.rsplit_once(',').map_or((None, self.0.as_str()), |(all, last)| (Some(all), last));
        let jump = before.map(|before| ["-J".to_owned(), before.to_owned()]).into_iter().flatten();
        let (host, host_port) = split_port(last);
        let host_port = host_port.map(|port| ["-p".to_owned(), port.to_owned()]).into_iter().flatten();
        let words = ["-W".to_owned(), format!("[{address}]:{port}")].into_iter().chain(jump).chain(host_port);
        words.chain(["--".to_owned(), host]).map(OsString::from).collect()
    }
}

/// `user@host` and the port of `user@host:port`, without the brackets of an IPv6 address.
fn split_port(hop: &str) -> (String, Option<&str>) {
    if let Some((user, rest)) = hop.split_once('[')
        && let Some((address, port)) = rest.split_once(']')
    {
        return (format!("{user}{address}"), port.strip_prefix(':'));
    }
    match hop.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_owned(), Some(port)),
        _ => (hop.to_owned(), None),
    }
}

impl Route {
    /// Which address is meant: one that was asked for, else that to which the way leads.
    pub(super) fn kind(&self) -> Option<AddressKind> {
        self.address.or(match self.way {
            Way::Unsaid | Way::Via(Via::Direct) => None,
            Way::Jump(_) | Way::Via(Via::Eice | Via::Ssm) => Some(AddressKind::Private),
        })
    }

    /// Whether whoever connects is seen by the box at an address of their own.
    pub(crate) fn is_straight(&self) -> bool {
        matches!(self.way, Way::Unsaid | Way::Via(Via::Direct))
    }

    /// The flags that ask for the same address and way, as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
        let address = self.address.and_then(|kind| kind.to_possible_value()).map(|kind| ("--address", name(kind)));
        let way = match &self.way {
            Way::Unsaid => None,
            Way::Jump(Jump(hosts)) => Some(("--jump", hosts.clone())),
            Way::Via(via) => via.to_possible_value().map(|via| ("--via", name(via))),
        };
        address.into_iter().chain(way).flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// The way to a box of these names, where this is the one to boxes. A box that others are reached over is not reached
    /// over itself, but over those before it; the first of them straight, which is `straight`.
    pub(crate) fn to_box(&self, names: &[String], has_public: bool, straight: Way) -> Self {
        let Way::Jump(jump) = &self.way else { return self.clone() };
        let Some(at) = jump.position(names) else { return self.clone() };
        let way = jump.first(at).map_or(straight, Way::Jump);
        // The address that was asked for is one at the end of the way; at its beginning there is another.
        let address = match way {
            Way::Jump(_) => self.address,
            _ if has_public => self.address.map(|_| AddressKind::Public),
            _ => self.address,
        };
        Self { address, way, ..self.clone() }
    }

    /// The options of ssh that make it go this way: name and value.
    pub(crate) fn options(&self, id: &str, region: &str) -> Vec<(&'static str, String)> {
        match &self.way {
            Way::Unsaid => Vec::new(),
            // Said first, it keeps out both ProxyCommand and ProxyJump of files.
            Way::Via(Via::Direct) => vec![("ProxyCommand", "none".to_owned())],
            Way::Jump(Jump(hosts)) => vec![("ProxyJump", hosts.clone())],
            Way::Via(via) => {
                let words = std::iter::once(AWS.to_owned()).chain(self.aws_words(*via, id, region, "%p"));
                vec![("ProxyCommand", words.map(|word| for_shell(&word)).collect::<Vec<_>>().join(" "))]
            }
        }
    }

    /// The program whose input and output are a connection to the box's port; `None` where it is connected to straight.
    pub(crate) fn tunnel(&self, id: &str, region: &str, address: IpAddr, port: u16) -> Option<Command> {
        let (program, words): (_, Vec<OsString>) = match &self.way {
            Way::Unsaid | Way::Via(Via::Direct) => return None,
            Way::Jump(jump) => (super::PROGRAM, jump.tunnel(address, port)),
            Way::Via(via) => {
                (AWS, self.aws_words(*via, id, region, &port.to_string()).into_iter().map(OsString::from).collect())
            }
        };
        let mut command = Command::new(program);
        command.args(words);
        Some(command)
    }

    /// What the aws program is told: the tunnel, and in whose account the box is.
    fn aws_words(&self, via: Via, id: &str, region: &str, port: &str) -> Vec<String> {
        let profile = self.aws_profile.iter().flat_map(|profile| ["--profile".to_owned(), profile.clone()]);
        tunnel(via, id, region, port).into_iter().chain(profile).collect()
    }

    /// Looks whether the programs that hold the tunnel are there.
    pub(crate) fn check_programs(&self) -> Result<(), Refusal> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let missing = self.programs().into_iter().find(|program| !is_on(&path, program));
        let Some(program) = missing else { return Ok(()) };
        let refusal = Refusal::new(format!("this way needs the program {program}, which is not on the PATH"));
        Err(match program {
            AWS => refusal.hint("install the AWS CLI, version 2.12 or later: https://aws.amazon.com/cli/"),
            _ => refusal.hint(
                "install it: https://docs.aws.amazon.com/systems-manager/latest/userguide/\
                 session-manager-working-with-install-plugin.html",
            ),
        })
    }

    fn programs(&self) -> Vec<&'static str> {
        match self.way {
            Way::Via(Via::Eice) => vec![AWS],
            Way::Via(Via::Ssm) => vec![AWS, PLUGIN],
            _ => Vec::new(),
        }
    }
}

/// What the aws program is told of a tunnel.
/// <https://docs.aws.amazon.com/cli/latest/reference/ec2-instance-connect/open-tunnel.html>,
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-getting-started-enable-ssh-connections.html>
fn tunnel(via: Via, id: &str, region: &str, port: &str) -> Vec<String> {
    let parameters = format!("portNumber={port}");
    let words: &[&str] = match via {
        Via::Direct => &[],
        Via::Eice => &["ec2-instance-connect", "open-tunnel", "--instance-id", id, "--remote-port", port],
        Via::Ssm => &[
            "ssm",
            "start-session",
            "--target",
            id,
            "--document-name",
            "AWS-StartSSHSession",
            "--parameters",
            &parameters,
        ],
    };
    words.iter().chain(&["--region", region]).map(|word| (*word).to_owned()).collect()
}

/// A word of a ProxyCommand, which ssh gives to a shell after it has put in values for `%` and what follows it: ssh_config(5).
/// ssh's own `%p` at the end is left to it.
pub(crate) fn for_shell(word: &str) -> String {
    let (word, port) = word.strip_suffix("%p").map_or((word, ""), |word| (word, "%p"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.:,@+".contains(c);
    if word.chars().all(plain) && !(word.is_empty() && port.is_empty()) {
        return format!("{word}{port}");
    }
    shell_words::quote(word).replace('%', "%%") + port
}

fn is_on(path: &OsStr, program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::env::split_paths(path)
        .map(|folder: PathBuf| folder.join(program))
        .any(|file| file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
