//! Flags, variables and the file, one over the other.

use super::*;

fn settings(flags: &PlaceFlags, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    configured(flags, env, &Chosen::default())
}

fn configured(flags: &PlaceFlags, env: &[(&str, &str)], chosen: &Chosen) -> Result<Settings, SettingsError> {
    let find = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::new(flags, find, chosen)
}

#[test]
fn flags_count_before_variables_and_fleetkeys_variable_before_cgclouds() {
    let flags = PlaceFlags { region: Some("eu-west-1".into()), bucket: Some("flag".into()), ..PlaceFlags::default() };
    let env = [("FLEETKEY_ZONE", "us-west-2a"), ("CGCLOUD_ZONE", "us-east-1b"), ("FLEETKEY_BUCKET", "variable")];
    let found = settings(&flags, &env).unwrap();
    assert_eq!((found.region.as_deref(), found.bucket.as_deref()), (Some("eu-west-1"), Some("flag")));
    assert_eq!(found.only_region.as_deref(), Some("eu-west-1"));
    let found = settings(&PlaceFlags::default(), &env).unwrap();
    assert_eq!((found.region.as_deref(), found.bucket.as_deref()), (Some("us-west-2"), Some("variable")));
    assert_eq!(found.only_region, None);
    let found = settings(&PlaceFlags::default(), &[("FLEETKEY_ZONE", ""), ("CGCLOUD_ZONE", "us-east-1b")]).unwrap();
    assert_eq!((found.region.as_deref(), found.bucket), (Some("us-east-1"), None));
    assert_eq!(found.topic, "fleetkey-agent-notifications");
}

#[test]
fn several_zones_keep_their_order_and_are_of_one_region() {
    let flags = |zone: &str| PlaceFlags { zone: Some(zone.to_owned()), ..PlaceFlags::default() };
    let found = settings(&flags("us-west-2b,us-west-2a"), &[]).unwrap();
    assert_eq!((found.region.as_deref(), found.zones_by_flag), (Some("us-west-2"), true));
    assert_eq!(found.zones(), ["us-west-2b", "us-west-2a"]);
    let found = settings(&PlaceFlags::default(), &[("CGCLOUD_ZONE", "us-west-2c,us-west-2a")]).unwrap();
    assert_eq!((found.zones().join(" ").as_str(), found.zones_by_flag), ("us-west-2c us-west-2a", false));
    assert!(settings(&PlaceFlags::default(), &[]).unwrap().zones().is_empty());
    let error = |zones: &str| settings(&flags(zones), &[]).unwrap_err().to_string();
    assert_eq!(error("us-west-2b,eu-west-1a"), "--zone us-west-2b,eu-west-1a is in several regions; a box is in one");
    assert_eq!(error("us-west-2b,"), "--zone \"\" is not an availability zone, such as us-west-2a");
}

#[test]
fn a_zone_counts_only_in_its_own_region() {
    let flags = |region: Option<&str>, zone: Option<&str>| PlaceFlags {
        region: region.map(str::to_owned),
        zone: zone.map(str::to_owned),
        ..PlaceFlags::default()
    };
    let env = [("FLEETKEY_ZONE", "us-west-2a")];
    let place = |flags: &PlaceFlags| settings(flags, &env).map(|found| (found.region.unwrap(), found.zone));
    let found = |region: &str, zone: Option<&str>| Ok((region.to_owned(), zone.map(str::to_owned)));
    assert_eq!(place(&flags(None, None)), found("us-west-2", Some("us-west-2a")));
    assert_eq!(place(&flags(Some("us-west-2"), None)), found("us-west-2", Some("us-west-2a")));
    assert_eq!(place(&flags(Some("eu-west-1"), None)), found("eu-west-1", None));
    assert_eq!(place(&flags(None, Some("eu-west-1b"))), found("eu-west-1", Some("eu-west-1b")));
    let error = place(&flags(Some("eu-west-1"), Some("us-west-2a"))).unwrap_err();
    assert!(matches!(error, SettingsError::Elsewhere { .. }), "{error}");
}

#[test]
fn the_defaults_of_new_boxes_come_from_fleetkeys_variables_and_then_cgclouds() {
    let env = [
        ("CGCLOUD_NAMESPACE", "/old/"),
        ("CGCLOUD_KEYPAIRS", "__me__ @@developers"),
        ("FLEETKEY_INSTANCE_TYPE", "t3.micro"),
        ("CGCLOUD_INSTANCE_TYPE", "m3.large"),
        ("CGCLOUD_ME", "alice"),
    ];
    let found = settings(&PlaceFlags::default(), &env).unwrap();
    assert_eq!(found.namespace, "/old/");
    assert_eq!(found.key_pairs.as_deref(), Some("__me__ @@developers"));
    assert_eq!(found.instance_type.as_deref(), Some("t3.micro"));
    assert_eq!(found.me.unwrap().as_str(), "alice");
    assert_eq!(settings(&PlaceFlags::default(), &[]).unwrap().namespace, DEFAULT_NAMESPACE);
    let error = settings(&PlaceFlags::default(), &[("FLEETKEY_ME", "a/b")]).unwrap_err();
    assert!(error.to_string().starts_with("FLEETKEY_ME does not name an IAM user: "), "{error}");
}

#[test]
fn t5_names_that_would_change_a_request_are_refused() {
    for bad in ["", "us-west-2/x", "evil.example#", "a\nb"] {
        let flags = PlaceFlags { region: Some(bad.into()), ..PlaceFlags::default() };
        let told = settings(&flags, &[]).unwrap_err().to_string();
        assert!(told.starts_with(&format!("--region {bad:?} is not a valid region name")), "{told}");
    }
    let error = settings(&PlaceFlags { bucket: Some("a/b".into()), ..PlaceFlags::default() }, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--bucket \"a/b\" is not a valid bucket name: 3 to 63 of small letters, digits, . and -"
    );
    let error = settings(&PlaceFlags::default(), &[("FLEETKEY_ZONE", "us-west-2")]).unwrap_err();
    assert_eq!(error.to_string(), "FLEETKEY_ZONE \"us-west-2\" is not an availability zone, such as us-west-2a");
}

/// The profile `own` over the top of a file.
fn chosen(own: &[(&str, &str)], top: &[(&str, &str)]) -> Chosen {
    let table = |fields: &[(&str, &str)]| {
        fields.iter().flat_map(|(name, value)| [(*name).to_owned(), format!(" = {value:?}\n")]).collect::<String>()
    };
    let text = format!("default_profile = \"own\"\n{}[profile.own]\n{}", table(top), table(own));
    crate::config::Document::parse(std::path::Path::new("f"), text.as_bytes()).unwrap().choose(None, None).unwrap()
}

#[test]
fn the_file_counts_below_flags_and_variables_and_its_profile_before_the_rest_of_it() {
    let file = chosen(&[("bucket", "of-profile"), ("me", "alice")], &[("bucket", "of-file"), ("topic", "of-file")]);
    let none = PlaceFlags::default();
    let found = configured(&none, &[], &file).unwrap();
    assert_eq!((found.bucket.as_deref(), found.topic.as_str()), (Some("of-profile"), "of-file"));
    assert_eq!(found.me.unwrap().as_str(), "alice");
    let found = configured(&none, &[("FLEETKEY_BUCKET", "of-variable"), ("FLEETKEY_ME", "bob")], &file).unwrap();
    assert_eq!((found.bucket.as_deref(), found.me.unwrap().as_str()), (Some("of-variable"), "bob"));
    let flags = PlaceFlags { bucket: Some("of-flag".into()), ..PlaceFlags::default() };
    assert_eq!(configured(&flags, &[("FLEETKEY_BUCKET", "of-variable")], &file).unwrap().bucket.unwrap(), "of-flag");
}

#[test]
fn a_layer_that_names_a_region_leaves_out_the_zones_of_other_regions_below_it() {
    let place = |flags: &PlaceFlags, env: &[(&str, &str)], file: &Chosen| {
        configured(flags, env, file).map(|found| (found.region.unwrap_or_default(), found.zone.unwrap_or_default()))
    };
    let none = PlaceFlags::default();
    let found = |region: &str, zone: &str| Ok((region.to_owned(), zone.to_owned()));
    let file = chosen(&[("region", "eu-west-1")], &[("zone", "us-west-2a")]);
    assert_eq!(place(&none, &[], &file), found("eu-west-1", ""));
    assert_eq!(place(&none, &[("FLEETKEY_ZONE", "us-west-2b")], &file), found("us-west-2", "us-west-2b"));
    let flags = PlaceFlags { region: Some("us-west-2".into()), ..PlaceFlags::default() };
    assert_eq!(place(&flags, &[], &file), found("us-west-2", "us-west-2a"));
    let file = chosen(&[("region", "us-west-2")], &[("zone", "us-west-2a")]);
    assert_eq!(place(&none, &[], &file), found("us-west-2", "us-west-2a"));
}

#[test]
fn an_aws_profile_of_the_file_does_not_quietly_go_before_another_in_the_environment() {
    let file = chosen(&[("aws_profile", "production")], &[]);
    let none = PlaceFlags::default();
    assert_eq!(configured(&none, &[], &file).unwrap().aws_profile.as_deref(), Some("production"));
    assert!(configured(&none, &[("AWS_PROFILE", "production")], &file).is_ok());
    insta::assert_snapshot!(configured(&none, &[("AWS_PROFILE", "staging")], &file).unwrap_err(), @r#"AWS_PROFILE is "staging", but f:3:15: profile.own.aws_profile says "production"; unset one of them, or say which profile of Fleetkey's configuration is meant with --profile"#);
    // Whoever names the profile of Fleetkey's means it.
    let text = "[profile.own]\naws_profile = 'production'\n";
    let document = crate::config::Document::parse(std::path::Path::new("f"), text.as_bytes()).unwrap();
    let asked = document.choose(Some("own"), None).unwrap();
    let found = configured(&none, &[("AWS_PROFILE", "staging")], &asked).unwrap();
    assert_eq!(found.aws_profile.as_deref(), Some("production"));
}
