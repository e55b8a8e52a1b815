//! Writes a host's tar, streaming: what is in memory is names, never bytes of files. Each blob is
//! hashed once more on its way; one that differs from its seal ends the export.

use super::{
    bodyfile,
    root::{ROOT, Root, link, placeable},
};
use crate::tar::{
    BLOCK,
    header::{Dialect, Kind, Member, encode},
    padding,
};
use crate::{BundleError, copy::Copier, item::Item};
use cleanroom_evidence::{FileKind, FileMeta, RawBytes};
use flate2::{Compression, write::GzEncoder};
use std::{collections::BTreeSet, io, io::Write};

/// What goes into one host's tar.
pub struct HostTar<'a> {
    /// The session's items.
    pub items: &'a [Item],
    /// Where its files stand.
    pub root: &'a Root,
    /// Text of `uac.log`.
    pub log: &'a str,
    /// Record sets: category and file name under `live_response/`, and the items that are its
    /// parts, in order.
    pub live: &'a [(String, Vec<usize>)],
    /// Time of the members that cleanroom itself makes, seconds since 1970 UTC.
    pub made_at: i64,
}

impl HostTar<'_> {
    /// Writes the compressed tar.
    pub fn write(&self, blobs: &Copier<'_>, out: &mut dyn Write) -> Result<(), BundleError> {
        let mut gz = GzEncoder::new(out, Compression::fast());
        self.own(&mut gz, "uac.log", self.log.len() as u64, &mut |out| {
            Ok(out.write_all(self.log.as_bytes())?)
        })?;
        for (name, parts) in self.live {
            let parts: Vec<&Item> = parts.iter().filter_map(|at| self.items.get(*at)).collect();
            let size = blobs.joined_length(&parts)?;
            self.own(&mut gz, &format!("live_response/{name}"), size, &mut |out| {
                blobs.join(&parts, out)
            })?;
        }
        let mut length = Counting(0);
        self.bodyfile(&mut length)?;
        self.own(&mut gz, "bodyfile/bodyfile.txt", length.0, &mut |out| self.bodyfile(out))?;
        self.folders(&mut gz)?;
        for (name, index) in self.root.iter() {
            if let Some(item) = self.items.get(index)
                && let Some(meta) = placeable(item)
            {
                self.file(&mut gz, blobs, name, item, meta)?;
            }
        }
        gz.write_all(&[0; 2 * BLOCK])?;
        gz.finish()?;
        Ok(())
    }

    /// A host tar that holds not one of these folders is taken for "some Unix" by dissect.target;
    /// they are on every Linux host, and `uac.log` says that they were not collected.
    fn folders(&self, out: &mut dyn Write) -> Result<(), BundleError> {
        for name in ["etc", "run", "var"] {
            if !self.root.holds(name.as_bytes()) {
                let name = format!("{ROOT}{name}/");
                out.write_all(&encode(&self.made(&name, Kind::Directory, 0), Dialect::Gnu))?;
            }
        }
        Ok(())
    }

    fn made<'n>(&self, name: &'n str, kind: Kind, size: u64) -> Member<'n> {
        Member {
            name: name.as_bytes(),
            kind,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            size,
            mtime: self.made_at,
            link: b"",
        }
    }

    /// A member that cleanroom makes; `size` must be what `content` writes.
    fn own(
        &self,
        out: &mut dyn Write,
        name: &str,
        size: u64,
        content: &mut dyn FnMut(&mut dyn Write) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        out.write_all(&encode(&self.made(name, Kind::File, size), Dialect::Gnu))?;
        content(out)?;
        pad(out, size)
    }

    fn file(
        &self,
        out: &mut dyn Write,
        blobs: &Copier<'_>,
        name: &[u8],
        item: &Item,
        meta: &FileMeta,
    ) -> Result<(), BundleError> {
        let mut name = [ROOT.as_bytes(), name].concat();
        let target = link(meta).unwrap_or_default();
        let (kind, size, link) = match meta.kind {
            FileKind::Directory => (Kind::Directory, 0, &b""[..]),
            FileKind::Symlink => (Kind::Symlink, 0, target.as_slice()),
            _ => (Kind::File, item.seal.length_bytes, &b""[..]),
        };
        if kind == Kind::Directory {
            name.push(b'/');
        }
        let member = Member {
            name: &name,
            kind,
            mode: meta.mode & 0o7777,
            uid: meta.uid,
            gid: meta.gid,
            size,
            mtime: meta.modified.unix_seconds,
            link,
        };
        out.write_all(&encode(&member, Dialect::Gnu))?;
        if kind == Kind::File {
            blobs.copy(item, out)?;
            pad(out, size)?;
        }
        Ok(())
    }

    /// One line per path with metadata, the last read of each, the latest first.
    fn bodyfile(&self, out: &mut dyn Write) -> Result<(), BundleError> {
        let mut seen: BTreeSet<&RawBytes> = BTreeSet::new();
        for item in self.items.iter().rev() {
            if let Some(meta) = &item.header.file
                && seen.insert(&item.header.name)
            {
                out.write_all(bodyfile::line(item.header.name.as_bytes(), meta).as_bytes())?;
            }
        }
        Ok(())
    }
}

fn pad(out: &mut dyn Write, size: u64) -> Result<(), BundleError> {
    let zeros = [0u8; BLOCK];
    Ok(out.write_all(zeros.get(..padding(size)).unwrap_or_default())?)
}

struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
