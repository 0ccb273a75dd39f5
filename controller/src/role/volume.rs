//! An EBS volume of a role beside the root volume: what it is, and what EBS takes for its type. Pure.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::words::{FileSystem, VolumeKind};

/// Device names that are free for volumes on every virtualization: /dev/sdf to /dev/sdp.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/device_naming.html>
const FREE: RangeInclusive<char> = 'f'..='p';

/// Folders that a box cannot do without while it boots, or that the kernel makes.
const NEEDED: [&str; 15] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr",
    "/var", "/var/lib",
];

/// Folders whose content the kernel makes, or that are made anew at every boot.
const MADE: [&str; 4] = ["/dev/", "/proc/", "/run/", "/sys/"];

/// A further EBS volume, made with the box, or found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of a role file, but for the last")]
pub(crate) struct Volume {
    /// Its name, part of the volume's `Name` tag.
    pub(crate) name: String,
    /// The device name that EC2 is told, such as `/dev/sdf`. The box may know the disk by another.
    pub(crate) device: String,
    /// Its size in GiB.
    #[serde(rename = "size")]
    pub(crate) gib: u32,
    /// Its type.
    pub(crate) kind: VolumeKind,
    /// Operations in a second, where the type's own are not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iops: Option<u32>,
    /// MiB in a second, where the type's own are not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throughput: Option<u32>,
    /// Whether a blank one is encrypted whatever the account's default is.
    pub(crate) encrypted: bool,
    /// Whether it outlives the box, and is found again by the next.
    pub(crate) keep: bool,
    /// Whether images of the box have it.
    pub(crate) image: bool,
    /// Where the box mounts it; `None` leaves that to the box.
    #[serde(flatten)]
    pub(crate) mount: Option<Mount>,
    /// Whether it may hold data when a box first sees it: it was found again, or is made from a snapshot.
    #[serde(skip)]
    pub(crate) used: bool,
}

/// How a box mounts a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mount {
    /// The folder.
    #[serde(rename = "mount")]
    pub(crate) folder: String,
    /// The file system made on it when it is blank.
    pub(crate) file_system: FileSystem,
    /// To whom the folder belongs, `account` or `account:group`; root unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
}

/// What EBS takes for a type of volume.
/// <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>
struct Limits {
    gib: RangeInclusive<u32>,
    /// What can be asked for, and how many for each GiB at most.
    iops: Option<(RangeInclusive<u32>, u32)>,
    /// Whether it must be asked for.
    needs_iops: bool,
    /// What can be asked for in MiB/s.
    throughput: Option<RangeInclusive<u32>>,
}

fn limits(kind: VolumeKind) -> Limits {
    let plain = |gib| Limits { gib, iops: None, needs_iops: false, throughput: None };
    let provisioned = |gib, iops, each| Limits { gib, iops: Some((iops, each)), needs_iops: true, throughput: None };
    match kind {
        VolumeKind::Gp3 => Limits {
            gib: 1..=65_536,
            iops: Some((3_000..=80_000, 500)),
            needs_iops: false,
            throughput: Some(125..=2_000),
        },
        VolumeKind::Gp2 => plain(1..=16_384),
        VolumeKind::Io1 => provisioned(4..=16_384, 100..=64_000, 50),
        VolumeKind::Io2 => provisioned(4..=65_536, 100..=256_000, 1_000),
        VolumeKind::St1 | VolumeKind::Sc1 => plain(125..=16_384),
        VolumeKind::Standard => plain(1..=1_024),
    }
}

impl Volume {
    /// One of this name and size, and all else as it is unless said otherwise.
    pub(crate) fn new(name: String, device: String, gib: u32) -> Self {
        let (iops, throughput, mount) = (None, None, None);
        let kind = VolumeKind::Gp3;
        Self {
            name,
            device,
            gib,
            kind,
            iops,
            throughput,
            encrypted: true,
            keep: false,
            image: true,
            mount,
            used: false,
        }
    }

    /// What EBS would refuse, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let (kind, limits) = (self.kind, limits(self.kind));
        let mut faults = Vec::new();
        if !limits.gib.contains(&self.gib) {
            let (least, most) = limits.gib.into_inner();
            faults.push(format!("{kind} volumes have {least} to {most} GiB, not {}", self.gib));
        }
        match (self.iops, limits.iops) {
            (None, Some(_)) if limits.needs_iops => faults.push(format!("{kind} volumes need iops")),
            (Some(iops), Some((range, _))) if !range.contains(&iops) => {
                let (least, most) = range.into_inner();
                faults.push(format!("{kind} volumes have {least} to {most} iops, not {iops}"));
            }
            (Some(iops), Some((range, each))) if iops > (*range.start()).max(self.gib.saturating_mul(each)) => {
                faults
                    .push(format!("{kind} volumes have at most {each} iops for each GiB, and {iops} for {}", self.gib));
            }
            (Some(_), None) => faults.push(format!("{kind} volumes have the iops of their size: leave iops out")),
            _ => {}
        }
        match (self.throughput, limits.throughput) {
            (Some(asked), Some(range)) if !range.contains(&asked) => {
                let (least, most) = range.into_inner();
                faults.push(format!("{kind} volumes have a throughput of {least} to {most} MiB/s, not {asked}"));
            }
            // gp3 alone: a quarter of a MiB/s for each operation.
            (Some(asked), Some(range)) if asked > (*range.start()).max(self.iops.unwrap_or(3_000) / 4) => {
                faults.push(format!("a throughput of {asked} MiB/s takes {} iops", asked * 4));
            }
            (Some(_), None) => faults.push(format!("the throughput of {kind} volumes cannot be chosen")),
            _ => {}
        }
        faults
    }

    /// The letters by which two names of one device are known: `/dev/sdf` and `/dev/xvdf` are one.
    fn letters(device: &str) -> &str {
        let name = device.strip_prefix("/dev/").unwrap_or(device);
        name.strip_prefix("xvd").or_else(|| name.strip_prefix("sd")).unwrap_or(name)
    }

    /// Whether two names are of one device.
    pub(crate) fn same_device(one: &str, other: &str) -> bool {
        Self::letters(one) == Self::letters(other)
    }
}

/// The first device name that none of these has.
pub(super) fn free_device(taken: &[Volume]) -> Option<String> {
    let mut names = FREE.map(|letter| format!("/dev/sd{letter}"));
    names.find(|name| !taken.iter().any(|volume| Volume::same_device(&volume.device, name)))
}

/// Why EC2 or a box would not take this device name; `None` if both do.
pub(super) fn bad_device(device: &str) -> Option<String> {
    let letters = device.strip_prefix("/dev/sd").or_else(|| device.strip_prefix("/dev/xvd")).unwrap_or_default();
    let plain = !letters.is_empty() && letters.len() <= 2 && letters.chars().all(|c| c.is_ascii_lowercase());
    (!plain).then(|| format!("device {device:?} is none such as /dev/sdf"))
}

/// Why nothing can be mounted at this folder; `None` if it can.
pub(super) fn bad_folder(folder: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let parts = folder.strip_prefix('/').unwrap_or_default();
    if parts.is_empty() || parts.split('/').any(|part| ["", ".", ".."].contains(&part)) || !folder.chars().all(plain) {
        return Some(format!("{folder:?} is no full path of letters, digits and ._-"));
    }
    if NEEDED.contains(&folder) || MADE.iter().any(|above| folder.starts_with(above)) {
        return Some(format!("{folder} cannot be a volume: a box needs what is there to boot"));
    }
    None
}

/// Why this is nobody whom a folder can belong to; `None` if it is somebody.
pub(super) fn bad_owner(owner: &str) -> Option<String> {
    let name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
    };
    let mut parts = owner.split(':');
    let good = parts.clone().count() <= 2 && parts.all(name);
    (!good).then(|| format!("owner {owner:?} is neither an account nor account:group"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(kind: VolumeKind, gib: u32, iops: Option<u32>, throughput: Option<u32>) -> Vec<String> {
        Volume { kind, iops, throughput, ..Volume::new("data".into(), "/dev/sdf".into(), gib) }.faults()
    }

    #[test]
    fn sizes_and_speeds_are_those_that_ebs_has_for_the_type() {
        for (kind, gib, iops, throughput) in [
            (VolumeKind::Gp3, 1, None, None),
            (VolumeKind::Gp3, 65_536, Some(80_000), Some(2_000)),
            (VolumeKind::Gp3, 1, Some(3_000), Some(750)),
            (VolumeKind::Io1, 4, Some(200), None),
            (VolumeKind::Io2, 256, Some(256_000), None),
            (VolumeKind::St1, 125, None, None),
            (VolumeKind::Standard, 1_024, None, None),
        ] {
            assert_eq!(faults(kind, gib, iops, throughput), [""; 0], "{kind} {gib}");
        }
        for (kind, gib, iops, throughput, fault) in [
            (VolumeKind::Gp2, 16_385, None, None, "gp2 volumes have 1 to 16384 GiB, not 16385"),
            (VolumeKind::Sc1, 100, None, None, "sc1 volumes have 125 to 16384 GiB, not 100"),
            (VolumeKind::Io2, 10, None, None, "io2 volumes need iops"),
            (VolumeKind::Io1, 10, Some(501), None, "io1 volumes have at most 50 iops for each GiB, and 501 for 10"),
            (VolumeKind::Gp3, 10, Some(100), None, "gp3 volumes have 3000 to 80000 iops, not 100"),
            (VolumeKind::Gp3, 7, Some(3_501), None, "gp3 volumes have at most 500 iops for each GiB, and 3501 for 7"),
            (VolumeKind::Gp2, 10, Some(3_000), None, "gp2 volumes have the iops of their size: leave iops out"),
            (VolumeKind::Gp3, 10, None, Some(100), "gp3 volumes have a throughput of 125 to 2000 MiB/s, not 100"),
            (VolumeKind::Gp3, 10, None, Some(751), "a throughput of 751 MiB/s takes 3004 iops"),
            (VolumeKind::Io2, 10, Some(100), Some(500), "the throughput of io2 volumes cannot be chosen"),
        ] {
            assert_eq!(faults(kind, gib, iops, throughput), [fault]);
        }
    }

    #[test]
    fn what_a_box_needs_to_boot_is_no_place_for_a_volume() {
        for folder in ["/data", "/srv/data", "/home", "/var/lib/docker", "/usr/local", "/opt/a.b-c_d"] {
            assert_eq!(bad_folder(folder), None);
        }
        for folder in
            ["", "/", "data", "/data/", "/a//b", "/a/../b", "/with blank", "/etc", "/var/lib", "/dev/shm", "/$a"]
        {
            assert!(bad_folder(folder).is_some(), "{folder:?}");
        }
        assert_eq!(bad_owner("jenkins:www-data"), None);
        for owner in ["", "Jenkins", "a:b:c", "a;b", "a:", "0"] {
            assert!(bad_owner(owner).is_some(), "{owner:?}");
        }
        for device in ["/dev/sd", "/dev/nvme1n1", "sdf", "/dev/sdF", "/dev/sdf1", "/dev/sdabc"] {
            assert!(bad_device(device).is_some(), "{device:?}");
        }
        assert!(bad_device("/dev/xvdba").is_none());
    }
}
