//! An account in which a box can be launched: a base image, a person with a key, roles in a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{Filter, Instance, SecurityGroup, Tag};
use aws_sdk_iam::operation::get_instance_profile::GetInstanceProfileError;
use aws_sdk_iam::operation::list_role_policies::ListRolePoliciesError;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::Proxy;
use serde_json::{Value, json};

use super::super::fleetkey::{Operator, Ran, Running};

/// What every role of the tests begins with.
const ROLE: &str = "package: deb
admin_account: admin
agent: false
base_images:
  x86_64: {owner: amazon, name: 'al2023-ami-2023*-x86_64'}
  arm64: {owner: amazon, name: 'al2023-ami-2023*-arm64'}
";

/// The role that the tests launch unless they say another.
pub(super) const WEB: &str = "instance_type: t3.small
ingress:
  - {protocol: tcp, ports: 22, from: 0.0.0.0/0}
  - {protocol: tcp, ports: 8000-8010, from: 10.0.0.0/8}
iam_policies:
  queue:
    Version: '2012-10-17'
    Statement: [{Effect: Allow, Action: ['sqs:ListQueues'], Resource: '*'}]
";

/// The name in IAM of what belongs to the boxes of /team/web.
pub(super) const PROFILE: &str = "team_web.us-west-2";

/// The ground of one test.
pub(in super::super) struct Ground {
    pub(in super::super) operator: Operator,
    pub(in super::super) proxy: Proxy,
}

impl Ground {
    /// alice, who has an EC2 key pair and a role `web`, in a new account.
    pub(in super::super) async fn new() -> Result<Self> {
        let mut operator = Operator::new("alice").await?;
        let moto = tokio::task::spawn_blocking(Moto::shared).await??;
        let proxy = Proxy::start(moto.address())?;
        operator.go_through(proxy.endpoint());
        let ground = Self { operator, proxy };
        ground.prepare().await?;
        Ok(ground)
    }

    /// What every account here has.
    pub(super) async fn prepare(&self) -> Result<()> {
        self.cloud().import_key_pair("alice", &TestKey::new("alice")?).await?;
        self.role("web", WEB)
    }

    /// Names a package of the agent in the bucket's index, which nobody fetches here.
    pub(super) async fn publish(&self, format: &str) -> Result<()> {
        let sha256 = "0".repeat(64);
        let key = format!("agent/{sha256}/fleetkey-agent.{format}");
        let package = json!({"key": key, "sha256": sha256, "version": "0.1.0", "format": format, "arch": "x86_64",
            "size": 4, "published_at": "2026-11-21T00:00:00Z", "published_by": "arn:aws:iam::123456789012:user/alice"});
        let index = json!({"version": 1, "packages": [package]}).to_string();
        self.cloud().put_object("agent/index.json", index, &[]).await
    }

    pub(super) fn cloud(&self) -> &Cloud {
        &self.operator.cloud
    }

    /// Writes a role, in place of what it was.
    pub(super) fn role(&self, name: &str, more: &str) -> Result<()> {
        std::fs::create_dir_all(self.operator.path("roles"))?;
        self.operator.file(&format!("roles/{name}.yaml"), &format!("{ROLE}{more}"))?;
        Ok(())
    }

    /// The words of a command: `create web --quick` and more, in /team/.
    fn words<'a>(verb: &'a str, more: &[&'a str], folder: &'a str) -> Vec<&'a str> {
        let first = more.first().is_none_or(|word| word.starts_with('-')).then_some("web");
        let role = first.into_iter().chain(more.iter().copied());
        let rest = ["--role-path", folder, "--namespace", "/team/"];
        [verb].into_iter().chain(role).chain(rest).collect()
    }

    fn folder(&self) -> Result<String> {
        self.operator.path("roles").into_os_string().into_string().ok().context("the path is text")
    }

    /// Runs a command to its end.
    pub(super) async fn run(&self, verb: &str, more: &[&str]) -> Result<Ran> {
        let folder = self.folder()?;
        self.operator.run_with(&Self::words(verb, more, &folder), &[("FLEETKEY_ZONE", "us-west-2a")]).await
    }

    /// Runs a command without a zone, with these variables.
    pub(in super::super) async fn run_with(
        &self,
        verb: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Ran> {
        let folder = self.folder()?;
        let variables = [&[("AWS_REGION", Cloud::REGION)], variables].concat();
        self.operator.run_with(&Self::words(verb, more, &folder), &variables).await
    }

    /// Starts a command.
    pub(super) fn start(&self, verb: &str, more: &[&str]) -> Result<Running> {
        let folder = self.folder()?;
        self.operator.start(&Self::words(verb, more, &folder))
    }

    /// `create web --quick --output json` and more, which must do well.
    pub(super) async fn create(&self, more: &[&str]) -> Result<Value> {
        let more = [more, &["--quick", "--output", "json"]].concat();
        printed(&self.run("create", &more).await?.ended(0))
    }

    /// The instances that are not terminated, oldest first.
    pub(super) async fn instances(&self) -> Result<Vec<Instance>> {
        let live = Filter::builder().name("instance-state-name").values("running").values("stopped").build();
        let answer = self.cloud().ec2().describe_instances().filters(live).send().await?;
        let mut found: Vec<_> =
            answer.reservations.into_iter().flatten().flat_map(|found| found.instances.unwrap_or_default()).collect();
        found.sort_by_key(|instance| instance.launch_time.map(|time| time.as_nanos()));
        Ok(found)
    }

    /// The security groups of this name.
    pub(in super::super) async fn groups(&self, name: &str) -> Result<Vec<SecurityGroup>> {
        let named = Filter::builder().name("group-name").values(name).build();
        let answer = self.cloud().ec2().describe_security_groups().filters(named).send().await?;
        Ok(answer.security_groups.unwrap_or_default())
    }

    /// The inline policies of an IAM role; `None` if there is no such role.
    pub(super) async fn policies(&self, role: &str) -> Result<Option<Vec<String>>> {
        match self.cloud().iam().list_role_policies().role_name(role).send().await {
            Ok(answer) => Ok(Some(answer.policy_names)),
            Err(error) if error.as_service_error().is_some_and(ListRolePoliciesError::is_no_such_entity_exception) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The roles in an instance profile; `None` if there is no such profile.
    pub(super) async fn profile(&self, name: &str) -> Result<Option<Vec<String>>> {
        match self.cloud().iam().get_instance_profile().instance_profile_name(name).send().await {
            Ok(answer) => {
                let roles = answer.instance_profile.map(|profile| profile.roles).unwrap_or_default();
                Ok(Some(roles.into_iter().map(|role| role.role_name).collect()))
            }
            Err(error)
                if error.as_service_error().is_some_and(GetInstanceProfileError::is_no_such_entity_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether nothing is there that a create makes.
    pub(in super::super) async fn is_bare(&self) -> Result<bool> {
        Ok(self.instances().await?.is_empty()
            && self.groups("team_web").await?.is_empty()
            && self.policies(PROFILE).await?.is_none()
            && self.profile(PROFILE).await?.is_none())
    }

    /// What the operator's machine keeps of creates that are not done.
    pub(super) fn records(&self) -> Result<Vec<PathBuf>> {
        let folder = self.operator.path(".local/state/fleetkey/creates");
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
        entries.map(|entry| Ok(entry?.path())).collect()
    }
}

/// The JSON that a run printed.
pub(in super::super) fn printed(ran: &Ran) -> Result<Value> {
    serde_json::from_str(&ran.stdout).with_context(|| format!("stdout is no JSON: {:?}", ran.stdout))
}

/// Tags by name.
pub(super) fn tags(tags: &[Tag]) -> BTreeMap<&str, &str> {
    tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))).collect()
}

/// An image of the account's own, taken of an instance of this architecture that is gone by then.
///
/// moto keeps the architecture of no image that is registered in any other way.
pub(super) async fn take_image(cloud: &Cloud, name: &str, architecture: &str) -> Result<String> {
    let ec2 = cloud.ec2();
    let filters = [("name", "al2023-ami-2023*"), ("architecture", architecture)];
    let filters = filters.map(|(name, value)| Filter::builder().name(name).values(value).build());
    let bases = ec2.describe_images().owners("amazon").set_filters(Some(filters.to_vec())).send().await?;
    let base = bases.images().first().and_then(|image| image.image_id()).context("moto has such an image")?;
    let launched = ec2.run_instances().image_id(base).min_count(1).max_count(1).send().await?;
    let id = launched.instances().first().and_then(|instance| instance.instance_id()).context("it has an id")?;
    let taken = ec2.create_image().instance_id(id).name(name).send().await?;
    ec2.terminate_instances().instance_ids(id).send().await?;
    taken.image_id.context("the answer has an id")
}
