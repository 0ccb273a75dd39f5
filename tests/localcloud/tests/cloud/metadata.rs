//! What a box is told about itself, and what it cannot be told about others.

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;
use aws_sdk_ec2::types::{
    IamInstanceProfileSpecification, InstanceMetadataOptionsRequest, InstanceMetadataTagsState, ResourceType, Tag,
    TagSpecification,
};
use fleetkey_localcloud::CloudBox;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::in_box::InBox as _;
use fleetkey_tests::keys::TestKey;

use crate::support::{launch, launch_with_key, shared, up, wait_for_state};

const SERVICE: &str = "http://169.254.169.254/latest";

/// The trust policy of EC2's own roles.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
    "Principal":{"Service":"ec2.amazonaws.com"}}]}"#;

fn token(from: &CloudBox) -> String {
    from.sh(&format!("curl -sSf -m 60 -X PUT -H 'x-aws-ec2-metadata-token-ttl-seconds: 300' {SERVICE}/api/token"))
}

/// The status and the body of an answer.
fn get(from: &CloudBox, token: &str, path: &str) -> (String, String) {
    let line = format!("curl -sS -m 60 -w '\\n%{{http_code}}' -H 'x-aws-ec2-metadata-token: {token}' {SERVICE}/{path}");
    let answer = from.sh(&line);
    let (body, status) = answer.rsplit_once('\n').unwrap_or(("", &answer));
    (status.to_owned(), body.to_owned())
}

async fn create_profile(account: &Cloud, name: &str) -> Result<()> {
    account.iam().create_role().role_name(name).assume_role_policy_document(TRUST).send().await?;
    account.iam().create_instance_profile().instance_profile_name(name).send().await?;
    account.iam().add_role_to_instance_profile().instance_profile_name(name).role_name(name).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_box_sees_its_own_metadata_and_nobody_elses() -> Result<()> {
    let (cloud, key) = (shared()?, TestKey::new("meta@test")?);
    let account = cloud.account();
    create_profile(&account, "meta-role").await?;
    let options = InstanceMetadataOptionsRequest::builder();
    let options = options.instance_metadata_tags(InstanceMetadataTagsState::Enabled).build();
    let tag = Tag::builder().key("Name").value("prod_web").build();
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance).tags(tag).build();
    let profile = IamInstanceProfileSpecification::builder().name("meta-role").build();
    let full = launch_with_key(cloud, &key, "meta").await?.metadata_options(options).tag_specifications(tags);
    let (mine, full) = up(cloud, full.iam_instance_profile(profile)).await?;
    let (other, bare) = up(cloud, launch(cloud)).await?;

    let without = format!("curl -sS -o /dev/null -w '%{{http_code}}' {SERVICE}/meta-data/instance-id");
    assert_eq!(full.sh(&without), "401");
    let (token_of_full, token_of_bare) = (token(&full), token(&bare));
    let of_full = |path: &str| get(&full, &token_of_full, path);
    let of_bare = |path: &str| get(&bare, &token_of_bare, path);
    let ok = |value: Option<&str>| ("200".to_owned(), value.unwrap_or_default().to_owned());
    assert_eq!(of_full("meta-data/instance-id"), ok(mine.instance_id()));
    assert_eq!(of_bare("meta-data/instance-id"), ok(other.instance_id()));
    assert_eq!(get(&bare, &token_of_full, "meta-data/instance-id").0, "401", "a token is good for one box");
    assert_eq!(of_full("meta-data/ami-id"), ok(Some(cloud.image_id())));
    assert_eq!(of_full("meta-data/local-ipv4"), ok(mine.private_ip_address()));
    assert_eq!(of_full("meta-data/public-ipv4"), ok(mine.public_ip_address()));
    assert_eq!(of_full("meta-data/placement/availability-zone"), ok(Some("us-west-2a")));
    let blob = key.line().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(of_full("meta-data/public-keys/0/openssh-key"), ok(Some(&format!("{blob} meta"))));
    assert_eq!(of_full("meta-data/public-keys/"), ok(Some("0=meta")));
    let (_, mac) = of_full("meta-data/mac");
    assert_eq!(of_full(&format!("meta-data/network/interfaces/macs/{mac}/owner-id")), ok(Some(account.account_id())));
    assert_eq!(full.sh("cat /sys/class/net/ens5/address"), mac);
    assert_eq!(of_full("meta-data/tags/instance/Name"), ok(Some("prod_web")));
    assert_eq!(of_bare("meta-data/tags/instance").0, "404");
    assert_eq!(of_full("user-data").0, "404");
    let (_, document) = of_full("dynamic/instance-identity/document");
    let document: serde_json::Value = serde_json::from_str(&document)?;
    assert_eq!(document["instanceId"].as_str(), mine.instance_id());
    assert_eq!(document["accountId"].as_str(), Some(account.account_id()));

    assert_eq!(of_full("meta-data/iam/security-credentials/"), ok(Some("meta-role")));
    assert_eq!(of_bare("meta-data/iam/security-credentials/meta-role").0, "404");
    let (_, keys) = of_full("meta-data/iam/security-credentials/meta-role");
    let keys: serde_json::Value = serde_json::from_str(&keys)?;
    let text = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
    let credentials = Credentials::new(text("AccessKeyId"), text("SecretAccessKey"), Some(text("Token")), None, "box");
    let sts = aws_sdk_sts::Client::new(&account.with_credentials(credentials).sdk_config());
    let caller = sts.get_caller_identity().send().await?;
    let arn = caller.arn().context("an ARN")?;
    assert!(arn.contains(":assumed-role/meta-role/"), "{arn}");
    Ok(())
}

#[tokio::test]
async fn a_box_that_takes_anothers_address_gets_nothing_of_it() -> Result<()> {
    let cloud = shared()?;
    let (victim, _) = up(cloud, launch(cloud)).await?;
    let (_, thief) = up(cloud, launch(cloud)).await?;
    let (id, address) = (victim.instance_id().context("an id")?, victim.private_ip_address().context("an address")?);
    thief.sh(&format!("ip address add {address}/32 dev ens5"));
    let ask = "curl -s -X PUT -H 'x-aws-ec2-metadata-token-ttl-seconds: 60'";
    let as_victim = format!("{ask} -m 2 --interface {address} {SERVICE}/api/token");
    // No answer comes, or word that there is no way: curl's time-out, or that it could not connect.
    let nothing = |line: &str| matches!(thief.status(line).code(), Some(28 | 7));
    assert!(nothing(&as_victim));
    // Not even the other's absence helps.
    cloud.account().ec2().stop_instances().instance_ids(id).send().await?;
    wait_for_state(&cloud.account(), id, "stopped").await?;
    assert!(nothing(&as_victim));
    thief.sh(&format!("{ask} -m 60 {SERVICE}/api/token"));
    // The API sees the same router.
    let api = format!("curl -s -m 2 --interface {address} {}/moto-api/data.json", cloud.endpoint());
    assert!(nothing(&api));
    Ok(())
}

#[tokio::test]
async fn no_box_can_set_the_clock_of_the_machine() -> Result<()> {
    let cloud = shared()?;
    let (_, booted) = up(cloud, launch(cloud)).await?;
    // CAP_SYS_TIME is number 25, CAP_SYS_MODULE 16; see linux/capability.h.
    let unwanted = (1_u64 << 25) | (1 << 16);
    for process in ["self", "1"] {
        for set in ["CapEff", "CapBnd"] {
            let has = booted.sh(&format!("sed -n 's/^{set}:\\s*//p' /proc/{process}/status"));
            let without_time = 1_u64 << 25;
            let barred = if process == "1" { unwanted } else { without_time };
            assert_eq!(u64::from_str_radix(&has, 16)? & barred, 0, "{process} {set} {has}");
        }
    }
    Ok(())
}
