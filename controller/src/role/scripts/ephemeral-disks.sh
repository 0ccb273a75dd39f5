#!/bin/sh
# Mounts the disks that come with an instance: MOUNT FILE_SYSTEM [FOLDER...]. cloud-init runs this at every boot, from
# `bootcmd`, since such disks are blank again after a stop. It formats none that is not blank, and touches no EBS volume.
# The content of each FOLDER is moved onto the disks, and the folder bound to where it is then.
set -eu
mount=$1 file_system=$2
shift 2
label=fk-ephemeral # xfs takes 12 characters

# NVMe disks say themselves what they are; their numbers say nothing.
nvme_disks() {
    for link in /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_*; do
        case $link in *-part*) continue ;; esac
        if [ -b "$link" ]; then readlink -f "$link"; fi
    done | sort -u
}

# On older instances the metadata service tells them, beside the EBS volumes.
mapped_disks() {
    python3 - <<'END' || true
import os, re, stat, urllib.request as web
base = "http://169.254.169.254/latest/"
def ask(path, method="GET", **headers):
    return web.urlopen(web.Request(base + path, method=method, headers=headers), timeout=2).read().decode()
token = ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
get = lambda path: ask("meta-data/block-device-mapping/" + path, **{"X-aws-ec2-metadata-token": token})
letter = lambda name: re.sub(r"^(/dev/)?(sd|xvd|hd)", "", name)
names = {name: letter(get(name)) for name in get("").split()}
taken = {at for name, at in names.items() if not name.startswith("ephemeral")}
for name, at in sorted(names.items()):
    if name.startswith("ephemeral") and at not in taken:
        for device in ("/dev/xvd" + at, "/dev/sd" + at):
            if os.path.exists(device) and stat.S_ISBLK(os.stat(device).st_mode):
                print(device)
                break
END
}

# Neither a file system, nor a member of anything, nor mounted: blkid ends with 2 when it finds nothing at all.
blank() {
    [ "$(lsblk --noheadings --output NAME "$1" | wc -l)" -eq 1 ] && ! grep -q "^$1 " /proc/mounts || return 1
    found=0
    blkid --probe "$1" >/dev/null || found=$?
    [ "$found" -eq 2 ]
}

# The device that has the label now, not by what blkid remembers.
labelled() {
    blkid --cache-file /dev/null --match-token "LABEL=$label" --output device | head -n 1
}

# One device out of several; the name of it.
join_disks() {
    if ! command -v mdadm >/dev/null && ! command -v vgcreate >/dev/null; then
        if command -v apt-get >/dev/null; then
            export DEBIAN_FRONTEND=noninteractive
            apt-get --quiet --quiet update && apt-get --yes --quiet --quiet --no-install-recommends install mdadm
        else
            dnf --assumeyes --quiet install mdadm
        fi >&2 </dev/null || echo 'fleetkey: mdadm cannot be installed' >&2
    fi
    if command -v mdadm >/dev/null && mdadm --create /dev/md/ephemeral --run --quiet --level=0 --homehost=any \
        --raid-devices="$#" "$@" >&2; then
        readlink -f /dev/md/ephemeral
    elif command -v vgcreate >/dev/null && vgcreate --yes ephemeral "$@" >&2 &&
        lvcreate --yes --name all --extents 100%FREE --stripes "$#" ephemeral >&2; then
        echo /dev/ephemeral/all
    else
        echo 'fleetkey: neither mdadm nor LVM joins the disks: only the first is used' >&2
        echo "$1"
    fi
}

if ! mountpoint -q "$mount"; then
    # After a reboot what was joined may have to be put together again.
    device=$(labelled)
    if [ -z "$device" ]; then
        if command -v mdadm >/dev/null; then mdadm --assemble --scan --quiet >&2 || true; fi
        if command -v vgchange >/dev/null; then vgchange --quiet --activate y >/dev/null 2>&1 || true; fi
        device=$(labelled)
    fi
    if [ -z "$device" ]; then
        disks=$(nvme_disks)
        if [ -z "$disks" ]; then disks=$(mapped_disks); fi
        free=
        for disk in $disks; do
            if blank "$disk"; then free="$free $disk"; else echo "fleetkey: $disk is not blank: left alone" >&2; fi
        done
        if [ -z "$free" ]; then
            echo 'fleetkey: this instance has no disk of its own that is blank'
            exit 0
        fi
        # shellcheck disable=SC2086 # names of devices, split on purpose
        case $free in
        ' '*' '*) device=$(join_disks $free) ;;
        *) device=${free# } ;;
        esac
        case $file_system in
        xfs) mkfs.xfs -q -L "$label" "$device" ;;
        *) mkfs.ext4 -q -L "$label" "$device" ;;
        esac
    fi
    mkdir -p "$mount"
    # The next boot mounts it early where it is still there, and does not wait where it is not.
    if ! grep -q "^LABEL=$label " /etc/fstab; then
        echo "LABEL=$label $mount auto defaults,nofail,x-systemd.device-timeout=5s 0 0" >>/etc/fstab
    fi
    mountpoint -q "$mount" || mount "$device" "$mount"
fi

for folder in "$@"; do
    moved=$mount/$(echo "${folder#/}" | tr / -)
    mkdir -p "$folder" "$moved"
    mountpoint -q "$folder" && continue
    # After a stop the disks are blank, and what the root volume has is moved anew.
    if [ -z "$(ls -A "$moved")" ]; then cp --archive "$folder/." "$moved/"; fi
    mount --bind "$moved" "$folder"
done
