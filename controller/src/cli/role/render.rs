//! `fleetkey role render`.

use std::collections::BTreeMap;

use clap::Args;
use clap_complete::ArgValueCandidates;
use fleetkey_common::aws_names::Namespace;
use fleetkey_common::key_spec::KeySpec;
use serde::Serialize;

use super::{RolePath, named_value, named_values};
use crate::complete;
use crate::printer::{self, Output, Printer};
use crate::refusal::Refusal;
use crate::role::{AgentInstall, Arch, RenderInput, Role, RoleName};
use crate::settings::Settings;

/// The region where none is known; only templates that ask for it show it.
const ANY_REGION: &str = "us-east-1";

/// Print the user-data that a box of a role boots with.
///
/// It works wherever cloud-init does: in a launch template, from Terraform, from Packer.
#[derive(Debug, Args)]
pub(super) struct Render {
    /// The role
    #[arg(add = ArgValueCandidates::new(complete::roles))]
    role: RoleName,
    /// Set an option of the role; repeatable
    #[arg(short = 'O', long = "option", value_name = "NAME=VALUE", value_parser = named_value)]
    options: Vec<(String, String)>,
    /// Who may log in to the admin account: alice, dev-*, @alice, @@developers or __me__ [default: FLEETKEY_KEYPAIRS,
    /// CGCLOUD_KEYPAIRS, else __me__]
    #[arg(short, long, value_name = "SPEC", num_args = 1..)]
    keypairs: Vec<KeySpec>,
    /// Architecture of the box: x86_64 or arm64
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// Where the box fetches the agent's package, such as a presigned URL
    #[arg(long, value_name = "URL", requires = "agent_sha256", conflicts_with = "no_agent")]
    agent_url: Option<String>,
    /// The package's SHA-256, in hex
    #[arg(long, value_name = "HEX", requires = "agent_url")]
    agent_sha256: Option<String>,
    /// No agent on the box
    #[arg(long)]
    no_agent: bool,
    #[command(flatten)]
    path: RolePath,
}

#[derive(Serialize)]
struct Rendered<'a> {
    user_data: &'a str,
    /// Its length in bytes, as EC2 gets it.
    encoded_bytes: usize,
    tags: BTreeMap<String, String>,
}

impl Render {
    pub(super) fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        let role = self.path.load(&self.role)?;
        let given = named_values(&self.options)?;
        let options = role.resolve_options(&given).map_err(Refusal::from)?;
        let namespace = namespace(settings, printer)?;
        let region = region(settings, printer);
        let install = self.install(settings, &region, &role)?;
        let keys = if install.is_some() { self.specs(settings, printer)? } else { Vec::new() };
        let user_data = role
            .render(&RenderInput {
                name: &namespace.absolute(self.role.as_str())?,
                namespace: &namespace,
                region: &region,
                arch: self.arch,
                options: &options,
                keys: &keys,
                agent: install.as_ref(),
            })
            .map_err(Refusal::from)?;
        let encoded_bytes = user_data.encode().map_err(Refusal::from)?.len();
        match printer.output() {
            Output::Table => printer::put(&user_data.text)?,
            Output::Json => {
                let rendered = Rendered { user_data: &user_data.text, encoded_bytes, tags: options.tags() };
                printer::put(&(serde_json::to_string_pretty(&rendered)? + "\n"))?;
            }
        }
        printer.detail(&format!("{encoded_bytes} bytes of the 16384 that EC2 takes"));
        Ok(())
    }

    /// How the agent is installed; `None` for a box without it.
    fn install(&self, settings: &Settings, region: &str, role: &Role) -> anyhow::Result<Option<AgentInstall>> {
        if self.no_agent || !role.agent {
            return Ok(None);
        }
        let (Some(url), Some(sha256)) = (&self.agent_url, &self.agent_sha256) else {
            let refusal = Refusal::usage("where does the box fetch the agent?");
            let format = role.package().map_err(Refusal::from)?;
            let (prints, arch) = (format!("fleetkey agent url --format {format}"), self.arch);
            let hint =
                format!("give --agent-url and --agent-sha256, which `{prints} --arch {arch}` prints, or --no-agent");
            return Err(refusal.hint(hint).into());
        };
        let Some(bucket) = &settings.bucket else {
            let refusal = Refusal::usage("which bucket has the public keys?");
            return Err(refusal.hint("give --bucket: ACCOUNT_ID-fleetkey, unless yours has another name").into());
        };
        Ok(Some(AgentInstall {
            url: url.clone(),
            sha256: sha256.clone(),
            bucket: bucket.clone(),
            topic: settings.topic.clone(),
            region: region.to_owned(),
            endpoint_url: variable("AWS_ENDPOINT_URL"),
            registries: AgentInstall::REGISTRIES.to_vec(),
        }))
    }

    /// Who may log in to the admin account, the caller by name.
    fn specs(&self, settings: &Settings, printer: Printer) -> anyhow::Result<Vec<KeySpec>> {
        let stated = match (&self.keypairs, &settings.key_pairs) {
            (keys, _) if !keys.is_empty() => keys.clone(),
            (_, Some(words)) => words
                .split_whitespace()
                .map(|word| word.parse().map_err(Refusal::usage))
                .collect::<Result<Vec<KeySpec>, Refusal>>()?,
            (_, None) if settings.me.is_none() => {
                printer.warn("nobody is granted the admin account: give -k, or set FLEETKEY_ME or FLEETKEY_KEYPAIRS");
                return Ok(Vec::new());
            }
            (_, None) => vec![KeySpec::Me],
        };
        let resolve = |spec| match (spec, &settings.me) {
            (KeySpec::Me, Some(me)) => Ok(KeySpec::Name(me.clone())),
            (KeySpec::Me, None) => Err(Refusal::usage("__me__ stands for you, and who that is, is not known")
                .hint("set FLEETKEY_ME, or name the person")),
            (other, _) => Ok(other),
        };
        Ok(stated.into_iter().map(resolve).collect::<Result<_, Refusal>>()?)
    }
}

/// The namespace; where it needs a name that is not known, that of nobody.
fn namespace(settings: &Settings, printer: Printer) -> anyhow::Result<Namespace> {
    let text = &settings.namespace;
    match &settings.me {
        Some(me) => Ok(Namespace::of(text, me).map_err(Refusal::usage)?),
        None if text.contains("__me__") => {
            printer.detail(&format!("{text} needs FLEETKEY_ME: rendered for the namespace /"));
            Ok(Namespace::root())
        }
        None => Ok(text.parse().map_err(Refusal::usage)?),
    }
}

fn region(settings: &Settings, printer: Printer) -> String {
    let known = settings.region.clone().or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    known.unwrap_or_else(|| {
        printer.detail(&format!("no region is named: rendered for {ANY_REGION}"));
        ANY_REGION.to_owned()
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
