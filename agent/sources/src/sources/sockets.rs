//! Sockets of every network namespace that a process lives in, each with the processes that hold
//! it.
//!
//! Two steps: who holds which socket (one pass over the open files of all processes), then the
//! tables of one process per namespace. No namespace is entered, nothing is sent.

mod owners;
mod tables;
#[cfg(test)]
mod tests;

use super::processes::NO_KERNEL;
use crate::{
    Dir, Emitter, Host, Options, SinkClosed, Source, Volatility,
    proc::{
        fields::{is_gone, why},
        fs::{self, bracketed_inode},
        mounts,
        view::View,
    },
};
use cleanroom_evidence::Outcome;
use owners::Owners;
use std::collections::BTreeMap;

/// Processes remembered of one namespace: the next is asked when one has ended.
const CANDIDATES: usize = 4;
/// Namespaces at most.
const NAMESPACES: usize = 65_536;

/// The `sockets` source.
pub struct Sockets;

impl Source for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn about(&self) -> &'static str {
        "TCP, UDP, raw, unix, packet and netlink sockets of every network namespace, with owners"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Kernel
    }

    fn needs_live_host(&self) -> bool {
        true
    }

    fn collect(
        &self,
        host: &Host,
        _options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if !host.is_live() {
            return Ok(Outcome::Absent(NO_KERNEL.into()));
        }
        let opened = View::open(host).and_then(|view| Ok((view.pids()?, view)));
        let (pids, proc) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Outcome::Failed(format!("list /proc: {}", why(&error)))),
        };
        let mut owners = Owners::default();
        let mut namespaces: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for pid in pids {
            let dir = match proc.process(pid) {
                Ok(dir) => dir,
                Err(error) => {
                    if !is_gone(&error) {
                        out.gap("open", format!("/proc/{pid}").as_bytes(), &why(&error));
                    }
                    continue;
                }
            };
            if let Some(namespace) = namespace_of(pid, &dir, out)
                && (namespaces.len() < NAMESPACES || namespaces.contains_key(&namespace))
            {
                let candidates = namespaces.entry(namespace).or_default();
                if candidates.len() < CANDIDATES {
                    candidates.push(pid);
                }
            }
            owners.add(pid, &dir, out);
        }
        owners.finish(out);
        for (namespace, pids) in &namespaces {
            tables::emit(&proc, *namespace, pids, &owners, out)?;
        }
        tell_of_empty_namespaces(&proc.dir, &namespaces, out);
        out.outcome()
    }
}

/// The inode of the process's network namespace.
fn namespace_of(pid: u32, dir: &Dir<'_>, out: &mut Emitter<'_>) -> Option<u64> {
    match dir.link_target(b"ns/net") {
        Ok(target) => bracketed_inode(&target, b"net"),
        Err(error) if is_gone(&error) => None,
        Err(error) => {
            let link = format!("/proc/{pid}/ns/net");
            out.gap("read network namespace", link.as_bytes(), &why(&error));
            None
        }
    }
}

/// A namespace that is only mounted (`ip netns add`) has no process through which to read it.
fn tell_of_empty_namespaces(
    proc: &Dir<'_>,
    namespaces: &BTreeMap<u64, Vec<u32>>,
    out: &mut Emitter<'_>,
) {
    let lines = proc.open(b"self/mountinfo").and_then(|file| {
        fs::each_line(file, |line| {
            let Some(mount) = mounts::parse_mountinfo(line) else {
                return;
            };
            let inode = mount.root.and_then(|root| bracketed_inode(&root.0, b"net"));
            if mount.fs_type.0 == b"nsfs"
                && let Some(inode) = inode
                && !namespaces.contains_key(&inode)
            {
                let reason = "a network namespace without a process: its sockets do not show";
                out.gap("read sockets", &mount.mount_point.0, reason);
            }
        })
    });
    if let Err(error) = lines {
        out.gap("read", b"/proc/self/mountinfo", &why(&error));
    }
}
