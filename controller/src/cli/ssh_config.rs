//! `fleetkey ssh-config`: boxes by name for ssh itself, and for all programs that go by its configuration.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use futures_util::StreamExt as _;
use serde::Serialize;

use super::on_box::told;
use super::reach::account;
use super::route::RouteFlags;
use crate::aws::instances::{self, Which};
use crate::fleet::Fleet;
use crate::instance::{Instance, State};
use crate::listing::Row;
use crate::printer::{self, Output, Printer};
use crate::refusal::Refusal;
use crate::selection;
use crate::settings::Settings;
use crate::ssh::hosts::{Host, Names, render};
use crate::ssh::include::{Place, Step};
use crate::ssh::known_hosts::KnownHosts;
use crate::ssh::route::for_shell;
use crate::ssh::{Route, address, check_known_hosts, host_keys, trust};
use crate::table::Table;

/// How many consoles are asked for at a time.
const AT_A_TIME: usize = 8;

/// AWS's own variable for a profile of its configuration.
const AWS_PROFILE: &str = "AWS_PROFILE";

/// Write an ssh configuration by which ssh, scp, rsync, Ansible or VS Code reach boxes by name.
///
/// A box is called by its id, by namespace, role and ordinal, `prod.web.0`, and in its own namespace `web-0`, or `web` if
/// it is the only one of its role. Each connection asks where the box is now; which boxes there are, and their ordinals,
/// are those of when this was run.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct SshConfig {
    /// Role of the boxes [default: all roles of the namespace and of those below it]
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
        let variable = || std::env::var(AWS_PROFILE).ok().filter(|profile| !profile.is_empty());
        let profile = settings.aws_profile.clone().or_else(variable);
        let file = place.as_ref().map(|place| place.file(&file_name(&fleet, profile.as_deref())));
        let taken = match (&place, &file) {
            (Some(place), Some(file)) => place.taken(file)?,
            _ => BTreeMap::new(),
        };
        let boxes = self.boxes(&fleet).await?;
        let names = Names::of(&boxes, &fleet.namespace, &taken, self.full_names);
        if !names.left_out.is_empty() {
            let names: Vec<_> = names.left_out.iter().map(String::as_str).collect();
            printer.warn(&format!("no box is called {}: other boxes could be meant", names.join(", ")));
        }
        let hosts = self.hosts(&fleet, &boxes, &names, &route, profile.as_deref(), printer).await?;
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
        profile: Option<&str>,
        printer: Printer,
    ) -> anyhow::Result<Vec<Host>> {
        let kept = KnownHosts::open(&fleet.region)?;
        let program = std::env::current_exe().context("finding out where this program is")?;
        let mut hosts = Vec::new();
        for (ordinal, found) in boxes {
            let id = &found.id;
            let known_hosts = kept.file(id)?;
            check_known_hosts(&known_hosts)?;
            let mut options = trust(id, &known_hosts);
            if self.addresses {
                match address(found, route) {
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
                options.push(("ProxyCommand", proxy(&program, &fleet.region, &self.route, profile, id)?));
            }
            let title = format!("{}, {ordinal}, {}", found.name, found.state.as_str());
            hosts.push(Host { title, names: names.of_box(id), account: account(found).ok(), options });
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

/// The file of what a command writes: one for each region, namespace and profile.
fn file_name(fleet: &Fleet, profile: Option<&str>) -> String {
    // As names in AWS: a slash is an underscore, and an underscore two.
    let scope = fleet.namespace.as_str().trim_end_matches('/').replace('_', "__").replace('/', "_");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let profile = profile.map(|profile| format!("+{}", profile.chars().map(plain).collect::<String>()));
    format!("{}{scope}{}", fleet.region, profile.unwrap_or_default())
}

/// The ProxyCommand by which a box is found wherever it is.
fn proxy(program: &Path, region: &str, route: &RouteFlags, profile: Option<&str>, id: &str) -> Result<String, Refusal> {
    let mut words = Vec::new();
    if let Some(profile) = profile {
        words.extend(["env".to_owned(), format!("{AWS_PROFILE}={profile}")]);
    }
    let path = program.to_str().ok_or_else(|| Refusal::new(format!("ssh cannot be told of {}", program.display())))?;
    words.extend([path, "proxy", "--region", region].map(str::to_owned));
    words.extend(route.words());
    words.extend([id.to_owned(), "%p".to_owned()]);
    if words.iter().any(|word| word.contains(char::is_control)) {
        return Err(Refusal::new(format!("{path}, region {region} or profile cannot stand in a configuration of ssh")));
    }
    Ok(words.iter().map(|word| for_shell(word)).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t5_whatever_stands_in_a_proxy_command_is_one_word_on_one_line() {
        let told = |program: &str, region: &str, profile: Option<&str>| {
            proxy(Path::new(program), region, &RouteFlags::default(), profile, "i-01234567")
        };
        let plain = told("/usr/bin/fleetkey", "us-west-2", None).unwrap();
        assert_eq!(plain, "/usr/bin/fleetkey proxy --region us-west-2 i-01234567 %p");
        let odd = told("/a b/fleetkey", "us-west-2", Some("it's 100%h; $(x)")).unwrap();
        assert_eq!(
            odd,
            r"env 'AWS_PROFILE=it'\''s 100%%h; $(x)' '/a b/fleetkey' proxy --region us-west-2 i-01234567 %p"
        );
        assert!(told("/usr/bin/fleetkey", "us-west-2\nProxyCommand x", None).is_err());
        assert!(told("/usr/bin/fleetkey", "us-west-2", Some("a\nHost *")).is_err());
    }
}
