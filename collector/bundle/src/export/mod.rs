//! Writes a case as a bundle: decides every path first, then writes all members in the bundle's
//! order, each hashed on its way; records the export in the custody log, and closes with that log
//! and the signature. Never changes evidence, never keeps a file's bytes in memory.

use crate::{
    BundleError,
    bag::{
        info::{BAGIT_TXT, BagInfo},
        manifest,
        path::{BAG_INFO, BAGIT, MANIFEST, TAG_MANIFEST, file_name, order},
    },
    custody,
    documents::{self, Document},
    host::tarball::HostTar,
    item::{Item, ItemLine},
    layout::Layout,
    out::{Output, Written},
    uac_log,
    view::{CaseView, SessionView},
};
use cleanroom_evidence::{Sha256Digest, Timestamp};
use cleanroom_store::{Actor, Case, Event};
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// How to export.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who exports, for the custody log.
    pub actor: Actor,
    /// Certificates of the transport: file name and bytes (`ca.pem`, `<session>.pem`, …).
    pub certificates: Vec<(String, Vec<u8>)>,
    /// A folder instead of a tar.
    pub folder: bool,
    /// The organisation in `bag-info.txt`; empty for none.
    pub organization: String,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Where.
    pub path: PathBuf,
    /// Files of the payload.
    pub files: u64,
    /// Bytes of the payload.
    pub bytes: u64,
    /// SHA-256 of `tagmanifest-sha256.txt`: names this very bundle.
    pub tag_manifest: Sha256Digest,
    /// Entries of the custody log in it.
    pub custody_entries: u64,
    /// Root of that log.
    pub custody_root: Sha256Digest,
}

/// What one member of the payload holds.
enum Content<'a> {
    Bytes(Vec<u8>),
    Document(&'a Document),
    Items(usize),
    Tar(usize),
    Set(usize, usize),
    Blob(usize, usize),
}

/// Writes `case` to `target`, which must not exist. The export is an event of the custody log and
/// in the bundle itself.
pub fn export(case: &Case, target: &Path, options: &Options) -> Result<Exported, BundleError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let reader = case.reader().clone();
    let view = CaseView::read(&reader, Timestamp::new(now, 0))?;
    let id = &view.info().id;
    let layouts = view.with_copier(|blobs| {
        let each = view.sessions.iter().map(|one| Layout::new(one, blobs));
        each.collect::<Result<Vec<_>, _>>()
    })?;
    let mut out = Output::begin(target, options.folder, id.as_str(), now)?;

    let mut digests: BTreeMap<String, Written> = BTreeMap::new();
    let exporting = Exporting { view: &view, layouts: &layouts };
    for (path, content) in exporting.plan(options)? {
        let written = out.member(&path, &mut |to| exporting.write(&content, to))?;
        digests.insert(path, written);
    }
    let (files, bytes) = (digests.len() as u64, digests.values().map(|w| w.bytes).sum());
    let tag_manifest = tags(&mut out, &view, options, &digests)?;

    let subject = json!({
        "tagmanifest_sha256": tag_manifest,
        "payload_files": files,
        "payload_bytes": bytes,
        "entries": view.entries,
        "exported": view.exported,
    });
    case.record(Event::new("bundle.exported", options.actor.clone(), subject))?;
    let custody = reader.custody()?;
    custody::write(&mut out, target, &custody, case.signer(), id, tag_manifest)?;
    out.finish()?;
    Ok(Exported {
        path: target.to_owned(),
        files,
        bytes,
        tag_manifest,
        custody_entries: custody.head.size,
        custody_root: custody.head.root,
    })
}

/// Writes the tag files and both manifests; gives the tag manifest's digest.
fn tags(
    out: &mut Output,
    view: &CaseView<'_>,
    options: &Options,
    payload: &BTreeMap<String, Written>,
) -> Result<Sha256Digest, BundleError> {
    let case = view.info();
    let info = BagInfo {
        organization: options.organization.clone(),
        description: case.title.clone(),
        case: case.id.clone(),
        exported: view.exported,
        software: format!("cleanroom {}", env!("CARGO_PKG_VERSION")),
        payload_bytes: payload.values().map(|written| written.bytes).sum(),
        payload_files: payload.len() as u64,
    };
    let mut listed = Vec::new();
    for (path, text) in [(BAG_INFO, info.to_text()), (BAGIT, BAGIT_TXT.to_owned())] {
        let written = out.member(path, &mut |to| Ok(to.write_all(text.as_bytes())?))?;
        listed.push((path, written.sha256));
    }
    let written = out.member(MANIFEST, &mut |to| {
        for (path, written) in payload {
            to.write_all(manifest::line(&written.sha256, path).as_bytes())?;
        }
        Ok(())
    })?;
    listed.push((MANIFEST, written.sha256));
    let lines: String = listed.iter().map(|(path, sha256)| manifest::line(sha256, path)).collect();
    let written = out.member(TAG_MANIFEST, &mut |to| Ok(to.write_all(lines.as_bytes())?))?;
    Ok(written.sha256)
}

struct Exporting<'a> {
    view: &'a CaseView<'a>,
    layouts: &'a [Layout],
}

impl Exporting<'_> {
    /// Every member of the payload, in order.
    fn plan(&self, options: &Options) -> Result<Vec<(String, Content<'_>)>, BundleError> {
        let mut plan: Vec<(String, Content<'_>)> = documents::ALL
            .iter()
            .map(|document| (document.path.to_owned(), Content::Document(document)))
            .collect();
        for (name, bytes) in &options.certificates {
            let path = format!("data/certificates/{}", file_name(name.as_bytes()));
            plan.push((path, Content::Bytes(bytes.clone())));
        }
        for (at, (session, layout)) in self.sessions().enumerate() {
            let folder = &layout.folder;
            plan.push((format!("{folder}items.jsonl"), Content::Items(at)));
            let facts = [
                ("session.json", json_line(&session.info)?),
                ("outcomes.jsonl", json_lines(&session.outcomes)?),
                ("notes.jsonl", json_lines(&notes(session))?),
            ];
            for (name, bytes) in facts {
                plan.push((format!("{folder}{name}"), Content::Bytes(bytes)));
            }
            plan.push((layout.tar.clone(), Content::Tar(at)));
            for (set, records) in layout.sets.iter().enumerate() {
                plan.push((records.path.clone(), Content::Set(at, set)));
            }
            for (path, item) in &layout.alone {
                plan.push((path.clone(), Content::Blob(at, *item)));
            }
        }
        plan.sort_by(|a, b| order(&a.0, &b.0));
        for pair in plan.windows(2) {
            if let [(a, _), (b, _)] = pair
                && a == b
            {
                return Err(BundleError::Format {
                    what: a.clone(),
                    why: "two files have that path: give certificates different names".to_owned(),
                });
            }
        }
        Ok(plan)
    }

    fn sessions(&self) -> impl Iterator<Item = (&SessionView, &Layout)> {
        self.view.sessions.iter().zip(self.layouts)
    }

    fn write(&self, content: &Content<'_>, to: &mut dyn Write) -> Result<(), BundleError> {
        let session = |at: usize| self.sessions().nth(at);
        match *content {
            Content::Bytes(ref bytes) => to.write_all(bytes)?,
            Content::Document(document) => (document.write)(self.view, to)?,
            Content::Items(at) => {
                if let Some((session, layout)) = session(at) {
                    for (item, place) in session.items.iter().zip(&layout.places) {
                        serde_json::to_writer(&mut *to, &ItemLine::new(item, place))?;
                        to.write_all(b"\n")?;
                    }
                }
            }
            Content::Tar(at) => {
                if let Some((session, layout)) = session(at) {
                    self.tar(session, layout, to)?;
                }
            }
            Content::Set(at, set) => {
                if let Some((session, layout)) = session(at)
                    && let Some(set) = layout.sets.get(set)
                {
                    let parts = set.parts.iter().filter_map(|at| session.items.get(*at));
                    let parts: Vec<&Item> = parts.collect();
                    self.view.with_copier(|blobs| blobs.join(&parts, to))?;
                }
            }
            Content::Blob(at, item) => {
                if let Some(item) = session(at).and_then(|(session, _)| session.items.get(item)) {
                    self.view.with_copier(|blobs| blobs.copy(item, to))?;
                }
            }
        }
        Ok(())
    }

    fn tar(
        &self,
        session: &SessionView,
        layout: &Layout,
        to: &mut dyn Write,
    ) -> Result<(), BundleError> {
        let sets = layout.sets.iter();
        let live: Vec<_> = sets.map(|set| (set.live.clone(), set.parts.clone())).collect();
        let tar = HostTar {
            items: &session.items,
            root: &layout.root,
            log: &uac_log::text(self.view, session),
            live: &live,
            made_at: self.view.exported.unix_seconds,
        };
        self.view.with_copier(|blobs| tar.write(blobs, to))
    }
}

fn notes(session: &SessionView) -> Vec<serde_json::Value> {
    let note = |note: &cleanroom_store::Note| {
        json!({
            "seq": note.seq, "incarnation": note.incarnation, "kind": note.kind,
            "custody_index": note.custody_index, "body": note.body,
        })
    };
    session.notes.iter().map(note).collect()
}

fn json_line(value: &impl serde::Serialize) -> Result<Vec<u8>, BundleError> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn json_lines<T: serde::Serialize>(values: &[T]) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for value in values {
        serde_json::to_writer(&mut bytes, value)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
