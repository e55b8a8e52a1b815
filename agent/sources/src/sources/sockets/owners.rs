//! Which process holds which socket, by the inode in `/proc/PID/fd`: compact, for hosts with a
//! million of them.

use crate::{
    Dir, Emitter,
    proc::{
        fields::{is_gone, number, why},
        fs::{Scratch, bracketed_inode, each_name},
        stat,
    },
};
use cleanroom_evidence::RawBytes;
use nix::{errno::Errno, fcntl::readlinkat};
use serde::Serialize;
use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt};

/// Descriptors remembered at most: 16 MB.
const MAX_HELD: usize = 1_000_000;
/// Owners listed of one socket at most.
const LISTED: usize = 256;

/// A process that holds a socket.
#[derive(Debug, Serialize)]
pub struct Owner<'a> {
    /// Process id.
    pub pid: u32,
    /// The process's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comm: Option<&'a RawBytes>,
    /// The lowest number of the descriptor in it.
    pub fd: u32,
}

/// Inode, process and descriptor.
type Held = (u64, u32, u32);

/// All holders of sockets.
#[derive(Debug, Default)]
pub struct Owners {
    held: Vec<Held>,
    left_out: u64,
    names: BTreeMap<u32, RawBytes>,
    scratch: Scratch,
}

impl Owners {
    /// Adds the sockets that a process holds.
    pub fn add(&mut self, pid: u32, dir: &Dir<'_>, out: &mut Emitter<'_>) {
        let before = self.held.len();
        let mut refused = None;
        let result = each_name(dir, b"fd", |at, name| {
            let inode = match readlinkat(at, OsStr::from_bytes(name)) {
                Ok(target) => bracketed_inode(target.as_bytes(), b"socket"),
                Err(error) => {
                    refused = Some(error).filter(|error| *error != Errno::ENOENT).or(refused);
                    None
                }
            };
            if let (Some(inode), Some(fd)) = (inode, number(name)) {
                match self.held.len() < MAX_HELD {
                    true => self.held.push((inode, pid, fd)),
                    false => self.left_out += 1,
                }
            }
        });
        let refused = refused.map_or(Ok(()), |error| Err(error.into()));
        if let Err(error) = result.and(refused)
            && !is_gone(&error)
        {
            let path = format!("/proc/{pid}/fd");
            out.gap("read open files", path.as_bytes(), &why(&error));
        }
        if self.held.len() > before {
            let stat = self.scratch.shown(dir, b"stat", 16 * 1024).ok();
            let name = stat.and_then(stat::parse).map(|stat| RawBytes(stat.comm));
            self.names.extend(name.map(|name| (pid, name)));
        }
    }

    /// Must be called between the last `add` and the first `of`.
    pub fn finish(&mut self, out: &mut Emitter<'_>) {
        self.held.sort_unstable();
        if self.left_out > 0 {
            let reason =
                format!("{} descriptors of sockets beyond the limit of {MAX_HELD}", self.left_out);
            out.gap("list owners", b"/proc", &reason);
        }
    }

    /// The processes that hold the socket, each once, and how many there are.
    pub fn of(&self, inode: u64) -> (Vec<Owner<'_>>, u64) {
        let from = self.held.partition_point(|held| held.0 < inode);
        let (mut list, mut total, mut last) = (Vec::new(), 0, None);
        for &(_, pid, fd) in self.held.iter().skip(from).take_while(|held| held.0 == inode) {
            if last == Some(pid) {
                continue;
            }
            last = Some(pid);
            total += 1;
            if list.len() < LISTED {
                list.push(Owner { pid, comm: self.names.get(&pid), fd });
            }
        }
        (list, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_once_by_inode() {
        let owners = Owners {
            held: vec![(5, 1, 3), (5, 1, 4), (5, 2, 9), (6, 2, 10)],
            names: BTreeMap::from([(1, "init".into())]),
            ..Owners::default()
        };
        let (list, total) = owners.of(5);
        let pairs: Vec<_> = list.iter().map(|owner| (owner.pid, owner.fd)).collect();
        assert_eq!(pairs, [(1, 3), (2, 9)]);
        assert_eq!(total, 2);
        assert_eq!(list[0].comm, Some(&"init".into()));
        assert!(owners.of(4).0.is_empty() && owners.of(7).0.is_empty());
    }
}
