//! The GUID partition table (UEFI specification 2.10, chapter 5): both headers, both checksums.
//!
//! A header that fails its checksum gives no partitions; the backup is used instead, as the Linux
//! kernel does, and what was wrong is recorded.

use super::{Disk, Partition, PartitionTable, crc::crc32, types, u16_at, u32_at, u64_at};
use cleanroom_evidence::RawBytes;

const SIGNATURE: &[u8] = b"EFI PART";
/// Bytes of a header that are defined; it may say that it is longer, up to a sector.
const HEADER_BYTES: usize = 92;
const MIN_ENTRY_BYTES: u32 = 128;
/// Bytes of an entry array at most: 8,192 entries of the usual size (a disk has 128).
const MAX_ARRAY_BYTES: u64 = 1024 * 1024;
/// The attribute "legacy BIOS bootable".
const LEGACY_BOOT: u64 = 1 << 2;

/// A header whose own checksum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    own_sector: u64,
    other_sector: u64,
    disk_guid: String,
    array_sector: u64,
    entries: u32,
    entry_bytes: u32,
    array_crc: u32,
}

/// The header in a sector, or what is wrong with it. `None`: there is none.
pub fn parse_header(sector: &[u8]) -> Option<Result<Header, String>> {
    sector.starts_with(SIGNATURE).then(|| header(sector))
}

fn header(sector: &[u8]) -> Result<Header, String> {
    let cut = || "cut short".to_owned();
    let length = u32_at(sector, 12).ok_or_else(cut)? as usize;
    if length < HEADER_BYTES || length > sector.len() {
        return Err(format!("header length {length}"));
    }
    let stored = u32_at(sector, 16).ok_or_else(cut)?;
    let before = sector.get(..16).ok_or_else(cut)?;
    let after = sector.get(20..length).ok_or_else(cut)?;
    // The checksum is taken with its own field as zeros.
    if crc32(&[before, &[0; 4], after]) != stored {
        return Err("header checksum wrong".to_owned());
    }
    let found = Header {
        own_sector: u64_at(sector, 24).ok_or_else(cut)?,
        other_sector: u64_at(sector, 32).ok_or_else(cut)?,
        disk_guid: guid(sector.get(56..).and_then(<[u8]>::first_chunk)).ok_or_else(cut)?,
        array_sector: u64_at(sector, 72).ok_or_else(cut)?,
        entries: u32_at(sector, 80).ok_or_else(cut)?,
        entry_bytes: u32_at(sector, 84).ok_or_else(cut)?,
        array_crc: u32_at(sector, 88).ok_or_else(cut)?,
    };
    if found.entry_bytes < MIN_ENTRY_BYTES || !found.entry_bytes.is_multiple_of(8) {
        return Err(format!("entry length {}", found.entry_bytes));
    }
    if found.array_bytes() > MAX_ARRAY_BYTES {
        return Err(format!("{} bytes of entries", found.array_bytes()));
    }
    Ok(found)
}

impl Header {
    fn array_bytes(&self) -> u64 {
        u64::from(self.entries) * u64::from(self.entry_bytes)
    }

    /// Reads the entries that this header names; an error when they do not match its checksum.
    fn array(&self, disk: &mut Disk<'_>) -> Result<Vec<u8>, String> {
        let length = usize::try_from(self.array_bytes()).map_err(|error| error.to_string())?;
        let array =
            disk.read(self.array_sector, length).map_err(|error| format!("entries: {error}"))?;
        if array.len() < length {
            return Err("entries beyond the disk's end".to_owned());
        }
        if crc32(&[&array]) != self.array_crc {
            return Err("entries checksum wrong".to_owned());
        }
        Ok(array)
    }
}

/// Reads both copies and adds the partitions of the first that holds; false when none does.
pub(super) fn read(disk: &mut Disk<'_>, table: &mut PartitionTable) -> bool {
    let primary = copy(disk, 1);
    let last = disk.sectors().saturating_sub(1);
    let named = match &primary {
        Ok((header, _)) => header.other_sector,
        Err(_) => last,
    };
    let backup = copy(disk, named);
    table.primary_header = Some(state(&primary));
    table.backup_header = Some(state(&backup));
    if let (Ok((first, one)), Ok((second, other))) = (&primary, &backup) {
        if first.disk_guid != second.disk_guid || one != other {
            table.note("the backup GPT differs from the primary one");
        }
        if named != last {
            let gap = last.saturating_sub(named);
            table.note(format!("the backup GPT lies {gap} sectors before the disk's end"));
        }
    }
    let Ok((header, array)) = primary.or(backup) else {
        return false;
    };
    table.disk_id = Some(header.disk_guid);
    let entry_bytes = usize::try_from(header.entry_bytes).unwrap_or(usize::MAX);
    for (raw, index) in array.chunks_exact(entry_bytes).zip(1..) {
        if let Some(partition) = entry(raw, index, disk) {
            table.add(partition, disk.size_bytes);
        }
    }
    true
}

fn copy(disk: &mut Disk<'_>, sector: u64) -> Result<(Header, Vec<u8>), String> {
    let bytes = disk.sector(sector).map_err(|error| error.to_string())?;
    let header = parse_header(&bytes).unwrap_or_else(|| Err("missing".to_owned()))?;
    if header.own_sector != sector {
        let said = header.own_sector;
        return Err(format!("says that it is sector {said}, not {sector}"));
    }
    let array = header.array(disk)?;
    Ok((header, array))
}

fn state<T>(copy: &Result<T, String>) -> String {
    match copy {
        Ok(_) => "valid".to_owned(),
        Err(why) => why.clone(),
    }
}

fn entry(raw: &[u8], index: u32, disk: &Disk<'_>) -> Option<Partition> {
    let type_bytes = raw.first_chunk::<16>()?;
    if type_bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let type_guid = guid(Some(type_bytes))?;
    let first = u64_at(raw, 32)?;
    let last = u64_at(raw, 40)?;
    let attributes = u64_at(raw, 48)?;
    Some(Partition {
        index,
        kind: types::of_guid(&type_guid).map_or_else(|| type_guid.clone(), str::to_owned),
        type_guid: Some(type_guid),
        guid: guid(raw.get(16..).and_then(<[u8]>::first_chunk)),
        name: Some(name(raw.get(56..128)?)).filter(|name| !name.0.is_empty()),
        attributes: (attributes != 0).then(|| format!("{attributes:#x}")),
        start_bytes: disk.bytes(first),
        size_bytes: disk.bytes((last.wrapping_add(1)).saturating_sub(first)),
        bootable: attributes & LEGACY_BOOT != 0,
        type_code: None,
    })
}

/// A GUID as text: its first three fields are little-endian.
fn guid(bytes: Option<&[u8; 16]>) -> Option<String> {
    let value = u128::from_be_bytes(*bytes?);
    let a = ((value >> 96) as u32).swap_bytes();
    let b = ((value >> 80) as u16).swap_bytes();
    let c = ((value >> 64) as u16).swap_bytes();
    let d = (value >> 48) as u16;
    let e = value as u64 & 0xffff_ffff_ffff;
    Some(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
}

/// UTF-16 up to the first NUL as UTF-8; an unpaired surrogate becomes the three bytes that UTF-8
/// would give it, so nothing is lost (RawBytes shows them as `\xNN`).
fn name(bytes: &[u8]) -> RawBytes {
    let units =
        (0..bytes.len() / 2).filter_map(|at| u16_at(bytes, at * 2)).take_while(|&unit| unit != 0);
    let mut out = Vec::new();
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(alone) => {
                let unit = alone.unpaired_surrogate();
                let low = |shift: u32| 0x80 | (unit >> shift & 0x3f) as u8;
                out.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(6), low(0)]);
            }
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::super::{TableKind, partition_table};
    use super::*;
    use proptest::prelude::*;

    const SECTORS: usize = 256;
    const TYPE: [u8; 16] = [
        0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
        0xe4,
    ];

    fn put_header(disk: &mut [u8], sector: usize, own: usize, other: usize, array: usize) {
        let at = own * sector;
        let array_crc = crc32(&[&disk[array * sector..][..128 * 128]]);
        let head = &mut disk[at..at + sector];
        head[..8].copy_from_slice(SIGNATURE);
        head[8..12].copy_from_slice(&[0, 0, 1, 0]);
        head[12..16].copy_from_slice(&92u32.to_le_bytes());
        head[24..32].copy_from_slice(&(own as u64).to_le_bytes());
        head[32..40].copy_from_slice(&(other as u64).to_le_bytes());
        head[56..72].copy_from_slice(&[7; 16]);
        head[72..80].copy_from_slice(&(array as u64).to_le_bytes());
        head[80..84].copy_from_slice(&128u32.to_le_bytes());
        head[84..88].copy_from_slice(&128u32.to_le_bytes());
        head[88..92].copy_from_slice(&array_crc.to_le_bytes());
        head[16..20].fill(0);
        let crc = crc32(&[&head[..92]]);
        head[16..20].copy_from_slice(&crc.to_le_bytes());
    }

    fn disk(sector: usize, protective: u8) -> Vec<u8> {
        let mut disk = vec![0; SECTORS * sector];
        disk[450] = protective;
        disk[454] = 1;
        disk[458] = 0xff;
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        for array in [2, SECTORS - 40] {
            let entry = &mut disk[array * sector + 128..][..128];
            entry[..16].copy_from_slice(&TYPE);
            entry[16..32].copy_from_slice(&[9; 16]);
            entry[32..40].copy_from_slice(&100u64.to_le_bytes());
            entry[40..48].copy_from_slice(&149u64.to_le_bytes());
            entry[48] = 4;
            entry[56..62].copy_from_slice(&[b'o', 0, b'k', 0, 0, 0xd8]);
        }
        put_header(&mut disk, sector, 1, SECTORS - 1, 2);
        put_header(&mut disk, sector, SECTORS - 1, 1, SECTORS - 40);
        disk
    }

    fn table(disk: &[u8], sector: Option<u32>) -> PartitionTable {
        partition_table(&mut &disk[..], disk.len() as u64, sector).unwrap()
    }

    #[test]
    fn both_copies_are_checked_and_the_entry_is_read() {
        for (sector, known) in [(512, Some(512)), (512, None), (4096, Some(4096)), (4096, None)] {
            let table = table(&disk(sector, 0xee), known);
            assert_eq!(table.kind, TableKind::Gpt);
            assert_eq!(table.sector_bytes as usize, sector);
            assert_eq!(table.primary_header.as_deref(), Some("valid"));
            assert_eq!(table.backup_header.as_deref(), Some("valid"));
            assert!(table.notes.is_empty(), "{:?}", table.notes);
            let [part] = &table.partitions[..] else { panic!("{table:?}") };
            assert_eq!((part.index, part.kind.as_str()), (2, "Linux"));
            assert_eq!(part.start_bytes, 100 * sector as u64);
            assert_eq!(part.size_bytes, 50 * sector as u64);
            assert!(part.bootable);
            assert_eq!(part.name, Some(RawBytes(b"ok\xed\xa0\x80".to_vec())));
            assert_eq!(part.guid.as_deref(), Some("09090909-0909-0909-0909-090909090909"));
        }
    }

    #[test]
    fn a_bad_primary_gives_way_to_the_backup() {
        let mut bytes = disk(512, 0xee);
        bytes[512 + 60] ^= 1;
        let found = table(&bytes, Some(512));
        assert_eq!(found.kind, TableKind::Gpt);
        assert_eq!(found.primary_header.unwrap(), "header checksum wrong");
        assert_eq!(found.partitions.len(), 1);
        let mut bytes = disk(512, 0xee);
        bytes[2 * 512] = 1;
        let found = table(&bytes, Some(512));
        assert_eq!(found.primary_header.unwrap(), "entries checksum wrong");
        assert_eq!(found.partitions.len(), 1);
    }

    #[test]
    fn a_missing_or_other_backup_shows() {
        let mut bytes = disk(512, 0xee);
        bytes[(SECTORS - 1) * 512..].fill(0);
        let found = table(&bytes, Some(512));
        assert_eq!(found.backup_header.as_deref(), Some("missing"));
        assert_eq!(found.kind, TableKind::Gpt);
        let mut bytes = disk(512, 0xee);
        bytes.extend(vec![0; 20 * 512]);
        let found = table(&bytes, Some(512));
        assert!(found.notes[0].contains("20 sectors before"), "{found:?}");
        let mut bytes = disk(512, 0xee);
        bytes[(SECTORS - 40) * 512 + 128 + 40] = 99;
        put_header(&mut bytes, 512, SECTORS - 1, 1, SECTORS - 40);
        let found = table(&bytes, Some(512));
        assert!(found.notes[0].contains("differs"), "{found:?}");
    }

    #[test]
    fn the_kernel_goes_by_the_mbr_without_a_protective_entry() {
        let found = table(&disk(512, 0x83), Some(512));
        assert_eq!(found.kind, TableKind::Mbr);
        assert!(found.notes.iter().any(|n| n.contains("valid GPT")));
        let mut bytes = disk(512, 0xee);
        bytes[512..520].fill(0);
        bytes[(SECTORS - 1) * 512..].fill(0);
        let found = table(&bytes, Some(512));
        assert_eq!(found.kind, TableKind::Mbr);
        assert!(found.notes[0].contains("no valid GPT"), "{found:?}");
    }

    proptest! {
        #[test]
        fn one_changed_byte_of_a_header_never_passes(at in 0usize..92, bit in 0u8..8) {
            let mut bytes = disk(512, 0xee);
            bytes[512 + at] ^= 1 << bit;
            let found = table(&bytes, Some(512));
            prop_assert_ne!(found.primary_header.as_deref(), Some("valid"));
            prop_assert_eq!(found.partitions.len(), 1, "the backup still counts");
        }

        #[test]
        fn entries_of_any_bytes_with_right_checksums_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 512)
        ) {
            let mut disk = disk(512, 0xee);
            disk[2 * 512..][..512].copy_from_slice(&bytes);
            put_header(&mut disk, 512, 1, SECTORS - 1, 2);
            let found = table(&disk, Some(512));
            prop_assert_eq!(found.primary_header.as_deref(), Some("valid"));
        }

        #[test]
        fn header_fields_of_any_value_never_panic(
            fields in proptest::collection::vec(any::<u8>(), 72), length in 0u32..600
        ) {
            let mut disk = disk(512, 0xee);
            let head = &mut disk[512..1024];
            head[20..92].copy_from_slice(&fields);
            head[12..16].copy_from_slice(&length.to_le_bytes());
            head[16..20].fill(0);
            let crc = crc32(&[&head[..(length as usize).min(512)]]);
            head[16..20].copy_from_slice(&crc.to_le_bytes());
            let _ = table(&disk, None);
        }
    }
}
