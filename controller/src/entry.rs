//! From where an operator is let in to SSH: who it is, and at which address the world sees them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Context as _;
use fleetkey_common::aws::fetch;

use crate::fleet::Fleet;
use crate::ingress::from::{self, SshFrom};
use crate::ingress::{Claim, Reason, Rules, Ssh, is_narrowed};
use crate::refusal::Refusal;

/// The service that tells whoever asks at which address it sees them; Amazon's own.
const ADDRESS_URL: &str = "https://checkip.amazonaws.com";

/// The longest answer: an IPv6 address that holds one of IPv4, and a line end.
const LONGEST: usize = 64;

/// The longest name that is written beside a rule.
const LONGEST_NAME: usize = 128;

/// What a command that opens SSH goes by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    /// From where SSH is to be let in; `None` leaves it to the role, and to what there is.
    pub(crate) asked: Option<SshFrom>,
    /// Whether the operator connects from an address of their own, as far as is known.
    pub(crate) straight: bool,
    /// The service that tells the operator's address, where it is not the usual one.
    pub(crate) address_url: Option<String>,
}

impl Entry {
    /// From where SSH is to be let in to a group that lets in `there` now.
    pub(crate) async fn resolve(&self, fleet: &Fleet, there: &Rules) -> anyhow::Result<Ssh> {
        match &self.asked {
            Some(SshFrom::Any) => Ok(Ssh::Everywhere),
            Some(SshFrom::Ranges(ranges)) => {
                let sources = ranges.clone();
                Ok(Ssh::Person(Claim { person: person(fleet).await?, sources, reason: Reason::Said }))
            }
            Some(SshFrom::Auto) => self.here(fleet).await.map(Ssh::Person),
            // Whoever makes a box is to get into it, and nobody else on that account.
            None if self.straight && is_narrowed(there) => self.here(fleet).await.map(Ssh::Person),
            None => Ok(Ssh::AsRole),
        }
    }

    /// The claim of the caller to be let in from where they are.
    pub(crate) async fn here(&self, fleet: &Fleet) -> anyhow::Result<Claim> {
        let (person, address) = (person(fleet).await?, address(self.address_url.as_deref()).await?);
        let sources = BTreeSet::from([from::whole(address)]);
        Ok(Claim { person, sources, reason: Reason::There })
    }
}

/// At which address the world sees the caller.
pub(crate) async fn address(url: Option<&str>) -> anyhow::Result<IpAddr> {
    // A service that the operator named may know another network than the internet.
    let (url, own) = url.map_or((ADDRESS_URL, false), |url| (url, true));
    let refuse = || {
        Refusal::new(format!("{url} does not tell your address"))
            .hint("--ssh-from 203.0.113.7 says from which address, or addresses, SSH is let in")
            .hint("FLEETKEY_ADDRESS_URL names another service, whose answer is an address and nothing else")
    };
    let text = fetch(url, LONGEST).await.with_context(refuse)?;
    from::caller(&text, own).map_err(|why| anyhow::anyhow!("it says {text:?}: {why}")).with_context(refuse)
}

/// By which name the caller's rules are known: a word that EC2 takes in a description. It lets nobody do anything.
async fn person(fleet: &Fleet) -> anyhow::Result<String> {
    if let Ok(me) = fleet.me().await {
        return Ok(me.as_str().to_owned());
    }
    let arn = &fleet.caller().await?.arn;
    Ok(word(arn.splitn(6, ':').nth(5).unwrap_or(arn)))
}

fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-:/@+=,".contains(c) { c } else { '-' };
    text.chars().map(plain).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_no_iam_user_has_a_word_for_a_name_all_the_same() {
        assert_eq!(word("assumed-role/admin/alice@example.org"), "assumed-role/admin/alice@example.org");
        assert_eq!(word("federated-user/a b\n\"c\""), "federated-user/a-b--c-");
        assert_eq!(word(&"x".repeat(300)).len(), LONGEST_NAME);
    }
}
