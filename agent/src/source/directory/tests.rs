use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures_util::FutureExt;

use super::*;
use crate::key_set::tests::key;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in FOLDERS {
            fs::create_dir(folder.0.path().join(name)).unwrap();
        }
        folder
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn look(&self, specs: &[&str]) -> Findings {
        self.source().look(&specs.iter().map(|spec| spec.parse().unwrap()).collect())
    }

    fn source(&self) -> DirectorySource {
        DirectorySource::new(self.0.path().to_owned(), AllowedOptions::default())
    }
}

fn keys_of(findings: &Findings, person: &str) -> Vec<PublicKey> {
    let person: PersonName = person.parse().unwrap();
    findings.keys[&person][&Registry::Directory].keys.iter().map(|held| held.key.clone()).collect()
}

#[test]
fn persons_groups_and_globs_are_found() {
    let folder = Folder::new();
    folder.put("people/alice.pub", &format!("# both of hers\n{} one\n{} two\n", key(1), key(2)));
    folder.put("people/dev-bob.pub", &key(3).to_string());
    folder.put("groups/dev", "# those who build\nalice\n\n  dev-bob  \n");
    let findings = folder.look(&["@@dev", "@alice", "@nobody", "dev-*"]);
    assert_eq!(keys_of(&findings, "alice"), [key(1), key(2)]);
    assert_eq!(keys_of(&findings, "dev-bob"), [key(3)]);
    let members = &findings.groups[&"dev".parse().unwrap()];
    assert_eq!(*members, Ok(Membership::Of(["alice", "dev-bob"].map(|name| name.parse().unwrap()).into())));
    assert_eq!(findings.users[&"alice".parse().unwrap()], Ok(true));
    assert_eq!(findings.users[&"nobody".parse().unwrap()], Ok(false));
}

#[test]
fn r2_an_empty_group_a_missing_group_and_a_missing_folder_are_three_things() {
    let folder = Folder::new();
    folder.put("groups/empty", "");
    let findings = folder.look(&["@@empty", "@@none"]);
    assert_eq!(findings.groups[&"empty".parse().unwrap()], Ok(Membership::Of(BTreeSet::new())));
    assert_eq!(findings.groups[&"none".parse().unwrap()], Ok(Membership::NoSuchGroup));
    fs::remove_dir_all(folder.0.path().join("groups")).unwrap();
    assert!(folder.look(&["@@empty"]).groups[&"empty".parse().unwrap()].is_err());
}

#[test]
fn a_missing_people_folder_is_a_fault_and_no_empty_answer() {
    let folder = Folder::new();
    fs::remove_dir_all(folder.0.path().join("people")).unwrap();
    let findings = folder.look(&["alice", "*"]);
    assert!(findings.keys[&"alice".parse().unwrap()][&Registry::Directory].fault.is_some());
    assert!(findings.names[&Registry::Directory].is_err());
}

#[test]
fn what_others_than_root_could_have_written_is_not_believed() {
    let folder = Folder::new();
    folder.put("people/alice.pub", &key(1).to_string());
    folder.mode("people/alice.pub", 0o666);
    let findings = folder.look(&["alice"]);
    let lookup = &findings.keys[&"alice".parse().unwrap()][&Registry::Directory];
    assert!(lookup.keys.is_empty());
    assert!(lookup.fault.as_ref().unwrap().to_string().contains("chmod go-w"), "{:?}", lookup.fault);
    folder.mode("people/alice.pub", 0o644);
    folder.mode("people", 0o777);
    assert!(folder.look(&["alice"]).keys[&"alice".parse().unwrap()][&Registry::Directory].fault.is_some());
}

#[test]
fn t4_a_fifo_in_place_of_a_key_file_is_a_fault_and_nobody_waits_for_it() {
    let folder = Folder::new();
    nix::unistd::mkfifo(&folder.0.path().join("people/alice.pub"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let findings = folder.look(&["alice"]);
    assert!(findings.keys[&"alice".parse().unwrap()][&Registry::Directory].fault.is_some());
}

#[test]
fn r8_one_bad_key_among_many_costs_only_itself() {
    let folder = Folder::new();
    folder.put("people/alice.pub", &format!("{} one\nssh-ed25519 AAAA damaged\n{} two\n", key(1), key(2)));
    let findings = folder.look(&["alice"]);
    assert_eq!(keys_of(&findings, "alice"), [key(1), key(2)]);
    assert_eq!(findings.keys[&"alice".parse().unwrap()][&Registry::Directory].rejected.len(), 1);
}

#[test]
fn a_bad_line_in_a_group_costs_only_itself() {
    let folder = Folder::new();
    folder.put("groups/dev", "alice\n../bob\ncarol\n");
    let findings = folder.look(&["@@dev"]);
    let members = findings.groups[&"dev".parse().unwrap()].clone();
    assert_eq!(members, Ok(Membership::Of(["alice", "carol"].map(|name| name.parse().unwrap()).into())));
}

#[test]
fn revocations_are_the_names_of_files_and_no_folder_means_none() {
    let folder = Folder::new();
    folder.put(&format!("revoked/{}", key(1).fingerprint().to_hex()), "");
    assert_eq!(folder.look(&[]).revoked, Some(Ok([key(1).fingerprint()].into())));
    fs::remove_dir_all(folder.0.path().join("revoked")).unwrap();
    assert_eq!(folder.look(&[]).revoked, Some(Ok(BTreeSet::new())));
    fs::remove_dir_all(folder.0.path()).unwrap();
    assert!(folder.look(&[]).revoked.unwrap().is_err());
}

#[tokio::test]
async fn a_key_of_anybody_is_known() {
    let folder = Folder::new();
    folder.put("people/alice.pub", &key(1).to_string());
    let known = folder.source().known(&[key(1), key(9)]).boxed().await;
    assert_eq!(known, Ok([key(1).fingerprint()].into()));
}
