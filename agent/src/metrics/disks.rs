//! Which file systems stand for disks, what their metrics are called, and how full each is.
//!
//! Only [`used_percent`] touches the world, and it may hang with the file system that it asks.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::statvfs;
use tracing::debug;

/// File systems that are images: full by nature, as those of snaps.
const IMAGES: [&[u8]; 4] = [b"squashfs", b"iso9660", b"erofs", b"cramfs"];
/// The longest name of a metric.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
const NAME_LIMIT: usize = 255;

/// Where disks are mounted, by the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): each disk once, at its
/// shortest mount point, shortest first.
pub(super) fn mount_points(mountinfo: &[u8]) -> Vec<Arc<Path>> {
    let mut by_disk: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    for (disk, mount_point) in mountinfo.split(|&byte| byte == b'\n').filter_map(disk) {
        let shortest = by_disk.entry(disk).or_insert_with(|| mount_point.clone());
        if mount_point.len() < shortest.len() {
            *shortest = mount_point;
        }
    }
    let mut mount_points: Vec<_> = by_disk.into_values().collect();
    mount_points.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    mount_points.into_iter().map(|path| Path::new(OsStr::from_bytes(&path)).into()).collect()
}

/// The disk and the mount point of a line, if it is the mount of a disk.
///
/// Fields: id, parent, major:minor, root, mount point, options, optional fields, `-`, type, source, options. The
/// source tells a disk; the numbers do not, since btrfs has numbers of its own for each subvolume.
fn disk(line: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mount_point = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let source = fields.next()?;
    let is_disk = source.starts_with(b"/dev/") && !IMAGES.contains(&kind) && !kind.starts_with(b"fuse.");
    (is_disk || kind == b"zfs").then(|| (source, unescape(mount_point)))
}

/// Undoes the kernel's `\ooo` for blanks, line breaks and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

/// The name of the metric of a mount point, as CGCloud named it: `DiskUsage_root` for `/`, and `DiskUsage` with the
/// path, each `/` as `_`, for others. What CloudWatch does not allow becomes `_`.
pub(super) fn metric_name(mount_point: &Path) -> String {
    if mount_point == Path::new("/") {
        return "DiskUsage_root".to_owned();
    }
    let path = mount_point.as_os_str().to_owned().into_vec();
    let path =
        path.into_iter().map(|byte| if byte.is_ascii_graphic() && byte != b'/' { char::from(byte) } else { '_' });
    "DiskUsage".chars().chain(path).take(NAME_LIMIT).collect()
}

/// How full a file system is, in percent: of what users can use, as df(1) and psutil's `disk_usage().percent` say.
pub(super) fn used_percent(mount_point: &Path) -> Option<f64> {
    match statvfs(mount_point) {
        Ok(figures) => share(figures.blocks(), figures.blocks_free(), figures.blocks_available()),
        Err(error) => {
            debug!(mount_point = %mount_point.display(), %error, "statvfs failed; the file system is left out");
            None
        }
    }
}

/// The used share, in percent, from block counts: all, free, and free for users, who do not get what is reserved for root.
#[expect(clippy::cast_precision_loss, reason = "a percentage of block counts needs no more than 52 bits")]
fn share(blocks: u64, free: u64, available: u64) -> Option<f64> {
    let used = blocks.saturating_sub(free);
    let usable = used.saturating_add(available);
    (usable > 0).then(|| used as f64 / usable as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"\
22 1 202:1 / / rw,relatime shared:1 - ext4 /dev/xvda1 rw,discard
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:5 / /dev rw,nosuid - devtmpfs devtmpfs rw
30 22 202:16 / /mnt/ephemeral rw,relatime shared:5 master:1 - xfs /dev/xvdb rw
31 22 202:1 /var/lib/x /srv/bind rw,relatime - ext4 /dev/xvda1 rw,discard
32 22 7:0 / /snap/core/1 ro,nodev - squashfs /dev/loop0 ro
33 22 0:50 /@home /data\\040sets rw - btrfs /dev/nvme1n1 rw,subvol=/@home
34 22 0:51 /@srv /data\\040sets/srv rw - btrfs /dev/nvme1n1 rw,subvol=/@srv
35 22 0:60 / /net rw - nfs4 server:/export rw
36 22 0:61 / /pool rw - zfs tank rw
37 22 0:62 / /run/user/1/doc rw - fuse.portal /dev/fuse rw
garbage
";

    #[test]
    fn each_disk_is_found_once_at_its_shortest_mount_point() {
        let found = mount_points(MOUNTINFO);
        let found: Vec<&Path> = found.iter().map(|path| &**path).collect();
        assert_eq!(found, ["/", "/pool", "/data sets", "/mnt/ephemeral"].map(Path::new));
    }

    #[test]
    fn metrics_are_named_as_cgcloud_named_them() {
        let name = |path: &str| metric_name(Path::new(path));
        assert_eq!(name("/"), "DiskUsage_root");
        assert_eq!(name("/mnt/ephemeral"), "DiskUsage_mnt_ephemeral");
        assert_eq!(name("/data sets/\u{fc}\n"), "DiskUsage_data_sets____");
        assert_eq!(name(&format!("/{}", "x".repeat(300))).len(), NAME_LIMIT);
    }

    #[test]
    fn escapes_of_the_kernel_are_undone_and_broken_ones_kept() {
        assert_eq!(unescape(b"/a\\040b\\134\\011"), b"/a b\\\t");
        assert_eq!(unescape(b"/a\\04"), b"/a\\04");
        assert_eq!(unescape(b"/a\\999\\"), b"/a\\999\\");
    }

    #[test]
    fn blocks_reserved_for_root_are_not_for_users() {
        assert_eq!(share(100, 50, 50), Some(50.0));
        assert_eq!(share(100, 10, 0), Some(100.0));
        assert_eq!(share(0, 0, 0), None);
    }
}
