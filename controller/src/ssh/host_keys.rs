//! How the host keys of a box are learned: from its console, which EC2 shows to whoever may ask for it, or from the
//! operator's own hand. Never from the box's own answer on the network alone.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;

use anyhow::Context as _;
use fleetkey_common::public_key::{Fingerprint, PublicKey};
use jiff::{SignedDuration, Timestamp};
use tokio::process::Command;

use super::command::{Ssh, not_installed};
use super::console::{self, Reading};
use super::known_hosts::{Kept, KnownHosts, start};
use crate::aws::CallError;
use crate::aws::console::{When, output};
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::refusal::Refusal;
use crate::wait::{Look, WaitError, Waiter};

/// How long after its launch a box has surely printed its keys, or EC2 posted what it printed.
const SETTLED: SignedDuration = SignedDuration::from_mins(30);

/// The host keys of a box: one at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostKeys(BTreeSet<PublicKey>);

impl HostKeys {
    /// These keys; `None` if there are none.
    pub(crate) fn new(keys: impl IntoIterator<Item = PublicKey>) -> Option<Self> {
        let keys: BTreeSet<_> = keys.into_iter().collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter()
    }
}

/// `ED25519 SHA256:...` and the like, by which people compare keys.
impl fmt::Display for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.iter().map(|key| format!("{} {}", key.algorithm(), key.fingerprint()));
        f.write_str(&keys.collect::<Vec<_>>().join(", "))
    }
}

/// Learns the host keys of a box and keeps them.
///
/// Those that are kept already count. They are held against the console once after each start of the box; a box of
/// which none are kept is waited for until its console shows some.
pub(crate) async fn learn(fleet: &Fleet, waiter: &Waiter, instance: &Instance) -> anyhow::Result<HostKeys> {
    let id = &instance.id;
    let hosts = KnownHosts::open(&fleet.region)?;
    let kept = hosts.find(id)?;
    match &kept {
        Some(kept) if kept.is_reached(instance) => return Ok(kept.keys.clone()),
        Some(kept) => match look(fleet, id).await {
            Ok(found) => confirm(kept, found, id, &hosts.file(id)?)?,
            // ssh itself holds the box to the keys that are kept; this look would only have told more.
            Err(error) => tracing::warn!("the console of box {id} is not looked at: {error}"),
        },
        None => {}
    }
    if let Some(kept) = kept {
        return Ok(kept.keys);
    }
    let settled = instance.launched.is_some_and(|launch| Timestamp::now().duration_since(launch) > SETTLED);
    let what = format!("box {id} has its host keys on its console");
    let keys = waiter.wait(&what, async || {
        let found = look(fleet, id).await.map_err(|error| {
            let refusal = Refusal::new(format!("the host keys of box {id} cannot be learned"));
            let refusal = refusal.hint_permissions([&error]).hint(by_hand_hint());
            anyhow::Error::from(error).context(refusal)
        })?;
        match found {
            Reading::Keys(keys) => Ok(Look::Done(keys)),
            Reading::NotYet if !settled => Ok(Look::NotYet("none there yet".to_owned())),
            Reading::NotYet | Reading::Never => Err(none_there(id).into()),
            Reading::Contradiction => Err(contradiction(id).into()),
        }
    });
    let keys = keys.await.map_err(|error| match error {
        error @ WaitError::TimedOut { .. } => anyhow::Error::from(error).context(none_there(id)),
        error => error.into_anyhow(),
    })?;
    hosts.keep(id, &Kept { keys: keys.clone(), reached: None })?;
    Ok(keys)
}

/// Learns the host keys of a box that is not waited for: those that are kept, or that its console shows now. `None`
/// where there are none to be had.
pub(crate) async fn learn_now(fleet: &Fleet, instance: &Instance) -> anyhow::Result<Option<HostKeys>> {
    let (id, hosts) = (&instance.id, KnownHosts::open(&fleet.region)?);
    if let Some(kept) = hosts.find(id)? {
        return Ok(Some(kept.keys));
    }
    match look(fleet, id).await? {
        Reading::Keys(keys) => {
            hosts.keep(id, &Kept { keys: keys.clone(), reached: None })?;
            Ok(Some(keys))
        }
        Reading::NotYet | Reading::Never | Reading::Contradiction => Ok(None),
    }
}

/// Whether a server with one of the kept keys answered since the box was started.
pub(crate) fn is_reached(fleet: &Fleet, instance: &Instance) -> anyhow::Result<bool> {
    let kept = KnownHosts::open(&fleet.region)?.find(&instance.id)?;
    Ok(kept.is_some_and(|kept| kept.is_reached(instance)))
}

/// Notes that a server with one of the kept keys answered since the box was started, so that the next command does
/// not look again.
pub(crate) fn reached(fleet: &Fleet, instance: &Instance) -> anyhow::Result<()> {
    let hosts = KnownHosts::open(&fleet.region)?;
    if let Some(kept) = hosts.find(&instance.id)?
        && !kept.is_reached(instance)
    {
        hosts.keep(&instance.id, &Kept { reached: Some(start(instance)), ..kept })?;
    }
    Ok(())
}

/// Notes that the box starts anew or stops, so that the next command waits for it again. EC2 does not tell of a reboot.
pub(crate) fn left(fleet: &Fleet, id: &str) -> anyhow::Result<()> {
    let hosts = KnownHosts::open(&fleet.region)?;
    if let Some(kept) = hosts.find(id)?.filter(|kept| kept.reached.is_some()) {
        hosts.keep(id, &Kept { reached: None, ..kept })?;
    }
    Ok(())
}

/// What the console says now, and where that has nothing, what EC2 kept of it from the boot.
async fn look(fleet: &Fleet, id: &str) -> Result<Reading, CallError> {
    let now = output(&fleet.ec2, id, When::Now).await?;
    match console::read([now.as_slice()]) {
        Reading::NotYet | Reading::Never => {
            let posted = output(&fleet.ec2, id, When::Posted).await?;
            Ok(console::read([now.as_slice(), posted.as_slice()]))
        }
        found => Ok(found),
    }
}

/// Holds kept keys against the console of a box that was launched since. Each may know some that the other does not.
fn confirm(kept: &Kept, found: Reading, id: &str, file: &Path) -> Result<(), Refusal> {
    match found {
        Reading::NotYet | Reading::Never => Ok(()),
        Reading::Contradiction => Err(contradiction(id)),
        Reading::Keys(HostKeys(now)) if now.is_subset(&kept.keys.0) || now.is_superset(&kept.keys.0) => Ok(()),
        Reading::Keys(now) => Err(changed(id, file).hint(format!("kept: {}; printed: {now}", kept.keys))),
    }
}

/// The box has another host key than the one that is kept of it.
pub(crate) fn changed(id: &str, file: &Path) -> Refusal {
    Refusal::new(format!("the host key of box {id} has changed: this may be another machine, or somebody in between"))
        .hint("nobody was logged in; ask whoever runs the box whether its host keys were made anew, and why")
        .hint(format!(
            "if so, give the new one with --host-key, or remove {} to have it taken from the console",
            file.display()
        ))
}

fn contradiction(id: &str) -> Refusal {
    Refusal::new(format!("the console of box {id} shows different host keys, so that none is believed"))
        .hint("something on the box printed keys that are not the box's, or its keys were made anew")
        .hint(by_hand_hint())
}

fn none_there(id: &str) -> Refusal {
    Refusal::new(format!("the console of box {id} shows no host keys, and no others are trusted"))
        .hint("a box prints them at the end of each boot, one that Fleetkey did not make at that of its first alone")
        .hint(by_hand_hint())
}

fn by_hand_hint() -> &'static str {
    "--host-key takes one from a trusted source: its SHA256:... fingerprint, or a file such as a copy of the box's \
     /etc/ssh/ssh_host_ed25519_key.pub"
}

/// A host key as an operator gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// The key itself is then asked of the box, and must fit.
    Fingerprint(Fingerprint),
    /// A file of public keys, a line each.
    File(PathBuf),
}

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Given::File(text.into()), Given::Fingerprint))
    }
}

/// Keeps what the operator says is the host key of a box, in place of what was kept.
pub(crate) async fn take(fleet: &Fleet, ssh: &Ssh, given: &Given) -> anyhow::Result<HostKeys> {
    let keys = match given {
        Given::File(path) => {
            let text = tokio::fs::read_to_string(path).await;
            let text = text.with_context(|| Refusal::new(format!("cannot read the host key {}", path.display())))?;
            from_file(&text, path)?
        }
        Given::Fingerprint(fingerprint) => offered(ssh, *fingerprint).await?,
    };
    KnownHosts::open(&fleet.region)?.keep(ssh.id(), &Kept { keys: keys.clone(), reached: None })?;
    Ok(keys)
}

fn from_file(text: &str, path: &Path) -> Result<HostKeys, Refusal> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<PublicKey>, _> = lines.map(str::parse).collect();
    let keys = keys.map_err(|error| Refusal::new(format!("{} holds no host key: {error}", path.display())))?;
    HostKeys::new(keys).ok_or_else(|| Refusal::new(format!("{} holds no host key", path.display())))
}

/// Asks the box for its keys and takes the one that has this fingerprint.
async fn offered(ssh: &Ssh, fingerprint: Fingerprint) -> anyhow::Result<HostKeys> {
    const PROGRAM: &str = "ssh-keyscan";
    if !ssh.is_straight() {
        let refusal =
            Refusal::new(format!("{PROGRAM} asks for host keys, and has no other way to a box than straight"));
        return Err(refusal.hint("give the host key in a file").into());
    }
    let mut command = Command::new(PROGRAM);
    command.args(["-T", "10"]).args(ssh.port()).arg(ssh.address().to_string()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| not_installed(PROGRAM, error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let keys: Vec<PublicKey> = lines.filter_map(|(_, key)| key.parse().ok()).collect();
    if let Some(key) = keys.iter().find(|key| key.fingerprint() == fingerprint) {
        return HostKeys::new([key.clone()]).context("a key is a key");
    }
    let refusal = Refusal::new(match HostKeys::new(keys) {
        None => format!("box {} does not answer at {} with its host keys", ssh.id(), ssh.address()),
        Some(keys) => format!("box {} does not have the host key {fingerprint}; it has {keys}", ssh.id()),
    });
    Err(refusal.hint("where there is no direct way to the box, give the key in a file").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFToVL5pbHpyW9yWPPUjqqONo1PxR7VwgQN3R8YnRmpL";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGH5fGgBdTgC1nD8E/TekwJAet/K4f1f8DiBiQ4NYry/";
    const ID: &str = "i-0123456789abcdef0";

    fn keys(lines: &[&str]) -> HostKeys {
        HostKeys::new(lines.iter().map(|line| line.parse().unwrap())).unwrap()
    }

    #[test]
    fn fault_15_kept_keys_that_the_console_contradicts_are_refused() {
        let kept = Kept { keys: keys(&[ED25519]), reached: None };
        let confirm = |found| confirm(&kept, found, ID, Path::new("/known"));
        confirm(Reading::NotYet).unwrap();
        confirm(Reading::Never).unwrap();
        confirm(Reading::Keys(keys(&[ED25519]))).unwrap();
        confirm(Reading::Keys(keys(&[ED25519, OTHER]))).unwrap();
        let error = confirm(Reading::Keys(keys(&[OTHER]))).unwrap_err().to_string();
        assert!(error.starts_with("the host key of box i-0123456789abcdef0 has changed"), "{error}");
        confirm(Reading::Contradiction).unwrap_err();
        let kept = Kept { keys: keys(&[ED25519, OTHER]), reached: None };
        super::confirm(&kept, Reading::Keys(keys(&[OTHER])), ID, Path::new("/known")).unwrap();
    }

    #[test]
    fn a_host_key_given_by_hand_is_a_fingerprint_or_a_file() {
        let key: PublicKey = ED25519.parse().unwrap();
        let given = |text: &str| text.parse::<Given>().unwrap();
        assert_eq!(given(&key.fingerprint().to_string()), Given::Fingerprint(key.fingerprint()));
        assert_eq!(given("SHA256"), Given::File("SHA256".into()));
        let read = |text: &str| from_file(text, Path::new("f")).map_err(|error| error.to_string());
        assert_eq!(read(&format!("# box\n\n{ED25519} root@box\n{OTHER}\n")).unwrap(), keys(&[ED25519, OTHER]));
        assert_eq!(read("").unwrap_err(), "f holds no host key");
        assert!(read(&format!("{ED25519}\n10.0.0.1 {OTHER}\n")).is_err());
    }
}
