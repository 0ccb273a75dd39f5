//! What the operator's settings say of the way to boxes: read where a command needs it, so that one that does not is not
//! held up by it. Pure.

use clap::ValueEnum as _;
use fleetkey_common::config_file::Text;

use crate::ingress::from::SshFrom;
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::ssh::route::{Jump, Via};

/// Over which machines boxes are reached.
pub(crate) fn jump(settings: &Settings) -> Result<Option<Jump>, Refusal> {
    read(settings.jump.as_ref(), str::parse)
}

/// By which way that has a name boxes are reached.
pub(crate) fn via(settings: &Settings) -> Result<Option<Via>, Refusal> {
    read(settings.via.as_ref(), |text| Via::from_str(text, false).map_err(|_| "give direct, eice or ssm".to_owned()))
}

/// From where SSH is let in.
pub(crate) fn ssh_from(settings: &Settings) -> Result<Option<SshFrom>, Refusal> {
    read(settings.ssh_from.as_ref(), str::parse)
}

fn read<T>(written: Option<&Text>, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Refusal> {
    let Some(written) = written else { return Ok(None) };
    let told = |error| Refusal::usage(format!("{} {:?}: {error}", written.origin, written.value));
    parse(&written.value).map(Some).map_err(told)
}
