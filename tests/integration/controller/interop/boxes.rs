//! Boxes and images: either finds, tells apart, switches and images what the other made.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::super::boxes::each;
use super::beside;

/// A role that boots without an agent: nothing boots here.
const ROLE: &str = "package: deb
admin_account: admin
agent: false
instance_type: t3.small
base_images:
  x86_64: {owner: amazon, name: 'al2023-ami-2023*-x86_64'}
";

/// The one of this id.
fn the<'a>(things: &'a Value, id: &str) -> Result<&'a Value> {
    let mut all = things.as_array().into_iter().flatten();
    all.find(|one| one["id"] == id).with_context(|| format!("{id} is not among {things}"))
}

fn id(made: &Value) -> Result<&str> {
    made["id"].as_str().context("it has an id")
}

#[tokio::test]
async fn boxes_that_cgcloud_launched_are_listed_with_name_cluster_ordinal_and_generation() -> Result<()> {
    let (operator, old) = beside().await?;
    let first = old.run(&["launch", "/prod/", "web", "c1", "0", "etc=hosts"])?;
    let second = old.run(&["launch", "/prod/", "web", "c1", "1"])?;
    // In no cluster: CGCloud makes it one of its own, named by its id.
    let alone = old.run(&["launch", "/prod/", "web"])?;
    old.run(&["launch", "/other/", "web"])?;
    let listed = operator.json("/prod/", &["list"]).await?["boxes"].take();
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    for (made, cluster, ordinal) in [(&first, "c1", 0), (&second, "c1", 1), (&alone, id(&alone)?, 0)] {
        let found = the(&listed, id(made)?)?;
        assert_eq!((&found["name"], &found["role"]), (&json!("/prod/web"), &json!("web")));
        assert_eq!((&found["cluster"], &found["cluster_ordinal"]), (&json!(cluster), &json!(ordinal)));
        assert_eq!(found["generation"], 0);
    }
    let cluster = operator.json("/prod/", &["list", "web", "--cluster-name", "c1"]).await?;
    assert_eq!(cluster["boxes"].as_array().map(Vec::len), Some(2), "{cluster}");
    let shown = operator.json("/prod/", &["show", "web", "-c", "c1", "-I", id(&first)?]).await?;
    assert_eq!(shown["tags"]["etc"], "hosts", "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_box_of_cgcloud_is_stopped_started_imaged_and_terminated_and_cgcloud_sees_it_so() -> Result<()> {
    let (operator, old) = beside().await?;
    let made = old.run(&["launch", "/prod/", "web", "c1", "0", "heap=2G"])?;
    let state = || -> Result<Value> { Ok(old.run(&["list-boxes", "/prod/", "web"])?[0]["state"].take()) };
    operator.json("/prod/", &["stop", "web"]).await?;
    assert_eq!(state()?, "stopped");
    old.run(&["start", "/prod/", "web", "0"])?;
    let listed = operator.json("/prod/", &["list"]).await?;
    assert_eq!(each(&listed["boxes"], "state"), ["running"]);
    operator.json("/prod/", &["stop", "web"]).await?;
    operator.json("/prod/", &["start", "web"]).await?;
    assert_eq!(state()?, "running");

    operator.json("/prod/", &["stop", "web"]).await?;
    let taken = operator.json("/prod/", &["image", "web"]).await?;
    let images = old.run(&["list-images", "/prod/", "web"])?;
    let seen = the(&images, id(&taken)?)?;
    assert_eq!((&seen["generation"], &seen["tags"]["heap"]), (&json!(1), &json!("2G")), "{images}");
    operator.json("/prod/", &["terminate", "web", "--yes", "-I", id(&made)?]).await?;
    assert_eq!(old.run(&["list-boxes", "/prod/", "web"])?, json!([]));
    Ok(())
}

#[tokio::test]
async fn an_image_that_cgcloud_took_is_listed_and_is_launched_from_with_what_its_tags_say() -> Result<()> {
    let (operator, old) = beside().await?;
    old.run(&["launch", "/prod/", "web", "", "0"])?;
    operator.json("/prod/", &["stop", "web"]).await?;
    let taken = old.run(&["image", "/prod/", "web", "0"])?;
    let images = operator.json("/prod/", &["list-images", "web"]).await?;
    let seen = the(&images["images"], id(&taken)?)?;
    assert_eq!((&seen["generation"], &seen["name"]), (&json!(1), &taken["name"]));

    operator.cloud.import_key_pair("alice", &fleetkey_tests::keys::TestKey::rsa()?).await?;
    operator.file("web.yaml", ROLE)?;
    let folder = operator.path("");
    let recreate = ["recreate", "web", "--quick", "--role-path", folder.to_str().context("the path is text")?];
    let made = operator.json("/prod/", &[&recreate[..], &["-i", id(&taken)?]].concat()).await?;
    let boxes = old.run(&["list-boxes", "/prod/", "web"])?;
    let new = the(&boxes, id(&made)?)?;
    assert_eq!(new["generation"], 1, "{boxes}");
    Ok(())
}

#[tokio::test]
async fn a_box_that_fleetkey_launched_is_listed_started_and_imaged_by_cgcloud() -> Result<()> {
    let (operator, old) = beside().await?;
    operator.cloud.import_key_pair("alice", &fleetkey_tests::keys::TestKey::rsa()?).await?;
    operator.file("web_app.yaml", ROLE)?;
    let folder = operator.path("");
    let create = ["create", "web_app", "--quick", "--role-path", folder.to_str().context("the path is text")?];
    let made = operator.json("/prod/", &create).await?;
    let boxes = old.run(&["list-boxes", "/prod/", "web_app"])?;
    let seen = the(&boxes, id(&made)?)?;
    assert_eq!((&seen["generation"], &seen["tags"]["Name"]), (&json!(0), &json!("prod_web__app")));

    operator.json("/prod/", &["stop", "web_app"]).await?;
    let taken = old.run(&["image", "/prod/", "web_app", "0"])?;
    old.run(&["start", "/prod/", "web_app", "0"])?;
    let listed = operator.json("/prod/", &["list"]).await?;
    assert_eq!(each(&listed["boxes"], "state"), ["running"]);
    let images = operator.json("/prod/", &["list-images", "web_app"]).await?;
    assert_eq!(the(&images["images"], id(&taken)?)?["generation"], 1);
    Ok(())
}
