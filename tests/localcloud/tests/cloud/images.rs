//! Images of boxes, and boxes made of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::Image;
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::in_box::InBox as _;

use crate::support::{PATIENCE, describe, host_keys, launch, shared, state, up};

async fn wait_for_image(account: &Cloud, id: &str) -> Result<Image> {
    let start = Instant::now();
    loop {
        let described = account.ec2().describe_images().image_ids(id).send().await?;
        let image = described.images().first().context("the image")?;
        if image.state().is_some_and(|state| state.as_str() == "available") {
            return Ok(image.clone());
        }
        ensure!(start.elapsed() < PATIENCE, "{id} is {:?}", image.state());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_box_made_of_an_image_has_the_old_files_and_an_identity_of_its_own() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (_, old) = up(cloud, launch(cloud)).await?;
    let old_keys = host_keys(&account, old.instance_id()).await?;
    old.wait_for_cloud_init();
    // A file that is gone and a folder that was made anew hide what the layer below has.
    old.sh("echo from the old box >/srv/file; rm /etc/issue; rm -r /etc/update-motd.d; mkdir /etc/update-motd.d; sync");
    let made = account.ec2().create_image().instance_id(old.instance_id()).name("web").send().await?;
    let image = made.image_id().context("an image id")?;
    assert_eq!(state(&describe(&account, old.instance_id()).await?), "running");
    wait_for_image(&account, image).await?;

    let (_, new) = up(cloud, launch(cloud).image_id(image)).await?;
    assert_ne!(new.instance_id(), old.instance_id());
    assert_eq!(new.sh("cat /srv/file; test ! -e /etc/issue; ls /etc/update-motd.d"), "from the old box");
    let new_keys = host_keys(&account, new.instance_id()).await?;
    let blobs =
        |keys: &str| keys.lines().filter_map(|key| key.split(' ').nth(1).map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(blobs(&new_keys).len(), 2);
    assert!(blobs(&new_keys).iter().all(|key| !old_keys.contains(key)), "{new_keys}");
    assert_eq!(new.sh("cat /var/lib/cloud/data/instance-id"), new.instance_id());

    account.ec2().deregister_image().image_id(image).send().await?;
    let refused = launch(cloud).image_id(image).send().await.expect_err("the image is gone");
    assert_eq!(refused.code(), Some("InvalidAMIID.NotFound"));
    new.sh("cat /srv/file");
    Ok(())
}

#[tokio::test]
async fn an_image_without_a_reboot_leaves_the_box_running() -> Result<()> {
    let cloud = shared()?;
    let account = cloud.account();
    let (_, old) = up(cloud, launch(cloud)).await?;
    // A file that is gone between a look and the copy would spoil the image.
    old.wait_for_cloud_init();
    old.sh("touch /run/this-boot /srv/written");
    let made = account.ec2().create_image().instance_id(old.instance_id()).name("live").no_reboot(true).send().await?;
    let image = made.image_id().context("an image id")?;
    wait_for_image(&account, image).await?;
    old.sh("test -e /run/this-boot");
    let (_, new) = up(cloud, launch(cloud).image_id(image)).await?;
    new.sh("test -e /srv/written");
    Ok(())
}
