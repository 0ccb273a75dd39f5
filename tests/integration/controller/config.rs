//! `~/.config/fleetkey/config.toml`: what it says counts, in its place among flags, variables and AWS's configuration.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use aws_credential_types::Credentials;

use super::boxes::launch_box;
use super::fleetkey::Operator;

/// Writes the operator's configuration.
fn configure(operator: &Operator, text: &str) -> Result<String> {
    std::fs::create_dir_all(operator.path(".config/fleetkey"))?;
    let path = operator.file(".config/fleetkey/config.toml", text)?;
    Ok(path.to_str().context("the path is text")?.to_owned())
}

#[tokio::test]
async fn region_namespace_and_output_are_those_of_the_profile_unless_a_flag_or_variable_says_otherwise() -> Result<()> {
    let operator = Operator::new("alice").await?;
    launch_box(&operator.cloud, "prod_web").await?;
    configure(
        &operator,
        "region = 'us-west-2'\nnamespace = '/none/'\n[profile.prod]\nnamespace = '/prod/'\noutput = 'json'\n",
    )?;
    let boxes = async |arguments: &[&str], variables: &[(&str, &str)]| -> Result<String> {
        Ok(operator.run_with(&[&["list"], arguments].concat(), variables).await?.ended(0).stdout)
    };
    assert!(boxes(&["--profile", "prod"], &[]).await?.starts_with("{\n"));
    let table = boxes(&["--output", "table"], &[("FLEETKEY_PROFILE", "prod")]).await?;
    assert!(table.starts_with("ORDINAL ") && table.contains(" web "), "{table}");
    let none = boxes(&["--profile", "prod", "--namespace", "/other/"], &[("FLEETKEY_PROFILE", "nonsense")]).await?;
    assert!(none.contains("\"namespace\": \"/other/\"") && none.contains("\"boxes\": []"), "{none}");
    let none = operator.run_with(&["list"], &[]).await?.ended(0);
    assert!(none.stderr.starts_with("there is no box in /none/ in us-west-2\n"), "{}", none.stderr);
    let other = boxes(&["--profile", "prod"], &[("FLEETKEY_ZONE", "eu-west-1a")]).await?;
    assert!(other.contains("\"region\": \"eu-west-1\""), "{other}");
    // AWS's own variable is below the file.
    let own = boxes(&["--profile", "prod"], &[("AWS_REGION", "eu-west-1")]).await?;
    assert!(own.contains("\"region\": \"us-west-2\""), "{own}");
    Ok(())
}

#[tokio::test]
async fn an_aws_profile_is_the_one_whose_credentials_are_used_whatever_the_environment_holds() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let other = Credentials::new("AKIAOTHER", "nonsense", None, None, "test");
    let of_alice = std::fs::read_to_string(operator.path(".aws/credentials"))?;
    let of_other = operator.cloud.with_credentials(other).credentials_file();
    let text = format!("{of_other}\n{}", of_alice.replace("[default]", "[of-alice]"));
    operator.file(".aws/credentials", &text)?;
    configure(&operator, "region = 'us-west-2'\n[profile.mine]\naws_profile = 'of-alice'\n")?;
    // `/__me__/` is asked of AWS with these credentials.
    let ours = [("AWS_ACCESS_KEY_ID", "AKIAOTHER"), ("AWS_SECRET_ACCESS_KEY", "nonsense")];
    let found = operator.run_with(&["list", "--profile", "mine", "--output", "json"], &ours).await?.ended(0);
    assert!(found.stdout.contains("\"namespace\": \"/alice/\""), "{}", found.stdout);
    Ok(())
}

#[tokio::test]
async fn two_names_for_the_aws_profile_are_refused_unless_somebody_says_which_is_meant() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let path = configure(&operator, "default_profile = 'mine'\n[profile.mine]\naws_profile = 'default'\n")?;
    let variables = [("AWS_PROFILE", "staging"), ("AWS_REGION", "us-west-2")];
    let refused = operator.run_with(&["list", "-n", "/"], &variables).await?.ended(2);
    assert_eq!(
        refused.stderr,
        format!(
            "error: AWS_PROFILE is \"staging\", but {path}:3:15: profile.mine.aws_profile says \"default\"; unset one of \
             them, or say which profile of Fleetkey's configuration is meant with --profile\n"
        )
    );
    operator.run_with(&["list", "-n", "/", "--profile", "mine"], &variables).await?.ended(0);
    Ok(())
}

#[tokio::test]
async fn a_file_with_faults_or_that_others_can_write_stops_every_command_and_config_says_why() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let path = configure(&operator, "regoin = 'x'\n[profile.prod]\nzone = 'us-west-2'\n")?;
    let told = [
        format!("{path}:1:1: unknown field \"regoin\" (did you mean \"region\"?)"),
        format!("{path}:3:8: profile.prod.zone: \"us-west-2\" is not an availability zone, such as us-west-2a"),
    ];
    for arguments in [&["list"][..], &["role", "list"], &["config", "show"]] {
        let refused = operator.run(arguments).await?.ended(2);
        assert_eq!(
            refused.stderr,
            format!("error: {}\nhint: fleetkey config check looks at it again\n", told.join("\n"))
        );
    }
    let checked = operator.run(&["config", "check", "--output", "json"]).await?.ended(1);
    let json: serde_json::Value = serde_json::from_str(&checked.stdout)?;
    let faults = json["faults"].as_array().context("there are faults")?;
    let places: Vec<_> = faults.iter().map(|fault| (fault["line"].as_u64(), fault["column"].as_u64())).collect();
    assert_eq!(places, [(Some(1), Some(1)), (Some(3), Some(8))]);
    operator.run(&["--help"]).await?.ended(0);

    operator.file(".config/fleetkey/config.toml", "region = 'us-west-2'\n")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o622))?;
    let refused = operator.run(&["list", "-n", "/"]).await?.ended(2);
    assert!(
        refused.stderr.contains(&format!("hint: look through it, then run: chmod go-w {path}\n")),
        "{}",
        refused.stderr
    );
    let without = operator.run_with(&["list", "-n", "/", "--region", "us-west-2"], &[("FLEETKEY_CONFIG", "/dev/null")]);
    without.await?.ended(0);
    let missing = operator.run_with(&["config", "check"], &[("FLEETKEY_CONFIG", "/nonexistent")]).await?.ended(2);
    assert!(missing.stderr.starts_with("error: /nonexistent: there is no such file\n"), "{}", missing.stderr);
    Ok(())
}

#[tokio::test]
async fn config_show_says_what_each_setting_comes_to_and_where_that_is_written() -> Result<()> {
    let operator = Operator::new("alice").await?;
    let path = configure(
        &operator,
        "default_profile = 'prod'\ntopic = 'ours'\nkeypairs = ['__me__', '@@dev']\n[profile.prod]\nzone = 'eu-west-1b'\n",
    )?;
    let shown = operator
        .run_with(
            &["config", "show", "--bucket", "our-keys"],
            &[("CGCLOUD_NAMESPACE", "/old/"), ("FLEETKEY_ME", "bob")],
        )
        .await?
        .ended(0);
    let lines: Vec<String> =
        shown.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        format!("region eu-west-1 {path}:5:8: profile.prod.zone"),
        format!("zone eu-west-1b {path}:5:8: profile.prod.zone"),
        "namespace /old/ CGCLOUD_NAMESPACE".to_owned(),
        "me bob FLEETKEY_ME".to_owned(),
        format!("keypairs __me__ @@dev {path}:3:12: keypairs"),
        "bucket our-keys --bucket".to_owned(),
        format!("topic ours {path}:2:9: topic"),
        "output table default: for people".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}\n{}", shown.stdout);
    }
    assert_eq!(shown.stderr, format!("profile prod, by {path}:1:19: default_profile\n"));
    let found = operator.run(&["config", "path"]).await?.ended(0);
    assert_eq!((found.stdout, found.stderr), (format!("{path}\n"), String::new()));
    Ok(())
}
