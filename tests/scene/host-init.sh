#!/bin/sh
# PID 1 of the suspect host. Runs in fresh pid, mount, uts and ipc namespaces inside the
# network namespace of the host: makes the overlay its root, with a DMI table that says EC2.
# Everything it mounts goes away with its mount namespace.
# Arguments: LOWER_LAYERS BASE_DIRECTORY HOSTNAME INSTANCE_ID
set -eu
lower=$1 base=$2 name=$3 instance=$4

mount --make-rprivate /
mount -t overlay overlay \
    -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
hostname "$name"

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
# The kernel's DMI is the real machine's, or absent: show EC2's instead.
mkdir -p "$base/sysfs"
mount -t sysfs sysfs "$base/sysfs"
mount -t tmpfs -o mode=0755 tmpfs sys/class
for class in "$base"/sysfs/class/*; do
    kind=${class##*/}
    [ "$kind" = dmi ] && continue
    mkdir "sys/class/$kind"
    mount --bind "$class" "sys/class/$kind"
done
umount -l "$base/sysfs"
mkdir -p sys/class/dmi/id
say() { printf '%s\n' "$2" > "sys/class/dmi/id/$1"; }
say sys_vendor "Amazon EC2"
say bios_vendor "Amazon EC2"
say product_name "t3.micro"
say product_uuid "ec2f5abc-def6-078a-0213-f5abcdef6078"
say product_serial "ec2f5abc-def6-078a-0213-f5abcdef6078"
say board_asset_tag "$instance"
say chassis_asset_tag "Amazon EC2"

mount -t tmpfs -o mode=0755,nosuid tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=0755,nosuid tmpfs run
mkdir run/lock

mkdir -p mnt
pivot_root . mnt
# The shell reaps what is left behind, as an init does.
exec chroot . /bin/sh -c '
    umount -l /mnt
    echo ready
    exec > /dev/null 2>&1
    while :; do sleep 86400 & wait $!; done'
