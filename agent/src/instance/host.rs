//! Which box this is, by what lies on it and under it, without any network: state is bound to the box by this, so that
//! an image of a box carries none over (R6).
//!
//! Reads a few small files below a root folder and asks nobody.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// On Nitro, the instance id; elsewhere whatever the maker wrote.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>
const BOARD_ASSET_TAG: &str = "sys/class/dmi/id/board_asset_tag";
/// The UUID of the (virtual) machine; only root can read it.
const PRODUCT_UUID: &str = "sys/class/dmi/id/product_uuid";
/// The id of the installation; see machine-id(5).
const MACHINE_ID: &str = "etc/machine-id";
/// What container managers leave in a container: there, the tag is that of the host.
/// <https://systemd.io/CONTAINER_INTERFACE/>
const CONTAINER_MARKS: [&str; 4] =
    ["run/systemd/container", "run/host/container-manager", "run/.containerenv", ".dockerenv"];
/// None of these files has more bytes than this.
const SIZE_LIMIT: u64 = 256;

/// Which box this is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// The instance id: from the board's asset tag, else as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The UUID of the machine, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_uuid: Option<String>,
    /// The id of the installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
}

impl HostIdentity {
    /// Reads what is below `root` (`/`, but for tests); `configured` is `settings.instance.id`. Blocks, though briefly.
    ///
    /// What is missing or cannot be read is unknown, which is no error.
    pub fn read(root: &Path, configured: Option<&str>) -> Self {
        let instance_id = board_instance_id(root).or_else(|| configured.map(str::to_owned));
        let product_uuid = read_line(&root.join(PRODUCT_UUID)).map(|uuid| uuid.to_ascii_lowercase());
        // "uninitialized" is what an image has before its first boot.
        let machine_id = read_line(&root.join(MACHINE_ID)).filter(|id| id != "uninitialized");
        Self { instance_id, product_uuid, machine_id }
    }

    /// Whether both are known to be the same box.
    ///
    /// The instance ids decide when both are known. Else the machine's UUID and the installation's id must not differ,
    /// and one of them must be known of both: in a container the UUID is that of the host, and on one disk in two
    /// machines the installation is the same. Where nothing can be compared, the boxes are not known to be the same.
    pub fn same_host(&self, other: &Self) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| Some(a.as_ref()? == b.as_ref()?);
        if let Some(same) = agree(&self.instance_id, &other.instance_id) {
            return same;
        }
        let uuid = agree(&self.product_uuid, &other.product_uuid);
        let machine = agree(&self.machine_id, &other.machine_id);
        uuid != Some(false) && machine != Some(false) && (uuid.is_some() || machine.is_some())
    }
}

/// The instance id on the board, where there is one and it is this box's own.
pub(super) fn board_instance_id(root: &Path) -> Option<String> {
    if CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists()) {
        return None;
    }
    read_line(&root.join(BOARD_ASSET_TAG)).filter(|tag| is_instance_id(tag))
}

/// `i-` and 8 or 17 hex digits. <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html>
pub(super) fn is_instance_id(text: &str) -> bool {
    text.strip_prefix("i-").is_some_and(|hex| {
        matches!(hex.len(), 8 | 17) && hex.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    })
}

/// The one line of a small file, without blanks around it; `None` when there is none to be had.
fn read_line(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(SIZE_LIMIT).read_to_string(&mut text).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn root(files: &[(&str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn host(instance_id: &str, product_uuid: &str, machine_id: &str) -> HostIdentity {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        HostIdentity {
            instance_id: known(instance_id),
            product_uuid: known(product_uuid),
            machine_id: known(machine_id),
        }
    }

    #[test]
    fn a_nitro_instance_is_known_by_its_board() {
        let root = root(&[
            (BOARD_ASSET_TAG, "i-0abc12345678def90\n"),
            (PRODUCT_UUID, "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n"),
            (MACHINE_ID, "3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
        ]);
        let expected =
            host("i-0abc12345678def90", "ec2e1916-9099-7caf-fd21-012345abcdef", "3d1219c7c4c5404aaa1f6d2a48adfda4");
        assert_eq!(HostIdentity::read(root.path(), Some("i-00000000")), expected);
    }

    #[test]
    fn in_a_container_the_board_is_the_hosts_and_says_nothing() {
        for mark in CONTAINER_MARKS {
            let root = root(&[(BOARD_ASSET_TAG, "i-0abc12345678def90\n"), (mark, "systemd-nspawn\n")]);
            assert_eq!(HostIdentity::read(root.path(), None), HostIdentity::default(), "{mark}");
        }
    }

    #[test]
    fn what_is_missing_empty_uninitialized_or_no_instance_id_is_unknown() {
        let root = root(&[(BOARD_ASSET_TAG, "Not Specified\n"), (PRODUCT_UUID, "\n"), (MACHINE_ID, "uninitialized\n")]);
        assert_eq!(HostIdentity::read(root.path(), None), HostIdentity::default());
        assert_eq!(HostIdentity::read(root.path(), Some("i-00000000")), host("i-00000000", "", ""));
    }

    #[test]
    fn r6_another_instance_made_from_an_image_is_another_host() {
        let old = host("i-00000001", "a", "m");
        assert!(!old.same_host(&host("i-00000002", "a", "m")));
        assert!(old.same_host(&host("i-00000001", "b", "n")), "the instance ids decide");
    }

    #[test]
    fn r6_without_instance_ids_machine_and_installation_must_both_be_the_same() {
        let old = host("", "a", "m");
        assert!(old.same_host(&host("", "a", "m")));
        assert!(!old.same_host(&host("", "b", "m")), "one disk in another machine");
        assert!(!old.same_host(&host("", "a", "n")), "another container on the same machine");
        assert!(old.same_host(&host("i-00000001", "", "m")));
        assert!(!HostIdentity::default().same_host(&HostIdentity::default()), "nothing is known of either");
    }

    #[test]
    fn it_outlives_being_written_to_disk() {
        let host = host("i-00000001", "", "m");
        let text = serde_json::to_string(&host).unwrap();
        assert_eq!(text, r#"{"instance_id":"i-00000001","machine_id":"m"}"#);
        assert_eq!(serde_json::from_str::<HostIdentity>(&text).unwrap(), host);
    }
}
