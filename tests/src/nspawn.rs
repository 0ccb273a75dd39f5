//! Boxes with a real systemd: Debian, booted by systemd-nspawn in under two seconds, with its own init, journal and sshd.
//!
//! A box shares nothing with the machine but the kernel: its network is its own loopback, what it writes is gone with
//! it, and it ends when its [`SystemdBox`] is dropped or when the process that holds it dies in whatever way. Needs
//! root, and the packages that `make deps` installs. `tests/box` does the work; nothing here ends a process but that.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::in_box::{InBox, text};
use crate::process::{WITHOUT_THE_CLOCK, let_end};

/// How long a box may take to come up, and to go: two seconds when the machine is idle.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a box is to hold when it boots.
#[derive(Debug)]
pub struct Builder {
    layer: TempDir,
    root: &'static Path,
    options: Vec<String>,
}

impl Builder {
    /// Puts a file of root's at `path` (absolute) in the box, with `mode`; folders are made with mode 0755.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        let target = self.layer.path().join(path.trim_start_matches('/'));
        let folder = target.parent().expect("a path in the box has a parent");
        fs::create_dir_all(folder).expect("folders of the box's layer can be made");
        fs::write(&target, content).expect("files of the box's layer can be written");
        set_mode(&target, mode);
        self
    }

    /// Lets the box see one of the project's programs, as built, at `/usr/bin/<name>`, read-only.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        let built = crate::program(name);
        self.options.push(format!("--bind-ro={}:/usr/bin/{name}", built.display()));
        self
    }

    /// Starts a unit of the box with every boot, before logins: a line in `multi-user.target.wants`.
    #[must_use]
    pub fn enable(self, unit: &str) -> Self {
        let wants = self.layer.path().join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants).expect("folders of the box's layer can be made");
        std::os::unix::fs::symlink(format!("/etc/systemd/system/{unit}"), wants.join(unit))
            .expect("a unit is enabled once");
        self
    }

    /// Boots the box and waits until its systemd has started all that it means to.
    ///
    /// # Panics
    /// When this is not run by root, when a package is missing, and when the box does not come up; with its console.
    pub fn boot(self) -> SystemdBox {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("box-{}-{number}", std::process::id());
        let layers = format!("{}:{}", self.layer.path().display(), self.root.display());
        let console = TempDir::new().expect("a temporary folder can be made");
        let mut keeper = Command::new(script("box"))
            .args([name.as_str(), layers.as_str()])
            .arg(console.path().join("console"))
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/box can be run");
        let alive = keeper.stdin.take();
        let mut line = String::new();
        let output = keeper.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("tests/box speaks UTF-8");
        let mut booted = SystemdBox { keeper, alive, init: 0, console, _layer: self.layer };
        booted.init = line.trim().parse().unwrap_or_else(|_| panic!("no box came up:\n{}", booted.console()));
        booted.wait_for("the box to boot", |booted| {
            let state = booted.command("systemctl").arg("is-system-running").output().expect("nsenter can be run");
            ["running", "degraded"].contains(&text(&state.stdout).trim())
        });
        booted
    }
}

/// A box that is up. Ends when dropped.
#[derive(Debug)]
pub struct SystemdBox {
    keeper: Child,
    /// Held open for as long as the box is wanted; see `tests/box`.
    alive: Option<ChildStdin>,
    init: u32,
    console: TempDir,
    _layer: TempDir,
}

impl SystemdBox {
    /// A box with nothing but Debian in it, to add to.
    ///
    /// # Panics
    /// When this is not run by root.
    pub fn builder() -> Builder {
        assert!(nix::unistd::geteuid().is_root(), "boxes need root: run `make test`, which uses sudo where it must");
        let layer = TempDir::new().expect("a temporary folder can be made");
        // The layer's top folder is the box's `/`.
        set_mode(layer.path(), 0o755);
        Builder { layer, root: root_file_system(), options: Vec::new() }
    }

    /// A box like a machine image: with cloud-init, curl, wget and Python. cloud-init does nothing by itself in it.
    ///
    /// # Panics
    /// When this is not run by root.
    pub fn cloud_builder() -> Builder {
        let builder = Builder { root: cloud_root_file_system(), ..Self::builder() };
        // It would look for an instance that the box is not.
        builder.file("/etc/cloud/cloud-init.disabled", 0o644, "")
    }

    /// The process id, on this machine, of the box's init.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Whether the box has gone down, by itself or otherwise.
    pub fn has_ended(&self) -> bool {
        !Path::new("/proc").join(self.init.to_string()).exists()
    }

    /// Writes a file of the box, as an administrator would: a new file is root's, with mode 0644.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, content.as_ref()));
        written.unwrap_or_else(|error| panic!("cannot write the box's {inside}: {error}"));
    }
}

impl InBox for SystemdBox {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(WITHOUT_THE_CLOCK).args(["--", "nsenter"]);
        let clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"];
        command.arg(format!("--target={}", self.init)).args(["--all", "--root", "--wd=/", "--"]);
        command.args(clean).arg(program).stdin(Stdio::null());
        command
    }

    fn path(&self, inside: &str) -> PathBuf {
        Path::new("/proc").join(self.init.to_string()).join("root").join(inside.trim_start_matches('/'))
    }

    fn console(&self) -> String {
        fs::read(self.console.path().join("console")).map(|bytes| text(&bytes)).unwrap_or_default()
    }
}

impl Drop for SystemdBox {
    fn drop(&mut self) {
        drop(self.alive.take());
        let_end(&mut self.keeper, PATIENCE);
    }
}

/// The root file system that boxes boot from; made by the first who asks, which takes half a minute.
///
/// # Panics
/// When it cannot be made.
pub fn root_file_system() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| made("box"))
}

/// The same with what a machine image has.
///
/// # Panics
/// When it cannot be made.
pub fn cloud_root_file_system() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| made("cloud"))
}

/// One that never boots, with what makes content of any kind on a disk.
///
/// # Panics
/// When it cannot be made.
pub fn disk_root_file_system() -> PathBuf {
    made("disks")
}

fn made(flavour: &str) -> PathBuf {
    let mut command = Command::new(script("rootfs"));
    let output = command.arg(flavour).stderr(Stdio::inherit()).output().expect("tests/rootfs can be run");
    assert!(output.status.success(), "no root file system: see what tests/rootfs says above");
    PathBuf::from(text(&output.stdout).trim())
}

/// One of the shell programs beside this crate's `Cargo.toml`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode of one's own file can be set");
}
