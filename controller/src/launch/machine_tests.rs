use std::collections::BTreeMap;

use super::*;
use crate::image::ImageVolume;
use crate::launch::testing::role;
use crate::role::{BaseImage, RootVolume};

fn kind(name: &str, architecture: &str, memory: i64) -> Kind {
    Kind { name: name.into(), architectures: vec![architecture.into()], memory, processors: 2 }
}

fn role_for(architectures: &[Arch]) -> Role {
    let image = |arch: &Arch| (*arch, vec![BaseImage::Ssm { parameter: "/aws/service/x".into() }]);
    Role { base_images: architectures.iter().map(image).collect(), ..role("web") }
}

fn image(root_gib: u32) -> Image {
    let volume = |device: &str, gib| ImageVolume { device: device.into(), snapshot: format!("snap-{gib}"), gib };
    Image {
        id: "ami-1".into(),
        name: "web".into(),
        state: "available".into(),
        architecture: "x86_64".into(),
        source: None,
        made: None,
        root_device: "/dev/xvda".into(),
        volumes: vec![volume("/dev/xvda", root_gib), volume("/dev/sdg", 30)],
        tags: BTreeMap::new(),
    }
}

#[test]
fn the_architecture_is_what_was_asked_for_or_what_type_and_role_have_in_common() {
    let both = role_for(&[Arch::X86_64, Arch::Arm64]);
    let arm = kind("t4g.small", "arm64", 2048);
    let found = |asked, named: &Named, kind| architecture(asked, named, kind, &both).map_err(|error| error.to_string());
    assert_eq!(found(None, &Named::Nobody, None), Ok(Arch::X86_64));
    assert_eq!(found(None, &Named::Operator("t4g.small".into()), Some(&arm)), Ok(Arch::Arm64));
    assert_eq!(found(Some(Arch::X86_64), &Named::Role("t4g.small".into()), Some(&arm)), Ok(Arch::X86_64));
    let error = "instance type t4g.small runs arm64, and the image is for x86_64";
    assert_eq!(found(Some(Arch::X86_64), &Named::Operator("t4g.small".into()), Some(&arm)), Err(error.into()));
    let only_x86 = role_for(&[Arch::X86_64]);
    let found = architecture(None, &Named::Operator("t4g.small".into()), Some(&arm), &only_x86);
    assert_eq!(found.unwrap_err().to_string(), error);
    assert!(check_architecture(&arm, "arm64").is_ok() && check_architecture(&arm, "x86_64").is_err());
    let none = architecture(None, &Named::Nobody, None, &role_for(&[])).unwrap_err();
    assert_eq!(none.to_string(), "role web has no base image");
}

#[test]
fn the_smallest_type_with_enough_memory_that_is_offered_in_the_zones_is_picked() {
    let kinds = [
        kind("t3.nano", "x86_64", 512),
        kind("t2.small", "x86_64", 2048),
        kind("t3.small", "x86_64", 2048),
        kind("t3a.small", "x86_64", 2048),
        kind("t3.large", "x86_64", 8192),
    ];
    let at = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), vec!["us-west-2a".to_owned()])).collect();
    let offers = at(&["t3.nano", "t2.small", "t3.small", "t3.large"]);
    let picked = |zones: &[&str]| smallest(&kinds, &offers, zones).map(|kind| kind.name.as_str());
    assert_eq!(picked(&["us-west-2b", "us-west-2a"]), Some("t3.small"));
    assert_eq!(picked(&["us-west-2b"]), None);
}

#[test]
fn fault_14_the_root_volume_is_the_images_unless_role_or_operator_say_more() {
    let root = |gib| Role { root_volume: Some(RootVolume { gib: Some(gib), kind: None }), ..role("web") };
    let size = |role: &Role, asked| disks(&image(15), role, asked, &[]).map(|disks| disks[0].gib);
    assert_eq!(size(&role("web"), None).unwrap(), Some(15));
    assert_eq!(size(&root(40), None).unwrap(), Some(40));
    assert_eq!(size(&root(10), None).unwrap(), Some(15));
    assert_eq!(size(&root(40), Some(20)).unwrap(), Some(20));
    let error = size(&root(40), Some(14)).unwrap_err();
    assert_eq!(error.to_string(), "--root-volume 14 is less than the 15 GiB of image ami-1");
}

#[test]
fn further_volumes_are_blank_unless_the_image_has_their_content_and_only_those_kept_outlive_the_box() {
    let volume = |name: &str, device: &str, keep| Volume { keep, ..Volume::new(name.into(), device.into(), 20) };
    let with = |volumes| Role { volumes, ..role("web") };
    let two = with(vec![volume("data", "/dev/sdf", true), volume("logs", "/dev/sdg", false)]);
    let shown = |found: &[Disk]| {
        let shown = |disk: &Disk| (disk.device.clone(), disk.gib, disk.snapshot.clone(), disk.keep, disk.encrypted);
        found.iter().filter(|disk| !disk.none).map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&disks(&image(15), &two, None, &[]).unwrap()),
        [
            ("/dev/xvda".into(), Some(15), None, false, false),
            ("/dev/sdf".into(), Some(20), None, true, true),
            ("/dev/sdg".into(), Some(30), Some("snap-30".into()), false, false),
        ]
    );
    for (device, there) in [
        ("/dev/xvda", "the root volume at /dev/xvda"),
        ("/dev/sda", "the root volume at /dev/xvda"),
        ("/dev/xvdg", "a volume at /dev/sdg"),
    ] {
        let error = disks(&image(15), &with(vec![volume("data", device, false)]), None, &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("volume data of role web is {device}, and image ami-1 has {there}"));
    }
}

#[test]
fn a_volume_that_is_taken_over_goes_before_the_copy_in_the_image() {
    let volumes = ["f", "g"].map(|letter| Volume::new(format!("v{letter}"), format!("/dev/sd{letter}"), 20));
    let found = ["f", "g"].map(|letter| Takeover {
        id: format!("vol-{letter}"),
        label: format!("v{letter}"),
        device: format!("/dev/sd{letter}"),
        gib: 20,
        zone: "us-west-2a".into(),
    });
    let role = Role { volumes: volumes.into(), ..role("web") };
    let made = disks(&image(15), &role, None, &found).unwrap();
    assert_eq!(made[1..], [Disk::none("/dev/sdg".into())]);
}
