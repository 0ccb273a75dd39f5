//! `fleetkey ssh-config`: boxes by name for ssh itself, and for all programs that go by its configuration.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCandidates;
use futures_util::StreamExt as _;
use serde::Serialize;

use super::on_box::told;
use super::reach::account;
use super::route::RouteFlags;
use crate::aws::instances::{self, Which};
use crate::complete;
use crate::config::{FILE_VARIABLE, PROFILE_FLAG};
use crate::fleet::Fleet;
use crate::instance::{Instance, State};
use crate::listing::Row;
use crate::printer::{self, Output, Printer};
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::{AWS_PROFILE_VARIABLE, Settings};
use crate::ssh::hosts::{Host, Names, render};
use crate::ssh::include::{Place, Step};
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::route::{Via, Way, for_shell};
use crate::ssh::{Route, address, check_known_hosts, host_keys, trust};
use crate::table::Table;

/// How many consoles are asked for at a time.
const AT_A_TIME: usize = 8;

/// Write an ssh configuration by which ssh, scp, rsync, Ansible or VS Code reach boxes by name.
///
/// A box is called by its id, by namespace, role and ordinal, `prod.web.0`, and in its own namespace `web-0`, or `web` if
/// it is the only one of its role. Each connection asks where the box is now; which boxes there are, and their ordinals,
/// are those of when this was run.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct SshConfig {
    /// Role of the boxes [default: all roles of the namespace and of those below it]
    #[arg(add = ArgValueCandidates::new(complete::roles_with_boxes))]
    role: Option<String>,
    /// Write it to a file of its own, which an Include line at the top of ~/.ssh/config has ssh read
    #[arg(long, conflicts_with = "role")]
    install: bool,
    /// Take files and Include line out again
    #[arg(long, conflicts_with_all = ["install", "role", "address", "jump", "via", "addresses", "full_names"])]
    uninstall: bool,
    /// Write addresses as they are now, for where neither Fleetkey nor credentials are at hand when ssh runs
    #[arg(long)]
    addresses: bool,
    /// Only ids and names that say the namespace
    #[arg(long)]
    full_names: bool,
    /// With --install or --uninstall: say what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    route: RouteFlags,
}

/// A box of which ssh is told.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    names: &'a [String],
    account: Option<&'a str>,
}

/// What is printed with `--output json` where nothing is installed.
#[derive(Serialize)]
struct Shown<'a> {
    region: &'a str,
    namespace: &'a str,
    boxes: &'a [Told<'a>],
    config: &'a str,
}

/// What is printed with `--output json` of an installation.
#[derive(Serialize)]
struct Installed<'a> {
    dry_run: bool,
    steps: &'a [Step],
}

impl SshConfig {
    pub(super) async fn run(self, settings: &Settings, printer: Printer) -> anyhow::Result<()> {
        if self.dry_run && !self.install && !self.uninstall {
            return Err(Refusal::usage(
                "--dry-run goes with --install or --uninstall; without them nothing is changed",
            )
            .into());
        }
        if self.uninstall {
            return self.carry_out(&Place::find()?.uninstall()?, printer);
        }
        let route = self.route.route(settings)?;
        route.check_programs()?;
        let place = self.install.then(Place::find).transpose()?;
        let fleet = Fleet::open(settings, printer).await?;
        let variables = variables(settings)?;
        let file = place.as_ref().map(|place| place.file(&file_name(&fleet, settings, &variables)));
        let taken = match (&place, &file) {
            (Some(place), Some(file)) => place.taken(file)?,
            _ => BTreeMap::new(),
        };
        let boxes = self.boxes(&fleet).await?;
        let names = Names::of(&boxes, &fleet.namespace, &taken, self.full_names);
        if !names.left_out.is_empty() {
            let names: Vec<_> = names.left_out.iter().map(String::as_str).collect();
            printer.warn(&format!("no box is called {}: another box or machine could be meant", names.join(", ")));
        }
        let program = std::env::current_exe().context("finding out where this program is")?;
        let proxy = proxy(&program, &variables, settings.profile.as_deref(), &fleet.region)?;
        let hosts = self.hosts(&fleet, &boxes, &names, &route, &proxy, printer).await?;
        let head = format!("Boxes of {} in {}, by fleetkey ssh-config", fleet.namespace, fleet.region);
        let text = render(&head, &hosts);
        if let (Some(place), Some(file)) = (place, file) {
            printer.note(&format!("{} boxes of {} in {}", hosts.len(), fleet.namespace, fleet.region));
            return self.carry_out(&place.install(&file, &text)?, printer);
        }
        if printer.output() == Output::Table {
            return printer::put(&text).context("writing to standard output");
        }
        let told = boxes.iter().filter_map(|(ordinal, found)| {
            let host = hosts.iter().find(|host| host.names.first() == Some(&found.id))?;
            let row = Row::new(Some(*ordinal), found, &fleet.namespace);
            Some(Told {
                row,
                names: &host.names,
                account: host.account.as_ref().map(fleetkey_common::names::AccountName::as_str),
            })
        });
        let told: Vec<_> = told.collect();
        let (region, namespace) = (fleet.region.as_str(), fleet.namespace.as_str());
        let shown = Shown { region, namespace, boxes: &told, config: &text };
        printer.data(&Table::new(&[]), &shown).context("writing to standard output")
    }

    async fn boxes(&self, fleet: &Fleet) -> anyhow::Result<Vec<(usize, Instance)>> {
        let name = self.role.as_deref().map(|role| selection::name(&fleet.namespace, role)).transpose()?;
        let which = name.as_ref().map_or(Which::Namespace(&fleet.namespace), Which::Name);
        Ok(selection::numbered(instances::find(&fleet.ec2, &which, &State::LIVE).await.map_err(told)?, None))
    }

    /// The blocks of the boxes that can be reached.
    async fn hosts(
        &self,
        fleet: &Fleet,
        boxes: &[(usize, Instance)],
        names: &Names,
        route: &Route,
        proxy: &[String],
        printer: Printer,
    ) -> anyhow::Result<Vec<Host>> {
        let kept = KnownHosts::open(&fleet.region)?;
        // A proxy would take another way from the settings that count when it runs.
        let straight = if self.addresses { Way::Unsaid } else { Way::Via(Via::Direct) };
        let mut hosts = Vec::new();
        for (ordinal, found) in boxes {
            let id = &found.id;
            let known_hosts = kept.file(id)?;
            check_known_hosts(&known_hosts)?;
            let mut options = trust(id, &known_hosts);
            let names = names.of_box(id);
            let route = route.to_box(&names, found.public_address.is_some(), straight.clone());
            if self.addresses {
                match address(found, &route) {
                    Ok(address) => options.insert(0, ("HostName", address.to_string())),
                    Err(error) => {
                        printer.note(&format!("{error}, so it is left out"));
                        continue;
                    }
                }
                // A shared connection to the same address may lead to a box that was there before.
                options.push(("ControlPath", "none".to_owned()));
                options.extend(route.options(id, &fleet.region));
            } else {
                options.insert(0, ("HostName", id.clone()));
                let words = proxy.iter().cloned().chain(route.words()).chain([id.clone(), "%p".to_owned()]);
                options.push(("ProxyCommand", words.map(|word| for_shell(&word)).collect::<Vec<_>>().join(" ")));
            }
            let title = format!("{}, {ordinal}, {}", found.name, found.state.as_str());
            hosts.push(Host { title, names, account: account(found).ok(), options });
        }
        if self.addresses {
            let written = boxes.iter().map(|(_, found)| found);
            let written = written.filter(|found| hosts.iter().any(|host| host.names.first() == Some(&found.id)));
            learn(fleet, written.collect(), printer).await;
        }
        Ok(hosts)
    }

    /// Carries out what is to be done to files, and prints it.
    fn carry_out(&self, steps: &[Step], printer: Printer) -> anyhow::Result<()> {
        if !self.dry_run {
            steps.iter().try_for_each(Step::carry_out)?;
        }
        if steps.is_empty() {
            printer.note("everything is so already");
        }
        let mut table = Table::new(&["ACTION", "FILE"]);
        for step in steps {
            table.row(vec![step.action.to_owned(), step.file.display().to_string()]);
        }
        let installed = Installed { dry_run: self.dry_run, steps };
        printer.data(&table, &installed).context("writing to standard output")
    }
}

/// Learns host keys that are not known, and says whose are not to be had: ssh lets nobody in to those.
async fn learn(fleet: &Fleet, boxes: Vec<&Instance>, printer: Printer) {
    let looks = boxes.into_iter().map(async |found: &Instance| match host_keys::learn_now(fleet, found).await {
        Ok(Some(_)) => {}
        Ok(None) => printer.warn(&format!(
            "the host keys of box {} are not known, nor on its console: fleetkey ssh {} -I {} learns them",
            found.id, found.name, found.id
        )),
        Err(error) => printer.warn(&format!("the host keys of box {} are not known: {error:#}", found.id)),
    });
    futures_util::stream::iter(looks).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
}

/// The variables that count now and are written down: ssh may be run by a desktop, which does not have them. With keys in
/// variables no profile of AWS's counts, neither now nor then; keys are not written down.
fn variables(settings: &Settings) -> anyhow::Result<Vec<(&'static str, String)>> {
    let of = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut variables = Vec::new();
    if let Some(file) = of(FILE_VARIABLE) {
        let file = std::path::absolute(&file).with_context(|| format!("finding out where {file} is"))?;
        variables.push((FILE_VARIABLE, file.display().to_string()));
    }
    // One that Fleetkey's configuration names is found there again.
    if settings.aws_profile.is_none() {
        variables.extend(of(AWS_PROFILE_VARIABLE).map(|profile| (AWS_PROFILE_VARIABLE, profile)));
    }
    Ok(variables)
}

/// The file of what a command writes: one for each region, namespace and profile, be it Fleetkey's or AWS's.
fn file_name(fleet: &Fleet, settings: &Settings, variables: &[(&str, String)]) -> String {
    // As names in AWS: a slash is an underscore, and an underscore two.
    let scope = fleet.namespace.as_str().trim_end_matches('/').replace('_', "__").replace('/', "_");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let named = |sign: char, name: &str| std::iter::once(sign).chain(name.chars().map(plain)).collect::<String>();
    let own = settings.profile.as_ref().map(|name| named('@', name));
    let aws = variables.iter().find(|(name, _)| *name == AWS_PROFILE_VARIABLE).map(|(_, name)| named('+', name));
    format!("{}{scope}{}{}", fleet.region, own.unwrap_or_default(), aws.unwrap_or_default())
}

/// The words by which a box is found wherever it is, but for the way to it and its id: those of a ProxyCommand.
fn proxy(
    program: &Path,
    variables: &[(&str, String)],
    profile: Option<&str>,
    region: &str,
) -> Result<Vec<String>, Refusal> {
    let mut words = Vec::new();
    if !variables.is_empty() {
        words.push("env".to_owned());
        words.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    }
    let path = program.to_str().ok_or_else(|| Refusal::new(format!("ssh cannot be told of {}", program.display())))?;
    words.extend([path, "proxy"].map(str::to_owned));
    words.extend(profile.into_iter().flat_map(|profile| [PROFILE_FLAG, profile]).map(str::to_owned));
    words.extend(["--region", region].map(str::to_owned));
    match words.iter().find(|word| word.contains(char::is_control)) {
        Some(word) => Err(Refusal::new(format!("{word:?} cannot stand in a configuration of ssh"))),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_whatever_stands_in_a_proxy_command_is_one_word_on_one_line() {
        let told = |program: &str, region: &str, aws: Option<&str>| {
            let variables: Vec<_> = aws.map(|aws| (AWS_PROFILE_VARIABLE, aws.to_owned())).into_iter().collect();
            let words = proxy(Path::new(program), &variables, None, region)?;
            Ok::<_, Refusal>(words.iter().map(|word| for_shell(word)).collect::<Vec<_>>().join(" "))
        };
        let plain = told("/usr/bin/fleetkey", "us-west-2", None).unwrap();
        assert_eq!(plain, "/usr/bin/fleetkey proxy --region us-west-2");
        let odd = told("/a b/fleetkey", "us-west-2", Some("it's 100%h; $(x)")).unwrap();
        assert_eq!(odd, r"env 'AWS_PROFILE=it'\''s 100%%h; $(x)' '/a b/fleetkey' proxy --region us-west-2");
        assert!(told("/usr/bin/fleetkey", "us-west-2\nProxyCommand x", None).is_err());
        assert!(told("/usr/bin/fleetkey", "us-west-2", Some("a\nHost *")).is_err());
    }

    #[test]
    fn the_profile_is_written_down_under_its_own_name_and_variables_before_the_program() {
        let variables = [(FILE_VARIABLE, "/c".to_owned()), (AWS_PROFILE_VARIABLE, "production".to_owned())];
        let words = proxy(Path::new("/fleetkey"), &variables, Some("prod"), "us-west-2").unwrap().join(" ");
        assert_eq!(
            words,
            "env FLEETKEY_CONFIG=/c AWS_PROFILE=production /fleetkey proxy --profile prod --region us-west-2"
        );
    }
}
