use std::process::Command;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

/// Middle Europe, as POSIX has it: tz databases differ from machine to machine.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Ireland, where winter time counts as the deviation from standard time.
const DUBLIN: &str = "IST-1GMT0,M10.5.0,M3.5.0/1";

fn zone(posix: &str) -> TimeZone {
    TimeZone::posix(posix).unwrap()
}

fn allow(extra: &[&str]) -> AllowedOptions {
    let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
    AllowedOptions::with(&extra).unwrap().in_time_zone(TimeZone::UTC)
}

fn everything() -> AllowedOptions {
    allow(&[
        "command",
        "environment",
        "permitopen",
        "permitlisten",
        "pty",
        "agent-forwarding",
        "port-forwarding",
        "user-rc",
        "x11-forwarding",
        "no-touch-required",
    ])
}

fn parsed(list: &str) -> Restrictions {
    everything().parse(list).unwrap()
}

fn written(restrictions: &Restrictions) -> String {
    restrictions.to_options(&TimeZone::UTC, true)
}

#[test]
fn options_are_written_sorted_and_spelt_as_in_the_manual() {
    assert_eq!(written(&Restrictions::default()), "");
    assert_eq!(written(&parsed("no-x11-FORWARDING,FROM=\"b,a\",no-pty")), "from=\"b,a\",no-X11-forwarding,no-pty");
    assert_eq!(written(&parsed("restrict,pty,no-user-rc")), "no-user-rc,restrict,pty");
    assert_eq!(written(&parsed("pty,no-pty,restrict")), "no-pty,restrict");
    assert_eq!(written(&parsed("pty")), "", "allowed anyway");
    assert_eq!(written(&parsed("no-pty,pty")), "", "the last word counts");
    let command = r#"command="say \"a,b\" # \n""#;
    assert_eq!(written(&parsed(command)), command);
    let late = parsed("restrict,expiry-time=\"20300102Z\"");
    assert_eq!(written(&late), "expiry-time=\"20300102000000\",restrict");
    assert_eq!(late.to_options(&TimeZone::UTC, false), "restrict");
}

#[test]
fn t6_only_what_takes_away_is_allowed_unless_the_box_allows_more() {
    let restrictive = "restrict,no-agent-forwarding,no-port-forwarding,no-pty,no-user-rc,no-X11-forwarding,\
                       verify-required,from=\"a\",expiry-time=\"20300101\"";
    assert!(allow(&[]).parse(restrictive).is_ok());
    assert_eq!(allow(&[]).parse("command=\"x\""), Err(OptionError::NotAllowed("command")));
    assert!(allow(&["Command"]).parse("command=\"x\"").is_ok());
    for (name, error) in [
        ("nonsense", UnknownOption::Unknown("nonsense".to_owned())),
        ("", UnknownOption::Unknown(String::new())),
        ("cert-authority", UnknownOption::Never("cert-authority")),
        ("Tunnel", UnknownOption::Never("tunnel")),
    ] {
        assert_eq!(AllowedOptions::with(&[name.to_owned()]).unwrap_err(), error);
    }
}

#[test]
fn lists_that_sshd_would_refuse_are_refused() {
    for (list, error) in [
        ("", OptionError::Empty),
        (",no-pty", OptionError::Empty),
        ("no-pty,,restrict", OptionError::Empty),
        ("no-pty=\"x\"", OptionError::Superfluous("no-pty")),
        ("from", OptionError::NoValue("from")),
        ("from=\"a\",from=\"a\"", OptionError::Twice("from")),
        ("command=\"a\",command=\"b\"", OptionError::Twice("command")),
        ("from=\"a\"\"b\"", OptionError::Quotes),
        ("from=\"a\\\"", OptionError::Quotes),
        ("bogus", OptionError::Unknown),
        ("restricted", OptionError::Unknown),
    ] {
        assert_eq!(everything().parse(list), Err(error), "{list}");
    }
    assert_eq!(everything().parse(&"a".repeat(9000)), Err(OptionError::TooLong));
}

#[test]
fn from_takes_hosts_networks_and_patterns_and_nothing_else() {
    for good in ["10.0.0.0/8", "2001:db8::/32", "*.example.com,!bad.example.com", "host-?_1"] {
        assert!(everything().parse(&format!("from=\"{good}\"")).is_ok(), "{good}");
    }
    for bad in ["", "a,,b", "a b", "!", "$(id)", "a\\\"b", "a;b", "\u{e9}"] {
        assert_eq!(everything().parse(&format!("from=\"{bad}\"")), Err(OptionError::From), "{bad}");
    }
}

#[test]
fn an_expiry_is_read_in_utc_or_in_the_zone_of_the_box() {
    let expires = |value: &str, zone: TimeZone| {
        let allowed = AllowedOptions::default().in_time_zone(zone);
        allowed.parse(&format!("expiry-time=\"{value}\"")).map(|restrictions| restrictions.expires.unwrap().to_string())
    };
    for (value, utc, berlin) in [
        ("20300101", "2030-01-01T00:00:00Z", "2029-12-31T23:00:00Z"),
        ("203007011230", "2030-07-01T12:30:00Z", "2030-07-01T10:30:00Z"),
        ("20300701123045", "2030-07-01T12:30:45Z", "2030-07-01T10:30:45Z"),
        ("20300701123045Z", "2030-07-01T12:30:45Z", "2030-07-01T12:30:45Z"),
        ("20300701z", "2030-07-01T00:00:00Z", "2030-07-01T00:00:00Z"),
        // The clock goes back at 3:00 on 27 October 2030: the earlier 2:30 is meant.
        ("203010270230", "2030-10-27T02:30:00Z", "2030-10-27T00:30:00Z"),
    ] {
        assert_eq!(expires(value, TimeZone::UTC).as_deref(), Ok(utc), "{value}");
        assert_eq!(expires(value, zone(BERLIN)).as_deref(), Ok(berlin), "{value}");
    }
    for bad in
        ["", "Z", "2030", "2030010", "20301301", "20300230", "203001012400", "2030-01-01", "20300101UTC", "+0300101"]
    {
        assert_eq!(expires(bad, TimeZone::UTC), Err(OptionError::ExpiryTime), "{bad}");
    }
    let two = parsed("expiry-time=\"20310101Z\",expiry-time=\"20300101Z\"");
    assert_eq!(two.expires.unwrap().to_string(), "2030-01-01T00:00:00Z", "the earlier, as in sshd");
}

/// The moment as which OpenSSH reads a time in a zone: sshd has no way to ask, so that of a certificate is taken.
fn as_openssh_reads(time: &str, posix: &str) -> Timestamp {
    let folder = tempfile::tempdir().unwrap();
    let keygen = |zone: &str, arguments: &[&str]| {
        let output = Command::new("ssh-keygen").args(arguments).env("TZ", zone).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    keygen("UTC", &["-q", "-t", "ed25519", "-N", "", "-f", "key"]);
    keygen(posix, &["-q", "-s", "key", "-I", "x", "-V", &format!("19990101Z:{time}"), "key.pub"]);
    let shown = keygen("UTC", &["-L", "-f", "key-cert.pub"]);
    let until = shown.lines().find_map(|line| line.split_once(" to ").filter(|_| line.contains("Valid:"))).unwrap().1;
    format!("{until}Z").parse().unwrap()
}

#[test]
fn openssh_never_reads_a_written_expiry_as_later_than_it_is() {
    let moments = [
        date(2030, 1, 15).at(12, 0, 0, 0),
        date(2030, 7, 15).at(12, 0, 0, 500_000_000),
        date(2030, 3, 31).at(0, 30, 0, 0),
        date(2030, 3, 31).at(1, 30, 0, 0),
        date(2030, 10, 27).at(0, 30, 0, 0),
        date(2030, 10, 27).at(1, 30, 0, 0),
    ];
    for (posix, late) in [("UTC0", 0), (BERLIN, 0), (DUBLIN, 3600), ("EST5EDT,M3.2.0,M11.1.0", 0)] {
        for moment in moments {
            let expires = TimeZone::UTC.to_timestamp(moment).unwrap();
            let text =
                Restrictions { expires: Some(expires), ..Restrictions::default() }.to_options(&zone(posix), true);
            let time = text.strip_prefix("expiry-time=\"").unwrap().strip_suffix('"').unwrap();
            let early = expires.as_second() - as_openssh_reads(time, posix).as_second();
            assert!((0..=late).contains(&early), "{posix} {moment}: {time} is {early} s early");
        }
    }
}

#[test]
fn an_expiry_at_or_before_1970_is_written_as_one_that_sshd_takes_for_past() {
    for seconds in [i64::MIN / 1_000_000_000, -1, 0, 1] {
        let expires = Timestamp::from_second(seconds).ok();
        let text = written(&Restrictions { expires, ..Restrictions::default() });
        assert!(expires.is_none() || text == "expiry-time=\"19700103000000\"", "{text}");
    }
}

#[test]
fn a_key_registered_twice_may_do_what_both_allow() {
    for (a, b, both) in [
        ("no-pty", "no-user-rc", "no-pty,no-user-rc"),
        ("restrict,pty", "no-pty", "no-pty,restrict"),
        ("restrict,pty", "restrict", "restrict"),
        ("restrict,pty", "from=\"a\"", "from=\"a\",restrict,pty"),
        ("no-touch-required", "no-pty", "no-pty"),
        ("environment=\"A=b\"", "verify-required", "verify-required"),
        ("permitopen=\"a:1\",permitopen=\"b:1\"", "permitopen=\"b:1\"", "permitopen=\"b:1\""),
        ("permitopen=\"a:1\"", "no-pty", "no-pty,permitopen=\"a:1\""),
        ("permitopen=\"a:1\"", "permitopen=\"b:1\"", "no-port-forwarding"),
        ("command=\"x\"", "command=\"x\",no-pty", "command=\"x\",no-pty"),
        ("expiry-time=\"20310101Z\"", "expiry-time=\"20300101Z\"", "expiry-time=\"20300101000000\""),
    ] {
        let and = parsed(a).and(&parsed(b));
        assert_eq!(written(&and), both, "{a} and {b}");
        assert!(!and.contradictory());
    }
}

#[test]
fn two_hosts_or_two_commands_for_one_key_are_a_contradiction() {
    let and = parsed("from=\"a\"").and(&parsed("from=\"b\""));
    assert!(and.contradictory());
    assert_eq!(written(&and), "from=\"a\",from=\"b\"", "sshd refuses such a line");
    assert!(parsed("command=\"a\"").and(&parsed("command=\"b\"")).contradictory());
    assert!(!parsed("from=\"a\"").and(&parsed("command=\"b\"")).contradictory());
}

/// All that sshd would let a key do that somebody could want to be kept from, by its rules and not by ours.
fn powers(list: &str) -> BTreeSet<String> {
    let mut powers: BTreeSet<String> = PERMISSIONS.iter().map(|&permission| permission.to_owned()).collect();
    let mut open = BTreeSet::new();
    for option in list.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').map_or(option, |(name, _)| name) {
            "restrict" => powers.retain(|power| !PERMISSIONS.contains(&power.as_str())),
            "permitopen" => {
                open.insert(option.to_owned());
            }
            "environment" | "no-touch-required" => {
                powers.insert(option.to_owned());
            }
            name if PERMISSIONS.contains(&name) => {
                powers.insert(name.to_owned());
            }
            name => {
                powers.remove(name.strip_prefix("no-").unwrap_or_default());
            }
        }
    }
    if powers.remove("port-forwarding") {
        // No list means every host.
        let all = ["permitopen=\"a:1\"", "permitopen=\"b:1\"", "every"].map(str::to_owned);
        powers.extend(if open.is_empty() { all.into() } else { open });
    }
    powers
}

fn any_list() -> impl Strategy<Value = String> {
    let options = [
        "restrict",
        "no-pty",
        "pty",
        "no-port-forwarding",
        "port-forwarding",
        "no-user-rc",
        "verify-required",
        "no-touch-required",
        "environment=\"A=b\"",
        "permitopen=\"a:1\"",
        "permitopen=\"b:1\"",
    ];
    proptest::sample::subsequence(options.to_vec(), 0..=5).prop_shuffle().prop_map(|options| options.join(","))
}

fn read_list(list: &str) -> Restrictions {
    if list.is_empty() { Restrictions::default() } else { parsed(list) }
}

proptest! {
    #[test]
    fn what_is_written_allows_what_was_read(list in any_list()) {
        let restrictions = read_list(&list);
        prop_assert_eq!(powers(&written(&restrictions)), powers(&list));
        prop_assert_eq!(&read_list(&written(&restrictions)), &restrictions);
    }

    #[test]
    fn both_together_are_never_laxer_than_either(a in any_list(), b in any_list(), c in any_list()) {
        let (left, right) = (read_list(&a), read_list(&b));
        let both = left.and(&right);
        let common: BTreeSet<String> = powers(&a).intersection(&powers(&b)).cloned().collect();
        prop_assert_eq!(powers(&written(&both)), common);
        prop_assert_eq!(&both, &right.and(&left));
        let third = read_list(&c);
        prop_assert_eq!(powers(&written(&both.and(&third))), powers(&written(&left.and(&right.and(&third)))));
    }

    #[test]
    fn no_option_list_makes_the_reader_panic(list in any::<String>(), options in "[a-z=\",\\\\-]{0,20}") {
        let _ = everything().parse(&list);
        let _ = everything().parse(&options);
    }

    #[test]
    fn any_value_survives_being_written_and_read(value in "[^\\\\\u{0}-\u{1f}]{0,20}") {
        let list = format!("command=\"{}\"", value.replace('"', "\\\""));
        prop_assert_eq!(written(&parsed(&list)), list);
    }
}
