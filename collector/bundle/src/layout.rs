//! Where everything of one session lies in the bundle. Decided before a byte is written, so that
//! `items.jsonl` can name the place of each item and stand before the bytes. Pure but for the
//! blobs' last bytes.

use crate::{
    BundleError,
    bag::path::file_name,
    copy::Copier,
    host::root::{ROOT, Root},
    item::{Item, Place},
    view::SessionView,
};
use cleanroom_evidence::{ItemKind, RawBytes};
use std::collections::{BTreeMap, BTreeSet};

/// Names of raw items that are block lists of a volume.
const BLOCKS: &[u8] = b"volume-blocks:";

/// A record set: its parts, joined into one file.
#[derive(Debug)]
pub struct Set {
    /// The file's path in the bundle.
    pub path: String,
    /// Its name under `live_response/` in the host's tar.
    pub live: String,
    /// Indexes of the items that are its parts, in order.
    pub parts: Vec<usize>,
}

/// The places of one session.
#[derive(Debug)]
pub struct Layout {
    /// `data/hosts/<host>/<session>/`.
    pub folder: String,
    /// The host tar's path.
    pub tar: String,
    /// The host's files.
    pub root: Root,
    /// Its record sets.
    pub sets: Vec<Set>,
    /// Files that hold one item each: path and item.
    pub alone: Vec<(String, usize)>,
    /// Where each item's bytes are; one per item.
    pub places: Vec<Place>,
}

impl Layout {
    /// Lays a session out.
    pub fn new(session: &SessionView, blobs: &Copier<'_>) -> Result<Self, BundleError> {
        let info = &session.info;
        let folder = format!("data/hosts/{}/{}/", info.host, info.session);
        let began = compact(&info.opened.utc.to_string());
        let mut layout = Self {
            tar: format!("{folder}uac-{}-linux-{began}.tar.gz", info.host),
            root: Root::lay_out(&session.items),
            sets: Vec::new(),
            alone: Vec::new(),
            places: vec![Place::default(); session.items.len()],
            folder,
        };
        layout.records(&session.items, blobs)?;
        layout.files();
        layout.raws(&session.items);
        Ok(layout)
    }

    fn records(&mut self, items: &[Item], blobs: &Copier<'_>) -> Result<(), BundleError> {
        let mut names = Names::default();
        let mut sets: BTreeMap<&RawBytes, Vec<usize>> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            if item.header.kind == ItemKind::Records {
                sets.entry(&item.header.name).or_default().push(index);
            }
        }
        for (name, parts) in sets {
            let name = names.take(&file_name(name.as_bytes()), ".jsonl");
            let path = format!("{}records/{name}", self.folder);
            let refs: Vec<&Item> = parts.iter().filter_map(|at| items.get(*at)).collect();
            for (at, offset) in parts.iter().zip(blobs.offsets(&refs)?.0) {
                if let Some(place) = self.places.get_mut(*at) {
                    place.bundle_path = Some(path.clone());
                    place.offset_bytes = Some(offset);
                }
            }
            self.sets.push(Set { live: format!("{}/{name}", category(&name)), path, parts });
        }
        Ok(())
    }

    fn files(&mut self) {
        for (index, name) in self.root.by_item() {
            if let Some(place) = self.places.get_mut(index) {
                place.bundle_path = Some(self.tar.clone());
                place.tar_member = Some([ROOT.as_bytes(), name].concat().into());
            }
        }
    }

    /// Raw items, and files whose name in the tar a later read of the same path took.
    fn raws(&mut self, items: &[Item]) {
        let (mut raw, mut volumes) = (Names::default(), Names::default());
        for (index, (item, place)) in items.iter().zip(&mut self.places).enumerate() {
            let alone = match item.header.kind {
                ItemKind::Records => false,
                ItemKind::File => place.bundle_path.is_none() && item.seal.length_bytes > 0,
                ItemKind::Raw => true,
            };
            if !alone {
                continue;
            }
            let name = match item.header.name.as_bytes().strip_prefix(BLOCKS) {
                Some(volume) if item.header.kind == ItemKind::Raw => {
                    format!("volumes/{}", volumes.take(&file_name(volume), ".blocks"))
                }
                _ => format!("raw/{}", raw.take(&format!("{:06}", item.seq), ".bin")),
            };
            let path = format!("{}{name}", self.folder);
            place.bundle_path = Some(path.clone());
            self.alone.push((path, index));
        }
    }
}

/// Names that are each given once.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn take(&mut self, base: &str, ending: &str) -> String {
        let mut name = format!("{base}{ending}");
        let mut number = 1u64;
        while self.0.contains(&name) {
            number += 1;
            name = format!("{base}-{number}{ending}");
        }
        self.0.insert(name.clone());
        name
    }
}

/// UAC's folder for a record set.
fn category(file: &str) -> &'static str {
    match file.trim_end_matches(".jsonl") {
        "processes" => "process",
        "sockets" | "interfaces" | "routes" | "neighbours" | "dns" | "dns-cache" | "dns-config"
        | "dns-watch-summary" => "network",
        "mounts" | "block-devices" | "volumes" => "storage",
        _ => "system",
    }
}

/// `YYYYMMDDhhmmss` of an RFC 3339 time.
fn compact(time: &str) -> String {
    let second = time.split('.').next().unwrap_or_default();
    second.chars().filter(char::is_ascii_digit).take(14).collect()
}
