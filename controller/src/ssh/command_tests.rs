use super::*;

fn instance(public: Option<&str>, private: Option<&str>) -> Instance {
    use aws_sdk_ec2::types::{self, InstanceState, InstanceStateName, Tag};
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let state = InstanceState::builder().name(InstanceStateName::Running).build();
    let described = types::Instance::builder().instance_id("i-0123456789abcdef0").state(state);
    let described = described.set_public_ip_address(public.map(str::to_owned));
    let described = described.set_private_ip_address(private.map(str::to_owned));
    Instance::read(described.tags(tag("Name", "web")).tags(tag("generation", "0")).build()).unwrap()
}

fn ssh(known_hosts: &str) -> Result<Ssh, Refusal> {
    on_route(known_hosts, &Route::default())
}

fn on_route(known_hosts: &str, route: &Route) -> Result<Ssh, Refusal> {
    let instance = instance(None, Some("10.0.0.1"));
    Ssh::new("us-west-2", &instance, "admin".parse().unwrap(), route, known_hosts.into())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

const TRUST: &str = "-o HostKeyAlias=i-0123456789abcdef0 -o UserKnownHostsFile=\"/a b/c\" \
    -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o VerifyHostKeyDNS=no \
    -o NoHostAuthenticationForLocalhost=no -o UpdateHostKeys=no -o CheckHostIP=no -o ControlPath=none";

#[test]
fn fault_15_every_command_line_holds_the_box_to_its_kept_keys_before_the_operator_has_a_say() {
    let options = vec!["-o".into(), "StrictHostKeyChecking=no".into(), "-L1:x:2".into()];
    let ssh = ssh("/a b/c").unwrap().with_options(options);
    let login = line(&ssh.login(&["ls".into(), "-l".into()]));
    assert_eq!(login, format!("ssh {TRUST} -o StrictHostKeyChecking=no -L1:x:2 -l admin 10.0.0.1 -- ls -l"));
    assert!(line(&ssh.login(&[])).ends_with(" -l admin 10.0.0.1"));
    let batch = "ssh -v -n -T -a -x -o BatchMode=yes -o ConnectTimeout=10 -o ClearAllForwardings=yes";
    let probe = line(&ssh.probe("true"));
    assert_eq!(probe, format!("{batch} {TRUST} -o StrictHostKeyChecking=no -l admin 10.0.0.1 -- true"));
    let knock = line(&ssh.knock());
    assert!(knock.contains(TRUST) && knock.contains("PreferredAuthentications=none"), "{knock}");
    let rsync = ssh.for_rsync().into_string().unwrap();
    assert!(
        rsync.starts_with("ssh -o HostKeyAlias=i-0123456789abcdef0 -o 'UserKnownHostsFile=\"/a b/c\"' "),
        "{rsync}"
    );
}

#[test]
fn the_public_address_is_taken_if_there_is_one_unless_the_other_is_asked_for() {
    let to = |public, private, kind| {
        let route = Route { address: kind, ..Route::default() };
        let made = Ssh::new("us-west-2", &instance(public, private), "admin".parse().unwrap(), &route, "/k".into());
        made.map(|ssh| ssh.address().to_string()).map_err(|error| error.to_string())
    };
    let (public, private) = (Some("203.0.113.1"), Some("10.0.0.1"));
    assert_eq!(to(public, private, None).unwrap(), "203.0.113.1");
    assert_eq!(to(None, private, None).unwrap(), "10.0.0.1");
    assert_eq!(to(public, private, Some(AddressKind::Private)).unwrap(), "10.0.0.1");
    let error = to(None, private, Some(AddressKind::Public)).unwrap_err();
    assert_eq!(error, "box i-0123456789abcdef0 has no public address");
    assert_eq!(to(None, None, None).unwrap_err(), "box i-0123456789abcdef0 has no address");
}

#[test]
fn t5_an_address_or_a_path_that_ssh_would_read_otherwise_is_refused() {
    for bad in ["-oProxyCommand=x", "evil.example", "10.0.0.1 x", "10.0.0.1\n"] {
        let (instance, route) = (instance(Some(bad), None), Route::default());
        let made = Ssh::new("us-west-2", &instance, "admin".parse().unwrap(), &route, "/k".into());
        assert!(made.is_err(), "{bad:?}");
    }
    for bad in ["/a\"b", "/a\\b", "/${HOME}", "/%h", "/a\nb"] {
        assert!(ssh(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_way_is_said_before_the_operators_own_options() {
    let route = Route { way: crate::ssh::route::Way::Jump("bastion".parse().unwrap()), ..Route::default() };
    let ssh = on_route("/a b/c", &route).unwrap().with_options(vec!["-p".into(), "2222".into()]);
    let way = format!("{TRUST} -o ProxyJump=bastion -p 2222 -l admin 10.0.0.1");
    assert_eq!(line(&ssh.login(&[])), format!("ssh {way}"));
    assert!(line(&ssh.probe("true")).ends_with(&format!(" {way} -- true")));
    assert!(ssh.for_rsync().into_string().unwrap().ends_with(" -o ControlPath=none -o ProxyJump=bastion -p 2222"));
}
