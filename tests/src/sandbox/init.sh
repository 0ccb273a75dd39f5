# Becomes process 1 of a sandbox: mounts the sandbox's root, says so on stdout, and waits.
# Runs in mount, pid and host-name namespaces of its own.
# Arguments: the sandbox's folder, `disk` or `memory`, `own` or `shared` network, then pairs of a program and its path
# inside. The folder holds `box`, laid out, and an empty `memory`.
set -eu
umask 022

folder=$1 storage=$2 network=$3
shift 3

# Read before /proc is the sandbox's own: the id by which the host knows this process.
read -r pid _ </proc/self/stat

if [ "$storage" = memory ]; then
  mount -t tmpfs -o mode=0700 tmpfs "$folder/memory"
  cp -a "$folder/box/." "$folder/memory"
  folder=$folder/memory
else
  folder=$folder/box
fi
root=$folder/root

hostname fleetkey-box
mount --bind "$root" "$root"
for tree in usr etc; do
  options=lowerdir=/$tree,upperdir=$folder/$tree/upper,workdir=$folder/$tree/work
  mount -t overlay -o "$options" overlay "$root/$tree"
done
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/sshd" "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
umask 0
mknod "$root/dev/null" c 1 3
mknod "$root/dev/zero" c 1 5
mknod "$root/dev/full" c 1 7
mknod "$root/dev/random" c 1 8
mknod "$root/dev/urandom" c 1 9
mknod "$root/dev/tty" c 5 0
umask 022
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

while [ $# -ge 2 ]; do
  : >"$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
  shift 2
done

cd "$root"
pivot_root . .host
cd /
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys
umount -l /.host
rmdir /.host
[ "$network" = shared ] || ip link set lo up

echo "$pid"
# Process 1 also waits for every orphan of the sandbox; `wait` does, while its own child sleeps.
sleep infinity &
wait
