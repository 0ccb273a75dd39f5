#!/bin/sh
# Mounts the EBS volumes of a role, six words for each: NAME DEVICE FOLDER FILE_SYSTEM OWNER CONTENT. cloud-init runs this
# at every boot, from `bootcmd`, before anything of the role. A file system is made only on what is blank, and never by force;
# what holds anything else is left alone, and said. CONTENT is `new` for a volume that EC2 made blank with this box: it is
# looked at in many places; any other is read from end to end before it is taken for blank.
set -u

say() { echo "fleetkey: volume $name: $*" >&2; }

# The disk that EC2 has under a device name. Xen's disks go by it. NVMe disks are numbered as they turn up, and tell the
# name themselves, in what Amazon adds to the answer to Identify Controller: no package and no udev rule is needed for that.
find_disk() {
    letters=${1#/dev/}
    letters=${letters#xvd}
    letters=${letters#sd}
    for disk in "/dev/sd$letters" "/dev/xvd$letters"; do
        if [ -b "$disk" ]; then
            readlink -f "$disk"
            return
        fi
    done
    python3 - "$letters" <<'END'
import ctypes, fcntl, glob, re, struct, sys
for disk in sorted(glob.glob("/dev/nvme*n1")):
    answer = ctypes.create_string_buffer(4096)
    command = struct.pack("<BBHIIIQQIIIIIIIIII", 6, 0, 0, 0, 0, 0, 0, ctypes.addressof(answer), 0, 4096, 1, *[0] * 7)
    try:
        with open(disk, "rb") as file:
            fcntl.ioctl(file, 0xC0484E41, command)
    except OSError:
        continue
    if answer.raw[24:64].strip(b" \0") == b"Amazon Elastic Block Store":
        name = answer.raw[3072:3104].decode("ascii", "replace").strip(" \0")
        if re.sub(r"^(/dev/)?(sd|xvd)", "", name) == sys.argv[1]:
            sys.exit(print(disk))
END
}

# The same, as soon as it is there: a volume that was found again is attached when the box runs already.
wait_for_disk() {
    left=$2
    while disk=$(find_disk "$1") && [ -z "$disk" ] && [ "$left" -gt 0 ]; do
        left=$((left - 1))
        sleep 1
    done
    [ -n "$disk" ]
}

# Whether a disk that nobody holds has nothing but zeros, everywhere or at both ends and in 256 places between.
is_zero() {
    python3 - "$1" "$2" <<'END'
import os, sys
disk = os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL)
step = 1 << 20
places = range(0, os.lseek(disk, 0, os.SEEK_END), step)
if sys.argv[2] == "new":
    places = sorted({*places[:4], *places[:: max(1, len(places) // 256)], *places[-4:]})
for place in places:
    data = os.pread(disk, step, place)
    if data.count(0) != len(data):
        sys.exit(f"fleetkey: {sys.argv[1]} holds data around byte {place}")
END
}

# Whether there is nothing at all: no part, no holder, no signature that blkid (which ends with 2) or wipefs knows, no data.
is_blank() {
    [ "$(lsblk --noheadings --output NAME "$1" | wc -l)" -eq 1 ] || return 1
    blkid --probe "$1" >/dev/null 2>&1
    [ $? -eq 2 ] || return 1
    signatures=$(wipefs --no-act "$1") && [ -z "$signatures" ] && is_zero "$1" "$2"
}

file_system_of() { blkid --probe --usages filesystem --match-tag TYPE --output value "$1" 2>/dev/null; }

# Not every image has the tools of xfs.
make_file_system() {
    if [ "$2" = xfs ] && ! command -v mkfs.xfs >/dev/null; then
        if command -v apt-get >/dev/null; then
            apt-get --quiet --quiet update && DEBIAN_FRONTEND=noninteractive \
                apt-get --yes --quiet --quiet --no-install-recommends install xfsprogs
        else
            dnf --assumeyes --quiet install xfsprogs
        fi >&2 </dev/null
    fi
    # xfs takes 12 characters for a label.
    "mkfs.$2" -q -L "$(echo "$name" | cut -c1-12)" "$1" >&2 </dev/null
}

# Whether the operator has a line of their own for the folder, which counts before ours.
has_own_line() { grep -v 'x-fleetkey=' /etc/fstab | grep -q "^[^#[:space:]]*[[:space:]]*${folder}[[:space:]]"; }

# Whether what is mounted already is the volume: by its disk, or, where that has another name now, by our line for it.
is_mounted() {
    there=$(findmnt --noheadings --nofsroot --output SOURCE --mountpoint "$folder")
    disk=$(find_disk "$1")
    if [ -n "$disk" ]; then [ "$(readlink -f "$there")" = "$disk" ]; else grep -q "[ ,]$mark " /etc/fstab; fi
}

# A line in fstab, in place of one that we wrote for another disk: the next boot mounts it early, and goes on without it.
remember() {
    if has_own_line; then return; fi
    uuid=$(blkid --probe --match-tag UUID --output value "$1") || return
    line="UUID=$uuid $folder $2 defaults,nofail,x-systemd.device-timeout=30s,$mark 0 2"
    if grep -qxF "$line" /etc/fstab; then return; fi
    sed -i "\\|^[^ ]* $folder [^ ]* [^ ]*x-fleetkey=|d" /etc/fstab
    echo "$line" >>/etc/fstab
}

mount_volume() {
    name=$1 folder=$3 owner=$5 content=$6
    mark=x-fleetkey=$name@${INSTANCE_ID:-}
    patience=180
    # Seen by this box before: it may be gone for good, or another in its place.
    if grep -q "[ ,]$mark " /etc/fstab; then patience=15 content=used; fi
    if ! mountpoint -q "$folder"; then
        if ! wait_for_disk "$2" "$patience"; then
            say "NOT mounted at $folder: there is no disk $2 after $patience s"
            return 1
        fi
        kind=$(file_system_of "$disk")
        if [ -z "$kind" ]; then
            if ! is_blank "$disk" "$content"; then
                say "NOT mounted at $folder: $disk is not blank and has no file system; it is left as it is"
                return 1
            fi
            make_file_system "$disk" "$4" || { say "no $4 could be made on $disk"; return 1; }
            kind=$(file_system_of "$disk")
            say "$disk was blank: made $kind"
        fi
        mkdir -p "$folder"
        # systemd may be at it as well.
        mount -t "$kind" "$disk" "$folder" || mountpoint -q "$folder" || { say "$disk cannot be mounted"; return 1; }
        if command -v restorecon >/dev/null; then restorecon "$folder" || true; fi
        say "$disk ($kind) is mounted at $folder"
    elif ! has_own_line && ! is_mounted "$2"; then
        say "NOT mounted at $folder: $there is there already"
        return 1
    fi
    disk=$(findmnt --noheadings --nofsroot --output SOURCE --mountpoint "$folder")
    kind=$(findmnt --noheadings --output FSTYPE --mountpoint "$folder")
    # On a box made from an image, the line was that of another box.
    remember "$disk" "$kind"
    # The volume may have been enlarged.
    case $kind in
    ext[234]) resize2fs "$disk" >/dev/null 2>&1 || say "$disk: resize2fs failed" ;;
    xfs) xfs_growfs "$folder" >/dev/null || say "$disk: xfs_growfs failed" ;;
    esac
    # An account that is yet to be made gets it later, from `runcmd`.
    if [ "$owner" != - ] && getent passwd "${owner%%:*}" >/dev/null; then chown "$owner" "$folder"; fi
}

failed=0
while [ $# -ge 6 ]; do
    mount_volume "$@" || failed=1
    shift 6
done
exit "$failed"
