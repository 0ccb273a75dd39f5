//! An account with things to sweep in it, made as a stranger would make them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_config::Region;
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification, VolumeType};
use aws_sdk_sqs::types::QueueAttributeName;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use serde_json::Value;

use super::super::boxes::Tags;
use super::super::fleetkey::{Operator, Ran};

/// The other region of these tests.
pub(super) const ELSEWHERE: &str = "eu-west-1";

/// An instance that never was.
pub(super) const GONE: &str = "i-0123456789abcdef0";

/// The ground of one test.
pub(in super::super) struct Ground {
    pub(in super::super) operator: Operator,
    pub(in super::super) proxy: Proxy,
}

impl Ground {
    /// alice, in a new account.
    pub(super) async fn new() -> Result<Self> {
        let mut operator = Operator::new("alice").await?;
        let moto = tokio::task::spawn_blocking(Moto::shared).await??;
        let proxy = Proxy::start(moto.address())?;
        operator.go_through(proxy.endpoint());
        Ok(Self { operator, proxy })
    }

    pub(super) fn cloud(&self) -> &Cloud {
        &self.operator.cloud
    }

    /// Runs `cleanup` in /prod/, and more.
    pub(super) async fn cleanup(&self, more: &[&str]) -> Result<Ran> {
        self.operator.run(&[&["cleanup", "--namespace", "/prod/"], more].concat()).await
    }

    /// Sweeps everything of any age that these flags leave: what became of each thing, as `kind id result`.
    pub(super) async fn sweep(&self, more: &[&str]) -> Result<Vec<String>> {
        let all = ["--yes", "--output", "json", "--older-than", "0s"];
        swept(&self.cleanup(&[&all, more].concat()).await?.ended(0))
    }

    /// EC2 in a region.
    pub(super) fn ec2(&self, region: &str) -> aws_sdk_ec2::Client {
        let config = self.cloud().sdk_config().to_builder().region(Region::new(region.to_owned())).build();
        aws_sdk_ec2::Client::new(&config)
    }

    /// A volume with these tags, made blank.
    pub(super) async fn volume(&self, region: &str, tags: Tags<'_>) -> Result<String> {
        self.volume_from(region, None, tags).await
    }

    /// A volume with these tags, made of a snapshot as a root volume is.
    pub(super) async fn root_volume(&self, region: &str, tags: Tags<'_>) -> Result<String> {
        let snapshot = self.snapshot(region, &[]).await?;
        self.volume_from(region, Some(snapshot), tags).await
    }

    async fn volume_from(&self, region: &str, snapshot: Option<String>, tags: Tags<'_>) -> Result<String> {
        let call = self.ec2(region).create_volume().availability_zone(format!("{region}a")).size(8);
        let call = call.volume_type(VolumeType::Gp3).set_snapshot_id(snapshot);
        let made = call.set_tag_specifications(tagged(ResourceType::Volume, tags)).send().await?;
        made.volume_id.context("a volume has an id")
    }

    /// A snapshot with these tags.
    pub(super) async fn snapshot(&self, region: &str, tags: Tags<'_>) -> Result<String> {
        let volume = self.volume(region, &[]).await?;
        let call = self.ec2(region).create_snapshot().volume_id(&volume);
        let made = call.set_tag_specifications(tagged(ResourceType::Snapshot, tags)).send().await?;
        self.ec2(region).delete_volume().volume_id(volume).send().await?;
        made.snapshot_id.context("a snapshot has an id")
    }

    /// A snapshot of an image of /prod/web that is gone.
    pub(super) async fn left_snapshot(&self, region: &str) -> Result<String> {
        self.snapshot(region, &[("Name", "prod_web"), ("fleetkey:image", "ami-00000001")]).await
    }

    /// A security group with these tags.
    pub(super) async fn group(&self, name: &str, tags: Tags<'_>) -> Result<String> {
        let ec2 = self.cloud().ec2();
        let network = ec2.describe_vpcs().send().await?.vpcs()[0].vpc_id().context("it has an id")?.to_owned();
        let call = ec2.create_security_group().group_name(name).description("test").vpc_id(network);
        let made = call.set_tag_specifications(tagged(ResourceType::SecurityGroup, tags)).send().await?;
        made.group_id.context("a group has an id")
    }

    /// The queue of an agent with these tags, and its subscription.
    pub(super) async fn queue(&self, id: &str, tags: Tags<'_>) -> Result<()> {
        let name = format!("fleetkey-agent_{id}");
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let made = self.cloud().sqs().create_queue().queue_name(&name).set_tags(Some(tags)).send().await?;
        let url = made.queue_url.context("a queue has a URL")?;
        let arn = self.cloud().sqs().get_queue_attributes().queue_url(url);
        let arn = arn.attribute_names(QueueAttributeName::QueueArn).send().await?;
        let arn =
            arn.attributes().and_then(|them| them.get(&QueueAttributeName::QueueArn)).context("it has an ARN")?.clone();
        let topic = self.cloud().create_topic(Cloud::TOPIC).await?;
        self.cloud().sns().subscribe().topic_arn(topic).protocol("sqs").endpoint(arn).send().await?;
        Ok(())
    }

    /// The same as the agent makes it.
    pub(super) async fn agents_queue(&self, id: &str) -> Result<()> {
        self.queue(id, &[("fleetkey:created-by", "fleetkey-agent"), ("fleetkey:instance-id", id)]).await
    }

    /// What the agent of an instance says of itself.
    pub(super) async fn status(&self, id: &str) -> Result<()> {
        self.cloud().put_object(&format!("status/{id}.json"), r#"{"version":1,"agent":"0.1.0"}"#, &[]).await
    }
}

/// What became of each thing that a run shows, as `kind id result`, sorted.
pub(super) fn swept(ran: &Ran) -> Result<Vec<String>> {
    let shown = json(ran)?;
    let things = shown["things"].as_array().context("there are things")?;
    let text = |thing: &Value, field: &str| thing[field].as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<_> = things
        .iter()
        .map(|thing| format!("{} {} {}", text(thing, "kind"), text(thing, "id"), text(thing, "result")))
        .collect();
    lines.sort();
    Ok(lines)
}

/// The JSON that a run printed.
pub(super) fn json(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is no JSON: {:?}", ran.stdout))
}

/// Why things stay, by id, as a run with `--verbose` says.
pub(super) fn stays(ran: &Ran) -> BTreeMap<String, String> {
    let lines = ran.stderr.lines().filter_map(|line| {
        let (thing, why) = line.split_once(" stays: ")?;
        let (thing, _) = thing.rsplit_once(" in ")?;
        Some((thing.split_once(' ')?.1.to_owned(), why.to_owned()))
    });
    lines.collect()
}

fn tagged(kind: ResourceType, tags: Tags<'_>) -> Option<Vec<TagSpecification>> {
    let tags: Vec<_> = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    let tagged = TagSpecification::builder().resource_type(kind).set_tags(Some(tags.clone())).build();
    (!tags.is_empty()).then(|| vec![tagged])
}
