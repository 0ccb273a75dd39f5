//! Names: both map the same names to the same names in AWS, and back, and refuse the same.

use anyhow::Result;

use super::super::boxes::{each, launch_box};
use super::beside;

/// Namespace, role, and what both are in AWS.
const NAMES: [(&str, &str, &str); 7] = [
    ("/", "web", "web"),
    ("/", "foo_bar", "foo__bar"),
    ("/", "a__b", "a____b"),
    ("/sub_ns/", "foo_bar", "sub__ns_foo__bar"),
    ("/g_/", "web", "g___web"),
    ("/g__/x_/", "y_", "g_____x___y__"),
    ("/0/a.b-c/", "d.e-f", "0_a.b-c_d.e-f"),
];

#[tokio::test]
async fn every_name_means_the_same_to_both() -> Result<()> {
    let (operator, old) = beside().await?;
    for (namespace, role, aws) in NAMES {
        assert_eq!(old.run(&["to-aws", namespace, role])?, aws);
        assert_eq!(old.run(&["from-aws", namespace, aws])?, role);
        assert_eq!(old.run(&["from-aws", "/", aws])?, format!("{namespace}{role}")[1..]);
        old.run(&["launch", namespace, role])?;
    }
    let listed = operator.json("/", &["list"]).await?;
    let mut expected: Vec<_> = NAMES.iter().map(|(namespace, role, _)| format!("{namespace}{role}")).collect();
    expected.sort();
    let mut names = each(&listed["boxes"], "name");
    names.sort_unstable();
    assert_eq!(names, expected);
    for (namespace, role, _) in NAMES {
        let own = operator.json(namespace, &["list", role]).await?;
        assert_eq!(each(&own["boxes"], "role"), [role], "in {namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_refuses_as_a_name_the_other_does_too() -> Result<()> {
    let (operator, old) = beside().await?;
    for name in ["/_", "/_web", "/a/_b", "/Web", "/a//b", "/-web", "/we b", "/wéb"] {
        let said = old.refused(&["to-aws", "/", name])?;
        assert!(said.contains("Invalid path"), "{said}");
        operator.verb("/", &["list", name]).await?.ended(2);
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_whose_name_is_no_name_of_either_is_in_nobodys_way() -> Result<()> {
    let (operator, old) = beside().await?;
    // `___` would be `/_/`, which begins a component with `_`.
    for name in ["___", "_web", "Web Server"] {
        assert!(old.refused(&["from-aws", "/", name])?.contains("Invalid path"));
        launch_box(&operator.cloud, name).await?;
    }
    old.run(&["launch", "/", "web"])?;
    let listed = operator.json("/", &["list"]).await?;
    assert_eq!(each(&listed["boxes"], "name"), ["/web"]);
    Ok(())
}
