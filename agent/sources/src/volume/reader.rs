//! Reading a volume: direct I/O into aligned memory, and what to do about sectors that fail.
//!
//! Direct reads bypass the page cache, so what the host has cached stays cached. Where the file
//! system cannot do that, reads fall back to ones that drop the pages they brought in. Never
//! writes, never skips: a sector that cannot be read is replaced by zeros in its place.

use super::Device;
use crate::sys;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::Serialize;
use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
};

/// Alignment of direct I/O, in bytes: fits every device with sectors up to 4 KiB.
pub const ALIGNMENT: usize = 4096;
/// First step down after a failed read, in bytes; the second is the sector.
const RETRY_BYTES: usize = 4096;
/// Bytes of one read that comes into memory that is not aligned.
const BOUNCE_BYTES: usize = 64 * 1024;

/// Memory whose begin is aligned for direct I/O.
#[derive(Debug)]
pub struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// Zeroed memory of `length` bytes, aligned to `alignment` (a power of two).
    pub fn new(length: usize, alignment: usize) -> Self {
        let alignment = alignment.max(ALIGNMENT).next_power_of_two();
        let memory = vec![0; length + alignment];
        let start = memory.as_ptr().align_offset(alignment);
        Self { memory, start, length }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let end = self.start.saturating_add(self.length);
        self.memory.get(self.start..end).unwrap_or_default()
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.start.saturating_add(self.length);
        self.memory.get_mut(self.start..end).unwrap_or_default()
    }
}

/// An open device or image file.
#[derive(Debug)]
pub struct VolumeFile {
    file: File,
    direct: bool,
    alignment: usize,
    bounce: Option<Aligned>,
}

impl VolumeFile {
    /// Of a file that is open for reading, with O_DIRECT when `direct`; `sector_bytes` is what
    /// direct reads are aligned to, at least.
    pub fn new(file: File, direct: bool, sector_bytes: u32) -> Self {
        let sector = usize::try_from(sector_bytes).unwrap_or(ALIGNMENT);
        Self { file, direct, alignment: sector.max(ALIGNMENT), bounce: None }
    }

    /// True while reads bypass the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn read_aligned(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.direct {
            match self.file.read_at(into, offset) {
                // The file system takes no direct reads after all, or not at this place (the odd
                // end of a file): from here on through the cache, with pages dropped.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.leave_direct()?,
                other => return other,
            }
        }
        sys::file::read_at_uncached(self.file.as_fd(), into, offset)
    }

    fn leave_direct(&mut self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.file, FcntlArg::F_GETFL)?);
        fcntl(&self.file, FcntlArg::F_SETFL(flags - OFlag::O_DIRECT))?;
        self.direct = false;
        Ok(())
    }
}

impl Device for VolumeFile {
    fn read_at(&mut self, offset_bytes: u64, into: &mut [u8]) -> io::Result<usize> {
        if !self.direct || into.as_ptr().align_offset(ALIGNMENT) == 0 {
            return self.read_aligned(offset_bytes, into);
        }
        let mut bounce =
            self.bounce.take().unwrap_or_else(|| Aligned::new(BOUNCE_BYTES, self.alignment));
        let length = into.len().min(BOUNCE_BYTES);
        let result = match bounce.bytes_mut().get_mut(..length) {
            Some(space) => self.read_aligned(offset_bytes, space),
            None => Ok(0),
        };
        if let Ok(read) = result
            && let (Some(to), Some(from)) = (into.get_mut(..read), bounce.bytes().get(..read))
        {
            to.copy_from_slice(from);
        }
        self.bounce = Some(bounce);
        result
    }
}

/// A run of bytes that could not be read and is zeros in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where it begins.
    pub offset_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
    /// The system's error number; `None` where the volume ended before its size.
    pub errno: Option<i32>,
    /// The same in words.
    pub why: String,
}

impl Fault {
    /// True when `next` continues this run.
    pub fn joins(&self, next: &Self) -> bool {
        self.errno == next.errno && self.offset_bytes + self.length_bytes == next.offset_bytes
    }
}

/// Reads `length` bytes from `offset` into the begin of `into` (which has room for whole sectors).
/// A read that fails is done again in pieces of 4 KiB, and those that fail by sector; what fails
/// then is zeros, and a fault.
pub fn read_span(
    device: &mut dyn Device,
    offset: u64,
    length: usize,
    into: &mut [u8],
    sector_bytes: usize,
) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let sector = sector_bytes.max(1);
    let mut span = Span { device, offset, length, into, sector };
    let mut done = 0;
    while done < length {
        // After the first failure the rest goes in small pieces: a large read that ends in the
        // same bad sector again and again would cost more than it saves.
        let piece = if faults.is_empty() {
            length
        } else {
            (done + 1).next_multiple_of(RETRY_BYTES).min(length)
        };
        match span.read(done, piece) {
            Ok(0) => {
                span.fail(done, length, None, &mut faults);
                break;
            }
            Ok(read) => done = done.saturating_add(read).min(length),
            Err(_) => {
                let end = (done + 1).next_multiple_of(RETRY_BYTES).min(length);
                done = span.small(done, end, &mut faults);
            }
        }
    }
    faults
}

struct Span<'a> {
    device: &'a mut dyn Device,
    offset: u64,
    length: usize,
    into: &'a mut [u8],
    sector: usize,
}

impl Span<'_> {
    /// One read of `from..to`, rounded up to whole sectors.
    fn read(&mut self, from: usize, to: usize) -> io::Result<usize> {
        let whole = from + (to - from).next_multiple_of(self.sector);
        let room = whole.min(self.into.len());
        let Some(space) = self.into.get_mut(from..room) else {
            return Ok(0);
        };
        loop {
            match self.device.read_at(self.offset + from as u64, space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Reads `from..to` (4 KiB at most) whole, else sector by sector; where it ended.
    fn small(&mut self, from: usize, to: usize, faults: &mut Vec<Fault>) -> usize {
        if let Ok(read @ 1..) = self.read(from, to) {
            return from.saturating_add(read).min(self.length);
        }
        let mut at = from;
        while at < to {
            let next = (at + 1).next_multiple_of(self.sector).min(to);
            match self.read(at, next) {
                Ok(0) => {
                    self.fail(at, self.length, None, faults);
                    return self.length;
                }
                Ok(read) => at = at.saturating_add(read).min(to),
                Err(error) => {
                    self.fail(at, next, Some(error), faults);
                    at = next;
                }
            }
        }
        at
    }

    fn fail(&mut self, from: usize, to: usize, error: Option<io::Error>, faults: &mut Vec<Fault>) {
        if let Some(space) = self.into.get_mut(from..to) {
            space.fill(0);
        }
        let ended = "the volume ends before its size";
        let fault = Fault {
            offset_bytes: self.offset + from as u64,
            length_bytes: (to - from) as u64,
            errno: error.as_ref().and_then(io::Error::raw_os_error),
            why: error.map_or_else(|| ended.to_owned(), |error| error.to_string()),
        };
        match faults.last_mut() {
            Some(last) if last.joins(&fault) => last.length_bytes += fault.length_bytes,
            _ => faults.push(fault),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A device in memory with bad sectors, short reads and an early end.
    pub(crate) struct Faulty {
        pub(crate) bytes: Vec<u8>,
        pub(crate) bad: BTreeSet<u64>,
        pub(crate) most: usize,
        pub(crate) reads: usize,
    }

    impl Device for Faulty {
        fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            assert_eq!(offset % 512, 0, "aligned offset");
            assert_eq!(into.len() % 512, 0, "aligned length");
            self.reads += 1;
            let whole = into.len().min(self.most);
            let sectors = offset / 512..(offset + whole as u64).div_ceil(512);
            if self.bad.range(sectors).next().is_some() {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            (&self.bytes[..]).read_at(offset, &mut into[..whole])
        }
    }

    pub(crate) fn faulty(length: usize, bad: &[u64]) -> Faulty {
        Faulty {
            bytes: (0..length).map(|n| (n / 512 % 251) as u8 + 1).collect(),
            bad: bad.iter().copied().collect(),
            most: usize::MAX,
            reads: 0,
        }
    }

    fn read(device: &mut Faulty, offset: u64, length: usize) -> (Vec<u8>, Vec<Fault>) {
        let mut into = vec![0xee; length.next_multiple_of(4096)];
        let faults = read_span(device, offset, length, &mut into, 512);
        into.truncate(length);
        (into, faults)
    }

    #[test]
    fn only_the_bad_sector_is_zero_and_the_rest_keeps_its_place() {
        let mut device = faulty(64 * 1024, &[11, 12, 100]);
        let (bytes, faults) = read(&mut device, 0, 64 * 1024);
        let mut expected = device.bytes.clone();
        expected[11 * 512..13 * 512].fill(0);
        expected[100 * 512..101 * 512].fill(0);
        assert_eq!(bytes, expected);
        let places: Vec<_> =
            faults.iter().map(|f| (f.offset_bytes, f.length_bytes, f.errno)).collect();
        assert_eq!(places, [(11 * 512, 1024, Some(libc::EIO)), (100 * 512, 512, Some(libc::EIO))]);
        assert!(device.reads < 1 + 16 + 16 + 4, "{} reads", device.reads);
    }

    #[test]
    fn a_volume_that_ends_early_is_filled_to_its_size() {
        let mut device = faulty(10_240, &[]);
        let (bytes, faults) = read(&mut device, 4096, 16_384);
        assert_eq!(bytes[..6144], device.bytes[4096..]);
        assert!(bytes[6144..].iter().all(|&b| b == 0));
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].offset_bytes, faults[0].length_bytes), (10_240, 10_240));
        assert_eq!(faults[0].errno, None);
    }

    #[test]
    fn aligned_memory_is_aligned() {
        for alignment in [512, 4096, 65_536] {
            let memory = Aligned::new(1_000_000, alignment);
            assert_eq!(memory.bytes().len(), 1_000_000);
            assert_eq!(memory.bytes().as_ptr() as usize % alignment.max(4096), 0);
        }
    }

    proptest! {
        #[test]
        fn any_bad_sectors_and_short_reads_give_zeros_exactly_there(
            bad in proptest::collection::btree_set(0u64..128, 0..40),
            most in 1usize..80, length in 1usize..=65_536
        ) {
            let mut device = faulty(65_536, &[]);
            device.bad = bad.clone();
            device.most = most * 512;
            let (bytes, faults) = read(&mut device, 0, length);
            for (at, byte) in bytes.iter().enumerate() {
                let sector = at as u64 / 512;
                let expected = if bad.contains(&sector) { 0 } else { device.bytes[at] };
                prop_assert_eq!(*byte, expected, "byte {}", at);
                let inside = |f: &Fault| (f.offset_bytes..f.offset_bytes + f.length_bytes).contains(&(at as u64));
                prop_assert_eq!(faults.iter().any(inside), bad.contains(&sector));
            }
        }
    }
}
