//! What a box boots with: the agent's package, the policies that it needs, and the role as this create has it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::World;
use super::request::{Request, Source};
use super::spot::Wish;
use crate::aws::agent_package::{self, PresignedUrl};
use crate::refusal::Refusal;
use crate::role::{AgentInstall, Arch, Key, Node, Place, Role, Value, agent_policies};

/// How long the package can be fetched without credentials, once the box is launched: a box that boots does so within
/// minutes.
const PACKAGE_VALID: Duration = Duration::from_hours(1);

/// How long it must be for a box that comes of a spot request at the last moment.
const BOOT: Duration = Duration::from_mins(10);

/// The agent as it gets onto a box.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// What the user-data is told.
    pub(super) install: AgentInstall,
    /// Its version, for people.
    pub(super) version: String,
}

/// The newest published agent for a box; `None` for a box without it.
pub(super) async fn agent(world: &World, request: &Request, role: &Role, arch: Arch) -> anyhow::Result<Option<Agent>> {
    if !request.agent || !role.agent {
        return Ok(None);
    }
    let bucket = &world.bucket;
    let format = role.package().map_err(Refusal::from)?;
    let newest = agent_package::newest(bucket, format, arch).await;
    let newest = newest.map_err(|error| match error.call() {
        Some(call) => call.clone().into(),
        None => anyhow::Error::from(error),
    })?;
    let Some(package) = newest else {
        let name = bucket.name();
        return Err(Refusal::new(format!("the bucket {name} has no {format} package of the agent for {arch}"))
            .hint(format!("build one with make packages, then: fleetkey agent publish FILE.{format}"))
            .hint("--no-agent makes a box without it, whose keys are not kept in step")
            .into());
    };
    let open = request.spot.as_ref().and_then(Wish::stays_open_for);
    let url = agent_package::presign(bucket, &package, PACKAGE_VALID + open.unwrap_or_default()).await?;
    if let Some(open) = open {
        outlasts(&url, open, Timestamp::now())?;
    }
    if url.cut_short {
        world.printer.detail("your credentials end before the URL of the agent's package would");
    }
    let install = AgentInstall {
        url: url.url,
        sha256: package.sha256.clone(),
        bucket: bucket.name().to_owned(),
        topic: world.topic.clone(),
        region: request.region.clone(),
        endpoint_url: world.fleet.config.endpoint_url().map(str::to_owned),
        registries: AgentInstall::REGISTRIES.to_vec(),
    };
    Ok(Some(Agent { install, version: package.version }))
}

/// Whether the URL still gives the package to a box that comes of a spot request after so long: it is fixed before the
/// request is made.
fn outlasts(url: &PresignedUrl, open: Duration, now: Timestamp) -> Result<(), Refusal> {
    let needed = now.checked_add(open + BOOT).unwrap_or(Timestamp::MAX);
    if url.ends >= needed {
        return Ok(());
    }
    let (ends, why) = (url.ends, if url.cut_short { "as your credentials do" } else { "no URL is good for longer" });
    let open = humantime::format_duration(open);
    Err(Refusal::new(format!(
        "the URL by which the box fetches the agent ends at {ends:.0}, {why}: too early for a spot request that stays open \
         for {open}"
    ))
    .hint("give a shorter time by --spot-timeout, or use credentials that last longer")
    .hint("--no-agent makes a box without it, whose keys are not kept in step"))
}

/// The policies of the role's instance profile by name. They are the same for a box without the agent, whose profile is
/// also that of boxes with it.
pub(super) fn policies(world: &World, role: &Role) -> BTreeMap<String, Json> {
    let mut policies = BTreeMap::new();
    if role.agent {
        let (account, region) = (&world.caller.account, &world.fleet.region);
        let registries = AgentInstall::REGISTRIES;
        policies = agent_policies(account, region, world.bucket.name(), &world.topic, &registries);
    }
    policies.extend(role.iam_policies.clone());
    policies
}

/// The role as it is rendered: an image has been through the role's own cloud-config already, so that it is not run
/// again; `--upgrade` adds to it.
pub(super) fn role_for(request: &Request, role: &Role) -> Role {
    let mut role = role.clone();
    if matches!(request.source, Source::Taken(_)) {
        role.cloud_config.value = Value::Map(vec![new_machine_id(&role.cloud_config.place)]);
    }
    if request.upgrade {
        let place = Place { file: "--upgrade".into(), line: 1, column: 1 };
        if let Value::Map(entries) = &mut role.cloud_config.value {
            for name in ["package_update", "package_upgrade"] {
                entries.retain(|(key, _)| key.name != name);
                let key = Key { name: name.to_owned(), place: place.clone() };
                entries.push((key, Node { value: Value::Bool(true), place: place.clone() }));
            }
        }
    }
    role
}

/// Gives a box that is made from an image a machine id of its own, once. Everything that goes by the id would else take
/// it for the box that the image was taken of. systemd-machine-id-setup is not asked: it may find the old one elsewhere.
fn new_machine_id(place: &Place) -> (Key, Node) {
    const SCRIPT: &str = "tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id\n\
        [ ! -e /var/lib/dbus/machine-id ] || cp /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null || true\n\
        systemctl restart systemd-journald.service\n";
    let node = |value| Node { value, place: place.clone() };
    let words = ["cloud-init-per", "instance", "fleetkey-machine-id", "sh", "-c", SCRIPT];
    let command = words.into_iter().map(|word| node(Value::Text(word.to_owned()))).collect();
    let commands = node(Value::List(vec![node(Value::List(command))]));
    (Key { name: "bootcmd".to_owned(), place: place.clone() }, commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_request_does_not_stay_open_for_longer_than_its_box_could_fetch_the_agent() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let url = |minutes: u64, cut_short| {
            let ends = now.checked_add(Duration::from_mins(minutes)).unwrap();
            PresignedUrl { url: String::new(), ends, cut_short }
        };
        let hour = Duration::from_hours(1);
        assert!(outlasts(&url(70, true), hour, now).is_ok());
        insta::assert_snapshot!(outlasts(&url(69, true), hour, now).unwrap_err().to_string(), @"the URL by which the box fetches the agent ends at 2027-01-15T09:09:00Z, as your credentials do: too early for a spot request that stays open for 1h");
        let said = outlasts(&url(69, false), hour, now).unwrap_err().to_string();
        assert!(said.contains("no URL is good for longer"), "{said}");
    }
}
