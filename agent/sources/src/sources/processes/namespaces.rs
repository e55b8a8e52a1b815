//! The namespaces of a process, by inode: equal numbers are the same namespace.

use super::Misses;
use crate::{Dir, proc::fs::bracketed_inode};
use serde::{Serialize, Serializer};

const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Kind and inode of each, serialized as an object.
#[derive(Debug, Default)]
pub struct Namespaces(Vec<(&'static str, u64)>);

impl Serialize for Namespaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(kind, inode)| (kind, inode)))
    }
}

/// Reads them; `None` where none could be read. Kinds that this kernel lacks are left out.
pub fn read(dir: &Dir<'_>, misses: &mut Misses) -> Option<Namespaces> {
    let mut found = Namespaces::default();
    for kind in KINDS {
        let link = ["ns/", kind].concat();
        match dir.link_target(link.as_bytes()) {
            Ok(target) => {
                found
                    .0
                    .extend(bracketed_inode(&target, kind.as_bytes()).map(|inode| (kind, inode)));
            }
            Err(error) if crate::proc::fields::is_gone(&error) => {}
            // One refusal is that of all.
            Err(error) => {
                misses.keep::<()>("namespaces", Err(error));
                break;
            }
        }
    }
    (!found.0.is_empty()).then_some(found)
}
