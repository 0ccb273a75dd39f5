//! Packages, made by `packaging/build` as `make packages` makes them, but of any programs: those that the tests run, or
//! a stand-in where only the package itself matters.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::program;
use crate::scratch::Scratch;

/// The agent's packages for this machine's architecture. Gone when dropped.
#[derive(Debug)]
pub struct Packages {
    folder: Scratch,
}

impl Packages {
    /// Those of the agent as built, made by the first who asks. They are swept up by the next run, as this process ends
    /// without dropping them.
    pub fn built() -> Result<&'static Self> {
        static BUILT: OnceLock<Result<Packages, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::of(&program("fleetkey-agent")).map_err(|error| format!("{error:#}")));
        built.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Those with this program in the agent's place.
    pub fn of(agent: &Path) -> Result<Self> {
        let (folder, programs) = Self::programs(agent)?;
        build(&programs, &folder.path().join("packages"), std::env::consts::ARCH)?;
        Ok(Self { folder })
    }

    /// Those of a program that does nothing: quickly made.
    pub fn stand_in() -> Result<Self> {
        let (folder, programs) = Self::programs(Path::new("/bin/true"))?;
        let says = stand_in_sayer(folder.path())?;
        build_saying(&programs, &folder.path().join("packages"), std::env::consts::ARCH, &says)?;
        Ok(Self { folder })
    }

    /// A folder, and in it one of programs with this agent.
    fn programs(agent: &Path) -> Result<(Scratch, PathBuf)> {
        let folder = Scratch::new()?;
        let programs = folder.path().join("programs");
        fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(agent, programs.join("fleetkey-agent"))?;
        Ok((folder, programs))
    }

    /// The Debian package.
    pub fn deb(&self) -> Result<PathBuf> {
        self.find("deb")
    }

    /// The RPM.
    pub fn rpm(&self) -> Result<PathBuf> {
        self.find("rpm")
    }

    /// The Debian package with its control file and what is in it changed by a line of shell, which is run in its
    /// unpacked tree; control files are in `DEBIAN`.
    pub fn deb_changed(&self, name: &str, change: &str) -> Result<PathBuf> {
        let (tree, changed) = (self.folder.path().join(name), self.folder.path().join(format!("{name}.deb")));
        let script = format!(
            "dpkg-deb --raw-extract \"$1\" \"$2\"; (cd \"$2\"; {change}); \
            dpkg-deb --root-owner-group --uniform-compression -Zgzip -z1 --build \"$2\" \"$3\" >/dev/null"
        );
        let mut command = Command::new("sh");
        command.args(["-ec", &script, "sh"]).arg(self.deb()?).arg(&tree).arg(&changed);
        run(command)?;
        fs::remove_dir_all(tree)?;
        Ok(changed)
    }

    fn find(&self, extension: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join("packages");
        let mut found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let found = found.find(|path| path.extension().is_some_and(|found| found == extension));
        found.with_context(|| format!("packaging/build made no .{extension}"))
    }
}

/// What says a manual page and completions in place of fleetkey, and of the agent beside it: its path, in a new folder in
/// this one.
pub fn stand_in_sayer(folder: &Path) -> Result<PathBuf> {
    let folder = folder.join("says");
    fs::create_dir(&folder)?;
    for (program, section) in [("fleetkey", 1), ("fleetkey-agent", 8)] {
        let page = format!(".TH {program} {section}\\n.SH NAME\\n{program} \\\\- a stand-in\\n");
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = man ]; then printf '{page}' >\"$2/{program}.{section}\"; else echo for \"$2\"; fi\n"
        );
        let path = folder.join(program);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder.join("fleetkey"))
}

/// Runs `packaging/build` and says what it printed.
pub fn build(programs: &Path, output: &Path, arch: &str) -> Result<String> {
    run(builder(programs, output, arch))
}

/// The same with this program, in place of fleetkey's own, for what fleetkey says, manual pages and completions, and with
/// the agent beside it for the agent's.
pub fn build_saying(programs: &Path, output: &Path, arch: &str, says: &Path) -> Result<String> {
    let mut command = builder(programs, output, arch);
    command.arg(format!("says={}", says.display()));
    run(command)
}

fn builder(programs: &Path, output: &Path, arch: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/build"));
    command.arg(programs).arg(output).arg(arch);
    command
}

fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
