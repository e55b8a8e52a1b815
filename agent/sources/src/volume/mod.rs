//! Whole volumes: what lies on them (partition tables) and their hashes, block by block.
//!
//! Nothing here names a path of the host: bytes come through [`Device`], so that the parsers and
//! the hashing run the same over a device, an image file and a test's memory. Nothing is written.

mod crc;
pub mod device;
pub mod gpt;
pub mod hash;
pub mod mbr;
pub mod reader;
mod types;

use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::io;

/// Partitions that are listed of one table at most; `partitions_total` counts all.
pub const MAX_PARTITIONS: usize = 1024;
/// Remarks kept per table at most.
const MAX_NOTES: usize = 64;
/// Sector sizes that an image's table is tried with, in bytes: an image does not say its own.
const GUESSES: [u32; 2] = [512, 4096];

/// Bytes at an offset: a device, an image, memory.
pub trait Device {
    /// Reads into `into` from `offset_bytes`; how many bytes, 0 at the end. Both the offset and
    /// the length are multiples of the sector size, and `into` is aligned to 4 KiB or better
    /// where its caller wants direct I/O.
    fn read_at(&mut self, offset_bytes: u64, into: &mut [u8]) -> io::Result<usize>;
}

/// Kind of a partition table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// The PC's master boot record with its extended partitions.
    Mbr,
    /// No table: a file system right on the disk, or nothing.
    #[default]
    None,
}

/// What a partition table says; nothing of it is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionTable {
    /// Its kind.
    pub kind: TableKind,
    /// Sector size that its numbers are counted in, in bytes.
    pub sector_bytes: u32,
    /// GPT: the disk's GUID; MBR: the 32-bit signature as `0x…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_id: Option<String>,
    /// GPT: `valid`, or what is wrong with the header at the disk's begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_header: Option<String>,
    /// GPT: `valid`, or what is wrong with the header at the disk's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_header: Option<String>,
    /// The partitions, in the order of the table.
    pub partitions: Vec<Partition>,
    /// How many there are, where the list is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions_total: Option<u64>,
    /// What an examiner should look at: a partition beyond the disk's end, a loop, a bad checksum.
    pub notes: Vec<String>,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its number as Linux counts it (`/dev/sda5` is 5).
    pub index: u32,
    /// The name of its type where it is a common one, else its code or GUID.
    #[serde(rename = "type")]
    pub kind: String,
    /// MBR: the type's code as `0x83`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_code: Option<String>,
    /// GPT: the type's GUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_guid: Option<String>,
    /// GPT: the partition's own GUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// GPT: its name, from UTF-16; an unpaired surrogate keeps its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<RawBytes>,
    /// GPT: attribute bits as `0x…`, where any is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<String>,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
    /// MBR: the active flag; GPT: the legacy-boot attribute.
    pub bootable: bool,
}

impl PartitionTable {
    fn note(&mut self, text: impl Into<String>) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text.into());
        }
    }

    fn add(&mut self, partition: Partition, disk_bytes: u64) {
        let end = partition.start_bytes.checked_add(partition.size_bytes);
        if end.is_none_or(|end| end > disk_bytes) {
            self.note(format!("partition {} ends beyond the disk's end", partition.index));
        }
        if self.partitions.len() < MAX_PARTITIONS {
            self.partitions.push(partition);
        } else {
            let listed = self.partitions.len() as u64;
            *self.partitions_total.get_or_insert(listed) += 1;
        }
    }

    /// Partitions that share bytes: a way to hide data, or a broken table. Extended partitions
    /// contain their logical ones by design.
    fn note_overlaps(&mut self) {
        let mut spans: Vec<_> = self
            .partitions
            .iter()
            .filter(|p| !mbr::is_extended(p) && p.size_bytes > 0)
            .map(|p| (p.start_bytes, p.size_bytes, p.index))
            .collect();
        spans.sort_unstable();
        let overlaps: Vec<_> = spans
            .windows(2)
            .filter_map(|pair| match pair {
                [(start, size, a), (next, _, b)] if start.saturating_add(*size) > *next => {
                    Some((*a, *b))
                }
                _ => None,
            })
            .collect();
        for (a, b) in overlaps {
            self.note(format!("partitions {a} and {b} overlap"));
        }
    }
}

/// Reads the partition table of a disk of `size_bytes`. `sector_bytes` is the device's; without
/// it (an image) 512 and 4,096 are tried. Errors: the disk's first sectors cannot be read; what is
/// wrong further on becomes a note.
pub fn partition_table(
    device: &mut dyn Device,
    size_bytes: u64,
    sector_bytes: Option<u32>,
) -> io::Result<PartitionTable> {
    let guesses = match &sector_bytes {
        Some(known) => std::slice::from_ref(known),
        None => &GUESSES,
    };
    let mut table = None;
    for &sector in guesses {
        let disk = Disk::new(device, size_bytes, sector)?;
        let found = one_table(disk)?;
        if found.kind == TableKind::Gpt {
            return Ok(found);
        }
        table.get_or_insert(found);
    }
    Ok(table.unwrap_or_default())
}

fn one_table(mut disk: Disk<'_>) -> io::Result<PartitionTable> {
    let first = disk.sector(0)?;
    let boot = mbr::parse(&first);
    let mut table = PartitionTable { sector_bytes: disk.sector_bytes, ..PartitionTable::default() };
    let protective = boot.as_ref().is_some_and(mbr::Boot::is_protective);
    let gpt = gpt::read(&mut disk, &mut table);
    match (gpt, boot) {
        (true, boot) if protective || boot.as_ref().is_none_or(mbr::Boot::is_empty) => {
            table.kind = TableKind::Gpt;
            if !protective {
                table.note("a GPT without its protective MBR entry (0xee)");
            }
            if let Some(boot) = boot {
                boot.note_hybrid(&mut table);
            }
        }
        (gpt, Some(boot)) => {
            // Without the protective entry the kernel goes by the MBR.
            let mut from_boot = PartitionTable {
                kind: TableKind::Mbr,
                sector_bytes: disk.sector_bytes,
                ..PartitionTable::default()
            };
            if gpt {
                from_boot.note("a valid GPT too, which the kernel ignores: no 0xee entry");
            } else if protective {
                from_boot.note("a protective MBR, but no valid GPT behind it");
                from_boot.primary_header = table.primary_header.take();
                from_boot.backup_header = table.backup_header.take();
            }
            mbr::read(&boot, &mut disk, &mut from_boot);
            table = from_boot;
        }
        (_, None) => {
            // Neither: what the search for a GPT met on the way is no finding.
            table = PartitionTable { sector_bytes: disk.sector_bytes, ..PartitionTable::default() };
            if let Some(what) = mbr::boot_sector_of_file_system(&first) {
                table.note(what);
            }
        }
    }
    table.note_overlaps();
    Ok(table)
}

/// A device with its geometry, read by sectors.
struct Disk<'d> {
    device: &'d mut dyn Device,
    size_bytes: u64,
    sector_bytes: u32,
}

impl<'d> Disk<'d> {
    fn new(device: &'d mut dyn Device, size_bytes: u64, sector_bytes: u32) -> io::Result<Self> {
        if !(512..=65_536).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
            let text = format!("a sector size of {sector_bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Self { device, size_bytes, sector_bytes })
    }

    fn sectors(&self) -> u64 {
        self.size_bytes / u64::from(self.sector_bytes)
    }

    fn bytes(&self, sectors: u64) -> u64 {
        sectors.saturating_mul(self.sector_bytes.into())
    }

    fn sector(&mut self, number: u64) -> io::Result<Vec<u8>> {
        self.read(number, self.sector_bytes as usize)
    }

    /// `length` bytes from a sector on, fewer at the disk's end.
    fn read(&mut self, sector: u64, length: usize) -> io::Result<Vec<u8>> {
        let offset = sector
            .checked_mul(self.sector_bytes.into())
            .filter(|&offset| offset < self.size_bytes || sector == 0)
            .ok_or_else(|| io::Error::other("beyond the disk's end"))?;
        let whole = length.next_multiple_of(self.sector_bytes as usize);
        let mut bytes = vec![0; whole];
        let mut filled = 0;
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            match self.device.read_at(offset + filled as u64, space) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read).min(whole),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled.min(length));
        Ok(bytes)
    }
}

/// Bytes in memory as a device: for tests and fuzzing.
impl Device for &[u8] {
    fn read_at(&mut self, offset_bytes: u64, into: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset_bytes).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or_default();
        let length = rest.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let array = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*array))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let array = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*array))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let array = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*array))
}
