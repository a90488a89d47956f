#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The first process of a node: bash node.sh NAME PLACE PREFIX, in namespaces of its own. It makes the node's root and
# reaps what nobody else does. PLACE is a tmpfs that the nodes share; what changes below / is in PLACE/NAME, and
# survives a reboot as on a disk. PREFIX is where Shifter is installed.
set -eu
name=$1 place=$2 prefix=$3
read -r pid _ </proc/self/stat # as those see it who start the node: /proc is still theirs
hostname "$name"
mount --make-rprivate /
mkdir -p "$place/$name"/{changes,work,root}
root=$place/$name/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/$name/changes,workdir=$place/$name/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir -p "$root$prefix" "$root/etc/slurm" "$root/etc/munge" "$root/global" "$root/var/lib/shifter"
mount --rbind "$prefix" "$root$prefix"
mount --bind "$place/etc/shifter" "$root$prefix/etc"
mount --bind "$place/etc/slurm" "$root/etc/slurm"
mount --bind "$place/etc/munge" "$root/etc/munge"
mkdir "$root/.outside"
cd "$root"
pivot_root . .outside
cd /
umount --lazy /.outside
rmdir /.outside
mount --make-rshared / # as systemd leaves it
install -d -o munge -g munge -m 0755 /run/munge
install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge
install -d -o slurm -g slurm /var/spool/slurmctld /var/log/slurm
install -d /var/spool/slurmd /var/udiMount /var/loopMount
cp "$prefix/etc/hosts" /etc/hosts
# Where the machine has accounts of these names, those of the cluster take their place.
[ -e "$prefix/etc/accounts" ] && for file in passwd group shadow; do
    names=$(cut -d: -f1 "$prefix/etc/accounts/$file" | paste -sd'|')
    { grep -vE "^($names):" "/etc/$file"; cat "$prefix/etc/accounts/$file"; } >"/run/$file"
    cat "/run/$file" >"/etc/$file"
    rm "/run/$file"
done
rm -f /usr/local/bin/shifter* # of another installation on this machine
ln -sf "$prefix/bin/shifter" "$prefix/bin/shifterimg" /usr/bin/ # where packages put them
install -d -o shifter -g shifter /var/lib/shifter
echo "$pid"
exec >/dev/null
while :; do
    sleep infinity &
    wait
done
