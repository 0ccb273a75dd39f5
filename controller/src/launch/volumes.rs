//! The further volumes of a box: those of another box that it takes over, attached; and all of them named, since EC2 tags
//! all volumes of a launch alike.

use std::collections::BTreeMap;

use fleetkey_common::aws_names::AbsoluteName;

use super::World;
use super::kept::Takeover;
use crate::aws::{launch, volumes};
use crate::instance::{Instance, NAME_TAG, State};
use crate::refusal::Refusal;
use crate::role::Role;
use crate::volume::{AVAILABLE, BOX_TAG, IN_IMAGES_TAG, Node, OUT_OF_IMAGES, VOLUME_TAG};
use crate::wait::{Look, WaitError, Waiter};

/// The code by which EC2 says that somebody was faster.
const IN_USE: &str = "VolumeInUse";

/// The code by which EC2 says that a box does not run yet.
const NOT_RUNNING: &str = "IncorrectState";

/// What stands behind the name of the box in that of a volume of a launch, as long as it is not known which of them holds
/// data.
const UNNAMED: &str = "_unnamed";

/// The tags that all volumes of a launch have. The name is not yet that of the box where the role has further volumes:
/// should nobody come to name them, none is taken for a root volume, which holds nothing worth keeping.
pub(super) fn tags_of_all(of: &AbsoluteName, node: Option<&Node>, role: &Role) -> BTreeMap<String, String> {
    let unnamed = if role.volumes.is_empty() { "" } else { UNNAMED };
    let tags = [(NAME_TAG.to_owned(), of.to_aws_name() + unnamed), (BOX_TAG.to_owned(), of.to_string())];
    tags.into_iter().chain(node.into_iter().flat_map(Node::tags)).collect()
}

/// Attaches what the box takes over, and says whether anything was left to attach.
pub(super) async fn take_over(
    world: &World,
    waiter: &Waiter,
    instance: &Instance,
    found: &[Takeover],
) -> anyhow::Result<bool> {
    let ec2 = &world.fleet.ec2;
    let mut attached = false;
    for Takeover { id, label, device, .. } in found {
        let what = format!("volume {id} ({label}) hangs on box {}", instance.id);
        loop {
            let free = waiter.wait(&what, async || look(world, id, label, instance).await).await;
            if !free.map_err(WaitError::into_anyhow)? {
                break;
            }
            let attaching = volumes::attach(ec2, id, &instance.id, device);
            match waiter.act(&what, attaching).await.map_err(WaitError::into_anyhow)? {
                Ok(()) => {
                    attached = true;
                    world.printer.note(&format!("volume {id} ({label}) is attached as {device}"));
                }
                Err(error) if error.code.as_deref() == Some(IN_USE) => {
                    return Err(anyhow::Error::from(error).context(snatched(id, label, "another box")));
                }
                // EC2's parts do not hear of each other at once.
                Err(error) if error.code.as_deref() == Some(NOT_RUNNING) => {
                    let pause = async { tokio::time::sleep(std::time::Duration::from_secs(1)).await };
                    waiter.act(&what, pause).await.map_err(WaitError::into_anyhow)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(attached)
}

/// Whether a volume is to be attached, once it can be; `false` when it hangs on the box.
async fn look(world: &World, id: &str, label: &str, instance: &Instance) -> anyhow::Result<Look<bool>> {
    let ec2 = &world.fleet.ec2;
    let Some((state, on)) = volumes::state(ec2, id).await? else {
        return Err(Refusal::new(format!("volume {id} ({label}) is gone")).hint("the same command looks again").into());
    };
    match on {
        Some(on) if on == instance.id && state == "in-use" => Ok(Look::Done(false)),
        Some(on) if on != instance.id => match launch::with_id(ec2, &on).await? {
            Some(other) if State::LIVE.contains(&other.state) => Err(snatched(id, label, &format!("box {on}")).into()),
            _ => Ok(Look::NotYet(format!("it still hangs on {on}"))),
        },
        None if state == AVAILABLE => match launch::with_id(ec2, &instance.id).await?.map(|found| found.state) {
            // EC2 takes it in no other state.
            Some(State::Running | State::Stopped) => Ok(Look::Done(true)),
            Some(State::ShuttingDown | State::Terminated) => {
                Err(Refusal::new(format!("box {} is gone", instance.id)).into())
            }
            state => Ok(Look::NotYet(state.map_or("not seen yet", State::as_str).to_owned())),
        },
        _ => Ok(Look::NotYet(state)),
    }
}

fn snatched(id: &str, label: &str, by: &str) -> Refusal {
    Refusal::new(format!("volume {id} ({label}) was taken by {by} meanwhile"))
        .hint("once this box is gone, the same command looks again: it takes over another, or makes a blank one")
}

/// Names the role's further volumes; then the others of the launch, which have the name of the box. What somebody else has
/// named or attached meanwhile stays as it is.
pub(super) async fn name_volumes(
    world: &World,
    waiter: &Waiter,
    instance: &Instance,
    role: &Role,
) -> anyhow::Result<()> {
    if role.volumes.is_empty() {
        return Ok(());
    }
    let ec2 = &world.fleet.ec2;
    let what = format!("box {} has its volumes", instance.id);
    let there = waiter.wait(&what, async || {
        let there = launch::volumes(ec2, &instance.id).await?;
        let missing = role.volumes.iter().find(|volume| !there.contains_key(&volume.device));
        Ok(missing.map_or(Look::Done(there.clone()), |volume| Look::NotYet(format!("no {} yet", volume.device))))
    });
    let there = there.await.map_err(WaitError::into_anyhow)?;
    for volume in &role.volumes {
        let id = &there[&volume.device];
        let tags = [
            (NAME_TAG, volume_name(instance, &volume.name)),
            (VOLUME_TAG, volume.name.clone()),
            (IN_IMAGES_TAG, if volume.image { "yes" } else { OUT_OF_IMAGES }.to_owned()),
        ];
        waiter.act(&format!("name {id}"), launch::tag(ec2, id, &tags)).await.map_err(WaitError::into_anyhow)??;
    }
    let name = [(NAME_TAG, instance.name.to_aws_name())];
    let unnamed = instance.name.to_aws_name() + UNNAMED;
    let what = format!("name the other volumes of box {}", instance.id);
    let found = waiter.act(&what, volumes::of_box(ec2, &instance.id)).await.map_err(WaitError::into_anyhow)??;
    let others = found.iter().filter(|other| role.volumes.iter().all(|volume| volume.device != other.device));
    for other in others.filter(|other| other.tags.get(NAME_TAG) == Some(&unnamed)) {
        waiter.act(&what, launch::tag(ec2, &other.id, &name)).await.map_err(WaitError::into_anyhow)??;
    }
    Ok(())
}

/// The name of a volume of a box, in which the cluster is, so that two clusters of a role keep theirs apart.
fn volume_name(instance: &Instance, volume: &str) -> String {
    let node = instance.cluster.as_ref().map(|cluster| format!("_{cluster}_{}", instance.cluster_ordinal.unwrap_or(0)));
    format!("{}{}_{volume}", instance.name.to_aws_name(), node.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::instance::State;
    use crate::launch::testing;
    use crate::role::Volume;

    fn node(cluster: Option<&str>, ordinal: Option<u32>) -> Instance {
        Instance {
            id: "i-12345678".to_owned(),
            name: "/prod/spark_worker".parse().unwrap(),
            state: State::Running,
            launched: None,
            instance_type: String::new(),
            zone: String::new(),
            image: String::new(),
            architecture: String::new(),
            private_address: None,
            public_address: None,
            generation: Some(0),
            cluster: cluster.map(str::to_owned),
            cluster_ordinal: ordinal,
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn no_volume_has_the_name_of_its_box_while_it_may_hold_data() {
        let of: AbsoluteName = "/prod/web".parse().unwrap();
        let alone = testing::role("web");
        assert_eq!(tags_of_all(&of, None, &alone)[NAME_TAG], "prod_web");
        let with_data = Role { volumes: vec![Volume::new("data".into(), "/dev/sdf".into(), 10)], ..alone };
        assert_eq!(tags_of_all(&of, None, &with_data)[NAME_TAG], "prod_web_unnamed");
    }

    #[test]
    fn fault_13_volumes_of_two_clusters_of_a_role_have_names_of_their_own() {
        assert_eq!(volume_name(&node(None, None), "data"), "prod_spark__worker_data");
        assert_eq!(volume_name(&node(Some("red"), Some(3)), "data"), "prod_spark__worker_red_3_data");
        assert_eq!(volume_name(&node(Some("blue"), Some(3)), "data"), "prod_spark__worker_blue_3_data");
    }
}
