//! The IAM policy that is shipped for spot requests: with that for creating boxes it is enough, and each permission in it
//! is called for.

use std::collections::BTreeSet;

use anyhow::Result;
use fleetkey_tests::policy::ShippedPolicy;

use super::super::super::permissions::{Limited, allow, called_for, tells_of};
use super::super::ground::Ground;
use super::market::Market;

/// A request that stays open. Prices are only shown, since moto refuses to tell them here: it takes the signature of a
/// request that has blanks in its body, as the name of a product does, for a wrong one.
const FLAGS: [&str; 5] = ["--quick", "--spot", "--spot-timeout", "5s", "--anew"];

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
        let ran = ground.run("create", &FLAGS).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        assert!(ground.is_bare().await?, "{action}: {}", ran.stderr);
    }
    allow(cloud, &policy, None).await?;
    ground.run("create", &FLAGS).await?.ended(0);
    // One that is cancelled.
    let market = Market::open(&ground, "price-too-low");
    ground.run("create", &FLAGS).await?.ended(1);
    assert_eq!(market.states().last(), Some(&"cancelled"));
    let called = called_for(&ground.proxy);
    let mine: BTreeSet<_> = called.difference(&create.actions()).cloned().collect();
    let wanted: BTreeSet<_> = policy.actions().difference(&create.actions()).cloned().collect();
    assert_eq!(mine, wanted);
    Ok(())
}
