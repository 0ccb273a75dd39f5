//! The further volumes of a box, named: EC2 tags all volumes of a launch alike.

use crate::aws::launch;
use crate::instance::{Instance, NAME_TAG};
use crate::role::Role;
use crate::wait::{Look, WaitError, Waiter};

use super::World;

/// Names the role's further volumes, which EC2 tags all alike at the launch.
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
        let name = volume_name(instance, &volume.name);
        let id = &there[&volume.device];
        waiter
            .act(&format!("name {id}"), launch::tag(ec2, id, NAME_TAG, &name))
            .await
            .map_err(WaitError::into_anyhow)??;
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
    fn fault_13_volumes_of_two_clusters_of_a_role_have_names_of_their_own() {
        assert_eq!(volume_name(&node(None, None), "data"), "prod_spark__worker_data");
        assert_eq!(volume_name(&node(Some("red"), Some(3)), "data"), "prod_spark__worker_red_3_data");
        assert_eq!(volume_name(&node(Some("blue"), Some(3)), "data"), "prod_spark__worker_blue_3_data");
    }
}
