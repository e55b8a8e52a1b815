//! The static form of a log: tiles and entry bundles of C2SP tlog-tiles, 256 wide.
//!
//! Derived at export from the entries; the live log keeps none.

use super::merkle;
use crate::{disk, error::Context, error::StoreError};
use cleanroom_evidence::Sha256Digest;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// Hashes of a full tile, entries of a full bundle.
const WIDTH: usize = 256;
/// Bytes of an entry at most: its length is written in two bytes.
pub const ENTRY_BYTES: usize = u16::MAX as usize;

/// Feeds entries one by one; gives each tile to `sink` as soon as it is full.
struct Tiler<S> {
    sink: S,
    bundle: Vec<u8>,
    bundled: usize,
    bundles: u64,
    levels: Vec<Level>,
}

#[derive(Default)]
struct Level {
    tiles: u64,
    hashes: Vec<Sha256Digest>,
}

impl<S: FnMut(&str, &[u8]) -> Result<(), StoreError>> Tiler<S> {
    fn push(&mut self, entry: &[u8]) -> Result<(), StoreError> {
        let length = u16::try_from(entry.len()).map_err(|_| StoreError::TooLarge {
            what: "a custody entry",
            limit_bytes: ENTRY_BYTES as u64,
        })?;
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        self.bundled += 1;
        if self.bundled == WIDTH {
            (self.sink)(&path("entries", self.bundles, WIDTH), &self.bundle)?;
            self.bundle.clear();
            self.bundled = 0;
            self.bundles += 1;
        }
        let mut hash = merkle::leaf_hash(entry);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let Some(at) = self.levels.get_mut(level) else {
                break;
            };
            at.hashes.push(hash);
            if at.hashes.len() < WIDTH {
                break;
            }
            (self.sink)(&path(&level.to_string(), at.tiles, WIDTH), &at.hashes.bytes())?;
            hash = merkle::root(&at.hashes);
            at.hashes.clear();
            at.tiles += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), StoreError> {
        if self.bundled > 0 {
            (self.sink)(&path("entries", self.bundles, self.bundled), &self.bundle)?;
        }
        for (number, level) in self.levels.iter().enumerate() {
            if !level.hashes.is_empty() {
                let path = path(&number.to_string(), level.tiles, level.hashes.len());
                (self.sink)(&path, &level.hashes.bytes())?;
            }
        }
        Ok(())
    }
}

trait Bytes {
    fn bytes(&self) -> Vec<u8>;
}

impl Bytes for Vec<Sha256Digest> {
    fn bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }
}

/// `tile/<L>/<N>[.p/<W>]`: N in groups of three digits, all but the last with an `x` before.
fn path(level: &str, mut number: u64, width: usize) -> String {
    let mut groups = format!("{:03}", number % 1000);
    while number >= 1000 {
        number /= 1000;
        groups = format!("x{:03}/{groups}", number % 1000);
    }
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{groups}{partial}")
}

/// Gives every tile and entry bundle of a log to `sink`, with its path (`tile/…`).
pub fn for_each_tile(
    entries: impl IntoIterator<Item = Result<Vec<u8>, StoreError>>,
    sink: impl FnMut(&str, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut tiler = Tiler { sink, bundle: Vec::new(), bundled: 0, bundles: 0, levels: Vec::new() };
    for entry in entries {
        tiler.push(&entry?)?;
    }
    tiler.finish()
}

/// Writes every tile and entry bundle of a log below `dir` (`dir/tile/…`); gives the paths made.
/// Never overwrites.
pub fn write_tiles(
    dir: &Path,
    entries: impl IntoIterator<Item = Result<Vec<u8>, StoreError>>,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut written = Vec::new();
    for_each_tile(entries, |name, bytes| {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context("make folder", parent)?;
        }
        let mut file = disk::create_new(&path, 0o600).context("make", &path)?;
        file.write_all(bytes).context("write", &path)?;
        written.push(path);
        Ok(())
    })?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn tiles(count: usize) -> (Vec<Vec<u8>>, BTreeMap<String, Vec<u8>>) {
        let entries: Vec<_> = (0..count).map(|n| format!("entry {n}").into_bytes()).collect();
        let mut map = BTreeMap::new();
        for_each_tile(entries.iter().cloned().map(Ok), |path, bytes| {
            assert!(map.insert(path.to_owned(), bytes.to_vec()).is_none());
            Ok(())
        })
        .unwrap();
        (entries, map)
    }

    #[test]
    fn paths_are_grouped() {
        assert_eq!(path("0", 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(path("entries", 1000, 5), "tile/entries/x001/000.p/5");
        assert_eq!(path("1", 0, 1), "tile/1/000.p/1");
    }

    #[test]
    fn tiles_hold_the_tree() {
        for count in [0, 1, 255, 256, 257, 600, 65_536 + 256 + 3] {
            let (entries, map) = tiles(count);
            let leaves: Vec<_> = entries.iter().map(|e| merkle::leaf_hash(e)).collect();
            let mut names = Vec::new();
            for (level, step) in [1usize, 256, 65_536].into_iter().enumerate() {
                let nodes: Vec<_> = leaves.chunks_exact(step).map(merkle::root).collect();
                for (n, tile) in nodes.chunks(WIDTH).enumerate() {
                    let name = path(&level.to_string(), n as u64, tile.len());
                    assert_eq!(map[&name], tile.to_vec().bytes(), "{count} {name}");
                    names.push(name);
                }
            }
            for (n, bundle) in entries.chunks(WIDTH).enumerate() {
                let name = path("entries", n as u64, bundle.len());
                let mut rest = map[&name].as_slice();
                for entry in bundle {
                    let (length, tail) = rest.split_at(2);
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    assert_eq!(&tail[..length], entry);
                    rest = &tail[length..];
                }
                assert!(rest.is_empty());
                names.push(name);
            }
            names.sort();
            assert_eq!(map.into_keys().collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn an_entry_that_is_too_long_is_refused() {
        let long = vec![b'x'; ENTRY_BYTES + 1];
        assert!(for_each_tile([Ok(long)], |_, _| Ok(())).is_err());
    }
}
