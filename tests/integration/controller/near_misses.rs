//! A selection that fits no box: refused, with what it would have fitted.

use anyhow::Result;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Proxy, count};

use super::boxes::launch_box;
use super::fleetkey::Operator;

#[tokio::test]
async fn boxes_of_other_namespaces_and_names_that_are_nearly_the_same_are_named() -> Result<()> {
    let mut operator = Operator::new("alice").await?;
    for name in ["prod_web", "prod_web", "test_web", "prod_db"] {
        launch_box(&operator.cloud, name).await?;
    }
    let moto = tokio::task::spawn_blocking(Moto::shared).await??;
    let proxy = Proxy::start(moto.address())?;
    operator.go_through(proxy.endpoint());
    for arguments in [&["show", "web"][..], &["stop", "web"], &["terminate", "web", "-y"], &["ssh", "web"]] {
        let refused = operator.verb("/other/", arguments).await?.ended(1);
        let told = "error: there is no box /other/web\n\
            hint: fleetkey list shows the boxes that there are; --namespace and --region say where to look\n\
            hint: in other namespaces there are /prod/web (2 boxes), /test/web (1 box)\n";
        assert_eq!(refused.stderr, told, "{arguments:?}");
        // The second look is only on the way out.
        let calls = count(&proxy.take_calls());
        assert_eq!(calls.into_iter().collect::<Vec<_>>(), [("ec2:DescribeInstances".to_owned(), 2)], "{arguments:?}");
    }
    let refused = operator.verb("/prod/", &["reboot", "wbe"]).await?.ended(1);
    assert!(refused.stderr.ends_with("hint: no box is called that (did you mean \"web\"?)\n"), "{}", refused.stderr);
    let refused = operator.verb("/prod/", &["show", "jenkins"]).await?.ended(1);
    assert!(refused.stderr.ends_with("hint: in /prod/ there are db, web\n"), "{}", refused.stderr);
    let none = operator.verb("/prod/", &["list", "dbb"]).await?.ended(0);
    let told = "there is no box /prod/dbb in us-west-2\nhint: no box is called that (did you mean \"db\"?)\n";
    assert_eq!(none.stderr, told);
    proxy.take_calls();
    operator.verb("/prod/", &["show", "db"]).await?.ended(0);
    assert_eq!(count(&proxy.take_calls())["ec2:DescribeInstances"], 2, "one to find it, one for all of it");
    Ok(())
}

#[tokio::test]
async fn a_box_that_is_gone_is_named_and_so_are_the_clusters_that_there_are() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let id = launch_box(&operator.cloud, "web").await?;
    let refused = operator.verb("/", &["show", "web", "-c", "spark"]).await?.ended(1);
    assert!(refused.stderr.contains("hint: its boxes are in no cluster\n"), "{}", refused.stderr);
    operator.verb("/", &["terminate", "web", "-y"]).await?.ended(0);
    let refused = operator.verb("/", &["start", "web"]).await?.ended(1);
    let told = format!("hint: gone, or about to be: {id} (terminated); -I ID names one\n");
    assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    Ok(())
}
