//! Instances launched, their volumes named, and instances terminated.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    AttributeValue, BlockDeviceMapping, EbsBlockDevice, EbsInstanceBlockDeviceSpecification, HttpTokensState,
    IamInstanceProfileSpecification, InstanceBlockDeviceMappingSpecification, InstanceMarketOptionsRequest,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceType, MarketType,
    ResourceType, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, Tag, TagSpecification, VolumeType,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::instances::{self, filter};
use super::{CallError, failed};
use crate::instance::{Instance, State};
use crate::lifecycle::Wish;

/// The tag that tells which `create` an instance is of, for one that does not know its id.
pub(crate) const TOKEN_TAG: &str = "fleetkey:token";

/// How many hops the metadata service's answers travel: to the box itself, and not to containers on a bridge in it,
/// which would else have the credentials of its instance profile.
pub(super) const HOPS: i32 = 1;

/// All that EC2 is told. It is kept while it is not known what became of it: the same token with anything else
/// changed is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// By which EC2 knows a call that it has heard before.
    pub(crate) token: String,
    /// The image.
    pub(crate) image: String,
    /// The instance type.
    pub(crate) instance_type: String,
    /// The subnet.
    pub(crate) subnet: String,
    /// The security group.
    pub(crate) group: String,
    /// The instance profile.
    pub(crate) profile: Option<String>,
    /// The key pair whose key EC2 hands to the box.
    pub(crate) key_name: Option<String>,
    /// The user-data in base64.
    pub(crate) user_data: String,
    /// The volumes.
    pub(crate) disks: Vec<Disk>,
    /// The tags of the instance.
    pub(crate) tags: BTreeMap<String, String>,
    /// The tags of its volumes.
    pub(crate) volume_tags: BTreeMap<String, String>,
    /// What EC2 does with it when it powers itself off: `stop` or `terminate`; `None` is EC2's own choice, `stop`.
    #[serde(default)]
    pub(crate) on_power_off: Option<String>,
    /// How it is bought on the spot market, if there.
    #[serde(default)]
    pub(crate) spot: Option<Spot>,
}

/// How an instance is bought on the spot market: once, and gone when EC2 takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spot {
    /// The most that is paid for an hour, in US dollars; `None` is the on-demand price.
    pub(crate) max_price: Option<String>,
    /// Of a request that stays open until it is filled; `None` for a launch that is filled at once or refused.
    pub(crate) open: Option<Open>,
}

/// What RunInstances has no words for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// When EC2 gives the request up by itself.
    pub(crate) until: Timestamp,
    /// Requests of one group are filled together or not at all, and their instances end together.
    pub(crate) launch_group: Option<String>,
    /// How many instances.
    pub(crate) count: u32,
}

impl Launch {
    /// What there is to say of a request that stays open; `None` for a launch that is answered with its instance.
    pub(crate) fn open(&self) -> Option<&Open> {
        self.spot.as_ref().and_then(|spot| spot.open.as_ref())
    }
}

/// A volume of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// The device name.
    pub(crate) device: String,
    /// Its size in GiB; `None` is the image's.
    pub(crate) gib: Option<u32>,
    /// Its type; `None` is the image's.
    pub(crate) kind: Option<String>,
    /// The snapshot that it is made from; `None` is the image's for the root volume, and a blank one for others.
    pub(crate) snapshot: Option<String>,
    /// Whether it outlives the instance.
    pub(crate) keep: bool,
    /// Operations in a second; `None` is the type's own.
    #[serde(default)]
    pub(crate) iops: Option<u32>,
    /// MiB in a second; `None` is the type's own.
    #[serde(default)]
    pub(crate) throughput: Option<u32>,
    /// Whether it is encrypted, whatever the account's default is.
    #[serde(default)]
    pub(crate) encrypted: bool,
    /// Whether there is to be none, though the image has one there.
    #[serde(default)]
    pub(crate) none: bool,
}

impl Disk {
    /// None at this device.
    pub(crate) fn none(device: String) -> Self {
        let (gib, kind, snapshot, iops, throughput) = (None, None, None, None, None);
        Self { device, gib, kind, snapshot, keep: false, iops, throughput, encrypted: false, none: true }
    }
}

/// Launches one instance. Asks once: whoever hears no answer is to look for the token before asking again, since not
/// everything that speaks EC2's language knows a token again.
pub(crate) async fn run(client: &Client, launch: &Launch) -> Result<Instance, CallError> {
    let action = format!("ec2 RunInstances {} of {} in {}", launch.instance_type, launch.image, launch.subnet);
    let profile = launch.profile.as_ref().map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(HOPS)
        .instance_metadata_tags(InstanceMetadataTagsState::Enabled)
        .build();
    let answer = client
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(&launch.token)
        .image_id(&launch.image)
        .instance_type(InstanceType::from(launch.instance_type.as_str()))
        .subnet_id(&launch.subnet)
        .security_group_ids(&launch.group)
        .set_iam_instance_profile(profile)
        .set_key_name(launch.key_name.clone())
        .user_data(&launch.user_data)
        .metadata_options(metadata)
        .set_instance_market_options(launch.spot.as_ref().map(market))
        .set_instance_initiated_shutdown_behavior(launch.on_power_off.as_deref().map(ShutdownBehavior::from))
        .set_block_device_mappings(Some(launch.disks.iter().map(mapping).collect()))
        .tag_specifications(specification(ResourceType::Instance, &launch.tags))
        .tag_specifications(specification(ResourceType::Volume, &launch.volume_tags))
        .customize()
        .config_override(Builder::new().retry_config(RetryConfig::disabled()))
        .send()
        .await
        .map_err(failed(action.clone()))?;
    let launched = answer.instances.unwrap_or_default().into_iter().find_map(Instance::read);
    launched.ok_or_else(|| CallError::answer(action, "the answer has no instance with the tags of a box"))
}

/// The instance that a launch with this token made, unless it is gone.
pub(crate) async fn with_token(client: &Client, token: &str) -> Result<Option<Instance>, CallError> {
    let filters = vec![
        filter(&format!("tag:{TOKEN_TAG}"), [token.to_owned()]),
        filter("instance-state-name", State::LIVE.map(|state| state.as_str().to_owned())),
    ];
    let answer = client.describe_instances().set_filters(Some(filters)).send().await;
    let answer = answer.map_err(failed("ec2 DescribeInstances by token"))?;
    let found = answer.reservations.unwrap_or_default().into_iter();
    let mut found = found.flat_map(|reservation| reservation.instances.unwrap_or_default());
    Ok(found.find_map(Instance::read))
}

/// The instance with this id; `None` if EC2 knows none, which may also be because it is too new.
pub(crate) async fn with_id(client: &Client, id: &str) -> Result<Option<Instance>, CallError> {
    Ok(instances::describe(client, id).await?.and_then(Instance::read))
}

/// The volumes of an instance by device name.
pub(crate) async fn volumes(client: &Client, id: &str) -> Result<BTreeMap<String, String>, CallError> {
    let mappings =
        instances::describe(client, id).await?.and_then(|found| found.block_device_mappings).unwrap_or_default();
    Ok(mappings.into_iter().filter_map(|mapping| Some((mapping.device_name?, mapping.ebs?.volume_id?))).collect())
}

/// Gives a resource these tags.
pub(crate) async fn tag(client: &Client, id: &str, tags: &[(&str, String)]) -> Result<(), CallError> {
    let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    tag_all(client, &[id], &tags).await
}

/// Gives resources these tags.
pub(crate) async fn tag_all(client: &Client, ids: &[&str], tags: &BTreeMap<String, String>) -> Result<(), CallError> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let action = format!("ec2 CreateTags {}", ids.join(" "));
    let call = client.create_tags().set_resources(Some(ids)).set_tags(Some(written(tags)));
    call.send().await.map_err(failed(action))?;
    Ok(())
}

/// Has volumes of an instance, by device name, be deleted with it.
pub(crate) async fn drop_volumes(client: &Client, id: &str, devices: &[&str]) -> Result<(), CallError> {
    let ebs = EbsInstanceBlockDeviceSpecification::builder().delete_on_termination(true).build();
    let mapping = |device: &&str| {
        InstanceBlockDeviceMappingSpecification::builder().device_name(*device).ebs(ebs.clone()).build()
    };
    let mappings = devices.iter().map(mapping).collect();
    let call = client.modify_instance_attribute().instance_id(id).set_block_device_mappings(Some(mappings));
    call.send().await.map_err(failed(format!("ec2 ModifyInstanceAttribute {id}")))?;
    Ok(())
}

/// Says what EC2 does with an instance when it powers itself off.
pub(crate) async fn set_on_power_off(client: &Client, id: &str, what: &str) -> Result<(), CallError> {
    let call = client.modify_instance_attribute().instance_id(id);
    let call = call.instance_initiated_shutdown_behavior(AttributeValue::builder().value(what).build());
    call.send().await.map(drop).map_err(failed(format!("ec2 ModifyInstanceAttribute {id}")))
}

/// Has an instance terminated. It is there for a while still. Gone already: done.
pub(crate) async fn terminate(client: &Client, id: &str) -> Result<(), CallError> {
    match instances::ask(client, id, Wish::Terminate).await {
        Err(error) if error.code.as_deref() != Some("InvalidInstanceID.NotFound") => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn mapping(disk: &Disk) -> BlockDeviceMapping {
    if disk.none {
        return BlockDeviceMapping::builder().device_name(&disk.device).no_device("").build();
    }
    let number = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let ebs = EbsBlockDevice::builder()
        .delete_on_termination(!disk.keep)
        .set_volume_size(number(disk.gib))
        .set_iops(number(disk.iops))
        .set_throughput(number(disk.throughput))
        .set_encrypted(disk.encrypted.then_some(true))
        .set_volume_type(disk.kind.as_deref().map(VolumeType::from))
        .set_snapshot_id(disk.snapshot.clone());
    BlockDeviceMapping::builder().device_name(&disk.device).ebs(ebs.build()).build()
}

pub(super) fn specification(of: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder().resource_type(of).set_tags(Some(written(tags))).build()
}

fn written(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect()
}

fn market(spot: &Spot) -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .set_max_price(spot.max_price.clone())
        .build();
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(options).build()
}
