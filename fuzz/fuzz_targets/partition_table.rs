//! Partition tables of any bytes: no panic, and no list beyond its bounds.
//!
//! The first byte chooses the sector size; the rest is the disk.

#![no_main]

use cleanroom_sources::volume::{MAX_PARTITIONS, partition_table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut disk)) = input.split_first() else {
        return;
    };
    let sector = [None, Some(512), Some(4096), Some(u32::from(choice) << 4)];
    let sector = sector[usize::from(choice) % sector.len()];
    let size = (disk.len() as u64) << (choice >> 6);
    if let Ok(table) = partition_table(&mut disk, size, sector) {
        assert!(table.partitions.len() <= MAX_PARTITIONS);
    }
});
