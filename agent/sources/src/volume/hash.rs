//! One pass over a volume: SHA-256 of the whole and of each block of 512 KiB.
//!
//! Three threads share a few buffers: one reads, one hashes the whole (which cannot be split), the
//! caller's hashes the blocks and gives them on. So the pass is as fast as the slower of the disk
//! and one core's SHA-256. Memory is bounded by the buffers; nothing is kept of the bytes.

use super::{
    Device,
    reader::{Aligned, Fault, read_span},
};
use cleanroom_evidence::{Hasher, Sha256Digest};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// Bytes of a block, as EBS snapshots have (and `dcfldd hashwindow=524288`).
pub const BLOCK_BYTES: usize = 512 * 1024;
/// Bytes of one read.
const SLAB_BYTES: usize = 2 * BLOCK_BYTES;
/// Buffers: one being read, one or two being hashed, and some to even out the disk's pauses.
const SLABS: usize = 6;
/// Faults and filled blocks that are listed at most; the totals count all.
const MAX_LISTED: usize = 1000;

/// One block of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number from 0.
    pub index: u64,
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is: the last one may be short.
    pub length_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// True when some of them could not be read and are zeros.
    pub filled: bool,
}

/// What a pass over a volume gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of all bytes, zeros where they could not be read.
    pub sha256: Sha256Digest,
    /// How many blocks.
    pub blocks: u64,
    /// Numbers of the blocks with zeros for bytes that could not be read (the first so many).
    pub filled_blocks: Vec<u64>,
    /// How many such blocks there are.
    pub filled_blocks_total: u64,
    /// What could not be read (the first so many).
    pub faults: Vec<Fault>,
    /// How many such runs there are.
    pub faults_total: u64,
}

/// Why a pass ended before the volume's end.
#[derive(Debug, thiserror::Error)]
pub enum HashError<E> {
    /// The system gave no thread.
    #[error("no thread for hashing")]
    Thread(#[source] io::Error),
    /// A hashing thread ended before its time.
    #[error("a hashing thread stopped")]
    Stopped,
    /// The caller took no more blocks.
    #[error("the blocks are not wanted any more")]
    Refused(E),
}

struct Slab {
    memory: Aligned,
    offset: u64,
    length: usize,
    faults: Vec<Fault>,
}

/// Reads `size_bytes` of the device and gives each block to `each`, in order. Sectors that cannot
/// be read are zeros and recorded. `sector_bytes` is the smallest piece that is tried.
pub fn hash<E>(
    device: &mut (dyn Device + Send),
    size_bytes: u64,
    sector_bytes: u32,
    mut each: impl FnMut(&Block) -> Result<(), E>,
) -> Result<Summary, HashError<E>> {
    let sector = usize::try_from(sector_bytes).unwrap_or(512).max(1);
    let (free_in, free_out) = channel();
    let (whole_in, whole_out) = channel();
    let (block_in, block_out) = channel();
    let stop = AtomicBool::new(false);
    for _ in 0..SLABS {
        let memory = Aligned::new(SLAB_BYTES, sector);
        let _ = free_in.send(memory);
    }
    thread::scope(|scope| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let to_pool = free_in.clone();
        let whole = named("volume-hash")
            .spawn_scoped(scope, move || hash_whole(&whole_out, &to_pool))
            .map_err(HashError::Thread)?;
        named("volume-read")
            .spawn_scoped(scope, || {
                let job = Job { size_bytes, sector, free: free_out, hashers: [whole_in, block_in] };
                job.read_all(device, &stop);
            })
            .map_err(HashError::Thread)?;
        let mut summary = Summary {
            sha256: Sha256Digest::of(b""),
            blocks: 0,
            filled_blocks: Vec::new(),
            filled_blocks_total: 0,
            faults: Vec::new(),
            faults_total: 0,
        };
        let (mut read, mut refused) = (0, None);
        for slab in block_out {
            // Buffers go back even then: the reader may be waiting for one.
            if refused.is_none() {
                refused = summary.blocks_of(&slab, &mut each).err();
                stop.store(refused.is_some(), Ordering::Relaxed);
            }
            read += slab.length as u64;
            recycle(slab, &free_in);
        }
        summary.sha256 = whole.join().map_err(|_| HashError::Stopped)?;
        match refused {
            Some(error) => Err(HashError::Refused(error)),
            None if read == size_bytes => Ok(summary),
            None => Err(HashError::Stopped),
        }
    })
}

/// What the reading thread needs beside the device.
struct Job {
    size_bytes: u64,
    sector: usize,
    free: Receiver<Aligned>,
    hashers: [Sender<Arc<Slab>>; 2],
}

impl Job {
    fn read_all(self, device: &mut dyn Device, stop: &AtomicBool) {
        let mut offset = 0;
        while offset < self.size_bytes && !stop.load(Ordering::Relaxed) {
            let Ok(mut memory) = self.free.recv() else {
                return;
            };
            let rest = usize::try_from(self.size_bytes - offset).unwrap_or(usize::MAX);
            let length = rest.min(SLAB_BYTES);
            let faults = read_span(device, offset, length, memory.bytes_mut(), self.sector);
            let slab = Arc::new(Slab { memory, offset, length, faults });
            for hasher in &self.hashers {
                // Fails only when a hasher is gone; then there is nobody left to read for.
                if hasher.send(Arc::clone(&slab)).is_err() {
                    return;
                }
            }
            offset += length as u64;
        }
    }
}

fn hash_whole(slabs: &Receiver<Arc<Slab>>, pool: &Sender<Aligned>) -> Sha256Digest {
    let mut hasher = Hasher::default();
    for slab in slabs {
        hasher.update(slab.bytes());
        recycle(slab, pool);
    }
    hasher.finish()
}

/// Gives the memory back when this was its last user.
fn recycle(slab: Arc<Slab>, pool: &Sender<Aligned>) {
    if let Some(slab) = Arc::into_inner(slab) {
        // Fails only when the reader is done and needs none.
        let _ = pool.send(slab.memory);
    }
}

impl Slab {
    fn bytes(&self) -> &[u8] {
        self.memory.bytes().get(..self.length).unwrap_or_default()
    }

    fn is_filled(&self, from: u64, to: u64) -> bool {
        self.faults
            .iter()
            .any(|f| f.offset_bytes < to && f.offset_bytes.saturating_add(f.length_bytes) > from)
    }
}

impl Summary {
    fn blocks_of<E>(
        &mut self,
        slab: &Slab,
        each: &mut impl FnMut(&Block) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = slab.offset;
        for bytes in slab.bytes().chunks(BLOCK_BYTES) {
            let length = bytes.len() as u64;
            let block = Block {
                index: self.blocks,
                offset_bytes: offset,
                length_bytes: length,
                sha256: Sha256Digest::of(bytes),
                filled: slab.is_filled(offset, offset + length),
            };
            each(&block)?;
            if block.filled {
                self.filled_blocks_total += 1;
                if self.filled_blocks.len() < MAX_LISTED {
                    self.filled_blocks.push(block.index);
                }
            }
            self.blocks += 1;
            offset += length;
        }
        for fault in &slab.faults {
            match self.faults.last_mut() {
                // A run goes on across buffers; beyond the list's end this cannot be seen.
                Some(last) if last.joins(fault) => last.length_bytes += fault.length_bytes,
                _ => {
                    self.faults_total += 1;
                    if self.faults.len() < MAX_LISTED {
                        self.faults.push(fault.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::tests::faulty;
    use super::*;
    use std::convert::Infallible;

    fn run(device: &mut (dyn Device + Send), size: u64) -> (Summary, Vec<Block>) {
        let mut blocks = Vec::new();
        let each = |block: &Block| {
            blocks.push(block.clone());
            Ok::<_, Infallible>(())
        };
        let summary = hash(device, size, 512, each).unwrap();
        (summary, blocks)
    }

    #[test]
    fn digests_are_those_of_the_bytes_whatever_the_size() {
        for size in [0, 1, 511, 512, 524_287, 524_288, 524_289, 1_048_576, 9_000_001] {
            let mut device = faulty(size, &[]);
            let (summary, blocks) = run(&mut device, size as u64);
            assert_eq!(summary.sha256, Sha256Digest::of(&device.bytes), "{size}");
            let expected: Vec<_> = device.bytes.chunks(BLOCK_BYTES).map(Sha256Digest::of).collect();
            let found: Vec<_> = blocks.iter().map(|b| b.sha256).collect();
            assert_eq!(found, expected, "{size}");
            assert_eq!(summary.blocks, expected.len() as u64);
            let end = blocks.iter().fold(0, |at, block| {
                assert_eq!(block.offset_bytes, at);
                at + block.length_bytes
            });
            assert_eq!(end, size as u64);
        }
    }

    #[test]
    fn a_run_of_bad_sectors_across_buffers_is_one_fault_and_its_blocks_are_marked() {
        let bad: Vec<u64> = (2040..2056).chain([5000]).collect();
        let mut device = faulty(3_000_320, &bad);
        let (summary, blocks) = run(&mut device, 3_000_320);
        let mut expected = device.bytes.clone();
        bad.iter().for_each(|&s| expected[s as usize * 512..][..512].fill(0));
        assert_eq!(summary.sha256, Sha256Digest::of(&expected));
        assert_eq!(summary.filled_blocks, [1, 2, 4]);
        assert_eq!(summary.faults_total, 2);
        assert_eq!(summary.faults[0].length_bytes, 16 * 512);
        let marked: Vec<_> = blocks.iter().filter(|b| b.filled).map(|b| b.index).collect();
        assert_eq!(marked, summary.filled_blocks);
    }

    #[test]
    fn a_caller_that_takes_no_more_ends_the_pass() {
        let mut device = faulty(64 * 1024 * 1024, &[]);
        let mut taken = 0;
        let result = hash(&mut device, 64 * 1024 * 1024, 512, |_| {
            taken += 1;
            if taken < 3 { Ok(()) } else { Err("enough") }
        });
        assert!(matches!(result, Err(HashError::Refused("enough"))));
        assert!(device.reads <= 2 * SLABS, "{} reads", device.reads);
    }

    #[test]
    fn a_thousand_and_more_faults_are_counted_but_not_kept() {
        let bad: Vec<u64> = (0..3000).map(|n| n * 2).collect();
        let mut device = faulty(6000 * 512, &bad);
        let (summary, _) = run(&mut device, 6000 * 512);
        assert_eq!(summary.faults.len(), MAX_LISTED);
        assert_eq!(summary.faults_total, 3000);
    }
}
