//! What somebody would otherwise run: keymaker and the AWS command line, as they come from PyPI.
//!
//! Each is seen to do its work against moto before it is timed; one that fails ends the bench.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::machine::size_below;
use crate::cloud::Cloud;
use crate::scratch::Scratch;

/// Names the virtual environment that `tests/prepare bench` made.
const ENVIRONMENT: &str = "FLEETKEY_BENCH_VENV";

/// The programs, set up for one AWS account.
#[derive(Debug)]
pub(super) struct Rivals {
    environment: PathBuf,
    endpoint: String,
    folder: Scratch,
}

impl Rivals {
    /// The programs of the virtual environment, with the credentials of this account.
    pub(super) fn new(cloud: &Cloud) -> Result<Self> {
        let folder = Scratch::new()?;
        fs::write(folder.path().join("credentials"), cloud.credentials_file())?;
        let rivals = Self { environment: environment()?, endpoint: cloud.endpoint().to_owned(), folder };
        // What `keymaker install` writes to /usr/sbin.
        let script = format!("#!/bin/bash -e\n{} get_authorized_keys \"$@\"\n", rivals.program("keymaker")?.display());
        fs::write(rivals.keymaker_script(), script)?;
        fs::set_permissions(rivals.keymaker_script(), Permissions::from_mode(0o755))?;
        Ok(rivals)
    }

    /// keymaker's AuthorizedKeysCommand, asked for this person's keys.
    pub(super) fn keymaker(&self, person: &str) -> Command {
        let mut command = self.command(&self.keymaker_script());
        command.arg(person);
        command
    }

    /// The calls of one sync by the AWS command line: who is in the group, and all keys of the bucket into a folder.
    /// `copy` is `cp --recursive` for a folder that is empty, or `sync`, which fetches what has changed.
    pub(super) fn aws_sync(&self, group: &str, bucket: &str, copy: &str) -> Result<Command> {
        let aws = self.program("aws")?;
        let mut command = self.command(Path::new("/bin/sh"));
        command.args([
            "-euc",
            r#""$1" iam get-group --group-name "$2"; "$1" s3 $4 --quiet "s3://$3/people/" "$5""#,
            "sh",
        ]);
        command.arg(aws).args([group, bucket, copy]).arg(self.downloads());
        Ok(command)
    }

    /// The AWS command line.
    pub(super) fn aws(&self) -> Result<Command> {
        Ok(self.command(&self.program("aws")?))
    }

    /// Where [`Rivals::aws_sync`] puts the keys.
    pub(super) fn downloads(&self) -> PathBuf {
        self.folder.path().join("people")
    }

    fn keymaker_script(&self) -> PathBuf {
        self.folder.path().join("keymaker-get-public-keys")
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.environment.join("bin").join(name);
        ensure!(program.is_file(), "{} is missing; run `tests/prepare bench`", program.display());
        Ok(program)
    }

    /// In an environment that holds what these programs need, and nothing of the caller's.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path()).env("LANG", "C.UTF-8");
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_DEFAULT_REGION", Cloud::REGION);
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.folder.path().join("credentials")).env("AWS_PAGER", "");
        command
    }
}

/// The size of both with what they need beside Python, in mebibytes.
pub(super) fn installed_size() -> Result<f64> {
    let folder = environment()?;
    size_below(&folder.join("lib")).with_context(|| format!("cannot look through {}", folder.display()))
}

fn environment() -> Result<PathBuf> {
    let folder = std::env::var_os(ENVIRONMENT);
    folder.map(PathBuf::from).with_context(|| format!("{ENVIRONMENT} is not set; run `make bench`"))
}
