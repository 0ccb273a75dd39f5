//! A sandbox: a machine of its own as far as files, accounts and processes go, up in a tenth of a second.
//!
//! Its `/usr` and `/etc` are overlays over the host's, everything else is its own; what is changed inside never reaches
//! the host. When it is dropped, or this process dies, the kernel ends all its processes and with them its mounts.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::log::Log;
use crate::process::{Kept, WITHOUT_THE_CLOCK, bound, signal};
use crate::scratch::Scratch;

/// What process 1 of a sandbox runs.
const INIT: &str = include_str!("init.sh");

/// The environment of commands inside: nothing of the caller's.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("SHELL", "/bin/sh"),
];

/// Folders of a sandbox, and their modes. Mount points are among them.
const FOLDERS: [(&str, u32); 19] = [
    ("", 0o755),
    (".host", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o2775),
    ("var/tmp", 0o1777),
];

/// How a sandbox is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    own_network: bool,
    in_memory: bool,
    programs: Vec<(PathBuf, String)>,
}

impl Options {
    /// A network of its own, with nothing but a loopback, in place of the host's.
    #[must_use]
    pub fn own_network(mut self) -> Self {
        self.own_network = true;
        self
    }

    /// Its files in memory, with which a full disk is easily played and durability is not.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Puts a program of the host at a path inside, read-only.
    #[must_use]
    pub fn program(mut self, host: impl Into<PathBuf>, inside: &str) -> Self {
        self.programs.push((host.into(), inside.to_owned()));
        self
    }

    /// Starts the sandbox.
    pub fn start(self) -> Result<Sandbox> {
        Sandbox::with(&self)
    }
}

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    outer: Kept,
    /// Process 1 of the sandbox, by the host's count.
    init: u32,
    own_network: bool,
    /// Dropped last: nothing runs in it any more.
    scratch: Scratch,
}

impl Sandbox {
    /// A sandbox with the agent at `/usr/bin/fleetkey-agent`.
    pub fn new() -> Result<Self> {
        Self::options().program(crate::program("fleetkey-agent"), "/usr/bin/fleetkey-agent").start()
    }

    /// A sandbox with nothing but the host's programs, to be started by [`Options::start`].
    pub fn options() -> Options {
        Options::default()
    }

    fn with(options: &Options) -> Result<Self> {
        ensure!(geteuid().is_root(), "this test makes namespaces and accounts, and needs root: run it with sudo");
        let scratch = Scratch::new()?;
        let folder = scratch.path();
        lay_out(folder)?;
        let log = Log::new()?;
        let mut command = bound("unshare");
        command.args(["--mount", "--pid", "--uts", "--fork", "--kill-child=KILL"]);
        if options.own_network {
            command.arg("--net");
        }
        command.args(["--", "sh", "-c", INIT, "sandbox"]).arg(folder);
        command.arg(if options.in_memory { "memory" } else { "disk" });
        command.arg(if options.own_network { "own" } else { "shared" });
        for (host, inside) in &options.programs {
            command.arg(host).arg(inside);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.writer()?);
        let mut outer = Kept::start("a sandbox", command)?;
        let stdout = outer.child_mut().stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(init) = line.trim().parse() else {
            bail!("cannot make a sandbox: {}", log.text()?);
        };
        Ok(Self { outer, init, own_network: options.own_network, scratch })
    }

    /// A command that runs `program` inside as root, in an environment of its own. It has the exit status of the
    /// program, and the program ends when the command is killed.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.enter(&["--mount", "--pid", "--uts", "--root", "--wd"]);
        command.args(["setpriv", "--pdeathsig", "KILL"]).args(WITHOUT_THE_CLOCK).arg("--").arg(program);
        command.env_clear().envs(ENVIRONMENT);
        command
    }

    /// A command of the host that sees the sandbox's network, and nothing else of it.
    pub fn host_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.enter(&[]);
        command.arg(program);
        command
    }

    fn enter(&self, namespaces: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/nsenter");
        command.arg(format!("--target={}", self.init)).args(namespaces);
        if self.own_network {
            command.arg("--net");
        }
        command.arg("--");
        command
    }

    /// The same as [`Sandbox::command`], for an async caller; killed when dropped.
    pub fn tokio_command(&self, program: impl AsRef<OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::from(self.command(program));
        command.kill_on_drop(true);
        command
    }

    /// Runs a command inside to its end and returns what it wrote to stdout.
    ///
    /// # Errors
    /// When it fails; the message holds what it wrote to stderr.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program).args(arguments).stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?} in the sandbox: {}: {stderr}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes an account with a home folder and no password, which sshd lets in by key.
    pub fn add_account(&self, name: &str) -> Result<()> {
        self.run("useradd", &["--create-home", "--shell", "/bin/sh", "--password", "*", name]).map(drop)
    }

    /// Where the host finds an absolute path of the sandbox. Absolute symbolic links on the way would lead out of it.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new("/proc").join(self.init.to_string()).join("root").join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// A file of the sandbox, as text.
    pub fn read(&self, inside: impl AsRef<Path>) -> Result<String> {
        let inside = inside.as_ref();
        fs::read_to_string(self.path(inside))
            .with_context(|| format!("cannot read {} of the sandbox", inside.display()))
    }

    /// Writes a file of the sandbox as root, with mode 0644 if it is new, and makes the folders above it.
    pub fn write(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        let inside = inside.as_ref();
        let path = self.path(inside);
        let folder = path.parent().with_context(|| format!("{} is no file", inside.display()))?;
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, content));
        written.with_context(|| format!("cannot write {} of the sandbox", inside.display()))
    }

    /// Process 1 of the sandbox, by the host's count.
    pub fn init_pid(&self) -> u32 {
        self.init
    }

    /// A folder of the host that is gone with the sandbox.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

/// Makes the folders that the sandbox's root consists of, below `box`.
fn lay_out(folder: &Path) -> Result<()> {
    fs::create_dir(folder.join("memory"))?;
    let root = folder.join("box").join("root");
    for (name, mode) in FOLDERS {
        make_folder(&root.join(name), mode)?;
    }
    for tree in ["usr", "etc"] {
        // The upper folder's mode is that of the merged tree.
        make_folder(&folder.join("box").join(tree).join("upper"), 0o755)?;
        make_folder(&folder.join("box").join(tree).join("work"), 0o755)?;
    }
    symlink("../run", root.join("var/run"))?;
    for name in ["bin", "lib", "lib32", "lib64", "libx32", "sbin"] {
        match fs::read_link(Path::new("/").join(name)) {
            Ok(target) => symlink(target, root.join(name))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("/{name} is no link into /usr on this host")),
        }
    }
    // Two boxes are two machines.
    fs::write(folder.join("box/etc/upper/machine-id"), format!("{:032x}\n", fastrand::u128(..)))?;
    fs::write(folder.join("box/etc/upper/hostname"), "fleetkey-box\n")?;
    Ok(())
}

/// Makes a folder of exactly this mode, whatever the umask is.
fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let outcome = fs::create_dir_all(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)));
    outcome.with_context(|| format!("cannot make {}", path.display()))
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The end of process 1 is the end of all in its pid namespace, and `unshare` ends after the last of them.
        // As long as `unshare` runs, the id of process 1 can have gone to nobody else.
        if matches!(self.outer.ended(), Ok(None)) && signal(self.init, Signal::SIGKILL).is_ok() {
            let _ = self.outer.wait(Duration::from_secs(10));
        }
    }
}
