//! `authorized-keys`: the keys of an account, for sshd's AuthorizedKeysCommand. From this box's disk alone, never the
//! network, and without reading the whole state.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use fleetkey_common::names::AccountName;
use fleetkey_common::public_key::Fingerprint;

use super::output::{data, note};
use crate::config::settings::PathSettings;
use crate::instance::HostIdentity;
use crate::store::Store;

/// The command's name.
pub(super) const NAME: &str = "authorized-keys";

#[derive(Debug, Args)]
pub(super) struct AuthorizedKeys {
    /// The account that somebody logs in to (sshd's %u)
    user: AccountName,
    /// Print only this key: SHA256:... (sshd's %f)
    fingerprint: Option<Fingerprint>,
    /// The agent's state folder
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/fleetkey")]
    state_folder: PathBuf,
}

impl AuthorizedKeys {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let paths = PathSettings { state: self.state_folder, runtime: PathBuf::new(), system_keys: PathBuf::new() };
        let host = HostIdentity::read(Path::new("/"), None);
        let found = Store::new(&paths).look_up(&self.user, self.fingerprint, &host)?;
        if found.stale {
            note(
                "the source was not reached for longer than max_stale, so only keys for emergencies are let in; \
                 is the agent running?",
            );
        }
        data(&found.lines)?;
        Ok(ExitCode::SUCCESS)
    }
}
