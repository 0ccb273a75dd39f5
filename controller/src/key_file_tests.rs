//! What `register-key` says to every kind of file that it may be given.

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcqWYodY0gyb5IvG5gmbH+STkPFE6zhSgRMTi+fCI4n";

fn parse(text: &str) -> Result<KeyFile, Refusal> {
    KeyFile::parse(text.as_bytes(), "id.pub")
}

/// The message, and after ` / ` the hints.
fn refusal(text: impl AsRef<[u8]>) -> String {
    let error = anyhow::Error::from(KeyFile::parse(text.as_ref(), "id.pub").unwrap_err());
    let hints = crate::refusal::hints(&error);
    [vec![error.to_string().as_str()], hints].concat().join(" / ")
}

#[test]
fn one_key_is_taken_with_or_without_comment_line_break_and_comment_lines() {
    for (text, comment) in [
        (ED25519.to_owned(), ""),
        (format!("{ED25519} alice@laptop\n"), "alice@laptop"),
        (format!("{ED25519}\talice  at\thome\r\n"), "alice at home"),
        (format!("\u{feff}# my key\n\n  {ED25519} zoë\n\n"), "zoë"),
    ] {
        let file = parse(&text).unwrap();
        assert_eq!(file.key.to_string(), ED25519);
        assert_eq!(file.comment, comment);
        assert_eq!(file.line(), format!("{ED25519} {comment}").trim_end().to_owned() + "\n");
    }
}

#[test]
fn private_keys_are_refused_in_every_form_and_nothing_of_them_is_repeated() {
    insta::assert_snapshot!(
        refusal("-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n-----END OPENSSH PRIVATE KEY-----\n"),
        @"id.pub is a private key; it was not sent anywhere / give its public half: id.pub.pub, or what ssh-keygen -y -f id.pub prints");
    for label in ["RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"] {
        let text = refusal(format!("{ED25519}\n-----BEGIN {label}-----\nSECRET\n"));
        assert!(text.starts_with("id.pub is a private key") && !text.contains("SECRET"), "{text}");
    }
    insta::assert_snapshot!(
        refusal("PuTTY-User-Key-File-3: ssh-ed25519\nSECRET\n"),
        @"id.pub is a PuTTY key file, which holds a private key; it was not sent anywhere / puttygen id.pub -O public-openssh -o id.pub.pub takes the public half out of it");
}

#[test]
fn public_keys_in_other_forms_are_refused_with_the_way_from_them() {
    insta::assert_snapshot!(
        refusal("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"),
        @"id.pub is a public key in the form of RFC 4716 / ssh-keygen -i -f id.pub prints it in OpenSSH's");
    insta::assert_snapshot!(
        refusal("-----BEGIN PUBLIC KEY-----\nMIIB\n"),
        @"id.pub is a public key in PEM form / ssh-keygen -i -m PKCS8 -f id.pub prints it in OpenSSH's");
    insta::assert_snapshot!(
        refusal("-----BEGIN RSA PUBLIC KEY-----\nMIIB\n"),
        @"id.pub is a public key in PEM form / ssh-keygen -i -m PEM -f id.pub prints it in OpenSSH's");
    insta::assert_snapshot!(
        refusal("-----BEGIN CERTIFICATE-----\nMIIB\n"),
        @"id.pub is a PEM file and not a public key / give an OpenSSH public key: type base64 comment");
    insta::assert_snapshot!(
        refusal("ssh-ed25519-cert-v01@openssh.com AAAA me"),
        @"id.pub is a certificate / give the public key that it was made for: the file without -cert in its name");
}

#[test]
fn what_is_no_single_key_is_refused_with_what_is_wrong() {
    insta::assert_snapshot!(refusal(""), @"id.pub is empty / ssh-keygen -y -f KEY prints the public half of the private key KEY");
    insta::assert_snapshot!(refusal("# nothing\n"), @"id.pub has comments and no key");
    insta::assert_snapshot!(
        refusal(format!("{ED25519} a\n{ED25519} b\n")),
        @"id.pub holds 2 keys / register them one at a time, each from a file of its own");
    insta::assert_snapshot!(
        refusal(format!("{ED25519} a\nhello\n")),
        @"id.pub has a line after its key that is not a key / a public key is one line; remove what follows it");
    insta::assert_snapshot!(
        refusal(ED25519.replace("AAAAIJ", "AAAA\nIJ")),
        @"id.pub has 2 lines and no whole key / a public key is one line: type base64 comment; the key may have been wrapped when it was copied");
    insta::assert_snapshot!(
        refusal(format!("no-pty,command=\"a b\" {ED25519}\n")),
        @"id.pub has options before the key / give the key alone; a grant says what it may be used for, and --expires when it ends");
    insta::assert_snapshot!(refusal("hello"), @"id.pub: not an OpenSSH public key; it should read: type base64 comment");
}

#[test]
fn damaged_and_unsupported_keys_are_refused_with_what_to_do() {
    insta::assert_snapshot!(
        refusal(&ED25519[..60]),
        @"id.pub: the key is damaged: its ssh-ed25519 data does not decode / copy it again from where it was made");
    insta::assert_snapshot!(
        refusal(ED25519.replace('+', "!")),
        @"id.pub: the base64 part of the key is damaged / copy it again from where it was made");
    let dss = refusal("ssh-dss AAAAB3NzaC1kc3M= old");
    assert!(dss.contains("\"ssh-dss\" is not supported") && dss.contains("ssh-keygen -t ed25519"), "{dss}");
}

#[test]
fn t5_control_characters_and_bytes_that_are_no_text_are_refused() {
    for bad in ["a\0b", "a\rb", "a\x1b[31m", "a\u{85}b", "a\u{7f}"] {
        let text = refusal(format!("{ED25519} {bad}"));
        assert!(text.starts_with("id.pub has control characters in its line"), "{bad:?}: {text}");
    }
    assert!(refusal(b"\xff\xfes\0s\0h\0").starts_with("id.pub is UTF-16 text"));
    assert!(refusal(b"ssh-ed25519 \xc3\x28").starts_with("id.pub is not text"));
    assert!(refusal("x".repeat(70_000)).starts_with("id.pub is larger than any public key"));
    assert!(refusal(format!("{ED25519} {}", "x".repeat(256))).contains("more than 255 characters"));
}

#[test]
fn a_folder_and_a_missing_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = KeyFile::read(folder.path()).unwrap_err().to_string();
    assert_eq!(error, format!("{} is a folder", folder.path().display()));
    let missing = folder.path().join("id.pub");
    let error = KeyFile::read(&missing).unwrap_err().to_string();
    assert_eq!(error, format!("{} does not exist", missing.display()));
}
