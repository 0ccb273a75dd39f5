use std::collections::BTreeMap;
use std::fs;

use fleetkey_common::key_spec::KeySpec;
use tempfile::TempDir;

use super::super::ingress::default as default_ingress;
use super::super::model::BaseImage;
use super::super::options::OptionValues;
use super::super::render::RenderInput;
use super::super::words::{Arch, PackageFormat};
use super::*;

/// A folder of role files.
pub(in crate::role) struct Folder(TempDir);

impl Folder {
    pub(in crate::role) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(in crate::role) fn role(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.path().join(format!("{name}.yaml")), text).unwrap();
        self
    }

    pub(in crate::role) fn library(&self) -> Library {
        Library::of(&[self.0.path().to_owned()], None).unwrap()
    }

    pub(in crate::role) fn load(&self, name: &str) -> Result<Role, RoleError> {
        self.library().load(&name.parse().unwrap())
    }

    /// What is wrong with a role, without the folder's name.
    fn told(&self, name: &str) -> String {
        let folder = format!("{}/", self.0.path().display());
        self.load(name).unwrap_err().to_string().replace(&folder, "")
    }
}

/// A role of one file, without the generic ones below it.
fn alone(text: &str) -> String {
    Folder::new().role("mine", text).told("mine")
}

#[test]
fn every_built_in_role_is_sound_and_a_generic_box_has_an_image_for_each_architecture() {
    let library = Library::of(&[], None).unwrap();
    let mut launched = Vec::new();
    for name in library.names() {
        let role = library.load(&name).unwrap();
        assert!(!role.description.is_empty(), "{name}");
        if !role.abstract_ {
            assert_eq!(role.base_images.keys().copied().collect::<Vec<_>>(), [Arch::X86_64, Arch::Arm64], "{name}");
            assert_eq!(role.ingress, default_ingress(), "{name}");
            // EC2 is asked for the smallest that will do: a table would be wrong some day, and is for one architecture.
            assert_eq!(role.instance_type, None, "{name}");
            launched.push(format!("{name}: {} {}", role.admin().unwrap(), role.package().unwrap()));
        }
    }
    insta::assert_snapshot!(launched.join("\n"), @r"
    generic-amazon-linux-2023-box: ec2-user rpm
    generic-debian-12-box: admin deb
    generic-rocky-9-box: rocky rpm
    generic-ubuntu-22-04-box: ubuntu deb
    generic-ubuntu-24-04-box: ubuntu deb
    ");
}

#[test]
fn an_image_is_looked_for_by_parameter_first_and_then_by_name() {
    let role = Folder::new().load("generic-debian-12-box").unwrap();
    assert_eq!(
        role.base_image(Arch::X86_64).unwrap(),
        [
            BaseImage::Ssm { parameter: "/aws/service/debian/release/12/latest/amd64".into() },
            BaseImage::Pattern { owner: "136693071363".into(), name: "debian-12-amd64-*".into() },
        ]
    );
}

#[test]
fn what_is_shown_can_be_read_as_a_role_that_is_the_same() {
    let folder = Folder::new();
    folder.role("mine", include_str!("../../../docs/usage/examples/jenkins-box.yaml"));
    for name in ["mine", "docker", "generic-rocky-9-box"] {
        let shown = folder.load(name).unwrap().to_yaml().unwrap();
        let again = Folder::new().role("mine", &shown).load("mine").unwrap().to_yaml().unwrap();
        assert_eq!(again, shown, "{name}");
    }
}

#[test]
fn parents_are_merged_in_their_order_and_a_role_that_is_reached_twice_counts_once() {
    let folder = Folder::new();
    folder
        .role("base", "abstract: true\ncloud_config: {runcmd: [base], a: base, b: base}\n")
        .role("left", "abstract: true\nextends: [base]\ncloud_config: {runcmd: [left], a: left}\n")
        .role("right", "abstract: true\nextends: [base]\ncloud_config: {runcmd: [right], b: right}\n")
        .role("mine", "abstract: true\nextends: [left, right]\ncloud_config: {runcmd: [mine]}\n");
    let role = folder.load("mine").unwrap();
    insta::assert_snapshot!(serde_json::to_string(&role.cloud_config).unwrap(), @r#"{"runcmd":["base","left","right","mine"],"a":"left","b":"right"}"#);
    assert!(role.description.is_empty() && role.abstract_);
}

#[test]
fn a_role_of_ones_own_goes_before_the_built_in_one_of_its_name() {
    let folder = Folder::new();
    folder.role("docker", "abstract: true\ndescription: ours\n");
    folder.role("mine", "extends: [generic-debian-12-box, docker]\n");
    assert!(folder.load("mine").unwrap().ephemeral.is_none());
    assert_eq!(folder.load("docker").unwrap().description, "ours");
    assert!(folder.library().origin(&"docker".parse().unwrap()).ends_with("/docker.yaml"));
    assert_eq!(folder.library().origin(&"generic".parse().unwrap()), "built in");
}

#[test]
fn a_circle_is_told_whole() {
    let folder = Folder::new();
    folder.role("a", "extends: [b]\n").role("b", "description: x\nextends: [generic, c]\n").role("c", "extends: [a]\n");
    insta::assert_snapshot!(folder.told("a"), @"c.yaml:1:11: extends goes in a circle: a -> b -> c -> a");
    insta::assert_snapshot!(folder.told("b"), @"a.yaml:1:11: extends goes in a circle: b -> c -> a -> b");
    folder.role("self", "extends: [self]\n");
    insta::assert_snapshot!(folder.told("self"), @"self.yaml:1:11: extends goes in a circle: self -> self");
    folder.role("docker", "extends: [docker]\n");
    insta::assert_snapshot!(folder.told("docker"), @"docker.yaml:1:11: extends goes in a circle: docker -> docker; this file stands in place of the built-in role of its name: give it a name of its own");
}

#[test]
fn a_parent_that_there_is_not_is_told_with_what_there_is() {
    insta::assert_snapshot!(alone("extends:\n  - generic-debain-12-box\n"), @r#"mine.yaml:2:5: there is no role generic-debain-12-box (did you mean "generic-debian-12-box"?); there are docker, generic, generic-amazon-linux-2023-box, generic-debian-12-box, generic-rocky-9-box, generic-ubuntu-22-04-box, generic-ubuntu-24-04-box, mine"#);
    let error = Folder::new().load("generic-debian-11-box").unwrap_err();
    let refusal = crate::refusal::Refusal::from(error);
    assert_eq!(refusal.to_string(), "there is no role generic-debian-11-box");
    let refusal = anyhow::Error::from(refusal);
    let hints = crate::refusal::hints(&refusal);
    assert_eq!(hints, [r#"`fleetkey role list` names the roles there are (did you mean "generic-debian-12-box"?)"#]);
}

#[test]
fn a_fault_of_a_parent_is_told_with_the_parents_file() {
    let folder = Folder::new();
    folder.role("base", "abstract: true\n\ninstance_tpye: t3.micro\n").role("mine", "extends: [base]\n");
    insta::assert_snapshot!(folder.told("mine"), @r#"base.yaml:3:1: unknown field "instance_tpye" in a role (did you mean "instance_type"?)"#);
}

#[test]
fn all_faults_of_a_role_are_told_at_once_with_their_places() {
    let text = "
extends: [generic-debian-12-box]
descripton: x
instance_type: big
root_volume: {size: 0, kind: gp9}
volumes:
  - {name: data, size: 10}
  - {name: data, size: ten}
  - {size: 10}
ingress: {ports: 22}
iam_policies:
  s3: {Version: '2012-10-17'}
  fleetkey-agent-push: {Statement: []}
accounts:
  - {account: jenkins, keys: ['@@ci', 'a b', __me__]}
  - {account: jenkins, keys: ['@@ops'], mode: exclusive}
  - {account: -x, keys: bob}
ephemeral: {mount: mnt, directories: [/var/../etc]}
agent: sometimes
base_images:
  x86: {ssm: /aws/service/x}
  arm64: {owner: debian, name: x}
  x86_64: {owner: self}
cloud_config:
  ssh_pwauth: true
  users: [{name: bob}]
  ssh: {emit_keys_to_console: false}
";
    insta::assert_snapshot!(alone(text), @r#"mine.yaml:3:1: unknown field "descripton" in a role (did you mean "description"?)"#);
}

#[test]
fn a_role_that_is_launched_needs_image_package_and_account() {
    insta::assert_snapshot!(alone("description: x\n"), @r"
    mine.yaml:1:1: base_images is missing; extend a generic- role, or say abstract: true
    mine.yaml:1:1: package is missing; extend a generic- role, or say abstract: true
    mine.yaml:1:1: admin_account is missing; extend a generic- role, or say abstract: true
    ");
    insta::assert_snapshot!(alone(""), @"mine.yaml:1:1: a role is a map, and here stands nothing");
    insta::assert_snapshot!(alone("- a\n"), @"mine.yaml:1:1: a role is a map, and here stands a list");
    insta::assert_snapshot!(alone("extends: generic\n"), @"mine.yaml:1:10: extends is a list, and here stands a text");
}

#[test]
fn a_mixin_is_not_launched() {
    let role = Folder::new().load("docker").unwrap();
    let name = "/docker".parse().unwrap();
    let input = RenderInput {
        name: &name,
        namespace: &name.namespace(),
        region: "us-west-2",
        arch: Arch::X86_64,
        options: &OptionValues::default(),
        keys: &[] as &[KeySpec],
        agent: None,
    };
    let refusal = crate::refusal::Refusal::from(role.render(&input).unwrap_err());
    insta::assert_snapshot!(refusal, @"role docker is abstract: it is made to be extended, not launched");
}

#[test]
fn volumes_get_free_devices_and_accounts_are_one_each() {
    let text = "
extends: [generic-debian-12-box, docker]
root_volume: {size: 50, kind: gp3}
volumes:
  - {name: a, size: 1, device: /dev/sdf}
  - {name: b, size: 125, keep: true, kind: st1}
accounts:
  - {account: jenkins, keys: ['@@ci']}
  - {account: jenkins, keys: ['@@ci', bob]}
";
    let role = Folder::new().role("mine", text).load("mine").unwrap();
    let devices: Vec<&str> = role.volumes.iter().map(|volume| volume.device.as_str()).collect();
    assert_eq!(devices, ["/dev/sdf", "/dev/sdg"]);
    assert!(role.volumes[1].keep && !role.volumes[0].keep);
    assert_eq!(role.accounts.len(), 1);
    assert_eq!(role.accounts[0].keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["@@ci", "bob"]);
    assert_eq!(role.package, Some(PackageFormat::Deb));
    assert!(role.resolve_options(&BTreeMap::new()).unwrap().tags().is_empty());
}

#[test]
fn t5_names_of_files_that_cannot_be_names_of_boxes_are_refused() {
    for bad in ["Mine", "_x", "a b", "x+y"] {
        let folder = Folder::new();
        folder.role(bad, "abstract: true\n");
        let error = Library::of(&[folder.0.path().to_owned()], None).unwrap_err().to_string();
        assert!(error.contains("cannot be the name of a role"), "{bad}: {error}");
    }
    assert!("a".repeat(49).parse::<RoleName>().is_err());
    assert!("a/b".parse::<RoleName>().is_err());
    // An editor's files and other things are not roles.
    let folder = Folder::new();
    fs::write(folder.0.path().join(".mine.yaml"), "x").unwrap();
    fs::write(folder.0.path().join("README.md"), "x").unwrap();
    assert_eq!(folder.library().names().len(), BUILT_IN.len());
}

#[test]
fn t5_a_role_that_is_no_file_is_refused_without_waiting_for_it() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("mine.yaml")).unwrap();
    assert!(matches!(folder.load("mine"), Err(RoleError::Read { .. })));
    assert!(matches!(Library::of(&[PathBuf::from("/nowhere")], None), Err(RoleError::Read { .. })));
    assert!(Library::of(&[], Some(Path::new("/nowhere"))).is_ok());
}
