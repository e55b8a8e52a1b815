//! File times, from the metadata that comes with each file item. Times that are equal make one
//! event, named after all of its meanings, as a mactime line does.

use super::{Kind, Moment};
use cleanroom_evidence::{FileKind, ItemHeader, ItemKind, Timestamp, escape};

pub(super) struct Files;

/// Every combination of modified, accessed, changed and born, by its bits (1, 2, 4, 8).
const NAMES: [&str; 16] = [
    "",
    "File Modified",
    "File Accessed",
    "File Modified, Accessed",
    "File Changed",
    "File Modified, Changed",
    "File Accessed, Changed",
    "File Modified, Accessed, Changed",
    "File Born",
    "File Modified, Born",
    "File Accessed, Born",
    "File Modified, Accessed, Born",
    "File Changed, Born",
    "File Modified, Changed, Born",
    "File Accessed, Changed, Born",
    "File Modified, Accessed, Changed, Born",
];

impl Kind for Files {
    fn name(&self) -> &'static str {
        "file"
    }

    fn descriptions(&self) -> &'static [&'static str] {
        NAMES.get(1..).unwrap_or_default()
    }

    fn in_header(&self, header: &ItemHeader) -> Vec<Moment> {
        let (ItemKind::File, Some(meta)) = (header.kind, &header.file) else {
            return Vec::new();
        };
        let mut times: Vec<(Timestamp, usize)> = Vec::new();
        let stated = [
            (Some(meta.modified), 1),
            (Some(meta.accessed), 2),
            (Some(meta.changed), 4),
            (meta.born, 8),
        ];
        for (time, bit) in stated {
            let Some(time) = time else { continue };
            match times.iter_mut().find(|(known, _)| *known == time) {
                Some((_, bits)) => *bits |= bit,
                None => times.push((time, bit)),
            }
        }
        let kind = match meta.kind {
            FileKind::Regular => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "link",
            FileKind::Fifo => "pipe",
            FileKind::Socket => "socket",
            FileKind::Block => "block device",
            FileKind::Char => "character device",
        };
        let message = format!(
            "{} ({kind}, mode {:04o}, owner {}:{}, {} bytes, inode {})",
            escape(header.name.as_bytes()),
            meta.mode,
            meta.uid,
            meta.gid,
            meta.size_bytes,
            meta.inode,
        );
        let moment = |(time, bits): (Timestamp, usize)| Moment {
            time,
            description: NAMES.get(bits).copied().unwrap_or_default(),
            message: message.clone(),
        };
        times.into_iter().map(moment).collect()
    }
}
