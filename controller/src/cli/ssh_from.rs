//! The flag that says from where SSH is let in.

use clap::Args;

use crate::entry::Entry;
use crate::ingress::from::SshFrom;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// From where SSH is let in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to get there")]
pub(super) struct SshFromFlag {
    /// From where port 22 is open to you: auto, which is your address now; ranges such as 203.0.113.0/24, with commas
    /// between them; or any. The first two close it to everybody else, but for whom the role or another person let in
    /// [default: FLEETKEY_SSH_FROM, else as the role says, and as it is where somebody has closed it]
    #[arg(long, value_name = "WHENCE")]
    pub(super) ssh_from: Option<SshFrom>,
}

impl SshFromFlag {
    /// What flag and settings come to, for somebody who connects straight or not.
    pub(super) fn entry(&self, settings: &Settings, straight: bool) -> Result<Entry, Refusal> {
        let asked = self.ssh_from.clone().map_or_else(|| settings.reach.ssh_from(), |from| Ok(Some(from)))?;
        Ok(Entry { asked, straight, address_url: settings.reach.address_url().map(str::to_owned) })
    }
}
