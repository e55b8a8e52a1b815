//! The `/proc` that processes are read through: one of our own where we may make it, so that
//! nothing which somebody mounted over the host's can hide a process or change what it shows.

use super::{
    fields::number,
    fs::{each_line, pids},
    mounts,
};
use crate::{Dir, Host};
use std::{collections::BTreeSet, io};

/// An open `/proc` and what is known of the host's.
#[derive(Debug)]
pub struct View<'h> {
    /// Where processes are read.
    pub dir: Dir<'h>,
    /// True where it is one of our own; false where it is the host's `/proc`.
    pub own: bool,
    /// Processes over whose directory, or a file in it, something is mounted in the host's.
    pub covered: BTreeSet<u32>,
    /// The host's `/proc` is mounted with `hidepid`: others' processes do not show to all.
    pub hides_others: bool,
}

impl<'h> View<'h> {
    /// Opens it.
    pub fn open(host: &'h Host) -> io::Result<Self> {
        let hosts = host.dir(b"/proc")?;
        let own = host.fresh_proc().ok().filter(|own| {
            // In a container that was given the host's `/proc`, ours would count other ids.
            matches!((own.link_target(b"self"), hosts.link_target(b"self")), (Ok(a), Ok(b)) if a == b)
        });
        let mut covered = BTreeSet::new();
        let mut hides_others = false;
        // Without this list nothing is known to be covered; the processes are still there.
        let mounts = own.as_ref().unwrap_or(&hosts).open(b"self/mountinfo");
        let _ = mounts.and_then(|file| {
            each_line(file, |line| {
                let Some(mount) = mounts::parse_mountinfo(line) else {
                    return;
                };
                let point = mount.mount_point.0;
                covered.extend(covered_process(&point));
                let options = mount.super_options.unwrap_or_default();
                hides_others |= point == b"/proc" && options.0.split(|&b| b == b',').any(hides);
            })
        });
        Ok(Self { own: own.is_some(), dir: own.unwrap_or(hosts), covered, hides_others })
    }

    /// Process ids, ascending.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        pids(&self.dir)
    }

    /// The directory of a process. Where something covers it and we have no `/proc` of our own, an
    /// error: what lies there is not the process.
    pub fn process(&self, pid: u32) -> io::Result<Dir<'h>> {
        if !self.own && self.covered.contains(&pid) {
            return Err(io::Error::other("something is mounted over it"));
        }
        self.dir.dir(pid.to_string().as_bytes())
    }
}

/// The process in a mount point such as `/proc/123` or `/proc/123/cmdline`.
fn covered_process(mount_point: &[u8]) -> Option<u32> {
    let rest = mount_point.strip_prefix(b"/proc/")?;
    number(rest.split(|&b| b == b'/').next()?)
}

fn hides(option: &[u8]) -> bool {
    option.strip_prefix(b"hidepid=").is_some_and(|level| !matches!(level, b"0" | b"off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_that_cover_a_process() {
        assert_eq!(covered_process(b"/proc/123"), Some(123));
        assert_eq!(covered_process(b"/proc/123/cmdline"), Some(123));
        for other in [&b"/proc"[..], b"/proc/sys/fs/binfmt_misc", b"/mnt/proc/1"] {
            assert_eq!(covered_process(other), None);
        }
        assert!(hides(b"hidepid=2") && hides(b"hidepid=invisible"));
        assert!(!hides(b"hidepid=0") && !hides(b"hidepid=off") && !hides(b"rw"));
    }

    #[test]
    fn the_processes_are_the_same_in_both() {
        let host = Host::live().unwrap();
        let view = View::open(&host).unwrap();
        assert!(view.pids().unwrap().contains(&std::process::id()));
        let me = view.process(std::process::id()).unwrap();
        let stat = me.read(b"stat", 4096).unwrap().bytes;
        assert_eq!(super::super::stat::parse(&stat).unwrap().pid, std::process::id());
        assert_eq!(view.own, host.fresh_proc().is_ok());
    }
}
