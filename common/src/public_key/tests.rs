use std::fs;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Runs a program to its end and gives what it printed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    output.stdout
}

/// A new key of ssh-keygen's: the private and the public file.
fn generate(kind: &str, bits: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let arguments = ["-q", "-t", kind, "-b", bits, "-N", "", "-C", "a comment", "-f", path.to_str().unwrap()];
    run("ssh-keygen", &arguments, b"");
    (fs::read_to_string(&path).unwrap(), fs::read_to_string(path.with_extension("pub")).unwrap())
}

/// The fingerprint by `ssh-keygen -l`.
fn keygen_fingerprint(line: &str) -> String {
    let printed = String::from_utf8(run("ssh-keygen", &["-l", "-f", "-"], line.as_bytes())).unwrap();
    printed.split(' ').nth(1).unwrap().to_owned()
}

/// A blob of these strings.
fn blob(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn line(algorithm: &str, blob: &[u8]) -> String {
    format!("{algorithm} {}", STANDARD.encode(blob))
}

/// The strings of a blob.
fn parts(mut blob: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = blob.split_first_chunk::<4>() {
        let (part, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part.to_vec());
        blob = rest;
    }
    parts
}

fn p256_point() -> Vec<u8> {
    let (_, public) = generate("ecdsa", "256");
    parts(public.parse::<PublicKey>().unwrap().blob())[2].clone()
}

fn as_sshd_reads(algorithm: &str, blob: &[u8]) -> Option<PublicKey> {
    PublicKey::as_sshd_reads(algorithm.as_bytes(), STANDARD.encode(blob).as_bytes())
}

#[test]
fn every_type_has_the_fingerprint_that_ssh_keygen_prints() {
    let mut lines: Vec<String> =
        [("rsa", "1024"), ("rsa", "2048"), ("rsa", "4096"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]
            .into_iter()
            .chain([("ed25519", "256")])
            .map(|(kind, bits)| generate(kind, bits).1)
            .collect();
    let sk = "sk-ssh-ed25519@openssh.com";
    lines.push(line(sk, &blob(&[sk.as_bytes(), &[7; 32], b"ssh:"])));
    let sk = "sk-ecdsa-sha2-nistp256@openssh.com";
    lines.push(line(sk, &blob(&[sk.as_bytes(), b"nistp256", &p256_point(), b"ssh:work"])));
    let mut seen = Vec::new();
    for line in &lines {
        let key: PublicKey = line.parse().unwrap();
        assert_eq!(key.fingerprint().to_string(), keygen_fingerprint(line), "{line}");
        assert_eq!(line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" "), key.to_string());
        assert_eq!(key.ec2_can_import(), ["ssh-rsa", "ssh-ed25519"].contains(&key.algorithm()));
        seen.push(key.algorithm());
    }
    assert!(ALGORITHMS.iter().all(|algorithm| seen.contains(algorithm)), "{seen:?}");
}

#[test]
fn the_ec2_fingerprint_of_rsa_is_the_md5_that_openssl_makes_of_its_der() {
    for bits in ["1024", "2048", "4096"] {
        let (_, public) = generate("rsa", bits);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pub");
        fs::write(&path, &public).unwrap();
        let pem = run("ssh-keygen", &["-e", "-m", "PKCS8", "-f", path.to_str().unwrap()], b"");
        let der = run("openssl", &["pkey", "-pubin", "-outform", "DER"], &pem);
        let printed = String::from_utf8(run("openssl", &["md5", "-c"], &der)).unwrap();
        let key: PublicKey = public.parse().unwrap();
        assert_eq!(key.ec2_fingerprint().to_string(), printed.rsplit(' ').next().unwrap().trim());
        assert_eq!(printed.rsplit(' ').next().unwrap().trim().parse(), Ok(key.ec2_fingerprint()));
    }
}

#[test]
fn an_ec2_fingerprint_tells_its_own_key_from_another_where_it_can() {
    let (rsa, other): (PublicKey, PublicKey) =
        (generate("rsa", "1024").1.parse().unwrap(), generate("rsa", "1024").1.parse().unwrap());
    let ed25519: PublicKey = generate("ed25519", "256").1.parse().unwrap();
    assert_eq!(rsa.ec2_fingerprint().verify(&rsa), Verdict::Same);
    assert_eq!(rsa.ec2_fingerprint().verify(&other), Verdict::Different);
    assert_eq!(rsa.ec2_fingerprint().verify(&ed25519), Verdict::Different);
    assert_eq!(ed25519.ec2_fingerprint().verify(&ed25519), Verdict::Same);
    let made_by_ec2: Ec2Fingerprint = ["ab"; 20].join(":").parse().unwrap();
    assert_eq!(made_by_ec2.verify(&rsa), Verdict::CannotTell);
}

#[test]
fn fingerprints_are_read_in_every_form_and_printed_in_one() {
    let key: PublicKey = generate("ed25519", "256").1.parse().unwrap();
    let fingerprint = key.fingerprint();
    for text in [fingerprint.to_string(), format!("{fingerprint}="), fingerprint.to_hex()] {
        assert_eq!(text.parse(), Ok(fingerprint));
    }
    let Ec2Fingerprint::Sha256(_) = key.ec2_fingerprint() else { panic!("not SHA-256") };
    let padded = key.ec2_fingerprint().to_string();
    assert!(padded.ends_with('='));
    for text in [padded.clone(), padded.trim_end_matches('=').to_owned(), fingerprint.to_string()] {
        assert_eq!(text.parse(), Ok(key.ec2_fingerprint()));
    }
    for bad in ["", "SHA256:", "SHA256:AAAA", ":", "ab:cd", "a:b", "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:f"] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        assert!(bad.parse::<Ec2Fingerprint>().is_err(), "{bad}");
    }
}

#[test]
fn keys_survive_json_from_a_text_and_from_a_reader() {
    let key: PublicKey = generate("ed25519", "256").1.parse().unwrap();
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
    assert_eq!(serde_json::from_reader::<_, PublicKey>(json.as_bytes()).unwrap(), key);
    assert!(serde_json::from_str::<PublicKey>("\"ssh-ed25519 AAAA\"").is_err());
}

#[test]
fn t9_a_private_key_whole_or_in_part_is_refused_and_never_repeated() {
    let (private, public) = generate("ed25519", "256");
    assert_eq!(private.parse::<PublicKey>(), Err(PublicKeyError::Private));
    assert_eq!(format!("{public}{private}").parse::<PublicKey>(), Err(PublicKeyError::Private));
    let piece = private.lines().nth(1).unwrap();
    for text in [piece.to_owned(), format!("{piece} x"), format!("x {piece}")] {
        let error = text.parse::<PublicKey>().unwrap_err();
        assert_eq!(error, PublicKeyError::Form, "{error}");
    }
    assert_eq!("ssh-dss AAAA".parse::<PublicKey>(), Err(PublicKeyError::Algorithm("ssh-dss".to_owned())));
}

#[test]
fn t5_a_second_line_a_nul_and_base64_that_is_not_canonical_are_refused() {
    let (_, public) = generate("ed25519", "256");
    let public = public.trim_end();
    let (_, base64) = public.split_once(' ').unwrap();
    let base64 = base64.split(' ').next().unwrap();
    assert!(public.parse::<PublicKey>().is_ok());
    for bad in [
        format!("{public}\n{public}"),
        format!("{public}\rx"),
        format!("{public}\0x"),
        format!("ssh-ed25519 {}\u{b}{}", &base64[..10], &base64[10..]),
        format!("ssh-ed25519 {base64}%0A"),
        format!("ssh-ed25519 {base64}===="),
        format!("ssh-ed25519 {}", &base64[..base64.len() - 4]),
        format!("ssh-ed25519 {base64}AAAA"),
        format!("ssh-rsa {base64}"),
        format!("SSH-ED25519 {base64}"),
        "ssh-ed25519".to_owned(),
        format!("ssh-ed25519 {}", "A".repeat(100_000)),
    ] {
        assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
    }
}

#[test]
fn keys_that_sshd_would_refuse_are_refused_with_the_reason() {
    let rsa = |modulus: &[u8]| line("ssh-rsa", &blob(&[b"ssh-rsa", &[1, 0, 1], modulus])).parse::<PublicKey>();
    assert_eq!(rsa(&[0x7f; 96]), Err(PublicKeyError::ShortRsa(767)));
    assert_eq!(rsa(&[0x7f; 2049]), Err(PublicKeyError::LongRsa(16_391)));
    assert!(rsa(&[0x7f; 2048]).is_ok());
    let no_exponent = line("ssh-rsa", &blob(&[b"ssh-rsa", b"", &[0x7f; 256]]));
    assert_eq!(no_exponent.parse::<PublicKey>(), Err(PublicKeyError::Blob("ssh-rsa")));

    let mut point = p256_point();
    let point_of = |point: &[u8]| {
        let plain = line("ecdsa-sha2-nistp256", &blob(&[b"ecdsa-sha2-nistp256", b"nistp256", point]));
        let sk = "sk-ecdsa-sha2-nistp256@openssh.com";
        let sk = line(sk, &blob(&[sk.as_bytes(), b"nistp256", point, b"ssh:"]));
        (plain.parse::<PublicKey>().is_ok(), sk.parse::<PublicKey>().is_ok())
    };
    assert_eq!(point_of(&point), (true, true));
    point.truncate(33);
    point[0] = 2;
    assert_eq!(point_of(&point), (false, false), "a compressed point");
    assert_eq!(point_of(&[0]), (false, false), "the point at infinity");
}

#[test]
fn every_way_to_write_a_key_that_sshd_takes_is_found_to_be_that_key() {
    let key: PublicKey = generate("rsa", "1024").1.parse().unwrap();
    let number = |at: usize, zeros: usize| [vec![0; zeros], parts(key.blob())[at].clone()].concat();
    let zeros = blob(&[b"ssh-rsa", &number(1, 3), &number(2, 5)]);
    let unlike = [
        ("ssh-rsa", zeros),
        ("rsa-sha2-512", key.blob().to_vec()),
        ("ssh-rsa", blob(&[b"rsa-sha2-256", &number(1, 0), &number(2, 0)])),
        ("ssh-rsa", blob(&[b"ssh-rsa\0", &number(1, 0), &number(2, 0)])),
    ];
    for (algorithm, blob) in &unlike {
        // ssh-keygen reads keys by the same code as sshd.
        assert_eq!(keygen_fingerprint(&line(algorithm, blob)), key.fingerprint().to_string(), "{algorithm}");
        assert_eq!(as_sshd_reads(algorithm, blob).as_ref(), Some(&key));
        assert!(line(algorithm, blob).parse::<PublicKey>().is_err(), "handed out as it stands");
    }
    let (sk, alias) = ("sk-ecdsa-sha2-nistp256@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com");
    let point = p256_point();
    let plain = blob(&[sk.as_bytes(), b"nistp256", &point, b"ssh:"]);
    let key: PublicKey = line(sk, &plain).parse().unwrap();
    let odd = blob(&[alias.as_bytes(), b"nistp256\0", &point, b"ssh:\0"]);
    for (algorithm, blob) in [(alias, &plain), (sk, &odd), (alias, &odd)] {
        assert_eq!(keygen_fingerprint(&line(algorithm, blob)), key.fingerprint().to_string(), "{algorithm}");
        assert_eq!(as_sshd_reads(algorithm, blob).as_ref(), Some(&key));
    }
    assert_eq!(as_sshd_reads("ssh-ed25519", &plain), None, "of another type than the line says");
}

proptest! {
    #[test]
    fn no_blob_makes_the_readers_panic(algorithm in 0..ALGORITHMS.len(), blob in any::<Vec<u8>>(), fields in any::<[Vec<u8>; 3]>()) {
        let algorithm = ALGORITHMS[algorithm];
        let framed = self::blob(&[algorithm.as_bytes(), &fields[0], &fields[1], &fields[2]]);
        for blob in [&blob, &framed, &framed[..framed.len() / 2].to_vec()] {
            let strict = PublicKey::from_blob(algorithm, blob).ok();
            let lenient = as_sshd_reads(algorithm, blob);
            prop_assert!(strict.is_none() || strict == lenient);
        }
    }
}
