use super::*;

const ID: &str = "i-0123456789abcdef0";

fn jump(text: &str) -> Route {
    Route { way: Way::Jump(text.parse().unwrap()), ..Route::default() }
}

fn via(via: Via) -> Route {
    Route { way: Way::Via(via), ..Route::default() }
}

#[test]
fn t5_machines_on_the_way_are_neither_options_nor_shell() {
    for good in
        ["bastion", "alice@bastion.example.org:2222", "a,b@c,d:1", "[2001:db8::1]:22", "prod.bastion.0", "2001:db8::1"]
    {
        assert_eq!(good.parse::<Jump>().unwrap().as_str(), good);
    }
    let bad =
        ["", "none", "-oProxyCommand=x", "a,", ",a", "a b", "a;b", "$(x)", "a@-b", "@a", "a@", "%h", "a\n", "ssh://a"];
    for bad in bad {
        assert!(bad.parse::<Jump>().is_err(), "{bad:?}");
    }
}

#[test]
fn each_way_is_an_option_of_ssh_and_a_program_that_holds_a_connection() {
    let told = |route: &Route| {
        let options: Vec<_> =
            route.options(ID, "us-west-2").into_iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        let tunnel = route.tunnel(ID, "us-west-2", "10.0.0.1".parse().unwrap(), 2222);
        let words = |command: Command| {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            words.map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        options.concat() + &tunnel.map_or_else(|| "straight".to_owned(), words)
    };
    assert_eq!(told(&Route::default()), "straight");
    insta::assert_snapshot!(told(&via(Via::Direct)), @"
    ProxyCommand none
    straight
    ");
    insta::assert_snapshot!(told(&jump("a,b@[2001:db8::1]:2200")), @"
    ProxyJump a,b@[2001:db8::1]:2200
    ssh -W [10.0.0.1]:2222 -J a -p 2200 -- b@2001:db8::1
    ");
    insta::assert_snapshot!(told(&jump("prod.bastion.0")), @"
    ProxyJump prod.bastion.0
    ssh -W [10.0.0.1]:2222 -- prod.bastion.0
    ");
    insta::assert_snapshot!(told(&via(Via::Eice)), @"
    ProxyCommand aws ec2-instance-connect open-tunnel --instance-id i-0123456789abcdef0 --remote-port %p --region us-west-2
    aws ec2-instance-connect open-tunnel --instance-id i-0123456789abcdef0 --remote-port 2222 --region us-west-2
    ");
    insta::assert_snapshot!(told(&via(Via::Ssm)), @"
    ProxyCommand aws ssm start-session --target i-0123456789abcdef0 --document-name AWS-StartSSHSession --parameters portNumber=%p --region us-west-2
    aws ssm start-session --target i-0123456789abcdef0 --document-name AWS-StartSSHSession --parameters portNumber=2222 --region us-west-2
    ");
}

#[test]
fn a_tunnel_is_held_with_the_credentials_of_the_profile_that_the_box_was_found_with() {
    let route = Route { aws_profile: Some("it's production".to_owned()), ..via(Via::Ssm) };
    let tunnel = route.tunnel(ID, "us-west-2", "10.0.0.1".parse().unwrap(), 22).unwrap();
    let words: Vec<_> = tunnel.get_args().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(words[words.len() - 4..], ["--region", "us-west-2", "--profile", "it's production"]);
    let (name, value) = route.options(ID, "us-west-2").remove(0);
    assert_eq!(name, "ProxyCommand");
    assert!(value.ends_with(r"--region us-west-2 --profile 'it'\''s production'"), "{value}");
}

#[test]
fn a_box_that_others_are_reached_over_is_reached_over_those_before_it_and_never_over_itself() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let to =
        |way: &str, name: &str| jump(way).to_box(&names(&["i-01234567", name]), true, Way::Via(Via::Direct)).words();
    assert_eq!(to("bastion", "web"), ["--jump", "bastion"]);
    for way in ["bastion", "alice@bastion:2222", "bastion,other", "i-01234567"] {
        assert_eq!(to(way, "bastion"), ["--via", "direct"], "{way}");
    }
    assert_eq!(to("other:22,me@bastion", "bastion"), ["--jump", "other:22"]);
    assert_eq!(via(Via::Ssm).to_box(&names(&["bastion"]), true, Way::Unsaid), via(Via::Ssm));
    // The private address is one of the network that the way leads into.
    let private = Route { address: Some(AddressKind::Private), ..jump("bastion") };
    let to = |name: &str, has_public| private.to_box(&names(&[name]), has_public, Way::Unsaid);
    assert_eq!(to("bastion", true), Route { address: Some(AddressKind::Public), ..Route::default() });
    assert_eq!(to("bastion", false), Route { address: Some(AddressKind::Private), ..Route::default() });
    assert_eq!(to("web", true), private);
}

#[test]
fn words_of_a_proxy_command_mean_themselves_to_ssh_and_to_the_shell() {
    for (word, quoted) in [
        ("aws", "aws"),
        ("%p", "%p"),
        ("portNumber=%p", "portNumber=%p"),
        ("a b", "'a b'"),
        ("it's", "'it'\\''s'"),
        ("100%h", "'100%%h'"),
        ("$(x)", "'$(x)'"),
    ] {
        assert_eq!(for_shell(word), quoted, "{word}");
    }
}

#[test]
fn a_tunnel_ends_at_the_private_address_and_its_programs_are_looked_for() {
    assert_eq!(Route::default().kind(), None);
    assert_eq!(jump("a").kind(), Some(AddressKind::Private));
    assert_eq!(Route { address: Some(AddressKind::Public), ..jump("a") }.kind(), Some(AddressKind::Public));
    assert_eq!(via(Via::Ssm).programs(), ["aws", "session-manager-plugin"]);
    assert!(!is_on(OsStr::new("/nowhere"), "sh") && is_on(OsStr::new("/nowhere:/bin"), "sh"));
    assert!(!is_on(OsStr::new("/etc"), "passwd"), "it is no program");
}
