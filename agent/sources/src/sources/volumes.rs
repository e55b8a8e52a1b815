//! Source `volumes`: size, partition table and hashes of whole block devices and image files.
//!
//! Without named volumes it only lists the disk of the running root file system. Devices are
//! opened for reading, never for writing, and read past the page cache.

use crate::{
    Emitter, Host, Opened, Options, SinkClosed, Source, Volatility, sys,
    volume::{
        PartitionTable,
        device::{self, Facts},
        hash::{BLOCK_BYTES, Block, HashError, Summary, hash},
        partition_table,
        reader::{Fault, VolumeFile},
    },
};
use cleanroom_evidence::{FileKind, ItemStatus, Outcome, RawBytes, Sha256Digest};
use serde::Serialize;
use std::{
    fmt::Write as _,
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    time::Instant,
};

/// The record set.
const SET: &str = "volumes";
/// Text of the block list that is kept before it is given on, in bytes.
const LINES_BYTES: usize = 64 * 1024;
/// Smallest piece that is tried where the volume does not say its sector size (an image).
const DEFAULT_SECTOR: u32 = 512;

/// Whole volumes.
pub struct Volumes;

impl Source for Volumes {
    fn name(&self) -> &'static str {
        "volumes"
    }

    fn about(&self) -> &'static str {
        "size, partition table and SHA-256 (whole and per 512 KiB) of the volumes that are named"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Volume
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if options.volumes.is_empty() {
            return inventory(host, out);
        }
        // The names are the responder's own paths, also when the host is a mounted image.
        let live = match Host::live() {
            Ok(live) => live,
            Err(error) => return Ok(Outcome::Failed(format!("open /: {error}"))),
        };
        for path in &options.volumes {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let path = path.as_os_str().as_bytes();
            match open(&live, path) {
                Ok(volume) => volume.capture(&live, path, true, out)?,
                Err(error) => {
                    out.gap_io("open volume", path, &error);
                    out.record(SET, &Record::unopened(path, &error))?;
                }
            }
        }
        out.outcome()
    }
}

/// The disks below `/`: what they are, not their bytes.
fn inventory(host: &Host, out: &mut Emitter<'_>) -> Result<Outcome, SinkClosed> {
    if !host.is_live() {
        let why = "a mounted image has no disk of its own: name it with --volume";
        return Ok(Outcome::Absent(why.to_owned()));
    }
    let disks = match device::root_disks(host) {
        Ok(disks) => disks,
        Err(error) => return Ok(Outcome::Absent(format!("root disk: {error}"))),
    };
    for (number, name) in disks {
        let path = format!("/dev/{name}").into_bytes();
        let opened = open(host, &path).and_then(|volume| match &volume.number {
            // The name in /dev may lead elsewhere than sysfs says.
            Some(found) if *found == number => Ok(volume),
            _ => Err(io::Error::other(format!("is not the device {number}"))),
        });
        match opened {
            Ok(volume) => volume.capture(host, &path, false, out)?,
            Err(error) => {
                out.gap_io("open volume", &path, &error);
                let mut record = Record::unopened(&path, &error);
                record.size_bytes = device::size_bytes(host, &number);
                record.facts = device::facts(host, &number).unwrap_or_default();
                record.device = Some(number);
                out.record(SET, &record)?;
            }
        }
    }
    out.outcome()
}

/// One line of the set.
#[derive(Debug, Default, Serialize)]
struct Record {
    path: RawBytes,
    /// `major:minor`; absent for an image file.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(flatten)]
    facts: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sector_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    physical_sector_bytes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_table: Option<PartitionTable>,
    hashed: bool,
    #[serde(flatten)]
    hashes: Option<Hashes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct Hashes {
    sha256: Sha256Digest,
    block_bytes: u64,
    blocks: u64,
    /// The raw item that lists them.
    blocks_item: RawBytes,
    filled_blocks: Vec<u64>,
    filled_blocks_total: u64,
    errors: Vec<Fault>,
    errors_total: u64,
    seconds: f64,
    /// False where reads went through the page cache.
    direct_io: bool,
    /// Bytes that the host wrote to the device during the pass: with any, the digests are those
    /// of a moving target.
    #[serde(skip_serializing_if = "Option::is_none")]
    written_meanwhile_bytes: Option<u64>,
    /// An image file's size or time of change differs after the pass.
    changed_meanwhile: bool,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    what: &'static str,
    why: String,
}

impl Record {
    fn unopened(path: &[u8], error: &io::Error) -> Self {
        Self {
            path: path.into(),
            unreadable: vec![Unreadable { what: "volume", why: error.to_string() }],
            ..Self::default()
        }
    }

    /// Records a part that could not be read, here and as a gap of the source.
    fn miss(&mut self, out: &mut Emitter<'_>, what: &'static str, why: String) {
        out.gap(what, self.path.as_bytes(), &why);
        self.unreadable.push(Unreadable { what, why });
    }
}

/// An open volume and what must be known to read it.
struct Volume {
    file: VolumeFile,
    number: Option<String>,
    size_bytes: u64,
    sector_bytes: Option<u32>,
    modified: cleanroom_evidence::Timestamp,
}

fn open(host: &Host, path: &[u8]) -> io::Result<Volume> {
    let (Opened { file, meta }, direct) = match host.open_volume(path, true) {
        // A file system without direct I/O says so when the file is opened.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (host.open_volume(path, false)?, false)
        }
        opened => (opened?, true),
    };
    if meta.kind != FileKind::Block {
        let now = sys::file::metadata(file.as_fd(), c"")?;
        return Ok(Volume {
            file: VolumeFile::new(file, direct, DEFAULT_SECTOR),
            number: None,
            size_bytes: now.size_bytes,
            sector_bytes: None,
            modified: now.modified,
        });
    }
    let number = nix::sys::stat::fstat(&file)?.st_rdev;
    let number = format!("{}:{}", libc::major(number), libc::minor(number));
    let size_bytes = sys::block::size_bytes(file.as_fd())?;
    let sector = sys::block::sector_bytes(file.as_fd())?;
    Ok(Volume {
        file: VolumeFile::new(file, direct, sector),
        number: Some(number),
        size_bytes,
        sector_bytes: Some(sector),
        modified: meta.modified,
    })
}

impl Volume {
    fn capture(
        mut self,
        host: &Host,
        path: &[u8],
        whole: bool,
        out: &mut Emitter<'_>,
    ) -> Result<(), SinkClosed> {
        let mut record = Record {
            path: path.into(),
            device: self.number.clone(),
            size_bytes: Some(self.size_bytes),
            sector_bytes: self.sector_bytes,
            ..Record::default()
        };
        if let Some(number) = &self.number {
            match device::facts(host, number) {
                Ok(facts) => record.facts = facts,
                Err(error) => record.miss(out, "read sysfs", error.to_string()),
            }
            let file = self.file.file();
            record.physical_sector_bytes = sys::block::physical_sector_bytes(file.as_fd()).ok();
        }
        match partition_table(&mut self.file, self.size_bytes, self.sector_bytes) {
            Ok(table) => record.partition_table = Some(table),
            Err(error) => record.miss(out, "read partition table", error.to_string()),
        }
        if whole {
            self.hash(host, &mut record, out)?;
        }
        out.record(SET, &record)
    }

    /// The pass over all bytes: the block list as an item, the sums into the record.
    fn hash(
        &mut self,
        host: &Host,
        record: &mut Record,
        out: &mut Emitter<'_>,
    ) -> Result<(), SinkClosed> {
        let name = [b"volume-blocks:", record.path.as_bytes()].concat();
        let (size, block) = (self.size_bytes.to_string(), BLOCK_BYTES.to_string());
        let labels = [("size_bytes", &*size), ("block_bytes", &*block)];
        let written = |number: &Option<String>| {
            let number = number.as_deref()?;
            device::written_bytes(host, number)
        };
        let written_before = written(&self.number);
        let began = Instant::now();
        let sector = self.sector_bytes.unwrap_or(DEFAULT_SECTOR);
        let mut stream = out.raw_stream(&name, &labels)?;
        let mut lines = String::new();
        let result = hash(&mut self.file, self.size_bytes, sector, |block| {
            push_line(&mut lines, block);
            if lines.len() < LINES_BYTES {
                return Ok(());
            }
            let result = stream.write(lines.as_bytes());
            lines.clear();
            result
        });
        let summary = match result {
            Ok(summary) => summary,
            Err(HashError::Refused(closed)) => return Err(closed),
            Err(error) => {
                let why = chain(&error);
                stream.write(lines.as_bytes())?;
                stream.end(ItemStatus::Partial(why.clone()))?;
                record.miss(out, "hash volume", why);
                return Ok(());
            }
        };
        stream.write(lines.as_bytes())?;
        stream.end(ItemStatus::Whole)?;
        for fault in &summary.faults {
            out.gap("read volume", record.path.as_bytes(), &fault.why);
        }
        record.hashed = true;
        record.hashes = Some(Hashes {
            written_meanwhile_bytes: written(&self.number)
                .zip(written_before)
                .map(|(after, before)| after.saturating_sub(before)),
            changed_meanwhile: self.changed(),
            direct_io: self.file.is_direct(),
            ..Hashes::of(summary, name, began)
        });
        Ok(())
    }

    fn changed(&self) -> bool {
        if self.number.is_some() {
            let size = sys::block::size_bytes(self.file.file().as_fd());
            return !size.is_ok_and(|size| size == self.size_bytes);
        }
        let now = sys::file::metadata(self.file.file().as_fd(), c"");
        !now.is_ok_and(|now| now.size_bytes == self.size_bytes && now.modified == self.modified)
    }
}

impl Hashes {
    fn of(summary: Summary, blocks_item: Vec<u8>, began: Instant) -> Self {
        Self {
            sha256: summary.sha256,
            block_bytes: BLOCK_BYTES as u64,
            blocks: summary.blocks,
            blocks_item: blocks_item.into(),
            filled_blocks: summary.filled_blocks,
            filled_blocks_total: summary.filled_blocks_total,
            errors: summary.faults,
            errors_total: summary.faults_total,
            seconds: began.elapsed().as_secs_f64(),
            direct_io: false,
            written_meanwhile_bytes: None,
            changed_meanwhile: false,
        }
    }
}

fn push_line(lines: &mut String, block: &Block) {
    let Block { index, offset_bytes, length_bytes, sha256, filled } = block;
    let mark = if *filled { " filled" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(lines, "{index} {offset_bytes} {length_bytes} {sha256}{mark}");
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
