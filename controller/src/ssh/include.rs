//! Fleetkey's part of the operator's `~/.ssh/config`: files of its own, and one line that includes them.
//!
//! Nothing else in that file is changed, byte for byte, and no file is replaced that is a link or somebody else's. Each
//! is written aside and renamed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::hosts::names_in;
use crate::refusal::Refusal;

/// The folder of Fleetkey's files below that of programs' configuration.
const FOLDER: &str = "fleetkey/ssh_config.d";

/// How Fleetkey's files end.
const SUFFIX: &str = ".conf";

/// Where the operator's files are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `~/.ssh/config`.
    config: PathBuf,
    /// The folder of Fleetkey's own files.
    folder: PathBuf,
    /// The line that includes them.
    line: String,
}

/// A change to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// What is done: `write`, `remove`.
    pub(crate) action: &'static str,
    /// To which file.
    pub(crate) file: PathBuf,
    #[serde(skip)]
    bytes: Option<Vec<u8>>,
    #[serde(skip)]
    mode: u32,
}

impl Place {
    /// That of the caller.
    pub(crate) fn find() -> Result<Self, Refusal> {
        let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
        let home = std::env::home_dir().and_then(absolute);
        let home = home.ok_or_else(|| Refusal::new("there is no home folder with an ssh configuration; set HOME"))?;
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).and_then(absolute);
        Self::of(&home, &config.unwrap_or_else(|| home.join(".config")))
    }

    fn of(home: &Path, config: &Path) -> Result<Self, Refusal> {
        let folder = config.join(FOLDER);
        // Within the quotation marks, ssh still takes these for a pattern, for values or for the end.
        let plain = folder.to_str().filter(|path| !path.contains(['"', '\\', '$', '%', '*', '?', '[', '\n', '\r']));
        let plain = plain.ok_or_else(|| {
            Refusal::new(format!("ssh cannot be told to include files of {}", folder.display()))
                .hint("set XDG_CONFIG_HOME to a folder with a plain path, or print the blocks without --install")
        })?;
        let line = format!("Include \"{plain}/*{SUFFIX}\"\n");
        Ok(Self { config: home.join(".ssh/config"), folder, line })
    }

    /// The file of Fleetkey's with this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    /// The names of hosts in Fleetkey's files but this one, each with the id of its box.
    pub(crate) fn taken(&self, but: &Path) -> anyhow::Result<BTreeMap<String, String>> {
        let mut names = BTreeMap::new();
        for file in self.files()?.into_iter().filter(|file| file != but) {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            names.extend(names_in(&text));
        }
        Ok(names)
    }

    /// What makes this file of Fleetkey's say this, and ssh read it.
    pub(crate) fn install(&self, file: &Path, text: &str) -> anyhow::Result<Vec<Step>> {
        let (config, mode) = self.read_config()?;
        let with_line = with_line(&config, self.line.as_bytes());
        let there = own(file)?.map(|_| fs::read(file)).transpose();
        let there = there.with_context(|| format!("cannot read {}", file.display()))?;
        let write =
            |file: &Path, bytes: Vec<u8>, mode| Step { action: "write", file: file.into(), bytes: Some(bytes), mode };
        let own = (there.as_deref() != Some(text.as_bytes())).then(|| write(file, text.into(), 0o600));
        Ok(own.into_iter().chain(with_line.map(|bytes| write(&self.config, bytes, mode))).collect())
    }

    /// What takes all of Fleetkey's out again.
    pub(crate) fn uninstall(&self) -> anyhow::Result<Vec<Step>> {
        let (config, mode) = self.read_config()?;
        let without = without_line(&config, self.line.as_bytes());
        let line = without.map(|bytes| Step { action: "write", file: self.config.clone(), bytes: Some(bytes), mode });
        let remove = |file| Step { action: "remove", file, bytes: None, mode };
        Ok(line.into_iter().chain(self.files()?.into_iter().map(remove)).collect())
    }

    /// The bytes of `~/.ssh/config` and its mode; nothing where there is none.
    fn read_config(&self) -> anyhow::Result<(Vec<u8>, u32)> {
        let by_hand = |refusal: Refusal| {
            let line = self.line.trim_end();
            refusal.hint(format!("to have it read all the same, put this line at its top by hand: {line}"))
        };
        match own(&self.config).map_err(by_hand)? {
            Some(found) => {
                let bytes = fs::read(&self.config).with_context(|| format!("cannot read {}", self.config.display()))?;
                Ok((bytes, found.mode() & 0o7777))
            }
            None => Ok((Vec::new(), 0o600)),
        }
    }

    /// Fleetkey's files.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let told = || format!("cannot read {}", self.folder.display());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(told)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.with_context(told)?.path();
            if path.to_str().is_some_and(|path| path.ends_with(SUFFIX)) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

impl Step {
    /// Does it.
    pub(crate) fn carry_out(&self) -> anyhow::Result<()> {
        let done = match &self.bytes {
            Some(bytes) => replace(&self.file, bytes, self.mode),
            None => fs::remove_file(&self.file),
        };
        done.with_context(|| format!("cannot {} {}", self.action, self.file.display()))
    }
}

/// What there is of a file that is the caller's own; `None` if there is none. A link, or a file of somebody else, is
/// refused: it is kept elsewhere, or by others.
fn own(path: &Path) -> Result<Option<Metadata>, Refusal> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Refusal::new(format!("cannot look at {}: {error}", path.display()))),
        Ok(found) => found,
    };
    let owner = found.uid();
    let why = if found.is_symlink() {
        "is a link".to_owned()
    } else if !found.is_file() {
        "is no regular file".to_owned()
    } else if owner != nix::unistd::geteuid().as_raw() {
        format!("belongs to user id {owner}")
    } else {
        return Ok(Some(found));
    };
    Err(Refusal::new(format!("{} {why}, so it is not changed", path.display())))
}

/// Puts a file in place of what is there, whole or not at all.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let aside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// A configuration with the line at its top; `None` if it holds for all hosts already, being before all blocks.
fn with_line(old: &[u8], line: &[u8]) -> Option<Vec<u8>> {
    let begins_block = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let word = text.trim_start().split([' ', '\t', '=', '"']).next().unwrap_or_default().trim_end();
        word.eq_ignore_ascii_case("host") || word.eq_ignore_ascii_case("match")
    };
    let mut before = old.split_inclusive(|&byte| byte == b'\n').take_while(|text| !begins_block(text));
    if before.any(|text| text == line) {
        return None;
    }
    let rest = without_line(old, line);
    Some([line, rest.as_deref().unwrap_or(old)].concat())
}

/// A configuration without the line; `None` if it is not in it.
fn without_line(old: &[u8], line: &[u8]) -> Option<Vec<u8>> {
    let kept: Vec<u8> =
        old.split_inclusive(|&byte| byte == b'\n').filter(|text| *text != line).flatten().copied().collect();
    (kept.len() != old.len()).then_some(kept)
}

#[cfg(test)]
#[path = "include_tests.rs"]
mod tests;
