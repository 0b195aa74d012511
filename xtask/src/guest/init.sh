#!/bin/sh
# The first program of the guest. The host's root is mounted read-only; all that is written goes to the guest's own disk
# (TMPDIR), to memory, or to $guest_dir/out, which is /run/out here and the only directory of the host that is writable.
# The kernel hands on as environment what it does not know of its command line: guest_dir, source_dir and target_dir.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
for directory in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $directory; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /run/guest /run/out /run/disk
# The host's path may lie below a directory that is covered here.
mount -t hostfs -o "ro,$guest_dir" none /run/guest
mount -t hostfs -o "$guest_dir/out" none /run/out
for directory in "$source_dir" "$target_dir"; do
    [ -d "$directory" ] || { mkdir -p "$directory" && mount -t hostfs -o "ro,$directory" none "$directory"; }
done

# modprobe looks below /lib/modules of the host, which has the modules of another kernel or none.
mkdir -p /run/kernel/lib/modules
ln -s /usr/lib/uml/modules/"$(uname -r)" /run/kernel/lib/modules/
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/kernel "$@"\n' > /run/kernel/modprobe
chmod +x /run/kernel/modprobe
echo /run/kernel/modprobe > /proc/sys/kernel/modprobe
for module in overlay loop tun bridge veth fuse; do /run/kernel/modprobe $module; done

mount -t xfs -o prjquota /dev/ubda /run/disk
mkdir -p /run/disk/tmp
export TMPDIR=/run/disk/tmp
ip link set lo up

# suite NAME DIRECTORY SECONDS PROGRAM ARGUMENTS...: runs one test program and records its exit status.
suite() {
    name=$1 directory=$2 seconds=$3
    shift 3
    echo "guest: $name"
    (cd "$directory" && exec timeout -k 5 "$seconds" "$@") </dev/null 2>&1
    echo "$name $?" >> /run/out/results
}

echo "guest: $(uname -r) is up after $(cut -d' ' -f1 /proc/uptime) s"
. /run/guest/plan.sh
sync
busybox halt -f
