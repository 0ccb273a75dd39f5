//! The user-data of a box: a role, what was chosen, and how the agent is installed, as `#cloud-config`.

use fleetkey_common::aws_names::{AbsoluteName, Namespace};
use fleetkey_common::key_spec::KeySpec;
use fleetkey_common::registry::Registry;

use super::agent_config::agent_toml;
use super::cloud_config;
use super::encode::UserData;
use super::merge::merge;
use super::model::{Ephemeral, Role};
use super::node::{Key, Node, Place, Value};
use super::options::OptionValues;
use super::problem::{Problem, Problems, RoleError};
use super::template::{self, Context};
use super::volume::{Mount, Volume};
use super::words::{Arch, PackageFormat};

/// What a box is to be, beside its role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RenderInput<'a> {
    /// The full name of the box, such as `/prod/jenkins-master`.
    pub(crate) name: &'a AbsoluteName,
    /// The namespace that the command is about.
    pub(crate) namespace: &'a Namespace,
    /// The region of the box.
    pub(crate) region: &'a str,
    /// The architecture of the box.
    pub(crate) arch: Arch,
    /// What was chosen.
    pub(crate) options: &'a OptionValues,
    /// Who may log in to the admin account; no `__me__` among them any more.
    pub(crate) keys: &'a [KeySpec],
    /// How the agent is installed; `None` for a box without it.
    pub(crate) agent: Option<&'a AgentInstall>,
}

/// How the agent gets onto a box, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentInstall {
    /// Where the package is fetched, without credentials: a presigned URL.
    pub(crate) url: String,
    /// The SHA-256 of the package: 64 hex digits.
    pub(crate) sha256: String,
    /// The bucket of public keys.
    pub(crate) bucket: String,
    /// The topic of hints, by name.
    pub(crate) topic: String,
    /// The region of the box.
    pub(crate) region: String,
    /// One endpoint for all of AWS, where the operator's own configuration has one.
    pub(crate) endpoint_url: Option<String>,
    /// Where public keys are looked for.
    pub(crate) registries: Vec<Registry>,
}

impl AgentInstall {
    /// The registries unless something else is asked for.
    pub(crate) const REGISTRIES: [Registry; 2] = [Registry::S3, Registry::Ec2];
}

/// Where the agent's configuration is.
const AGENT_TOML: &str = "/etc/fleetkey/agent.toml";

/// On a box made from an image the agent is there before cloud-init has written the box's own configuration; with this
/// it waits for that, and never lets in whom another box let in. sshd waits for cloud-init anyway. Both names of
/// cloud-init's stage are given, the older and the newer.
const DROP_IN: &str = "/etc/systemd/system/fleetkey-agent.service.d/10-cloud-init.conf";
const DROP_IN_TEXT: &str = "[Unit]\nAfter=cloud-init.service cloud-init-network.service\n";

/// What cloud-init runs at every boot of a box, or of one that is made from its image.
/// <https://docs.cloud-init.io/en/latest/reference/modules.html#scripts-per-boot>
const PRINT_HOST_KEYS: &str = "/var/lib/cloud/scripts/per-boot/fleetkey-host-keys";

const HOST_KEYS: &str = include_str!("scripts/host-keys.sh");
const INSTALL_AGENT: &str = include_str!("scripts/install-agent.sh");
const EPHEMERAL_DISKS: &str = include_str!("scripts/ephemeral-disks.sh");
const MOUNT_VOLUMES: &str = include_str!("scripts/mount-volumes.sh");

/// The first of `bootcmd`. cloud-init makes one shell script of all entries and looks at the exit status of the whole, which
/// is that of its last line, a role's own: so it is told here what came of ours, whatever follows them.
/// <https://docs.cloud-init.io/en/latest/reference/modules.html#bootcmd>
const TELL_FAILURE: &str = "fleetkey_failed=; trap '[ -z \"$fleetkey_failed\" ] || exit 1' EXIT";

impl Role {
    /// The user-data that a box of this role boots with. Pure: the same input gives the same bytes.
    ///
    /// # Errors
    /// When the role is abstract, a template fails, or a value cannot stand where it belongs.
    pub(crate) fn render(&self, input: &RenderInput<'_>) -> Result<UserData, RoleError> {
        if self.abstract_ {
            return Err(RoleError::Abstract(self.name.clone()));
        }
        let (package, admin) = (self.package()?, self.admin()?);
        let context = Context {
            options: input.options,
            name: input.name.as_str(),
            namespace: input.namespace.as_str(),
            role: self.name.as_str(),
            region: input.region,
            arch: input.arch.as_str(),
            package: package.as_str(),
            admin_account: admin.as_str(),
        };
        let own = template::render(&self.cloud_config, &context)?;
        let maker = Maker { place: own.place.clone() };
        let mut config = join(cloud_config::base(&own.place), maker.host_keys())?;
        let ephemeral = self.ephemeral.as_ref().map(|ephemeral| maker.ephemeral(ephemeral));
        let disks: Vec<_> = ephemeral.into_iter().chain(maker.volumes(&self.volumes)).collect();
        if !disks.is_empty() {
            config = join(config, maker.map([("bootcmd", maker.list(vec![maker.text(TELL_FAILURE)]))]))?;
        }
        for disk in disks {
            config = join(config, disk)?;
        }
        if let Some(install) = input.agent.filter(|_| self.agent) {
            let toml = agent_toml(admin, input.keys, &self.accounts, install, self.autostop.as_ref())?;
            config = join(config, maker.agent(&toml, install, package)?)?;
        }
        // The role's own comes last: its lists behind ours, so that its commands find the agent in place. What it takes out
        // is its parents', and nothing of ours.
        let config = join(config, cloud_config::without_nulls(own))?;
        Ok(UserData { text: text(self, input, &config)? })
    }
}

fn join(base: Node, over: Node) -> Result<Node, RoleError> {
    merge(base, over).map_err(|problem| RoleError::Faulty(Problems(vec![problem])))
}

fn text(role: &Role, input: &RenderInput<'_>, config: &Node) -> Result<String, RoleError> {
    // No folding: a long command stays on its line, for people and for diffs.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: 1 << 20 };
    let yaml = serde_saphyr::to_string_with_options(config, options).map_err(|error| {
        let problem =
            Problem { place: config.place.clone(), message: format!("it cannot be written as YAML: {error}") };
        RoleError::Faulty(Problems(vec![problem]))
    })?;
    Ok(format!("#cloud-config\n# {}, role {}: made by fleetkey\n{yaml}", input.name, role.name))
}

/// Makes nodes, whose place is the role's `cloud_config` for want of a better one.
struct Maker {
    place: Place,
}

impl Maker {
    fn node(&self, value: Value) -> Node {
        Node { value, place: self.place.clone() }
    }

    fn text(&self, text: impl Into<String>) -> Node {
        self.node(Value::Text(text.into()))
    }

    fn list(&self, items: Vec<Node>) -> Node {
        self.node(Value::List(items))
    }

    fn map<const N: usize>(&self, entries: [(&str, Node); N]) -> Node {
        let key = |name: &str| Key { name: name.to_owned(), place: self.place.clone() };
        self.node(Value::Map(entries.into_iter().map(|(name, node)| (key(name), node)).collect()))
    }

    /// A file of root's.
    fn file(&self, path: &str, mode: &str, content: &str) -> Node {
        self.map([
            ("path", self.text(path)),
            ("owner", self.text("root:root")),
            ("permissions", self.text(mode)),
            ("content", self.text(content)),
        ])
    }

    /// The host keys on the console at every boot: the controller learns them there, and trusts no others.
    fn host_keys(&self) -> Node {
        let script = format!("#!/bin/sh\n{}", without_comments(HOST_KEYS));
        self.map([("write_files", self.list(vec![self.file(PRINT_HOST_KEYS, "0755", &script)]))])
    }

    /// The agent's configuration, before it is there, and its installation.
    fn agent(&self, toml: &str, install: &AgentInstall, package: PackageFormat) -> Result<Node, RoleError> {
        let files = vec![self.file(AGENT_TOML, "0644", toml), self.file(DROP_IN, "0644", DROP_IN_TEXT)];
        let script = format!(
            "fleetkey_url={}\nfleetkey_sha256={}\nfleetkey_format={package}\n{}",
            shell_words::quote(checked_url("the package's URL", &install.url)?),
            checked_sha256(&install.sha256)?,
            without_comments(INSTALL_AGENT),
        );
        if let Some(endpoint) = &install.endpoint_url {
            checked_url("the endpoint", endpoint)?;
        }
        Ok(self.map([("write_files", self.list(files)), ("runcmd", self.list(vec![self.text(script)]))]))
    }

    /// The disks that come with the instance, at every boot; what cloud-init itself would do with the first is off.
    fn ephemeral(&self, ephemeral: &Ephemeral) -> Node {
        let script = without_comments(EPHEMERAL_DISKS);
        let words = ["sh", "-c", &script, "fleetkey-ephemeral", &ephemeral.mount, ephemeral.file_system.as_str()];
        let folders = ephemeral.directories.iter().map(String::as_str);
        let command = self.noted(words.into_iter().chain(folders));
        let unmounted = self.list(vec![self.text("ephemeral0")]);
        self.map([("bootcmd", self.list(vec![command])), ("mounts", self.list(vec![unmounted]))])
    }

    /// A command of `bootcmd` whose failure is noted, for what stands first there to tell.
    fn noted<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Node {
        self.text(format!("{} || fleetkey_failed=1", shell_words::join(words)))
    }
}

impl Maker {
    /// The volumes that are mounted, at every boot, a folder before what is in it; `None` for none. Who owns one may be
    /// made by cloud-init after that, so that owners are seen to once more.
    fn volumes(&self, volumes: &[Volume]) -> Option<Node> {
        let mounted = volumes.iter().filter_map(|volume| Some((volume, volume.mount.as_ref()?)));
        let mut mounted: Vec<_> = mounted.collect();
        mounted.sort_by_key(|(_, mount)| &mount.folder);
        if mounted.is_empty() {
            return None;
        }
        let script = without_comments(MOUNT_VOLUMES);
        let mut words = vec!["sh", "-c", &script, "fleetkey-volumes"];
        let mut owners = Vec::new();
        for (volume, Mount { folder, file_system, owner }) in mounted {
            let content = if volume.used { "used" } else { "new" };
            let owned = owner.as_deref().unwrap_or("-");
            words.extend([&volume.name, &volume.device, folder, file_system.as_str(), owned, content]);
            if let Some(owner) = owner {
                owners.push(self.text(format!("! mountpoint -q {folder} || chown {owner} {folder}")));
            }
        }
        let mount = ("bootcmd", self.list(vec![self.noted(words)]));
        Some(if owners.is_empty() { self.map([mount]) } else { self.map([mount, ("runcmd", self.list(owners))]) })
    }
}

/// The script as boxes get it: comments are for those who read the source, and user-data is short.
fn without_comments(script: &str) -> String {
    let kept = script.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn checked_url<'a>(what: &'static str, url: &'a str) -> Result<&'a str, RoleError> {
    let refuse = |why| Err(RoleError::Value { what, value: url.to_owned(), why });
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return refuse("it begins with neither https:// nor http://");
    }
    if !url.chars().all(|c| c.is_ascii_graphic()) {
        return refuse("a URL has only printable ASCII characters, and no blank");
    }
    Ok(url)
}

fn checked_sha256(digest: &str) -> Result<String, RoleError> {
    match hex::decode(digest) {
        Ok(bytes) if bytes.len() == 32 => Ok(hex::encode(bytes)),
        _ => {
            let why = "a SHA-256 is 64 hex digits";
            Err(RoleError::Value { what: "the package's SHA-256", value: digest.to_owned(), why })
        }
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
