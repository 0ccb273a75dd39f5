use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive of one file, as dpkg-deb writes it as far as it is looked at.
fn tar(name: &str, content: &str) -> Vec<u8> {
    let mut archive = vec![0; 512];
    archive[..name.len()].copy_from_slice(name.as_bytes());
    archive[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    archive.extend(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = deb::MAGIC.to_vec();
    for (name, data) in members {
        writeln!(archive, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, data.len()).unwrap();
        archive.extend(*data);
        if data.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

fn deb(name: &str, version: &str, arch: &str) -> Vec<u8> {
    let control = format!("Package: {name}\nVersion: {version}\nArchitecture: {arch}\nDescription: x\n Version: no\n");
    let control = gzip(&tar("./control", &control));
    let data = gzip(&tar("./usr/bin/fleetkey-agent", "a program"));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)])
}

fn header(strings: &[(u32, u32, &str)]) -> Vec<u8> {
    let (mut index, mut values) = (Vec::new(), Vec::new());
    for (tag, kind, text) in strings {
        let offset = u32::try_from(values.len()).unwrap();
        index.extend([*tag, *kind, offset, 1].into_iter().flat_map(u32::to_be_bytes));
        values.extend(text.bytes());
        values.push(0);
    }
    let lengths = [strings.len(), values.len()].map(|length| u32::try_from(length).unwrap().to_be_bytes());
    [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0], lengths.as_flattened(), &index, &values].concat()
}

fn rpm(name: &str, version: &str, arch: &str) -> Vec<u8> {
    let payload = b"the payload".to_vec();
    let digest = hex::encode(Sha256::digest(&payload));
    let facts = [(1000, 6, name), (1001, 6, version), (1002, 6, "1"), (1022, 6, arch), (5092, 8, &digest)];
    let facts = header(&facts);
    let mut file = [rpm::MAGIC, &[3, 0, 0, 0], &[0; 88]].concat();
    file.extend(header(&[(273, 6, &hex::encode(Sha256::digest(&facts)))]));
    file.resize(file.len().next_multiple_of(8), 0);
    [file, facts, payload].concat()
}

#[test]
fn what_a_package_is_is_read_from_itself() {
    for (bytes, format, arch, name) in [
        (deb(AGENT, "1.2.3~rc.1", "amd64"), PackageFormat::Deb, Arch::X86_64, "fleetkey-agent_1.2.3~rc.1_amd64.deb"),
        (deb(AGENT, "1:1.2", "arm64"), PackageFormat::Deb, Arch::Arm64, "fleetkey-agent_1.2_arm64.deb"),
        (rpm(AGENT, "1.2.3", "x86_64"), PackageFormat::Rpm, Arch::X86_64, "fleetkey-agent-1.2.3-1.x86_64.rpm"),
        (rpm(AGENT, "1.2.3", "aarch64"), PackageFormat::Rpm, Arch::Arm64, "fleetkey-agent-1.2.3-1.aarch64.rpm"),
    ] {
        let digest = hex::encode(Sha256::digest(&bytes));
        let package = AgentPackage::parse(bytes).unwrap();
        assert_eq!((package.format, package.arch), (format, arch));
        assert_eq!(package.key(), format!("agent/{digest}/{name}"));
    }
}

#[test]
fn other_programs_other_machines_and_odd_versions_are_refused() {
    for make in [deb, rpm] {
        assert_eq!(AgentPackage::parse(make("bash", "1", "amd64")), Err(Unfit::OtherPackage("bash".into())));
        assert_eq!(AgentPackage::parse(make(AGENT, "1", "i386")), Err(Unfit::OtherArch("i386".into())));
    }
    // Each format has words of its own.
    assert_eq!(AgentPackage::parse(deb(AGENT, "1", "x86_64")), Err(Unfit::OtherArch("x86_64".into())));
    assert_eq!(AgentPackage::parse(rpm(AGENT, "1", "amd64")), Err(Unfit::OtherArch("amd64".into())));
    for version in ["", "v1", "1/2", "1 2", "1\u{1b}", &"1".repeat(65)] {
        assert_eq!(AgentPackage::parse(deb(AGENT, version, "amd64")), Err(Unfit::Version(version.into())));
    }
    for bytes in ["", "#!/bin/sh\n", "\u{7f}ELF"] {
        assert_eq!(AgentPackage::parse(bytes.into()), Err(Unfit::NoPackage), "{bytes}");
    }
}

#[test]
fn a_package_that_is_cut_off_anywhere_is_damaged() {
    for whole in [deb(AGENT, "1.2.3", "amd64"), rpm(AGENT, "1.2.3", "x86_64")] {
        // Behind the magic number.
        for length in 8..whole.len() {
            let cut = AgentPackage::parse(whole[..length].to_vec());
            assert!(matches!(cut, Err(Unfit::Damaged(_))), "{length} of {}: {cut:?}", whole.len());
        }
    }
}

#[test]
fn a_package_of_which_a_byte_of_content_changed_is_damaged() {
    let whole = rpm(AGENT, "1.2.3", "x86_64");
    // The headers' own bytes, the digest among them, and the payload.
    for at in [whole.len() - 1, whole.len() - 20] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        assert!(matches!(AgentPackage::parse(altered), Err(Unfit::Damaged(_))), "{at}");
    }
    let whole = deb(AGENT, "1.2.3", "amd64");
    // The checksum of the last member, which is of an even length or padded.
    let mut altered = whole.clone();
    let at = whole.len() - 8;
    altered[at] ^= 1;
    assert!(matches!(AgentPackage::parse(altered), Err(Unfit::Damaged(_))));
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let control = gzip(&tar("control", "Package: fleetkey-agent\n"));
    let members = [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.xz", b"?")];
    assert!(matches!(AgentPackage::parse(ar(&members)), Err(Unfit::Foreign(_))));
    let members = [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &gzip(b""))];
    let error = AgentPackage::parse(ar(&members)).unwrap_err();
    assert_eq!(error.to_string(), "is damaged: its control file has no field Version");
    let mut source = rpm(AGENT, "1", "x86_64");
    source[7] = 1;
    assert!(matches!(AgentPackage::parse(source), Err(Unfit::Foreign(_))));
}

fn package(version: &str, arch: &str) -> AgentPackage {
    AgentPackage::parse(deb(AGENT, version, arch)).unwrap()
}

const WHO: &str = "arn:aws:iam::123456789012:user/alice";

#[test]
fn the_newest_is_what_was_published_last_of_its_kind_and_an_earlier_one_can_come_back() {
    let (one, two, arm) = (package("1", "amd64"), package("2", "amd64"), package("1", "arm64"));
    let mut index = Index::default();
    let newest = |index: &Index| index.newest(PackageFormat::Deb, Arch::X86_64).map(|package| package.version.clone());
    assert_eq!(newest(&index), None);
    for (published, version, changes) in
        [(&one, "1", true), (&one, "1", false), (&two, "2", true), (&arm, "2", true), (&one, "1", true)]
    {
        assert_eq!(index.add(&[published], WHO, Timestamp::UNIX_EPOCH), changes);
        assert_eq!(newest(&index).as_deref(), Some(version));
    }
    assert_eq!(index.packages().count(), 3);
    assert_eq!(index.newest(PackageFormat::Rpm, Arch::X86_64), None);
    let body = serde_json::to_vec(&index).unwrap();
    assert_eq!(Index::parse(&body).unwrap(), index);
}

#[test]
fn the_index_forgets_the_oldest_but_never_the_newest_of_a_kind() {
    let mut index = Index::default();
    index.add(&[&package("1", "arm64")], WHO, Timestamp::UNIX_EPOCH);
    let version = |number: u32| format!("{number:0>MAX_VERSION$}");
    let who = format!("arn:aws-us-gov:sts::123456789012:assumed-role/{}/{}", "r".repeat(64), "s".repeat(64));
    for number in 0..120 {
        index.add(&[&package(&version(number), "amd64")], &who, Timestamp::UNIX_EPOCH);
    }
    assert_eq!(index.packages().count(), 50);
    assert_eq!(index.newest(PackageFormat::Deb, Arch::X86_64).unwrap().version, version(119));
    assert_eq!(index.newest(PackageFormat::Deb, Arch::Arm64).unwrap().version, "1");
    // What is read of an object.
    assert!(serde_json::to_vec_pretty(&index).unwrap().len() < 64 * 1024);
}

#[test]
fn an_index_that_would_lead_a_box_elsewhere_is_refused() {
    let mut index = Index::default();
    index.add(&[&package("1", "amd64")], WHO, Timestamp::UNIX_EPOCH);
    let body = serde_json::to_string(&index).unwrap();
    assert!(Index::parse(body.as_bytes()).is_ok());
    for (from, to) in [
        ("\"agent/", "\"people/"),
        ("_amd64.deb", "_amd64.deb?x"),
        ("_amd64.deb", "/../x"),
        ("\"sha256\":\"", "\"sha256\":\"0"),
        ("\"x86_64\"", "\"vax\""),
        ("\"version\":\"1\"", "\"version\":\"$(reboot)\""),
    ] {
        let bad = body.replace(from, to);
        assert_ne!(bad, body);
        assert!(matches!(Index::parse(bad.as_bytes()), Err(IndexError::Form(_))), "{bad}");
    }
    let later = body.replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(Index::parse(later.as_bytes()), Err(IndexError::Later(2))));
    assert!(Index::parse(b"").is_err());
}
