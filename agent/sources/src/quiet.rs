//! How the agent disturbs the host as little as it can, and the record of what it did disturb.
//!
//! [`become_quiet`] changes this process only: the host's own mounts, limits and priorities stay.
//! No step is needed for the run: one that is not allowed (an ordinary user) is recorded with its
//! reason, and the run goes on.

use crate::{
    Host,
    proc::mounts::{self, Mount},
    sys,
};
use cleanroom_evidence::{Clock, RawBytes};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        resource::{Resource, UsageWho, getrusage, setrlimit},
        stat::{Mode, umask},
        time::TimeValLike,
    },
};
use serde::Serialize;
use std::{
    ffi::OsStr,
    io,
    os::unix::{ffi::OsStrExt, process::parent_id},
};

/// Bytes of a file in `/proc/self` that are read at most.
const PROC_BYTES: usize = 64 * 1024;
const MOUNTS_BYTES: usize = 8 * 1024 * 1024;
/// Children and sockets of our own that are listed at most.
const MAX_LISTED: usize = 1024;

/// What was done to be quiet, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quiet {
    /// The steps in their order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name, e.g. `idle I/O class`.
    pub step: &'static str,
    /// True when it took effect.
    pub ok: bool,
    /// Why it did not, or what it could only do in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Quiet {
    /// True when the named step took effect.
    pub fn did(&self, step: &str) -> bool {
        self.steps.iter().any(|done| done.step == step && done.ok)
    }

    fn take(&mut self, step: &'static str, result: io::Result<()>) -> bool {
        let why = result.err().map(|error| error.to_string());
        let ok = why.is_none();
        self.steps.push(Step { step, ok, why });
        ok
    }
}

/// Makes this process quiet. Call it once, at the start, before any thread is started: threads
/// have it from the one that starts them. Afterwards `/proc/self/mountinfo` shows our own view of
/// the mounts; the host's is that of process 1.
pub fn become_quiet() -> Quiet {
    let mut quiet = Quiet::default();
    quiet.take("lowest CPU priority", sys::quiet::lowest_cpu_priority());
    quiet.take("idle I/O class", sys::quiet::idle_io_priority());
    quiet.take("no core dumps", no_core_dumps());
    // Whatever might still be made is for the owner alone.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    quiet.take("private umask", Ok(()));
    let own = unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from);
    if quiet.take("own mount namespace", own) {
        quiet.take("follow the host's mounts", follow_mounts());
        let view = match sys::quiet::noatime_recursive(c"/") {
            Ok(()) => Ok(()),
            // Before Linux 5.12, or the root is no mount point (a chroot): mount by mount.
            Err(_) => noatime_each(),
        };
        quiet.take("noatime view", view);
    }
    quiet
}

/// A dump would write to the host's disk. The limit does not hold for a `core_pattern` that is a
/// pipe (core(5)); not being dumpable does. It also hides `/proc/self` from an ordinary user, who
/// then could not record himself, so it is for root only.
fn no_core_dumps() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if nix::unistd::geteuid().is_root() {
        nix::sys::prctl::set_dumpable(false)?;
    }
    Ok(())
}

/// What the host unmounts goes here too, so that we never keep its file systems busy; what we
/// change stays here (mount_namespaces(7), MS_SLAVE).
fn follow_mounts() -> io::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    Ok(mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
}

/// `noatime` by one bind remount per mount, each with the flags that it has: a remount replaces
/// them all. An error when some refused; the others have it then.
fn noatime_each() -> io::Result<()> {
    let table = Host::live()?.read(b"/proc/thread-self/mountinfo", MOUNTS_BYTES)?;
    let (mut refused, mut total, mut example) = (0, 0, None);
    for mount_line in mounts::parse_all(&table.bytes) {
        total += 1;
        let flags = flags_of(&mount_line) | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        let flags = flags | MsFlags::MS_NOATIME;
        let target = OsStr::from_bytes(mount_line.mount_point.as_bytes());
        if let Err(error) = mount(None::<&str>, target, None::<&str>, flags, None::<&str>) {
            refused += 1;
            example.get_or_insert(format!("{}: {error}", mount_line.mount_point));
        }
    }
    match example {
        None => Ok(()),
        Some(example) => {
            Err(io::Error::other(format!("{refused} of {total} mounts refused, e.g. {example}")))
        }
    }
}

fn flags_of(mount: &Mount) -> MsFlags {
    let flag = |option: &[u8]| match option {
        b"ro" => MsFlags::MS_RDONLY,
        b"nosuid" => MsFlags::MS_NOSUID,
        b"nodev" => MsFlags::MS_NODEV,
        b"noexec" => MsFlags::MS_NOEXEC,
        b"nodiratime" => MsFlags::MS_NODIRATIME,
        // MS_NOSYMFOLLOW (Linux 5.10) of include/uapi/linux/mount.h.
        b"nosymfollow" => MsFlags::from_bits_retain(256),
        _ => MsFlags::empty(),
    };
    mount.option_list().map(flag).collect()
}

/// What the agent itself left on the host during a run, so that an examiner can subtract it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Our process id, as this host numbers it for us.
    pub pid: u32,
    /// That of the process that started us.
    pub parent_pid: u32,
    /// Our executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<RawBytes>,
    /// Both clocks when the run began.
    pub started: Clock,
    /// Both clocks when this record was made.
    pub ended: Clock,
    /// CPU time in user mode, in nanoseconds.
    pub user_cpu_ns: i64,
    /// CPU time in the kernel, in nanoseconds.
    pub system_cpu_ns: i64,
    /// Most memory that was resident at one time, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Bytes that storage had to deliver for us (proc_pid_io(5)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes that we made the host write to storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
    /// Opens that may have changed an access time: O_NOATIME was refused. With the noatime view
    /// they changed none.
    pub opens_with_atime: u64,
    /// Threads now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Processes that we started, as far as can be seen: those that live, and one more when any
    /// has ended and was waited for. The agent starts none.
    pub forks: u64,
    /// Our living child processes.
    pub children: Vec<u32>,
    /// Inodes of our open sockets, as the `sockets` set names them.
    pub sockets: Vec<u64>,
    /// What was done to be quiet.
    pub quiet: Quiet,
}

/// The footprint so far of a run that began at `started` and read through `host`.
pub fn footprint(host: &Host, quiet: &Quiet, started: Clock) -> Footprint {
    // Our own /proc, also when `host` is a mounted image.
    let live = Host::live().ok();
    let read = |path: &[u8]| {
        let content = live.as_ref()?.read(path, PROC_BYTES).ok()?;
        Some(content.bytes)
    };
    let status = read(b"/proc/self/status").unwrap_or_default();
    let io = read(b"/proc/self/io").unwrap_or_default();
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let waited = getrusage(UsageWho::RUSAGE_CHILDREN).is_ok_and(|usage| usage.max_rss() > 0);
    let children = live.as_ref().map(children).unwrap_or_default();
    Footprint {
        pid: std::process::id(),
        parent_pid: parent_id(),
        executable: live
            .as_ref()
            .and_then(|live| live.link_target(b"/proc/self/exe").ok())
            .map(RawBytes),
        started,
        ended: sys::file::clock(),
        user_cpu_ns: usage.map_or(0, |usage| usage.user_time().num_nanoseconds()),
        system_cpu_ns: usage.map_or(0, |usage| usage.system_time().num_nanoseconds()),
        peak_rss_bytes: number(&status, b"VmHWM").map(|kib| kib.saturating_mul(1024)),
        read_bytes: number(&io, b"read_bytes"),
        write_bytes: number(&io, b"write_bytes"),
        opens_with_atime: host.opens_with_atime(),
        threads: number(&status, b"Threads"),
        forks: children.len() as u64 + u64::from(waited),
        children,
        sockets: live.as_ref().map(sockets).unwrap_or_default(),
        quiet: quiet.clone(),
    }
}

/// The first number of the line `key: number …`.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    let value =
        text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(key)?.strip_prefix(b":"))?;
    let value = std::str::from_utf8(value).ok()?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Living children of any of our threads (`children`, Linux 3.5 and newer with checkpoint support).
fn children(live: &Host) -> Vec<u32> {
    let threads = live.list(b"/proc/self/task").unwrap_or_default();
    let lists = threads.iter().filter_map(|thread| {
        let path = [b"/proc/self/task/", &thread.name[..], b"/children"].concat();
        live.read(&path, PROC_BYTES).ok()
    });
    let numbers = lists.flat_map(|list| {
        let text = String::from_utf8_lossy(&list.bytes).into_owned();
        let pids = text.split_ascii_whitespace().filter_map(|n| n.parse().ok());
        pids.collect::<Vec<_>>()
    });
    numbers.take(MAX_LISTED).collect()
}

fn sockets(live: &Host) -> Vec<u64> {
    let Ok(fds) = live.dir(b"/proc/self/fd") else {
        return Vec::new();
    };
    let inode = |name: &[u8]| {
        let target = fds.link_target(name).ok()?;
        let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let entries = fds.list().unwrap_or_default();
    let inodes = entries.iter().filter_map(|entry| inode(&entry.name));
    inodes.take(MAX_LISTED).collect()
}

#[cfg(test)]
mod tests;
