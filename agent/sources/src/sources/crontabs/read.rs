//! The raw half of the source: which files there are, their bytes to the sink, their beginnings
//! kept for the records.

use super::{HEAD_BYTES, MAX_FILES, PENDING_BYTES, Run};
use crate::{
    FileRead, SinkClosed,
    cron::{layout::Place, lines::Loaded},
};
use cleanroom_evidence::FileKind;

impl Run<'_, '_, '_> {
    pub(super) fn raw(&mut self, place: &str, label: &str) -> Result<(), SinkClosed> {
        for path in self.paths(place)? {
            self.out.file(self.scene.host, &path, &[("place", label)], self.max_bytes, 0)?;
        }
        Ok(())
    }

    /// One path, or the paths of a directory's files (subdirectories are left out).
    fn paths(&mut self, place: &str) -> Result<Vec<Vec<u8>>, SinkClosed> {
        let Some((directory, start)) = place.rsplit_once('/') else {
            return Ok(Vec::new());
        };
        let start = match (start, start.strip_suffix('*')) {
            ("", _) => "",
            (_, Some(start)) => start,
            _ => return Ok(vec![place.as_bytes().to_vec()]),
        };
        let entries = match self.scene.host.list(directory.as_bytes()) {
            Ok(entries) => entries,
            Err(error) => {
                if !matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) {
                    self.out.gap_io("list", directory.as_bytes(), &error);
                }
                return Ok(Vec::new());
            }
        };
        let files = entries.into_iter().filter(|entry| {
            entry.kind != Some(FileKind::Directory) && entry.name.starts_with(start.as_bytes())
        });
        let mut paths: Vec<_> =
            files.map(|entry| [directory.as_bytes(), b"/", &entry.name].concat()).collect();
        if paths.len() > MAX_FILES {
            let reason = format!("more than {MAX_FILES} files: the rest was not taken");
            self.out.gap("list", directory.as_bytes(), &reason);
            paths.truncate(MAX_FILES);
        }
        Ok(paths)
    }

    pub(super) fn place(&mut self, place: &str, kind: Place) -> Result<(), SinkClosed> {
        for path in self.paths(place)? {
            if let Some(loaded) = self.load(path, kind)? {
                self.pending_bytes += loaded.head.len();
                self.pending.push(loaded);
            }
            if self.pending_bytes > PENDING_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Gives the raw file (of a link: the link and its target) and keeps its first bytes.
    fn load(&mut self, path: Vec<u8>, place: Place) -> Result<Option<Loaded>, SinkClosed> {
        let labels = [("place", place.name())];
        let keep = if place == Place::Periodic { 0 } else { HEAD_BYTES };
        let host = self.scene.host;
        let mut link = None;
        let mut read = self.out.file(host, &path, &labels, self.max_bytes, keep)?;
        if let FileRead::Unread(meta) = &read
            && meta.kind == FileKind::Symlink
        {
            link = Some(meta.clone());
            match host.resolve(&path) {
                Ok(target) => {
                    read = self.out.file(host, &target, &labels, self.max_bytes, keep)?;
                    if read == FileRead::Missing {
                        self.out.gap("follow link", &path, "it points to nothing");
                    }
                }
                Err(error) => {
                    self.out.gap_io("follow link", &path, &error);
                    read = FileRead::Missing;
                }
            }
        }
        let (meta, head, whole) = match (read, &link) {
            (FileRead::Read { meta, head, whole, .. }, _) => {
                let parsed = head.len() as u64 >= meta.size_bytes.min(self.max_bytes);
                if !parsed && keep > 0 {
                    self.out.gap("parse", &path, "only its first 4 MiB were parsed");
                }
                (meta, head, whole && parsed)
            }
            (FileRead::Unread(meta), _) => {
                if meta.kind == FileKind::Directory {
                    return Ok(None);
                }
                if meta.kind != FileKind::Regular {
                    self.out.gap("read", &path, "not a regular file: only its metadata was taken");
                }
                (meta, Vec::new(), false)
            }
            (FileRead::Missing, Some(link)) => (link.clone(), Vec::new(), false),
            (FileRead::Missing, None) => return Ok(None),
        };
        Ok(Some(Loaded { path, place, link, meta, head, whole }))
    }
}
