//! What boxes are told, text for text.

use std::collections::BTreeMap;

use fleetkey_common::aws_names::AbsoluteName;

use super::super::library::tests::Folder;
use super::super::options::OptionValue;
use super::*;

fn install() -> AgentInstall {
    AgentInstall {
        url:
            "https://123456789012-fleetkey.s3.us-west-2.amazonaws.com/agent/ab/agent.deb?X-Amz-Date=1&X-Amz-Signature=2"
                .to_owned(),
        sha256: "ab".repeat(32),
        bucket: "123456789012-fleetkey".to_owned(),
        topic: "fleetkey-agent-notifications".to_owned(),
        region: "us-west-2".to_owned(),
        endpoint_url: None,
        registries: AgentInstall::REGISTRIES.to_vec(),
    }
}

/// A role's user-data, with the options set as they are, and the agent if asked for.
fn rendered(role: &Role, options: &[(&str, &str)], agent: Option<&AgentInstall>) -> Result<UserData, RoleError> {
    let name: AbsoluteName = format!("/prod/{}", role.name).parse().unwrap();
    let mut values = role.resolve_options(&BTreeMap::new())?;
    for (name, value) in options {
        values.0.insert((*name).to_owned(), OptionValue::Text((*value).to_owned()));
    }
    role.render(&RenderInput {
        name: &name,
        namespace: &name.namespace(),
        region: "us-west-2",
        arch: Arch::X86_64,
        options: &values,
        keys: &["alice".parse().unwrap()],
        agent,
    })
}

fn mine(text: &str) -> Role {
    Folder::new().role("mine", format!("extends: [generic-debian-12-box]\n{text}")).load("mine").unwrap()
}

/// The user-data of a role without an agent, or what is wrong.
fn told(text: &str) -> String {
    let folder = Folder::new();
    folder.role("mine", format!("extends: [generic-debian-12-box]\n{text}"));
    let done = folder.load("mine").and_then(|role| rendered(&role, &[], None));
    match done {
        Ok(user_data) => user_data.text.lines().skip(15).flat_map(|line| [line, "\n"]).collect(),
        Err(error) => {
            let error = error.to_string();
            let lines = error.lines().map(|line| &line[line.find("mine.yaml").unwrap_or(0)..]);
            lines.flat_map(|line| [line, "\n"]).collect()
        }
    }
}

#[test]
fn a_box_without_an_agent_is_told_nothing_but_to_be_safe() {
    let role = Folder::new().load("generic-debian-12-box").unwrap();
    insta::assert_snapshot!(rendered(&role, &[], None).unwrap().text, @r#"
    #cloud-config
    # /prod/generic-debian-12-box, role generic-debian-12-box: made by fleetkey
    ssh_pwauth: false
    disable_root: true
    ssh_deletekeys: true
    ssh:
      emit_keys_to_console: true
    write_files:
    - path: /var/lib/cloud/scripts/per-boot/fleetkey-host-keys
      owner: root:root
      permissions: "0755"
      content: |
        #!/bin/sh
        keys=$(cat /etc/ssh/ssh_host_*_key.pub) || exit 1
        printf '%s\n' '-----BEGIN SSH HOST KEY KEYS-----' "$keys" '-----END SSH HOST KEY KEYS-----' >/dev/console
    "#);
}

#[test]
fn the_agent_is_configured_before_it_is_there_and_comes_before_the_roles_own_commands() {
    let folder = Folder::new();
    let role = folder.role("jenkins-box", include_str!("../../../docs/usage/examples/jenkins-box.yaml"));
    let text = rendered(&role.load("jenkins-box").unwrap(), &[], Some(&install())).unwrap().text;
    let [config, agent, docker, motd] =
        ["path: /etc/fleetkey/agent.toml", "fleetkey_fail()", "docker.service", "/etc/motd"]
            .map(|part| text.find(part).unwrap());
    assert!(config < agent && agent < docker && docker < motd, "{text}");
    assert!(text.contains("\n  fleetkey_format=deb\n"), "{text}");
    assert!(text.contains("JENKINS_HEAP=2147483648\n"), "{text}");
    assert!(text.contains("fleetkey_url='https://"), "{text}");
    assert_eq!(rendered(&role.load("jenkins-box").unwrap(), &[], Some(&install())).unwrap().text, text);
}

#[test]
fn what_is_written_is_read_as_what_was_meant() {
    let hostile = [
        "line\nbreak: yes\n- x",
        "a: b # c",
        "'\"`$(reboot)\\",
        "#cloud-config",
        "}}{{ options.title }}{% endraw %}",
        "- item",
        "!!python/object:os.system",
        "*alias",
        "&anchor x",
        "|",
        ">",
        "? x",
        "yes",
        "null",
        "0644",
        "1:30",
        "2026-11-21",
        "",
        " leading and trailing ",
        "tab\there",
        "no end\n\n",
        "\u{feff}bom \u{2028} \u{85} \u{1f511}",
        "@at",
        "%percent",
    ];
    let role = mine(
        "options: {title: {default: x}}\ncloud_config:\n  a: '{{ options.title }}'\n  b: 'before {{ options.title }} after'\n  \
         c: {d: ['{{ options.title }}']}\n  e: |\n    in a block {{ options.title }}\n    end\n  \
         runcmd: ['echo {{ options.title | quote }}']\n",
    );
    for value in hostile {
        let text = rendered(&role, &[("title", value)], None).unwrap().text;
        let read: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read.len(), 10, "{value:?} made other fields of it:\n{text}");
        assert_eq!(read["a"], value, "{text}");
        assert_eq!(read["b"], format!("before {value} after"), "{text}");
        assert_eq!(read["c"]["d"][0], value, "{text}");
        assert_eq!(read["e"], format!("in a block {value}\nend\n"), "{text}");
        let words = shell_words::split(read["runcmd"][0].as_str().unwrap()).unwrap();
        assert_eq!(words, ["echo", value], "{text}");
        assert!(text.starts_with("#cloud-config\n"));
    }
}

#[test]
fn a_text_that_is_one_expression_takes_the_type_of_its_value() {
    let text = "
options:
  count: {type: int, default: 3}
  on: {type: bool, default: true}
cloud_config:
  a: '{{ options.count }}'
  b: '{{ options.on and options.count > 2 }}'
  c: '{{ options.count }} of {{ options.count * 2 }}'
  d: '{{ name }}'
  e: '{% raw %}{{ .Names }}{% endraw %}'
  f: '{{ [1, 2] | length }}'
";
    insta::assert_snapshot!(told(text), @r#"
    a: 3
    b: true
    c: 3 of 6
    d: /prod/mine
    e: "{{ .Names }}"
    f: 2
    "#);
}

#[test]
fn faults_of_templates_are_told_with_the_line_at_which_they_stand() {
    insta::assert_snapshot!(told("cloud_config:\n  runcmd:\n    - |\n      one\n      {{ options.x }}\n    - {{ a }}\n"), @r#"mine.yaml:7:8: expected string scalar; a value that begins with a template stands in quotes: "{{ ... }}""#);
    insta::assert_snapshot!(
        told("options: {title: {default: x}}\ncloud_config:\n  runcmd:\n    - echo {{ options.titel }}\n    - echo {{ nmae }}\n    - |\n      one\n      two {{ x\n"),
        @r#"
    mine.yaml:5:7: template: there is no option "titel" (did you mean "title"?); there are title
    mine.yaml:6:7: template: there is no "nmae" (did you mean "name"?); there are options, name, namespace, role, region, arch, package, admin_account
    mine.yaml:9:1: template: unexpected end of input, expected end of variable block; braces that are no template stand between {% raw %} and {% endraw %}
    "#
    );
    insta::assert_snapshot!(told("options: {unset: {}}\ncloud_config:\n  a: |\n    one\n    two {{ options.unset }}\n  b: x {{ options.unset.length }}\n"), @r"
    mine.yaml:6:1: template: `options.unset` is undefined; if it may be left out, ask `is defined` first
    mine.yaml:7:6: template: `options.unset` is undefined; if it may be left out, ask `is defined` first
    ");
    insta::assert_snapshot!(told("cloud_config:\n  a: '{{ name | nofilter }}'\n  b: '{{ name | bytes }}'\n  c: '{% for x in %}'\n"), @"mine.yaml:5:6: template: unexpected end of block; braces that are no template stand between {% raw %} and {% endraw %}");
}

#[test]
fn null_takes_out_what_a_parent_tells_cloud_init() {
    let role =
        "extends: [generic-debian-12-box, docker]\nephemeral: null\ncloud_config: {packages: null, runcmd: null}\n";
    let role = Folder::new().role("mine", role).load("mine").unwrap();
    insta::assert_snapshot!(rendered(&role, &[], None).unwrap().text, @r#"
    #cloud-config
    # /prod/mine, role mine: made by fleetkey
    ssh_pwauth: false
    disable_root: true
    ssh_deletekeys: true
    ssh:
      emit_keys_to_console: true
    write_files:
    - path: /var/lib/cloud/scripts/per-boot/fleetkey-host-keys
      owner: root:root
      permissions: "0755"
      content: |
        #!/bin/sh
        keys=$(cat /etc/ssh/ssh_host_*_key.pub) || exit 1
        printf '%s\n' '-----BEGIN SSH HOST KEY KEYS-----' "$keys" '-----END SSH HOST KEY KEYS-----' >/dev/console
    package_update: true
    "#);
}

#[test]
fn t5_what_cannot_stand_in_the_script_is_refused() {
    let role = Folder::new().load("generic-debian-12-box").unwrap();
    let refused = |change: &dyn Fn(&mut AgentInstall)| {
        let mut install = install();
        change(&mut install);
        rendered(&role, &[], Some(&install)).unwrap_err().to_string()
    };
    insta::assert_snapshot!(refused(&|install| install.url = "https://x/a\nb".into()), @r#"the package's URL "https://x/a\nb" cannot stand in user-data: a URL has only printable ASCII characters, and no blank"#);
    insta::assert_snapshot!(refused(&|install| install.url = "ftp://x/a".into()), @r#"the package's URL "ftp://x/a" cannot stand in user-data: it begins with neither https:// nor http://"#);
    insta::assert_snapshot!(refused(&|install| install.sha256 = "abc".into()), @r#"the package's SHA-256 "abc" cannot stand in user-data: a SHA-256 is 64 hex digits"#);
    insta::assert_snapshot!(refused(&|install| install.endpoint_url = Some("http://x y".into())), @r#"the endpoint "http://x y" cannot stand in user-data: a URL has only printable ASCII characters, and no blank"#);
    let mut quoted = install();
    quoted.url = "https://x/'$(reboot)'".into();
    let text = rendered(&role, &[], Some(&quoted)).unwrap().text;
    let line = text.lines().find(|line| line.contains("fleetkey_url=")).unwrap().trim();
    assert_eq!(shell_words::split(line).unwrap(), [r"fleetkey_url=https://x/'$(reboot)'"]);
}

#[test]
fn a_role_that_wants_no_agent_gets_none() {
    let text = rendered(&mine("agent: false\n"), &[], Some(&install())).unwrap().text;
    assert!(!text.contains("fleetkey_url") && !text.contains("agent.toml"), "{text}");
}

#[test]
fn user_data_of_every_built_in_role_fits_into_ec2_as_it_is() {
    let library = Folder::new().library();
    for name in library.names() {
        let role = library.load(&name).unwrap();
        if !role.abstract_ {
            let text = rendered(&role, &[], Some(&install())).unwrap().text;
            assert!(text.len() < 8192, "{name}: {} bytes", text.len());
        }
    }
}

#[test]
fn volumes_are_mounted_at_every_boot_a_folder_before_what_is_in_it_and_given_to_their_owners() {
    let text = "
volumes:
  - {name: in, size: 1, mount: /srv/data/in, file_system: xfs, owner: 'www-data:adm'}
  - {name: raw, size: 1}
  - {name: data, size: 1, mount: /srv/data, keep: true}
";
    let read = |role: &Role| -> serde_json::Value {
        serde_saphyr::from_str(&rendered(role, &[], None).unwrap().text).unwrap()
    };
    let words = |role: &Role| {
        let command = read(role)["bootcmd"][1].clone();
        shell_words::split(command.as_str().unwrap()).unwrap()[3..].join(" ")
    };
    let mut role = mine(text);
    let data = "fleetkey-volumes data /dev/sdh /srv/data ext4 -";
    let inner = "in /dev/sdf /srv/data/in xfs www-data:adm new || fleetkey_failed=1";
    assert_eq!(words(&role), format!("{data} new {inner}"));
    assert_eq!(read(&role)["runcmd"][0], "! mountpoint -q /srv/data/in || chown www-data:adm /srv/data/in");
    role.volumes[2].used = true;
    assert_eq!(words(&role), format!("{data} used {inner}"));
    let none = read(&mine("volumes: [{name: raw, size: 1}]\n"));
    assert!(none.get("bootcmd").is_none() && none.get("runcmd").is_none());
}

/// The exit status of a role's `bootcmd` as cloud-init runs it, where each program that it starts by `sh` ends with this.
fn ends(role: &Role, code: u8) -> Option<i32> {
    let config: serde_json::Value = serde_saphyr::from_str(&rendered(role, &[], None).unwrap().text).unwrap();
    let mut script = format!("sh() {{ return {code}; }}\n");
    // One script of all, in which a list is a command, each of its words quoted, and a text stands as it is.
    // <https://github.com/canonical/cloud-init/blob/main/cloudinit/util.py>, shellify
    for entry in config["bootcmd"].as_array().unwrap() {
        let words = |list: &Vec<serde_json::Value>| shell_words::join(list.iter().map(|word| word.as_str().unwrap()));
        script += &entry.as_array().map_or_else(|| entry.as_str().unwrap().to_owned(), words);
        script.push('\n');
    }
    std::process::Command::new("/bin/sh").arg("-c").arg(script).status().unwrap().code()
}

#[test]
fn disks_that_are_not_mounted_are_told_whatever_the_role_does_after_that() {
    let volume = "volumes: [{name: data, size: 1, mount: /srv/data}]\n";
    let ephemeral = "ephemeral: {mount: /mnt/x}\n";
    for after in ["", "cloud_config: {bootcmd: [['true']]}\n", "cloud_config: {bootcmd: ['true', 'exit 0']}\n"] {
        for disks in [volume, ephemeral, &format!("{volume}{ephemeral}")] {
            let role = mine(&format!("{disks}{after}"));
            assert_eq!((ends(&role, 0), ends(&role, 1)), (Some(0), Some(1)), "{disks}{after}");
        }
    }
    // What the role does itself is told as ever.
    let role = mine(&format!("{volume}cloud_config: {{bootcmd: [['false']]}}\n"));
    assert_eq!(ends(&role, 0), Some(1));
}

#[test]
fn what_a_role_takes_out_is_its_parents_and_not_what_is_done_on_every_box() {
    let role =
        mine("volumes: [{name: data, size: 1, mount: /srv/data}]\ncloud_config: {bootcmd: null, runcmd: null}\n");
    let text = rendered(&role, &[], Some(&install())).unwrap().text;
    assert!(text.contains("fleetkey-volumes") && text.contains("fleetkey_url="), "{text}");
}
