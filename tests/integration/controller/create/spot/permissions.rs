//! The IAM policy that is shipped for spot requests: with that for creating boxes it is enough, and each permission in it
//! is called for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::policy::{Keys, ShippedPolicy};

use super::super::super::permissions::{Limited, allow, called_for, tells_of};
use super::super::ground::Ground;
use super::market::Market;
use super::{TIMED, form};

/// A request that stays open. Prices are only shown, since moto refuses to tell them here: it takes the signature of a
/// request that has blanks in its body, as the name of a product does, for a wrong one.
const FLAGS: [&str; 5] = ["--quick", "--spot", "--spot-timeout", "5m", "--anew"];

#[tokio::test]
async fn bidding_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-spot", &[]).await?;
    let ground = Ground { operator, proxy };
    moto.enforce_iam(u32::MAX)?;
    ground.prepare().await?;
    let cloud = ground.cloud();
    let create = ShippedPolicy::read("controller-create", cloud, "alice")?;
    let put = cloud.iam().put_user_policy().user_name("alice").policy_name("create");
    put.policy_document(create.clone().for_moto()).send().await?;
    moto.enforce_iam(0)?;
    for action in ["ec2:RequestSpotInstances", "ec2:ModifyInstanceMetadataOptions"] {
        allow(cloud, &policy, Some(action)).await?;
        if action == "ec2:ModifyInstanceMetadataOptions" {
            // moto forgets a request that is cancelled, of which EC2 tells what came of it.
            Market::open(&ground, "capacity-not-available").fill(&ground).await?;
        }
        let ran = ground.run("create", &FLAGS).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        assert!(ground.is_bare().await?, "{action}: {}", ran.stderr);
        ground.proxy.heal();
    }
    allow(cloud, &policy, None).await?;
    ground.run("create", &FLAGS).await?.ended(0);
    // One that is cancelled.
    let market = Market::open(&ground, "price-too-low");
    ground.run("create", &["--quick", "--spot", "--spot-timeout", "5s", "--anew"]).await?.ended(1);
    assert_eq!(market.states().last(), Some(&"cancelled"));
    let called = called_for(&ground.proxy);
    let mine: BTreeSet<_> = called.difference(&create.actions()).cloned().collect();
    let wanted: BTreeSet<_> = policy.actions().difference(&create.actions()).cloned().collect();
    assert_eq!(mine, wanted);
    Ok(())
}

/// The calls about what a spot request has brought.
const ABOUT_THEM: [&str; 3] = ["CreateTags", "ModifyInstanceMetadataOptions", "ModifyInstanceAttribute"];

type Tags = BTreeMap<String, String>;

/// The condition keys of a call that gives these tags to an instance or a volume that has those.
fn keys(id: &str, has: &Tags, gets: &Tags) -> Keys {
    let named = |prefix: &str, tags: &Tags| {
        let named = tags.iter().map(|(name, value)| (format!("{prefix}/{name}"), vec![value.clone()]));
        named.collect::<Vec<_>>()
    };
    let mut keys: Keys = named("aws:ResourceTag", has).into_iter().chain(named("aws:RequestTag", gets)).collect();
    if !gets.is_empty() {
        keys.insert("aws:TagKeys".to_owned(), gets.keys().cloned().collect());
    }
    if id.starts_with("i-") {
        keys.insert("ec2:InstanceMarketType".to_owned(), vec!["spot".to_owned()]);
    }
    keys
}

/// Whether somebody who has both policies may make such a call.
fn allowed(ground: &Ground, action: &str, id: &str, keys: &Keys) -> Result<bool> {
    let kind = if id.starts_with("i-") { "instance" } else { "volume" };
    let resource = format!("arn:aws:ec2:{}:{}:{kind}/{id}", Cloud::REGION, ground.cloud().account_id());
    for policy in ["controller-create", "controller-spot"] {
        if ShippedPolicy::read(policy, ground.cloud(), "alice")?.allows(&format!("ec2:{action}"), &resource, keys) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::test]
async fn the_conditions_of_the_policies_allow_what_is_done_to_a_bare_instance_and_its_volumes_also_twice() -> Result<()>
{
    let ground = Ground::new().await?;
    ground.role("web", "instance_type: t3.small\nvolumes: [{name: data, size: 1, keep: true}]\n")?;
    Market::open(&ground, "capacity-not-available").fill(&ground).await?;
    ground.proxy.take_calls();
    ground.create(&[&TIMED[..], &["--cluster-name", "red", "--cluster-ordinal", "0"]].concat()).await?;
    // By id. A spot request brings all of them without tags.
    let mut things: BTreeMap<String, Tags> = BTreeMap::new();
    for call in ground.proxy.take_calls().iter().filter(|call| ABOUT_THEM.contains(&call.action.as_str())) {
        let fields: Tags = form(call).into_iter().map(|(name, value)| (name, value.replace("%3A", ":"))).collect();
        let ids = fields.iter().filter(|(name, _)| name.starts_with("ResourceId.") || *name == "InstanceId");
        let tag = |number: u32| {
            Some((
                fields.get(&format!("Tag.{number}.Key"))?.clone(),
                fields.get(&format!("Tag.{number}.Value"))?.clone(),
            ))
        };
        let gets: Tags = (1..).map_while(tag).collect();
        for (_, id) in ids {
            let has = things.entry(id.clone()).or_default();
            for times in ["once", "twice"] {
                let may = allowed(&ground, &call.action, id, &keys(id, has, &gets))?;
                assert!(may, "{} of {id} {times}: it has {has:?} and gets {gets:?}", call.action);
                has.extend(gets.clone());
            }
        }
    }
    let volumes = things.iter().filter(|(id, tags)| id.starts_with("vol-") && tags["cluster_name"] == "red");
    assert_eq!((things.len(), volumes.count()), (3, 2), "{things:?}");

    // What is somebody else's is not to be had.
    let mut gets =
        Tags::from([("Name".to_owned(), "team_web".to_owned()), ("fleetkey:box".to_owned(), "/team/web".into())]);
    let named = Tags::from([("Name".to_owned(), "db".to_owned())]);
    assert!(!allowed(&ground, "CreateTags", "vol-1", &keys("vol-1", &named, &gets))?);
    gets.insert("fleetkey:token".to_owned(), "0".repeat(32));
    assert!(!allowed(&ground, "CreateTags", "vol-1", &keys("vol-1", &Tags::new(), &gets))?);
    assert!(!allowed(&ground, "CreateTags", "i-1", &keys("i-1", &named, &gets))?);
    Ok(())
}
