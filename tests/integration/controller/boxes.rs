//! Boxes in an account of moto's, made as a stranger would make them.

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, InstanceStateName, ResourceType, Tag, TagSpecification, VolumeType,
};
use fleetkey_tests::cloud::Cloud;
use serde_json::Value;

use super::fleetkey::{Operator, Ran};

/// The image that boxes of these tests are launched from.
pub(super) const BASE_IMAGE: &str = "ami-12c6146b";

/// Tags as pairs.
pub(super) type Tags<'a> = &'a [(&'a str, &'a str)];

fn tag_list(tags: Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect()
}

/// Launches an instance with these tags and gives its id.
pub(super) async fn launch(cloud: &Cloud, tags: Tags<'_>) -> Result<String> {
    launch_with(cloud, tags, Vec::new()).await
}

/// The same with these volumes.
pub(super) async fn launch_with(cloud: &Cloud, tags: Tags<'_>, volumes: Vec<BlockDeviceMapping>) -> Result<String> {
    let specification = TagSpecification::builder().resource_type(ResourceType::Instance);
    let call = cloud.ec2().run_instances().image_id(BASE_IMAGE).instance_type("t3.micro".into());
    let call = call.min_count(1).max_count(1).set_block_device_mappings((!volumes.is_empty()).then_some(volumes));
    let answer = call.tag_specifications(specification.set_tags(Some(tag_list(tags))).build()).send().await?;
    Ok(answer.instances()[0].instance_id().context("an instance has an id")?.to_owned())
}

/// A box of this AWS name.
pub(super) async fn launch_box(cloud: &Cloud, aws_name: &str) -> Result<String> {
    launch(cloud, &[("Name", aws_name), ("generation", "0")]).await
}

/// A volume of a box.
pub(super) fn volume(device: &str, gib: i32, deleted_with_box: bool) -> BlockDeviceMapping {
    let ebs = EbsBlockDevice::builder().volume_size(gib).volume_type(VolumeType::Gp3);
    let ebs = ebs.delete_on_termination(deleted_with_box).build();
    BlockDeviceMapping::builder().device_name(device).ebs(ebs).build()
}

/// The state of an instance.
pub(super) async fn state(cloud: &Cloud, id: &str) -> Result<InstanceStateName> {
    let answer = cloud.ec2().describe_instances().instance_ids(id).send().await?;
    let state = answer.reservations()[0].instances()[0].state().context("an instance has a state")?;
    Ok(state.name().context("a state has a name")?.clone())
}

/// Stops an instance.
pub(super) async fn stop(cloud: &Cloud, id: &str) -> Result<()> {
    cloud.ec2().stop_instances().instance_ids(id).send().await?;
    Ok(())
}

impl Operator {
    /// A verb in a namespace, with `--output json`: what it printed.
    pub(super) async fn json(&self, namespace: &str, arguments: &[&str]) -> Result<Value> {
        let ran = self.verb(namespace, &[arguments, &["--output", "json"]].concat()).await?.ended(0);
        serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is JSON: {}", ran.stdout))
    }

    /// A verb in a namespace.
    pub(super) async fn verb(&self, namespace: &str, arguments: &[&str]) -> Result<Ran> {
        self.run(&[arguments, &["--namespace", namespace]].concat()).await
    }
}

/// The field of each of the things, as text.
pub(super) fn each<'a>(things: &'a Value, field: &str) -> Vec<&'a str> {
    things.as_array().into_iter().flatten().map(|thing| thing[field].as_str().unwrap_or_default()).collect()
}
