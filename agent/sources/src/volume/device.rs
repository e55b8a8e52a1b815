//! What sysfs and the mount table say about a block device. Opens no device.

use crate::{
    Host,
    proc::mounts::{self, Mount},
};
use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::{collections::BTreeSet, io};

const SYSFS_BYTES: usize = 4096;
const MOUNTS_BYTES: usize = 8 * 1024 * 1024;
/// Partitions, mounts, disks below a stack of devices: listed at most.
const MAX_LISTED: usize = 256;
/// Unit of `size`, `start` and `stat` in sysfs, whatever the device's sector is.
const SYSFS_SECTOR: u64 = 512;

/// A block device as the running kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its name, e.g. `nvme0n1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The disk that holds it, where it is a partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Serial number of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Model of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `vol-…` of an EBS volume: it is the NVMe serial number without the hyphen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebs_volume_id: Option<String>,
    /// The file behind a loop device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backing_file: Option<RawBytes>,
    /// True when the kernel refuses writes to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Partitions that the kernel knows, whatever the table on the disk says now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernel_partitions: Vec<KernelPartition>,
    /// Where it or one of its partitions is mounted: then its bytes change while they are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounted_at: Vec<RawBytes>,
}

/// A partition as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelPartition {
    /// Its name, e.g. `nvme0n1p1`.
    pub name: String,
    /// Its number.
    pub index: u64,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
}

/// The facts about the device `number` (`major:minor`). What sysfs does not say stays empty; an
/// error means that it does not know the device at all.
pub fn facts(host: &Host, number: &str) -> io::Result<Facts> {
    let path = sysfs(host, number)?;
    let disk_path = whole_disk(host, &path);
    let is_partition = disk_path != path;
    let names = children(host, &path, b"partition");
    let mut numbers = BTreeSet::from([number.to_owned()]);
    numbers.extend(names.iter().filter_map(|child| attribute(host, child, "dev")));
    let kernel_partitions = names
        .iter()
        .filter_map(|child| {
            Some(KernelPartition {
                name: device_name(child),
                index: attribute(host, child, "partition")?.parse().ok()?,
                start_bytes: sectors(host, child, "start")?,
                size_bytes: sectors(host, child, "size")?,
            })
        })
        .collect();
    let serial = serial(host, &disk_path);
    Ok(Facts {
        name: Some(device_name(&path)),
        disk: is_partition.then(|| device_name(&disk_path)),
        ebs_volume_id: serial.as_deref().and_then(ebs_volume_id),
        serial,
        model: attribute(host, &disk_path, "device/model"),
        backing_file: read(host, &disk_path, "loop/backing_file").map(|mut bytes| {
            bytes.pop_if(|last| *last == b'\n');
            bytes.into()
        }),
        read_only: attribute(host, &path, "ro").map(|flag| flag == "1"),
        kernel_partitions,
        mounted_at: mounts(host)
            .into_iter()
            .filter(|mount| numbers.contains(&mount.device_number()))
            .map(|mount| mount.mount_point)
            .take(MAX_LISTED)
            .collect(),
    })
}

/// Size in bytes, without opening the device.
pub fn size_bytes(host: &Host, number: &str) -> Option<u64> {
    sectors(host, &sysfs(host, number).ok()?, "size")
}

/// Bytes written to the device since boot: the seventh number of its `stat`
/// (Documentation/block/stat.rst of the kernel).
pub fn written_bytes(host: &Host, number: &str) -> Option<u64> {
    let stat = attribute(host, &sysfs(host, number).ok()?, "stat")?;
    let sectors: u64 = stat.split_ascii_whitespace().nth(6)?.parse().ok()?;
    sectors.checked_mul(SYSFS_SECTOR)
}

/// The whole disks below the running host's root file system, as `major:minor` and name: through
/// partitions, LVM, RAID and encryption. An error says why there are none.
pub fn root_disks(host: &Host) -> io::Result<Vec<(String, String)>> {
    let root = mounts(host)
        .into_iter()
        .rfind(|mount| mount.mount_point.as_bytes() == b"/")
        .ok_or_else(|| io::Error::other("the mount table has no root"))?;
    // Btrfs and others have a number of their own, that of no device; their source names one.
    let number = root.device_number();
    let number = if number.starts_with("0:") {
        device_of_path(host, root.source.as_bytes()).ok_or_else(|| {
            io::Error::other(format!(
                "the root file system ({}) lies on no block device",
                root.fs_type
            ))
        })?
    } else {
        number
    };
    let mut waiting = vec![sysfs(host, &number)?];
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if seen.len() >= MAX_LISTED || !seen.insert(path.clone()) {
            continue;
        }
        let disk = whole_disk(host, &path);
        let below = links_in(host, &disk, "slaves");
        if !below.is_empty() {
            waiting.extend(below);
        } else if let Some(number) = attribute(host, &disk, "dev") {
            found.push((number, device_name(&disk)));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Mounts as the first process sees them: our own view may differ (see `quiet`).
fn mounts(host: &Host) -> Vec<Mount> {
    [&b"/proc/1/mountinfo"[..], b"/proc/self/mountinfo"]
        .into_iter()
        .find_map(|path| host.read(path, MOUNTS_BYTES).ok())
        .map(|content| mounts::parse_all(&content.bytes))
        .unwrap_or_default()
}

/// The number of the device that a `/dev` path names, by the name alone.
fn device_of_path(host: &Host, path: &[u8]) -> Option<String> {
    let resolved = host.resolve(path).ok()?;
    let name = resolved.strip_prefix(b"/dev/")?;
    let mut in_sysfs = b"/sys/class/block/".to_vec();
    in_sysfs.extend(name.iter().map(|&b| if b == b'/' { b'!' } else { b }));
    attribute(host, &in_sysfs, "dev")
}

fn sysfs(host: &Host, number: &str) -> io::Result<Vec<u8>> {
    host.resolve(format!("/sys/dev/block/{number}").as_bytes())
        .and_then(|path| host.dir(&path).map(|_| path))
}

/// The device itself, or the disk that it is a partition of.
fn whole_disk(host: &Host, path: &[u8]) -> Vec<u8> {
    let parent = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
    match (attribute(host, path, "partition"), path.get(..parent)) {
        (Some(_), Some(parent)) => parent.to_vec(),
        _ => path.to_vec(),
    }
}

/// Subdirectories that hold a file of that name.
fn children(host: &Host, path: &[u8], holding: &[u8]) -> Vec<Vec<u8>> {
    let entries = host.list(path).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| [path, b"/", &entry.name].concat())
        .filter(|child| host.metadata(&[child, &b"/"[..], holding].concat()).is_ok())
        .take(MAX_LISTED)
        .collect()
}

fn links_in(host: &Host, path: &[u8], directory: &str) -> Vec<Vec<u8>> {
    let directory = [path, b"/", directory.as_bytes()].concat();
    let entries = host.list(&directory).unwrap_or_default();
    entries
        .into_iter()
        .filter_map(|entry| host.resolve(&[&directory, &b"/"[..], &entry.name].concat()).ok())
        .take(MAX_LISTED)
        .collect()
}

fn read(host: &Host, path: &[u8], name: &str) -> Option<Vec<u8>> {
    let path = [path, b"/", name.as_bytes()].concat();
    host.read(&path, SYSFS_BYTES).ok().map(|c| c.bytes)
}

/// A text attribute without the blanks around it; an empty one is none.
fn attribute(host: &Host, path: &[u8], name: &str) -> Option<String> {
    let bytes = read(host, path, name)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn sectors(host: &Host, path: &[u8], name: &str) -> Option<u64> {
    let sectors: u64 = attribute(host, path, name)?.parse().ok()?;
    sectors.checked_mul(SYSFS_SECTOR)
}

fn serial(host: &Host, disk: &[u8]) -> Option<String> {
    // virtio; NVMe; SCSI's unit serial number page: four bytes of header, then text.
    attribute(host, disk, "serial").or_else(|| attribute(host, disk, "device/serial")).or_else(
        || {
            let page = read(host, disk, "device/vpd_pg80")?;
            let text = String::from_utf8_lossy(page.get(4..)?).trim().to_owned();
            (!text.is_empty()).then_some(text)
        },
    )
}

fn ebs_volume_id(serial: &str) -> Option<String> {
    let digits = serial.strip_prefix("vol")?;
    let digits = digits.strip_prefix('-').unwrap_or(digits);
    let hex = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| format!("vol-{digits}"))
}

/// The last part of a sysfs path; `!` stands for a `/` in the device's name.
fn device_name(path: &[u8]) -> String {
    let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(name).replace('!', "/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    fn put(root: &Path, path: &str, text: &str) {
        let path: PathBuf = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// An instance with an encrypted LVM root on the first partition of an EBS volume.
    fn instance() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let nvme = "sys/devices/pci0/nvme/nvme0/nvme0n1";
        put(root, &format!("{nvme}/dev"), "259:0\n");
        put(root, &format!("{nvme}/size"), "16777216\n");
        put(root, &format!("{nvme}/ro"), "0\n");
        put(root, &format!("{nvme}/stat"), "1 2 3 4 5 6 700 8 9 10 11\n");
        put(root, &format!("{nvme}/nvme0n1p1/dev"), "259:1\n");
        put(root, &format!("{nvme}/nvme0n1p1/partition"), "1\n");
        put(root, &format!("{nvme}/nvme0n1p1/start"), "2048\n");
        put(root, &format!("{nvme}/nvme0n1p1/size"), "4096\n");
        let serial = "vol0a1b2c3d4e5f60718\n";
        put(root, "sys/devices/pci0/nvme/nvme0/serial", serial);
        put(root, "sys/devices/pci0/nvme/nvme0/model", "Amazon Elastic Block Store   \n");
        symlink("..", root.join(nvme).join("device")).unwrap();
        let dm = "sys/devices/virtual/block/dm-0";
        put(root, &format!("{dm}/dev"), "253:0\n");
        fs::create_dir_all(root.join(dm).join("slaves")).unwrap();
        let below = format!("/{nvme}/nvme0n1p1");
        symlink(below, root.join(dm).join("slaves/nvme0n1p1")).unwrap();
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        for (number, path) in [("259:0", nvme), ("253:0", dm)] {
            symlink(format!("/{path}"), root.join("sys/dev/block").join(number)).unwrap();
        }
        let mounts =
            "1 0 253:0 / / rw - ext4 /dev/dm-0 rw\n2 1 259:1 / /boot rw - ext4 /dev/x rw\n";
        put(root, "proc/1/mountinfo", mounts);
        dir
    }

    #[test]
    fn the_root_is_followed_down_to_its_disk() {
        let dir = instance();
        let host = Host::at(dir.path()).unwrap();
        let disks = root_disks(&host).unwrap();
        assert_eq!(disks, [("259:0".to_owned(), "nvme0n1".to_owned())]);
        let facts = facts(&host, "259:0").unwrap();
        assert_eq!(facts.serial.as_deref(), Some("vol0a1b2c3d4e5f60718"));
        assert_eq!(facts.ebs_volume_id.as_deref(), Some("vol-0a1b2c3d4e5f60718"));
        assert_eq!(facts.model.as_deref(), Some("Amazon Elastic Block Store"));
        assert_eq!(facts.read_only, Some(false));
        assert_eq!(facts.kernel_partitions.len(), 1);
        assert_eq!(facts.kernel_partitions[0].start_bytes, 1_048_576);
        assert_eq!(facts.mounted_at, [RawBytes::from("/boot")]);
        assert_eq!(size_bytes(&host, "259:0"), Some(8_589_934_592));
        assert_eq!(written_bytes(&host, "259:0"), Some(358_400));
    }

    #[test]
    fn a_root_on_no_device_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let line = "1 0 0:52 / / rw - overlay overlay rw\n";
        put(dir.path(), "proc/1/mountinfo", line);
        let error = root_disks(&Host::at(dir.path()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("overlay"), "{error}");
    }

    #[test]
    fn only_volume_ids_are_taken_for_one() {
        assert_eq!(ebs_volume_id("vol-0123abcd").as_deref(), Some("vol-0123abcd"));
        for other in ["vol", "volume0123", "AWS1234567890", "vol012"] {
            assert_eq!(ebs_volume_id(other), None, "{other}");
        }
    }
}
