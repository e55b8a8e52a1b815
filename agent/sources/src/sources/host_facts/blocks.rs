//! Block devices from `/sys/block`, with the EBS volume id where the disk is one.

use super::read::{attribute, is_missing};
use crate::{
    Dir, Emitter, Host, SinkClosed,
    proc::fields::{number, why},
};
use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// Sizes in `/sys/block` are in these units, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
/// Devices, partitions and holders listed at most.
const LISTED: usize = 4096;

/// One line of the set `block-devices`.
#[derive(Debug, Default, Serialize)]
struct Device {
    path: RawBytes,
    name: RawBytes,
    /// `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<RawBytes>,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wwid: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ebs_volume_id: Option<String>,
    read_only: bool,
    removable: bool,
    rotational: bool,
    /// Of a loop device: the file that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_file: Option<RawBytes>,
    /// Of a device-mapper device: its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    dm_name: Option<RawBytes>,
    partitions: Vec<Partition>,
    /// Devices that are built on this one or its partitions.
    holders: Vec<RawBytes>,
}

#[derive(Debug, Serialize)]
struct Partition {
    name: RawBytes,
    number: u32,
    start_bytes: u64,
    size_bytes: u64,
}

/// Emits the set `block-devices`.
pub fn emit(host: &Host, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let names = match host.list(b"/sys/block") {
        Ok(names) => names,
        Err(error) => {
            if !is_missing(&error) {
                out.gap("list", b"/sys/block", &why(&error));
            }
            return Ok(());
        }
    };
    for entry in names.iter().take(LISTED) {
        let path = [b"/sys/block/", entry.name.as_slice()].concat();
        match host.dir(&path) {
            Ok(dir) => out.record("block-devices", &device(path, &entry.name, &dir))?,
            Err(error) => out.gap("open", &path, &why(&error)),
        }
    }
    Ok(())
}

fn device(path: Vec<u8>, name: &[u8], dir: &Dir<'_>) -> Device {
    let is_set = |name| attribute(dir, name).is_some_and(|value| value.0 == b"1");
    // NVMe and MMC keep it below `device`, virtio beside it.
    let serial = attribute(dir, "device/serial")
        .or_else(|| attribute(dir, "serial"))
        .or_else(|| scsi_serial(dir));
    let model = attribute(dir, "device/model");
    let mut holders = names(dir, "holders");
    let partitions = partitions(dir, &mut holders);
    Device {
        path: path.into(),
        name: name.into(),
        device: attribute(dir, "dev"),
        size_bytes: sectors(dir, "size"),
        ebs_volume_id: serial.as_ref().and_then(|serial| ebs_volume_id(&serial.0)),
        serial,
        model,
        wwid: attribute(dir, "wwid").or_else(|| attribute(dir, "device/wwid")),
        read_only: is_set("ro"),
        removable: is_set("removable"),
        rotational: is_set("queue/rotational"),
        backing_file: attribute(dir, "loop/backing_file"),
        dm_name: attribute(dir, "dm/name"),
        partitions,
        holders,
    }
}

fn sectors(dir: &Dir<'_>, name: &str) -> u64 {
    let count = attribute(dir, name).and_then(|value| number::<u64>(&value.0));
    count.unwrap_or(0).saturating_mul(SECTOR_BYTES)
}

fn names(dir: &Dir<'_>, name: &str) -> Vec<RawBytes> {
    let entries = dir.dir(name.as_bytes()).and_then(|dir| dir.list());
    let entries = entries.unwrap_or_default().into_iter().take(LISTED);
    entries.map(|entry| RawBytes(entry.name)).collect()
}

/// A folder that has a file `partition` is one.
fn partitions(dir: &Dir<'_>, holders: &mut Vec<RawBytes>) -> Vec<Partition> {
    let mut found = Vec::new();
    for entry in dir.list().unwrap_or_default().into_iter().take(LISTED) {
        let Ok(part) = dir.dir(&entry.name) else {
            continue;
        };
        let Some(number) = attribute(&part, "partition").and_then(|value| number(&value.0)) else {
            continue;
        };
        holders.extend(names(&part, "holders"));
        found.push(Partition {
            name: RawBytes(entry.name),
            number,
            start_bytes: sectors(&part, "start"),
            size_bytes: sectors(&part, "size"),
        });
    }
    found.sort_by_key(|partition| partition.number);
    found
}

/// Page 0x80 of the SCSI vital product data: four bytes of header, then the number.
fn scsi_serial(dir: &Dir<'_>) -> Option<RawBytes> {
    let page = dir.read(b"device/vpd_pg80", 512).ok()?.bytes;
    let text = page.get(4..)?.trim_ascii();
    let plain = !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    plain.then(|| text.into())
}

/// The volume id that EBS writes into an NVMe serial without its hyphen
/// (Amazon EBS user guide, "Map EBS volumes to NVMe device names").
fn ebs_volume_id(serial: &[u8]) -> Option<String> {
    let serial = std::str::from_utf8(serial).ok()?;
    let rest = serial.strip_prefix("vol")?;
    let digits = rest.strip_prefix('-').unwrap_or(rest);
    let fits = matches!(digits.len(), 8 | 17)
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    fits.then(|| format!("vol-{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_ids() {
        let id = |serial: &[u8]| ebs_volume_id(serial);
        assert_eq!(id(b"vol0123456789abcdef0").as_deref(), Some("vol-0123456789abcdef0"));
        assert_eq!(id(b"vol-0a1b2c3d").as_deref(), Some("vol-0a1b2c3d"));
        // An instance store disk, a short one, and what no volume id can be.
        for other in [&b"AWS0123456789ABCDEF0"[..], b"vol0abc", b"volume", b"vol\xff"] {
            assert_eq!(id(other), None);
        }
    }

    #[test]
    fn a_disk_with_partitions() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("sys/block/nvme0n1");
        let write = |name: &str, value: &str| {
            let path = disk.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        };
        write("size", "16777216\n");
        write("dev", "259:0\n");
        write("ro", "0\n");
        write("device/serial", "vol0123456789abcdef0\n");
        write("device/model", "Amazon Elastic Block Store              \n");
        write("nvme0n1p15/partition", "15\n");
        write("nvme0n1p15/start", "2048\n");
        write("nvme0n1p1/partition", "1\n");
        write("nvme0n1p1/start", "264192\n");
        write("nvme0n1p1/size", "16512991\n");
        write("nvme0n1p1/holders/dm-0/x", "");
        let host = Host::at(root.path()).unwrap();
        let dir = host.dir(b"/sys/block/nvme0n1").unwrap();
        let device = device(b"/sys/block/nvme0n1".to_vec(), b"nvme0n1", &dir);
        assert_eq!(device.size_bytes, 8 * 1024 * 1024 * 1024);
        assert_eq!(device.ebs_volume_id.as_deref(), Some("vol-0123456789abcdef0"));
        assert_eq!(device.model, Some("Amazon Elastic Block Store".into()));
        let numbers: Vec<_> = device.partitions.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [1, 15]);
        assert_eq!(device.partitions[0].start_bytes, 264_192 * 512);
        assert_eq!(device.holders, [RawBytes::from("dm-0")]);
    }
}
