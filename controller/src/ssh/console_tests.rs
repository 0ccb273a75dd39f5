use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBKhCvi7WQ2WEX9caT0RJPkmInGWEmPFaQkYf4ozCMbH8Mef2P+BpD++xjNEfgx4EIEauiojiUjOQcTz0ApU5jac=";
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFToVL5pbHpyW9yWPPUjqqONo1PxR7VwgQN3R8YnRmpL";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGH5fGgBdTgC1nD8E/TekwJAet/K4f1f8DiBiQ4NYry/";

/// A console as cloud-init 22.4 leaves it on EC2.
fn boot(keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| format!("{key} root@ip-10-0-0-1\r\n")).collect::<Vec<_>>().concat();
    format!(
        "[    0.000000] Linux version 6.1.0-25-cloud-amd64\r\n\
         [\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r\n\
         [    7.401893] cloud-init[412]: Cloud-init v. 22.4.2 running 'modules:final' at Sat, 21 Nov 2026 04:00:00 +0000. Up 7.38 seconds.\r\n\
         <14>Nov 21 04:00:00 cloud-init: #############################################################\r\n\
         <14>Nov 21 04:00:00 cloud-init: -----BEGIN SSH HOST KEY FINGERPRINTS-----\r\n\
         <14>Nov 21 04:00:00 cloud-init: 256 SHA256:Ys3rdwo+SClvcDNfmfZDgMJL6IzyGgH27DctbvUsZQY root@ip-10-0-0-1 (ED25519)\r\n\
         <14>Nov 21 04:00:00 cloud-init: -----END SSH HOST KEY FINGERPRINTS-----\r\n\
         <14>Nov 21 04:00:00 cloud-init: #############################################################\r\n\
         {BEGIN}\r\n{keys}{END}\r\n"
    )
}

const FINAL: &str = "[    7.492310] cloud-init[412]: Cloud-init v. 22.4.2 finished at Sat, 21 Nov 2026 04:00:00 +0000. \
    Datasource DataSourceEc2Local.  Up 7.48 seconds\r\n";

fn keys(lines: &[&str]) -> Reading {
    Reading::Keys(HostKeys::new(lines.iter().map(|line| line.parse().unwrap())).unwrap())
}

fn read_one(text: &str) -> Reading {
    read([text.as_bytes()])
}

#[test]
fn the_keys_of_a_real_box_are_found() {
    // The end of the first boot of a Debian 12 box on the local cloud, as its GetConsoleOutput gave it.
    let text = include_str!("testdata/debian-12.console");
    let Reading::Keys(found) = read_one(text) else { panic!("there are keys") };
    let found = found.to_string();
    assert_eq!(
        found,
        "ecdsa-sha2-nistp256 SHA256:sGVmCEFJrFG45JqJyOtT4wMXSy3IOGlNJ0JAoUbk/1k, \
         ssh-ed25519 SHA256:vDB5N7YctmSVpwW7b5E5Rch4OyxQtqR6C0DxblgArpk"
    );
    // A later boot of it: the same without the keys.
    let later = text.lines().filter(|line| !line.contains("AAAA")).collect::<Vec<_>>().join("\n");
    assert_eq!(read_one(&later), Reading::Never);
}

#[test]
fn the_keys_are_found_in_what_each_version_prints() {
    let wanted = keys(&[ECDSA, ED25519]);
    assert_eq!(read_one(&(boot(&[ECDSA, ED25519]) + FINAL)), wanted);
    for prefix in
        ["", "ec2: ", "<14>Nov 21 04:00:00 ec2: ", "[   12.345678] cloud-init[412]: ", "cloud-init[9]: ", "\x1b[0m"]
    {
        let lines = [BEGIN, ECDSA, ED25519, END].map(|line| format!("{prefix}{line}\n"));
        assert_eq!(read_one(&lines.concat()), wanted, "{prefix:?}");
    }
}

#[test]
fn types_that_are_not_taken_are_passed_over() {
    let text = boot(&["ssh-dss AAAAB3NzaC1kc3MAAACBAKezGJp3", "ssh-mldsa65@example.com AAAA", ED25519]);
    assert_eq!(read_one(&text), keys(&[ED25519]));
    assert_eq!(read_one(&boot(&["ssh-dss AAAAB3NzaC1kc3MAAACBAKezGJp3"])), Reading::NotYet);
}

#[test]
fn a_console_without_keys_is_waited_for_until_cloud_init_is_through() {
    assert_eq!(read_one(""), Reading::NotYet);
    let started = boot(&[ED25519]);
    assert_eq!(read_one(&started[..started.find(BEGIN).unwrap()]), Reading::NotYet);
    assert_eq!(read_one(&started[..started.find(END).unwrap()]), Reading::NotYet);
    assert_eq!(read_one(FINAL), Reading::Never);
    assert_eq!(read_one(&boot(&[]).replace("running", "finished")), Reading::NotYet);
    // The text that EC2 kept of the boot may have what has gone from the other.
    assert_eq!(read([FINAL.as_bytes(), boot(&[ED25519]).as_bytes()]), keys(&[ED25519]));
    // What is left of a block whose beginning is gone is no block.
    assert_eq!(read_one(&format!("{ED25519}\n{END}\n{FINAL}")), Reading::Never);
}

#[test]
fn keys_that_are_printed_again_are_the_same_keys() {
    let text = boot(&[ECDSA, ED25519]) + FINAL + &boot(&[ECDSA, ED25519]) + FINAL;
    assert_eq!(read_one(&text), keys(&[ECDSA, ED25519]));
    assert_eq!(read([text.as_bytes(), text.as_bytes()]), keys(&[ECDSA, ED25519]));
}

#[test]
fn fault_15_a_forged_block_is_not_believed_wherever_it_stands() {
    let (forged, real) = (boot(&[OTHER]), boot(&[ED25519]));
    for text in [
        format!("{forged}{real}"),
        format!("{real}{forged}"),
        format!("{real}{FINAL}{BEGIN}\n{OTHER}\n{END}\n"),
        // A key more than the box has.
        format!("{real}{BEGIN}\n{ED25519}\n{OTHER}\n{END}\n"),
        // Without an end, or with something in it.
        format!("{BEGIN}\n{OTHER}\n{real}"),
        format!("{real}{BEGIN}\n{OTHER}\n"),
        format!("{real}{BEGIN}\nx\n{OTHER}\n{END}\n"),
    ] {
        assert_eq!(read_one(&text), Reading::Contradiction, "{text}");
    }
    assert_eq!(read([real.as_bytes(), forged.as_bytes()]), Reading::Contradiction);
}

#[test]
fn t5_what_other_programs_log_is_not_taken_for_cloud_inits() {
    for prefix in [
        "[   12.345678] web[412]: ",
        "[   12.345678] cloud-init[x]: ",
        "[x] cloud-init[412]: ",
        "Nov 21 04:00:00 box sshd[9]: ",
        "<14>Nov 21 04:00:00 web: ",
        "<14>ec2: ",
        "x ec2: ",
        "GET /",
        "progress\r",
        "\t",
    ] {
        let lines = [BEGIN, OTHER, END].map(|line| format!("{prefix}{line}\n"));
        assert_eq!(read_one(&lines.concat()), Reading::NotYet, "{prefix:?}");
    }
}

#[test]
fn a_message_of_the_kernel_within_the_block_costs_at_most_the_key_that_it_tears() {
    let message = "[    7.5] random: crng init done";
    let whole = boot(&[ECDSA, ED25519]);
    let between = whole.replace(ED25519, &format!("{message}\r\n{ED25519}"));
    assert_eq!(read_one(&between), keys(&[ECDSA, ED25519]));
    let torn = whole.replace("AAAAIFToVL5pbHpyW9yW", &format!("AAAAIFToVL5{message}\r\npbHpyW9yW"));
    assert_eq!(read_one(&torn), keys(&[ECDSA]));
    // What is left of it does not stand against a block that is whole.
    assert_eq!(read([torn.as_bytes(), whole.as_bytes()]), keys(&[ECDSA, ED25519]));
}

#[test]
fn t5_hostile_consoles_are_read_to_their_end() {
    let noise: Vec<u8> = (0..64 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    assert_eq!(read([noise.as_slice()]), Reading::NotYet);
    let text = [noise.as_slice(), b"\n", boot(&[ED25519]).as_bytes(), &noise].concat();
    assert_eq!(read([text.as_slice()]), keys(&[ED25519]));
    // Not UTF-8 within the block.
    let text = boot(&[ED25519, OTHER]).into_bytes();
    let at = text.windows(4).position(|four| four == b"IGH5").unwrap();
    let spoilt = [&text[..at], b"\xff\xfe", &text[at..]].concat();
    assert_eq!(read([spoilt.as_slice()]), keys(&[ED25519]));
    // Base64 that ends too soon, or holds another type than it says.
    assert_eq!(read_one(&boot(&[&ED25519[..40], ECDSA])), keys(&[ECDSA]));
    let lies = format!("ssh-rsa {}", ED25519.split(' ').nth(1).unwrap());
    assert_eq!(read_one(&boot(&[&lies])), Reading::NotYet);
    // A private key is nothing that is kept.
    let private = STANDARD.encode("-----BEGIN OPENSSH PRIVATE KEY-----");
    assert_eq!(read_one(&boot(&[&private])), Reading::NotYet);
}
