//! The master boot record and the chain of extended boot records, as Linux numbers them.
//!
//! A chain is followed within bounds and never twice through one sector. Boot code is not
//! interpreted.

use super::{Disk, Partition, PartitionTable, types, u16_at, u32_at};
use std::collections::HashSet;

/// Where the four entries begin (the boot code lies before them).
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
const SIGNATURE_AT: usize = 510;
const SIGNATURE: u16 = 0xaa55;
const DISK_ID_AT: usize = 440;
const PROTECTIVE: u8 = 0xee;
/// Logical partitions at most, over all extended ones; more is a note.
const MAX_LOGICAL: usize = 128;

/// One of the four entries of a boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    active: bool,
    code: u8,
    start: u32,
    sectors: u32,
}

impl Entry {
    fn is_used(self) -> bool {
        self.code != 0 && self.sectors != 0
    }

    fn is_extended(self) -> bool {
        matches!(self.code, 0x05 | 0x0f | 0x85)
    }
}

/// A sector that holds a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    disk_id: u32,
    entries: [Entry; 4],
}

impl Boot {
    /// True with an entry 0xee: the sign that a GPT counts.
    pub fn is_protective(&self) -> bool {
        self.entries.iter().any(|entry| entry.code == PROTECTIVE)
    }

    /// True without any partition.
    pub fn is_empty(&self) -> bool {
        !self.entries.iter().any(|entry| entry.is_used())
    }

    /// Notes partitions beside the protective one: a system that reads the MBR sees another disk.
    pub(super) fn note_hybrid(&self, table: &mut PartitionTable) {
        let others =
            self.entries.iter().filter(|entry| entry.is_used() && entry.code != PROTECTIVE).count();
        if others > 0 {
            table.note(format!("hybrid MBR: {others} partitions beside the protective one"));
        }
    }
}

/// True for a partition that only holds logical ones.
pub(super) fn is_extended(partition: &Partition) -> bool {
    matches!(partition.type_code.as_deref(), Some("0x05" | "0x0f" | "0x85"))
}

/// The table in a boot record; `None` where there is none: no signature, or the place of the
/// entries holds other bytes (a status that is neither 0x00 nor 0x80), or the sector begins a file
/// system. This is how the Linux kernel decides (block/partitions/msdos.c).
pub fn parse(sector: &[u8]) -> Option<Boot> {
    if boot_sector_of_file_system(sector).is_some() {
        return None;
    }
    Some(Boot { disk_id: u32_at(sector, DISK_ID_AT)?, entries: entries(sector)? })
}

fn entries(sector: &[u8]) -> Option<[Entry; 4]> {
    if u16_at(sector, SIGNATURE_AT)? != SIGNATURE {
        return None;
    }
    let mut found = [Entry { active: false, code: 0, start: 0, sectors: 0 }; 4];
    let raw = sector.get(ENTRIES_AT..SIGNATURE_AT)?;
    for (entry, raw) in found.iter_mut().zip(raw.chunks_exact(ENTRY_BYTES)) {
        let status = *raw.first()?;
        if status & 0x7f != 0 {
            return None;
        }
        *entry = Entry {
            active: status == 0x80,
            code: *raw.get(4)?,
            start: u32_at(raw, 8)?,
            sectors: u32_at(raw, 12)?,
        };
    }
    Some(found)
}

/// What file system's boot sector this is; it carries the same signature as a table.
pub(super) fn boot_sector_of_file_system(sector: &[u8]) -> Option<&'static str> {
    let holds = |at: usize, text: &[u8]| sector.get(at..).is_some_and(|b| b.starts_with(text));
    if u16_at(sector, SIGNATURE_AT)? != SIGNATURE {
        return None;
    }
    if holds(54, b"FAT") || holds(82, b"FAT32") {
        Some("a FAT file system begins at the disk's first sector")
    } else if holds(3, b"NTFS    ") || holds(3, b"EXFAT   ") {
        Some("an NTFS or exFAT file system begins at the disk's first sector")
    } else {
        None
    }
}

/// Adds the partitions of a boot record to the table, and follows its extended ones.
pub(super) fn read(boot: &Boot, disk: &mut Disk<'_>, table: &mut PartitionTable) {
    table.disk_id = Some(format!("{:#010x}", boot.disk_id));
    let mut logical = Vec::new();
    for (entry, index) in boot.entries.iter().zip(1..) {
        if entry.is_used() {
            table.add(partition(index, *entry, 0, disk), disk.size_bytes);
        }
        if entry.is_used() && entry.is_extended() {
            follow(*entry, disk, table, &mut logical);
        }
    }
    for ((entry, base), index) in logical.into_iter().zip(5..) {
        table.add(partition(index, entry, base, disk), disk.size_bytes);
    }
}

/// Follows the chain of one extended partition; each found partition with its record's sector.
fn follow(
    extended: Entry,
    disk: &mut Disk<'_>,
    table: &mut PartitionTable,
    logical: &mut Vec<(Entry, u64)>,
) {
    let begin = u64::from(extended.start);
    let mut seen = HashSet::new();
    let mut at = begin;
    loop {
        if logical.len() >= MAX_LOGICAL || seen.len() >= MAX_LOGICAL {
            return table.note(format!("more than {MAX_LOGICAL} extended boot records"));
        }
        if !seen.insert(at) {
            return table.note(format!("the extended boot records form a loop at sector {at}"));
        }
        let record = match disk.sector(at) {
            Ok(sector) => entries(&sector),
            Err(error) => {
                return table.note(format!("extended boot record at sector {at}: {error}"));
            }
        };
        let Some(record) = record else {
            return table.note(format!("no extended boot record at sector {at}"));
        };
        let data = record.iter().filter(|e| e.is_used() && !e.is_extended());
        logical.extend(data.map(|entry| (*entry, at)));
        match record.iter().find(|e| e.is_used() && e.is_extended()) {
            // Links count from the begin of the outermost extended partition.
            Some(next) => at = begin + u64::from(next.start),
            None => return,
        }
    }
}

fn partition(index: u32, entry: Entry, base: u64, disk: &Disk<'_>) -> Partition {
    let code = format!("{:#04x}", entry.code);
    Partition {
        index,
        kind: types::of_code(entry.code).map_or_else(|| code.clone(), str::to_owned),
        type_code: Some(code),
        start_bytes: disk.bytes(base + u64::from(entry.start)),
        size_bytes: disk.bytes(entry.sectors.into()),
        bootable: entry.active,
        ..Partition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TableKind, partition_table};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn put(disk: &mut [u8], sector: usize, slot: usize, entry: [u32; 4]) {
        let at = sector * 512 + ENTRIES_AT + slot * ENTRY_BYTES;
        disk[at] = entry[0] as u8;
        disk[at + 4] = entry[1] as u8;
        disk[at + 8..at + 12].copy_from_slice(&entry[2].to_le_bytes());
        disk[at + 12..at + 16].copy_from_slice(&entry[3].to_le_bytes());
        disk[sector * 512 + 510..][..2].copy_from_slice(&[0x55, 0xaa]);
    }

    fn table(disk: &[u8]) -> PartitionTable {
        partition_table(&mut &disk[..], disk.len() as u64, Some(512)).unwrap()
    }

    #[test]
    fn primary_and_logical_partitions_are_numbered_as_linux_does() {
        let mut disk = vec![0; 4096 * 512];
        disk[440..444].copy_from_slice(&0xdead_beef_u32.to_le_bytes());
        put(&mut disk, 0, 0, [0x80, 0x83, 64, 100]);
        put(&mut disk, 0, 2, [0, 0x0f, 1000, 2000]);
        put(&mut disk, 1000, 0, [0, 0x82, 10, 50]);
        put(&mut disk, 1000, 1, [0, 0x05, 500, 100]);
        put(&mut disk, 1500, 0, [0, 0x9f, 10, 60]);
        let table = table(&disk);
        assert_eq!(table.kind, TableKind::Mbr);
        assert_eq!(table.disk_id.as_deref(), Some("0xdeadbeef"));
        assert!(table.notes.is_empty(), "{:?}", table.notes);
        let seen: Vec<_> = table
            .partitions
            .iter()
            .map(|p| (p.index, p.kind.as_str(), p.start_bytes / 512, p.bootable))
            .collect();
        assert_eq!(
            seen,
            [
                (1, "Linux", 64, true),
                (3, "extended", 1000, false),
                (5, "Linux swap", 1010, false),
                (6, "0x9f", 1510, false),
            ]
        );
    }

    #[test]
    fn a_chain_that_bites_its_tail_ends_and_is_noted() {
        let mut disk = vec![0; 4096 * 512];
        put(&mut disk, 0, 0, [0, 0x05, 1000, 2000]);
        put(&mut disk, 1000, 0, [0, 0x83, 1, 9]);
        put(&mut disk, 1000, 1, [0, 0x05, 100, 10]);
        put(&mut disk, 1100, 1, [0, 0x05, 0, 10]);
        let table = table(&disk);
        assert_eq!(table.partitions.len(), 2);
        assert!(table.notes[0].contains("loop"), "{:?}", table.notes);
    }

    #[test]
    fn a_chain_longer_than_the_bound_stops() {
        let mut disk = vec![0; 300 * 512];
        put(&mut disk, 0, 0, [0, 0x05, 1, 299]);
        for n in 0..200 {
            put(&mut disk, 1 + n, 1, [0, 0x05, n as u32 + 1, 1]);
        }
        let table = table(&disk);
        assert!(table.notes[0].contains("more than 128"), "{:?}", table.notes);
    }

    #[test]
    fn a_file_system_or_other_bytes_are_no_table() {
        let mut fat = vec![0; 1024 * 512];
        put(&mut fat, 0, 0, [0, 0x83, 1, 1]);
        fat[54..59].copy_from_slice(b"FAT16");
        assert_eq!(table(&fat).kind, TableKind::None);
        assert_eq!(table(&fat).notes.len(), 1);
        let mut code = vec![0; 1024 * 512];
        put(&mut code, 0, 0, [0x33, 0x83, 1, 1]);
        assert_eq!(table(&code).kind, TableKind::None);
        assert_eq!(table(&[0; 4096]).kind, TableKind::None);
        assert_eq!(table(&[]).kind, TableKind::None);
    }

    #[test]
    fn what_lies_beyond_the_disk_or_overlaps_is_noted() {
        let mut disk = vec![0; 1000 * 512];
        put(&mut disk, 0, 0, [0, 0x83, 10, 100]);
        put(&mut disk, 0, 1, [0, 0x83, 50, 100]);
        put(&mut disk, 0, 2, [0, 0x83, u32::MAX, u32::MAX]);
        let notes = table(&disk).notes.join("; ");
        assert!(notes.contains("partitions 1 and 2 overlap"), "{notes}");
        assert!(notes.contains("partition 3 ends beyond"), "{notes}");
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were_written(
            parts in proptest::collection::vec((any::<bool>(), 1u32..0xee, 1u32..1000, 1u32..1000), 4)
        ) {
            let mut disk = vec![0; 4096 * 512];
            for (slot, (active, code, start, sectors)) in parts.iter().enumerate() {
                prop_assume!(!matches!(code, 0x05 | 0x0f | 0x85));
                put(&mut disk, 0, slot, [u32::from(*active) << 7, *code, *start, *sectors]);
            }
            let table = table(&disk);
            prop_assert_eq!(table.partitions.len(), 4);
            for (found, (active, code, start, sectors)) in table.partitions.iter().zip(&parts) {
                prop_assert_eq!(found.bootable, *active);
                let code = format!("{code:#04x}");
                prop_assert_eq!(found.type_code.as_deref(), Some(code.as_str()));
                prop_assert_eq!(found.start_bytes, u64::from(*start) * 512);
                prop_assert_eq!(found.size_bytes, u64::from(*sectors) * 512);
            }
        }

        #[test]
        fn no_chain_of_any_bytes_panics_or_runs_on(
            seed in proptest::collection::vec(any::<u8>(), 512..2048), size in any::<u64>()
        ) {
            let mut disk = seed.repeat(8);
            put(&mut disk, 0, 0, [0, 0x05, 1, 9]);
            let _ = partition_table(&mut &disk[..], size, None);
        }
    }
}
