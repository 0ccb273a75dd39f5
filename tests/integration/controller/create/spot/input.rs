//! Bad input of the spot flags, and of the lists of types and zones. Nothing of it changes anything.

use anyhow::Result;

use super::super::ground::Ground;

#[tokio::test]
async fn flags_that_contradict_each_other_and_prices_that_are_none_are_refused_with_the_reason() -> Result<()> {
    let ground = Ground::new().await?;
    for (flags, error) in [
        (&["--spot-bid", "0"][..], "a bid is more than 0"),
        (&["--spot-bid", "-0.5"], "no price in US dollars"),
        (&["--spot-bid", "1e3"], "no price in US dollars"),
        (&["--spot-bid", "nan"], "no price in US dollars"),
        (&["--spot-bid", "1001"], "is a decimal point missing?"),
        (&["--spot-bid", "0.00000001"], "EC2 takes 6 decimal places at most"),
        (&["--spot-timeout", "5m"], "--spot-timeout is about spot instances, and none is asked for"),
        (&["--spot-auto-zone"], "--spot-auto-zone is about spot instances"),
        (&["--spot-tentative"], "--spot-tentative is about spot instances"),
        (&["--spot-launch-group", "x"], "--spot-launch-group is about spot instances"),
        (&["--spot", "--spot-timeout", "0s"], "give a time such as 90s or 15m"),
        (&["--spot", "--spot-timeout", "20m"], "--spot-timeout 20m is longer than --timeout 15m"),
        (&["--spot", "--create-image"], "a spot instance that was asked for once cannot be stopped"),
        (&["--spot", "--spot-auto-zone", "--subnet", "subnet-01234567"], "--subnet is in one zone"),
        (&["--spot", "--spot-auto-zone", "--zone", "us-west-2a"], "--zone us-west-2a is one zone"),
        (&["--spot", "--spot-launch-group", "Big"], "--spot-launch-group: "),
        (&["--spot", "--spot-launch-group", "/red/"], "is a namespace, not a name in one"),
        (&["--instance-type", "t3.small,"], "an instance type has a family and a size"),
        (&["--instance-type", "t3.small,no.such"], "us-west-2 has no instance type no.such"),
        (&["--instance-type", "t3.small,t4g.small"], "instance type t4g.small runs arm64, and the image is for x86_64"),
        (&["--zone", "us-west-2a,eu-west-1a"], "--zone us-west-2a,eu-west-1a is in several regions"),
        (&["--zone", "us-west-2a,"], "--zone \"\" is not an availability zone"),
    ] {
        let ran = ground.run("create", flags).await?.ended(2);
        assert!(ran.stderr.contains(error), "{flags:?}: {}", ran.stderr);
    }
    assert!(ground.is_bare().await? && ground.records()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn recreate_takes_the_same_flags() -> Result<()> {
    let ground = Ground::new().await?;
    let ran = ground.run("recreate", &["--spot-auto-zone"]).await?.ended(2);
    assert!(ran.stderr.contains("--spot-auto-zone is about spot instances"), "{}", ran.stderr);
    Ok(())
}
