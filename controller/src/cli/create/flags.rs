//! The flags of `create` and `recreate`, and what they come to together with the settings.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::autostop::AutostopFlags;
use super::spot::SpotFlags;
use super::volumes::VolumeFlags;
use crate::cli::dry_run::DryRun;
use crate::cli::role::{RolePath, named_value};
use crate::cli::route::RouteFlags;
use crate::cli::ssh_from::SshFromFlag;
use crate::complete;
use crate::refusal::Refusal;
use crate::role::Arch;
use crate::selection::parse_id;
use crate::settings::Settings;
use crate::settings::rules::is_instance_type;
use crate::wait::parse_timeout;

/// The flags of everything that launches a box.
#[derive(Debug, Args)]
pub(in crate::cli) struct LaunchFlags {
    /// Role of the box, in the namespace unless it begins with a slash; fleetkey role list names the roles
    #[arg(add = ArgValueCandidates::new(complete::roles_to_launch))]
    pub(super) role: String,
    #[command(flatten)]
    pub(super) what: WhatFlags,
    #[command(flatten)]
    pub(super) spot: SpotFlags,
    #[command(flatten)]
    pub(super) autostop: AutostopFlags,
    #[command(flatten)]
    pub(super) how: HowFlags,
    #[command(flatten)]
    pub(super) route: RouteFlags,
    #[command(flatten)]
    pub(super) ssh_from: SshFromFlag,
}

/// What the box is to be.
#[derive(Debug, Args)]
#[command(next_help_heading = "The box")]
pub(super) struct WhatFlags {
    /// Who may log in: alice, dev-*, @alice, @@developers or __me__; the first names one person, whose key EC2 puts in
    /// at launch [default: FLEETKEY_KEYPAIRS, CGCLOUD_KEYPAIRS, else __me__]
    #[arg(short, long, value_name = "SPEC", num_args = 1..)]
    pub(super) keypairs: Vec<String>,
    /// Instance type; several, separated by commas, are tried one after another, each in every zone [default:
    /// FLEETKEY_INSTANCE_TYPE, CGCLOUD_INSTANCE_TYPE, that of the role, else a small one]
    #[arg(short = 't', long, value_name = "TYPE", value_delimiter = ',', value_parser = parse_type)]
    pub(super) instance_type: Vec<String>,
    /// Architecture of the base image: x86_64 or arm64 [default: what instance type and role have in common]
    #[arg(long, value_name = "ARCH")]
    pub(super) arch: Option<Arch>,
    /// VPC to put it in [default: the default one]
    #[arg(long, value_name = "ID", value_parser = parse_vpc)]
    pub(super) vpc: Option<String>,
    /// Subnet to put it in [default: the VPC's only or default one in the zone]
    #[arg(long, value_name = "ID", value_parser = parse_subnet)]
    pub(super) subnet: Option<String>,
    /// Size of the root volume [default: that of the role or the image, whichever is larger]
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) root_volume: Option<u32>,
    /// Option of the role; fleetkey role options names them
    #[arg(short = 'O', long, value_name = "NAME=VALUE", value_parser = named_value,
        add = ArgValueCandidates::new(complete::options))]
    pub(super) option: Vec<(String, String)>,
    /// Install no agent: the keys of the launch stay as they are
    #[arg(long)]
    pub(super) no_agent: bool,
    #[command(flatten)]
    pub(super) role_path: RolePath,
    #[command(flatten)]
    pub(super) volumes: VolumeFlags,
}

/// How it is gone about.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "How it is done")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct HowFlags {
    /// Take an image of it when it is ready, for which it is stopped and started again
    #[arg(short = 'I', long)]
    pub(super) create_image: bool,
    /// Terminate it when all is done
    #[arg(short = 'T', long, conflicts_with = "never_terminate")]
    pub(super) terminate: bool,
    /// Leave everything as it is after an error
    #[arg(short = 'N', long)]
    pub(super) never_terminate: bool,
    /// Do not wait until it can be used: end once EC2 has launched it
    #[arg(short = 'Q', long, visible_alias = "no-wait", conflicts_with = "create_image")]
    pub(super) quick: bool,
    /// Make another box even if the same command was interrupted before
    #[arg(long)]
    pub(super) anew: bool,
    /// How long all waits together may take
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_timeout)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) dry: DryRun,
    /// Accepted for scripts of CGCloud: the box that was made is always shown
    #[arg(long, hide = true)]
    pub(super) list: bool,
}

fn parse_type(text: &str) -> Result<String, String> {
    if is_instance_type(text) {
        return Ok(text.to_owned());
    }
    Err("an instance type has a family and a size, such as t3.small".to_owned())
}

pub(in crate::cli) fn parse_vpc(text: &str) -> Result<String, String> {
    parse_id("vpc-", text).ok_or_else(|| "a VPC's id is vpc- and 8 or 17 hexadecimal digits".to_owned())
}

fn parse_subnet(text: &str) -> Result<String, String> {
    parse_id("subnet-", text).ok_or_else(|| "a subnet's id is subnet- and 8 or 17 hexadecimal digits".to_owned())
}

pub(super) fn key_specs(given: &[String], settings: &Settings) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    let default = settings.key_pairs.as_deref().unwrap_or("__me__");
    default.split_whitespace().map(str::to_owned).collect()
}

/// The types of flag or variable, each once, in their order.
pub(super) fn instance_types(what: &WhatFlags, settings: &Settings) -> Result<Vec<String>, Refusal> {
    let mut found: Vec<String> = Vec::new();
    let by_variable = || {
        settings.instance_type.iter().flat_map(|text| text.split(',')).map(|text| {
            parse_type(text).map_err(|error| Refusal::usage(format!("{text:?} in FLEETKEY_INSTANCE_TYPE: {error}")))
        })
    };
    let named = match what.instance_type.as_slice() {
        [] => by_variable().collect::<Result<Vec<_>, _>>()?,
        flags => flags.to_vec(),
    };
    for kind in named {
        if !found.contains(&kind) {
            found.push(kind);
        }
    }
    Ok(found)
}
