//! What the operator's settings say of the way to boxes, as written: read where a command needs it, so that one that does
//! not is not held up by it. Pure.

use clap::ValueEnum;

use crate::ingress::from::SshFrom;
use crate::refusal::Refusal;
use crate::ssh::AddressKind;
use crate::ssh::route::{Jump, Via};

/// A setting as written.
type Written = Option<(&'static str, String)>;

/// The settings of the way to boxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReachSettings {
    address: Written,
    jump: Written,
    via: Written,
    ssh_from: Written,
    address_url: Written,
}

impl ReachSettings {
    /// Those of the environment.
    pub(crate) fn new(variable: impl Fn(&'static str) -> Written) -> Self {
        Self {
            address: variable("FLEETKEY_ADDRESS"),
            jump: variable("FLEETKEY_JUMP"),
            via: variable("FLEETKEY_VIA"),
            ssh_from: variable("FLEETKEY_SSH_FROM"),
            address_url: variable("FLEETKEY_ADDRESS_URL"),
        }
    }

    /// Which address is connected to.
    pub(crate) fn address(&self) -> Result<Option<AddressKind>, Refusal> {
        let word = |text: &str| AddressKind::from_str(text, false).map_err(|_| "give public or private".to_owned());
        read(&self.address, word)
    }

    /// Over which machines.
    pub(crate) fn jump(&self) -> Result<Option<Jump>, Refusal> {
        read(&self.jump, str::parse)
    }

    /// By which way.
    pub(crate) fn via(&self) -> Result<Option<Via>, Refusal> {
        read(&self.via, |text| Via::from_str(text, false).map_err(|_| "give direct, eice or ssm".to_owned()))
    }

    /// From where SSH is let in.
    pub(crate) fn ssh_from(&self) -> Result<Option<SshFrom>, Refusal> {
        read(&self.ssh_from, str::parse)
    }

    /// The service that tells the caller's address, where it is not the usual one.
    pub(crate) fn address_url(&self) -> Option<&str> {
        self.address_url.as_ref().map(|(_, url)| url.as_str())
    }
}

fn read<T>(written: &Written, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Refusal> {
    let Some((origin, value)) = written else { return Ok(None) };
    parse(value).map(Some).map_err(|error| Refusal::usage(format!("{origin} {value:?}: {error}")))
}
