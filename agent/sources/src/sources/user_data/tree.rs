//! The files of cloud-init: four places, walked whole within bounds, links recorded and what they
//! lead to outside those places taken too.

use super::parts::{Parts, TEXT_BYTES};
use crate::{Emitter, FileRead, Host, Options, SinkClosed};
use cleanroom_evidence::{FileKind, Limits, escape};
use std::collections::{HashSet, VecDeque};

/// The places, the shortest-lived first. A place is walked with all that is below it.
const PLACES: &[(&str, &str)] =
    &[("/run/cloud-init", "run"), ("/var/lib/cloud", "state"), ("/etc/cloud", "configuration")];
/// Where the logs lie, and how their names begin.
const LOGS: (&[u8], &[u8]) = (b"/var/log", b"cloud-init");
/// Directories inside each other at most.
const MAX_DEPTH: usize = 16;
/// Paths of the places at most: a host of one instance id has some hundred.
const MAX_PATHS: u64 = 20_000;
/// Paths at most that only links lead to.
const MAX_LINKED_PATHS: u64 = 2_000;

/// Names of texts that are user data or vendor data as the datasource gave them.
const TEXTS: &[&[u8]] =
    &[b"user-data.txt", b"user-data", b"vendor-data.txt", b"vendor-data", b"vendor-data2.txt"];
/// Parts of names whose content may be secret.
const SENSITIVE: &[&[u8]] = &[
    b"sensitive",
    b"user-data",
    b"vendor-data",
    b"cloud-config.txt",
    b"combined-cloud-config",
    b"obj.pkl",
    b"part-",
];

struct Walk<'w, 's> {
    host: &'w Host,
    max_file_bytes: u64,
    parts: &'w mut Parts,
    out: &'w mut Emitter<'s>,
    /// Paths emitted, so that a link to one of them gives it no second time.
    seen: HashSet<Vec<u8>>,
    /// What cloud-init made of texts with includes or archives in them.
    processed: HashSet<Vec<u8>>,
    /// Targets of links outside the places, and the link.
    outside: VecDeque<(Vec<u8>, Vec<u8>)>,
    room: u64,
    said_full: bool,
}

/// Emits the files; how many paths there were.
pub(super) fn collect(
    host: &Host,
    options: &Options,
    parts: &mut Parts,
    out: &mut Emitter<'_>,
) -> Result<u64, SinkClosed> {
    let mut walk = Walk {
        host,
        max_file_bytes: options.max_file_bytes,
        parts,
        out,
        seen: HashSet::new(),
        processed: HashSet::new(),
        outside: VecDeque::new(),
        room: MAX_PATHS,
        said_full: false,
    };
    for (path, place) in PLACES {
        walk.below(path.as_bytes(), &[("place", place)])?;
    }
    walk.logs()?;
    walk.room = MAX_LINKED_PATHS;
    walk.said_full = false;
    while let Some((path, from)) = walk.outside.pop_front() {
        let from = bounded_label(&from);
        walk.below(&path, &[("place", "linked"), ("linked_from", &from)])?;
    }
    Ok(walk.seen.len() as u64)
}

impl Walk<'_, '_> {
    fn logs(&mut self) -> Result<(), SinkClosed> {
        let (directory, prefix) = LOGS;
        let names = match self.host.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.out.gap_io("list", directory, &error);
                return Ok(());
            }
        };
        for entry in names.iter().filter(|e| e.name.starts_with(prefix)) {
            let path = [directory, b"/", &entry.name].concat();
            self.below(&path, &[("place", "log")])?;
        }
        Ok(())
    }

    /// Emits a path and, for a directory, all that is below it.
    fn below(&mut self, path: &[u8], labels: &[(&str, &str)]) -> Result<(), SinkClosed> {
        let mut pending = vec![(path.to_vec(), 0usize)];
        while let Some((path, depth)) = pending.pop() {
            if self.seen.contains(&path) {
                continue;
            }
            if self.room == 0 {
                self.say_full(&path);
                return Ok(());
            }
            match self.emit(&path, labels)? {
                Some(FileKind::Directory) if depth >= MAX_DEPTH => {
                    let reason = format!("more than {MAX_DEPTH} directories deep");
                    self.out.gap("walk", &path, &reason);
                }
                Some(FileKind::Directory) => match self.host.list(&path) {
                    Ok(entries) => {
                        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
                        if entries.len() > room {
                            self.say_full(&path);
                        }
                        let joined = |name: &[u8]| [&path, &b"/"[..], name].concat();
                        let below = entries.iter().take(room).rev();
                        pending.extend(below.map(|entry| (joined(&entry.name), depth + 1)));
                    }
                    Err(error) => self.out.gap_io("list", &path, &error),
                },
                Some(FileKind::Symlink) => self.note_target(&path),
                _ => {}
            }
        }
        Ok(())
    }

    fn say_full(&mut self, path: &[u8]) {
        if !std::mem::replace(&mut self.said_full, true) {
            self.out.gap("walk", path, "too many paths: the rest was left");
        }
    }

    /// Emits one path; what it is, or `None` where nothing is there.
    fn emit(
        &mut self,
        path: &[u8],
        labels: &[(&str, &str)],
    ) -> Result<Option<FileKind>, SinkClosed> {
        let name = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        let is_text = TEXTS.contains(&name) || self.processed.contains(path);
        let keep = if is_text { TEXT_BYTES } else { 0 };
        let mut labels = labels.to_vec();
        if SENSITIVE.iter().any(|part| contains(name, part)) {
            labels.push(("sensitive", "true"));
        }
        let read = self.out.file(self.host, path, &labels, self.max_file_bytes, keep)?;
        let (meta, head) = match read {
            FileRead::Missing => return Ok(None),
            FileRead::Unread(meta) => (meta, None),
            FileRead::Read { meta, head, .. } => (meta, Some(head)),
        };
        self.room = self.room.saturating_sub(1);
        self.seen.insert(path.to_vec());
        if let Some(head) = head.filter(|_| is_text) {
            let cut = meta.size_bytes > head.len() as u64;
            if self.parts.add(path, &head, cut, self.out)? {
                self.processed.insert([path, b".i"].concat());
            }
        }
        Ok(Some(meta.kind))
    }

    /// Keeps where a link leads, if that is not walked anyway. A link above a place (`/`, `/var`)
    /// is not followed: what matters of it is walked already.
    fn note_target(&mut self, path: &[u8]) {
        let target = match self.host.resolve(path) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.out.gap_io("resolve", path, &error),
        };
        let mut places = PLACES.iter().map(|(place, _)| place.as_bytes());
        if places.clone().any(|place| is_within(&target, place)) {
            return;
        }
        if places.any(|place| is_within(place, &target)) || target == LOGS.0 {
            return self.out.gap("follow", path, "leads above cloud-init's own places");
        }
        if (self.outside.len() as u64) < MAX_LINKED_PATHS {
            self.outside.push_back((target, path.to_vec()));
        }
    }
}

/// True for the place itself and for what is below it.
fn is_within(path: &[u8], place: &[u8]) -> bool {
    let rest = path.strip_prefix(place);
    place == b"/" || rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn bounded_label(bytes: &[u8]) -> String {
    let mut text = escape(bytes);
    let mut end = text.len().min(Limits::LABEL_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
