use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::error_text::one_line;
use crate::public_key::PublicKey;
use crate::restrictions::AllowedOptions;

/// A made-up Ed25519 key, another one for each number: `type base64`.
fn key(number: u8) -> String {
    let head = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";
    format!("ssh-ed25519 {}", STANDARD.encode([&head[..], &[number; 32]].concat()))
}

/// The fingerprints of all keys that `ssh-keygen -l` finds in a file.
fn keygen(file: &[u8]) -> Vec<String> {
    let mut child = Command::new("ssh-keygen")
        .args(["-l", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
}

fn found(line: &[u8]) -> Option<PublicKey> {
    match read(line) {
        Line::Key { key, .. } => Some(key),
        _ => None,
    }
}

/// Lines of which ssh-keygen and sshd think the same, `KEY` standing for a key, and whether there is one in it.
const CORPUS: [(&str, bool); 46] = [
    ("KEY", true),
    ("KEY a comment", true),
    ("  \t KEY", true),
    ("KEY\r", true),
    ("KEY a comment\r", true),
    ("TYPE\tBASE64\tcomment", true),
    ("TYPE   BASE64   comment  ", true),
    ("TYPE \t BASE64", true),
    ("KEY # comment", true),
    ("KEY #", true),
    ("# KEY", false),
    ("#KEY", false),
    ("  # KEY", false),
    ("\t#KEY", false),
    ("", false),
    ("   ", false),
    ("\r", false),
    ("no-pty KEY", true),
    ("no-pty\tKEY", true),
    ("no-pty,no-user-rc KEY c", true),
    ("restrict,pty KEY", true),
    (" restrict KEY", true),
    ("command=\"echo hello world\" KEY", true),
    ("command=\"echo # not a comment\" KEY # c", true),
    ("command=\"say \\\"hi there\\\" # x\",no-pty KEY", true),
    ("command=\"tab\there\" KEY", true),
    ("from=\"10.0.0.0/8,!10.1.0.0/16\" KEY", true),
    ("environment=\"A=b c\",environment=\"B=\" KEY", true),
    ("cert-authority KEY", true),
    ("command=\"ends with a backslash\\\\\" KEY", false),
    ("command=\"open KEY", false),
    ("command=open\" KEY", false),
    ("a\"b c\"d KEY", true),
    ("a\\\"b KEY", true),
    ("\"\" KEY", true),
    ("nonsense KEY", true),
    ("two words KEY", false),
    ("no-pty, no-user-rc KEY", false),
    ("command=echo hello KEY", false),
    ("TYPE BASE64,x", false),
    ("TYPE", false),
    ("BASE64", false),
    ("ssh-rsa BASE64", false),
    ("SSH-ED25519 BASE64", false),
    ("ssh-ed25519-cert-v01@openssh.com BASE64", false),
    ("TYPE TYPE BASE64", true),
];

/// Puts the key of that number into a line of the corpus.
fn fill(line: &str, number: u8) -> String {
    let key = key(number);
    let (algorithm, base64) = key.split_once(' ').unwrap();
    line.replace("KEY", &key)
        .replace("SSH-ED25519", "\0")
        .replace("TYPE", algorithm)
        .replace("BASE64", base64)
        .replace('\0', "SSH-ED25519")
}

#[test]
fn the_lenient_reader_agrees_with_ssh_keygen_line_by_line() {
    for (number, (line, has_key)) in (1..).zip(CORPUS) {
        let line = fill(line, number);
        let ours = found(line.as_bytes()).map(|key| key.fingerprint().to_string());
        assert_eq!(ours.is_some(), has_key, "{line:?}");
        assert_eq!(keygen(format!("{line}\n").as_bytes()), Vec::from_iter(ours), "{line:?}");
    }
}

#[test]
fn a_whole_file_gives_the_keys_that_ssh_keygen_finds_in_it() {
    let lines: Vec<String> = (1..).zip(CORPUS).map(|(number, (line, _))| fill(line, number)).collect();
    for end in ["\n", "\r\n"] {
        let file = lines.join(end);
        let ours: Vec<String> =
            file.split('\n').filter_map(|line| Some(found(line.as_bytes())?.fingerprint().to_string())).collect();
        assert_eq!(ours, keygen(file.as_bytes()));
    }
}

#[test]
fn what_sshd_reads_and_ssh_keygen_does_not_is_found_too() {
    let (key, wanted) = (key(1), key(1).parse::<PublicKey>().unwrap());
    let (algorithm, base64) = key.split_once(' ').unwrap();
    let (a, b) = base64.split_at(20);
    for line in [
        format!("no-pty  \t {key}"),
        format!("{algorithm} {a}\r{b}"),
        format!("{algorithm} {a}\u{b}\u{c}{b}\u{c}"),
        format!("{key}\0 whatever follows"),
        format!("{key} comment\0\u{1}"),
        format!("no-pty {algorithm} {a}\r{b} c"),
        format!("256 {key}"),
    ] {
        assert_eq!(found(line.as_bytes()), Some(wanted.clone()), "{line:?}");
    }
    for line in [format!("\0{key}"), format!("{algorithm}\0 {base64}"), format!("no-pty\0 {key}")] {
        assert_eq!(found(line.as_bytes()), None, "{line:?}");
    }
}

#[test]
fn options_and_comment_are_given_as_they_stand() {
    let text = format!(" command=\"a \\\"b\\\" #\",no-pty \t{}\t two  words \r", key(1));
    let Line::Key { options, key: _, comment } = read(text.as_bytes()) else { panic!("no key") };
    assert_eq!(options, b"command=\"a \\\"b\\\" #\",no-pty");
    assert_eq!(comment, b"two  words");
    assert_eq!((read(b" \t\r"), read(b" # x"), read(b"x y")), (Line::Blank, Line::Comment, Line::Other));
    assert!(matches!(read(&[&key(1).into_bytes()[..], b" \xff\xfe"].concat()), Line::Key { comment: b"\xff\xfe", .. }));
}

fn strict(body: &[u8]) -> Vec<Result<Accepted, String>> {
    let results = registered(body, &AllowedOptions::default());
    results.into_iter().map(|result| result.map_err(|error| one_line(&error))).collect()
}

/// The one error that a body is refused for.
fn refused(body: &[u8]) -> String {
    let results = strict(body);
    assert_eq!(results.len(), 1, "{results:?}");
    results.into_iter().next().unwrap().unwrap_err()
}

#[test]
fn a_registered_body_gives_its_keys_without_comments_and_blank_lines() {
    let body = format!("# of alice\r\n{} alice@laptop\r\n\n  no-pty {}", key(1), key(2));
    let keys: Vec<_> = strict(body.as_bytes()).into_iter().map(Result::unwrap).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0].key.to_string(), key(1));
    assert!(keys[0].restrictions.is_none());
    assert_eq!(keys[1].key.to_string(), key(2));
    assert!(keys[1].restrictions.options.contains("no-pty"));
    assert!(strict(b"").is_empty() && strict(b"\n# nothing\n \t\r\n").is_empty());
}

#[test]
fn r8_one_bad_line_costs_itself_alone() {
    let body = format!("{}\nssh-ed25519 AAAA\n{}\nx\u{7} {}\n{}\n", key(1), key(2), key(3), key(4));
    let results: Vec<bool> = strict(body.as_bytes()).iter().map(Result::is_ok).collect();
    assert_eq!(results, [true, false, true, false, true]);
}

#[test]
fn t5_control_characters_anywhere_in_a_line_are_refused() {
    for bad in ["\0", "\u{b}", "\u{c}", "\r", "\u{1b}[2J", "\u{7f}", "\u{85}"] {
        for line in [format!("{} a{bad}b", key(1)), format!("{bad}{}", key(1)), format!("from=\"a{bad}b\" {}", key(1))]
        {
            assert!(refused(line.as_bytes()).starts_with("line 1 has the control character '\\"), "{line:?}");
        }
    }
    assert_eq!(refused(&[key(1).as_bytes(), b" \xff"].concat()), "line 1 is not UTF-8 text");
    let escaped = format!("{}%0Assh-rsa", key(1));
    assert_eq!(refused(escaped.as_bytes()), "line 1: the key is refused: the base64 part of the key is damaged");
}

#[test]
fn t6_options_that_are_not_allowed_and_broken_quotes_are_refused_by_name() {
    for (options, reason) in [
        ("command=\"x\"", "option command is not allowed"),
        ("COMMAND=\"x\"", "option command is not allowed"),
        ("cert-authority", "option cert-authority is not allowed"),
        ("environment=\"A=b\"", "option environment is not allowed"),
        ("principals=\"x\"", "option principals is not allowed"),
        ("tunnel=\"0\"", "option tunnel is not allowed"),
        ("permitopen=\"h:1\"", "option permitopen is not allowed"),
        ("permitlisten=\"1\"", "option permitlisten is not allowed"),
        ("restrict,pty", "option pty is not allowed"),
        ("no-touch-required", "option no-touch-required is not allowed"),
        ("from=\"a", "the quotes around a value are broken"),
        ("from=a\"", "the quotes around a value are broken"),
        ("from=\"a\"no-pty", "the quotes around a value are broken"),
        ("from=a", "the quotes around a value are broken"),
        ("no-pty,", "one of them is empty"),
        ("no-ptyx", "one of them is none that sshd knows"),
    ] {
        let error = refused(format!("{options} {}", key(1)).as_bytes());
        assert!(error.starts_with("line 1: the options are refused: ") && error.contains(reason), "{options}: {error}");
    }
}

#[test]
fn private_keys_and_public_keys_in_other_forms_are_refused_whole_with_a_hint() {
    for head in
        ["-----BEGIN OPENSSH PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----", "PuTTY-User-Key-File-3: ssh-rsa"]
    {
        let body = format!("{}\n{head}\nAAAA\n", key(1));
        assert!(refused(body.as_bytes()).contains("this is a private key; give the public half"), "{head}");
    }
    for (head, hint) in [
        (
            "---- BEGIN SSH2 PUBLIC KEY ----",
            "in the form of RFC 4716; turn it into OpenSSH's form by: ssh-keygen -i -f FILE",
        ),
        ("-----BEGIN PUBLIC KEY-----", "in PEM; turn it into OpenSSH's form by: ssh-keygen -i -m PKCS8 -f FILE"),
        ("-----BEGIN RSA PUBLIC KEY-----", "in PEM; turn it into OpenSSH's form by: ssh-keygen -i -m PEM -f FILE"),
    ] {
        assert!(refused(format!("{head}\nAAAA\n").as_bytes()).ends_with(hint), "{head}");
    }
}

#[test]
fn a_body_of_more_than_64_kib_is_refused_whole() {
    let body = "\n".repeat(MAX_BODY);
    assert!(strict(body.as_bytes()).is_empty());
    assert!(refused(format!("{body}\n").as_bytes()).starts_with("it has 65537 bytes"));
}

#[test]
fn t9_no_message_repeats_a_part_of_a_key() {
    let secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
    for line in [
        secret.to_owned(),
        format!("{secret} {secret}"),
        format!("no-pty {secret}"),
        format!("ssh-rsa {secret}"),
        format!("ssh-rsa{secret} x"),
        format!("{secret}={secret} {}", key(1)),
        format!("from=\"{secret}|\" {}", key(1)),
    ] {
        assert!(!refused(line.as_bytes()).contains(&secret[..8]), "{line}");
    }
}

#[test]
fn unsupported_types_are_named() {
    let error = refused(b"ssh-dss AAAAB3NzaC1kc3M= x");
    assert!(error.starts_with("line 1: the key is refused: key type \"ssh-dss\" is not supported"), "{error}");
    assert!(refused(b"ssh-ed25519").contains("it should read: type base64 comment"));
}

proptest! {
    #[test]
    fn no_line_makes_the_readers_panic(line in any::<Vec<u8>>()) {
        let _ = read(&line);
        let _ = registered(&line, &AllowedOptions::default());
    }

    #[test]
    fn what_the_strict_reader_takes_the_lenient_one_finds(
        parts in proptest::collection::vec(
            prop_oneof![
                Just(key(1)), Just(key(2)),
                "[ \t]{0,2}", "[a-z,#\"\\\\=-]{0,6}",
                Just("no-pty".to_owned()), Just("from=\"a,b\"".to_owned()), Just(",".to_owned()), Just("\r".to_owned()),
            ],
            0..6,
        ),
    ) {
        let line = parts.concat();
        let accepted = registered(line.as_bytes(), &AllowedOptions::default());
        if let [Ok(accepted)] = &accepted[..] {
            prop_assert_eq!(found(line.as_bytes()), Some(accepted.key.clone()));
        }
    }
}
