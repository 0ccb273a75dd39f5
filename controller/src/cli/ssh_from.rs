//! The flag that says from where SSH is let in.

use clap::Args;

use crate::entry::Entry;
use crate::ingress::from::SshFrom;
use crate::reach_settings::ssh_from;
use crate::refusal::Refusal;
use crate::settings::Settings;

/// The variable that names another service than the usual one, which tells the caller's address.
const ADDRESS_URL_VARIABLE: &str = "FLEETKEY_ADDRESS_URL";

/// From where SSH is let in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to get there")]
pub(super) struct SshFromFlag {
    /// From where port 22 is open to you: auto, which is your address now; ranges such as 203.0.113.0/24, with commas
    /// between them; or any. The first two close it to everybody else, but for whom the role or another person let in
    /// [default: FLEETKEY_SSH_FROM, that of the configuration, else as the role says, and as it is where somebody has closed it]
    #[arg(long, value_name = "WHENCE")]
    pub(super) ssh_from: Option<SshFrom>,
}

impl SshFromFlag {
    /// What flag and settings come to, for somebody who connects straight or not.
    pub(super) fn entry(&self, settings: &Settings, straight: bool) -> Result<Entry, Refusal> {
        let asked = self.ssh_from.clone().map_or_else(|| ssh_from(settings), |from| Ok(Some(from)))?;
        let address_url = std::env::var(ADDRESS_URL_VARIABLE).ok().filter(|url| !url.is_empty());
        Ok(Entry { asked, straight, address_url })
    }
}
