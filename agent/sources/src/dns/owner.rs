//! From a socket's inode to the process that holds it, through `/proc/*/fd`, fast enough to catch
//! a process that lives for milliseconds: what is cached first, then the newest processes, then
//! all. It opens nothing but directories and small files of /proc and keeps no process alive.

use super::record::Process;
use cleanroom_evidence::RawBytes;
use nix::{
    dir::Dir,
    fcntl::{OFlag, open, openat, readlinkat},
    sys::stat::Mode,
};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStringExt as _, fs::FileExt as _},
    },
    sync::Arc,
    time::{Duration, Instant},
};

/// Task ids below the newest that are looked at first. Threads take ids too, and a thread's
/// descriptors are those of its process, so the newest few are nearly always the asking process.
const NEWEST: i32 = 48;
/// A search of the whole of /proc gives up after this long: packets wait meanwhile.
const SEARCH: Duration = Duration::from_millis(100);
/// Of each second, this much may go into searches of the whole of /proc: a flood of queries whose
/// process cannot be found must not make the capture lose packets.
const SEARCH_PER_SECOND: Duration = Duration::from_millis(300);
/// Long-lived processes (forwarders, resolvers) that are looked at before a whole search.
const REGULARS: usize = 8;
/// Sockets remembered at most.
const REMEMBERED: usize = 8192;
/// Bytes of a command line kept at most.
const CMDLINE_BYTES: usize = 4096;
/// Arguments kept at most.
const ARGUMENTS: usize = 128;

/// What a search gave.
#[derive(Clone, Debug)]
pub enum Owner {
    /// The process; the text says what could not be read of it.
    Process(Arc<Process>, Option<String>),
    /// No process holds the socket, as far as could be seen; the text says how far that is.
    None(String),
}

/// The search and what it remembers.
#[derive(Debug)]
pub struct Owners {
    proc: OwnedFd,
    loadavg: Option<File>,
    known: HashMap<u64, (i32, i32)>,
    regulars: VecDeque<i32>,
    second: Instant,
    searched: Duration,
}

impl Owners {
    /// Opens /proc.
    pub fn open() -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let proc = open("/proc", flags, Mode::empty())?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let loadavg = openat(&proc, "loadavg", flags, Mode::empty()).ok().map(File::from);
        Ok(Self {
            proc,
            loadavg,
            known: HashMap::new(),
            regulars: VecDeque::new(),
            second: Instant::now(),
            searched: Duration::ZERO,
        })
    }

    /// The process that holds the socket with this inode.
    pub fn find(&mut self, inode: u64) -> Owner {
        let mut buffer = String::new();
        let wanted = format!("socket:[{inode}]");
        if let Some(&(task, fd)) = self.known.get(&inode) {
            let path = format!("{task}/fd/{fd}");
            if readlinkat(&self.proc, path.as_str()).is_ok_and(|link| link == wanted.as_str()) {
                return self.describe(task);
            }
            self.known.remove(&inode);
        }
        let mut denied = 0;
        let newest = self.newest();
        for task in (newest.saturating_sub(NEWEST).max(1)..=newest).rev() {
            if self.scan(task, inode, &mut buffer, &mut denied) {
                return self.describe(task);
            }
        }
        for at in 0..self.regulars.len() {
            if let Some(&pid) = self.regulars.get(at)
                && self.scan(pid, inode, &mut buffer, &mut denied)
            {
                return self.describe(pid);
            }
        }
        if self.second.elapsed() > Duration::from_secs(1) {
            (self.second, self.searched) = (Instant::now(), Duration::ZERO);
        }
        if self.searched > SEARCH_PER_SECOND {
            return Owner::None("not searched for: too many searches in this second".to_owned());
        }
        let began = Instant::now();
        let owner = self.search(inode, began + SEARCH, &mut buffer);
        self.searched += began.elapsed();
        owner
    }

    /// Looks through all processes.
    fn search(&mut self, inode: u64, deadline: Instant, buffer: &mut String) -> Owner {
        let mut denied = 0;
        for pid in self.processes() {
            if self.scan(pid, inode, buffer, &mut denied) {
                self.regulars.push_front(pid);
                self.regulars.truncate(REGULARS);
                return self.describe(pid);
            }
            if Instant::now() > deadline {
                return Owner::None("the search of /proc took too long".to_owned());
            }
        }
        Owner::None(match denied {
            0 => "no process of this PID namespace holds the socket (any more)".to_owned(),
            denied => format!("the descriptors of {denied} processes could not be read"),
        })
    }

    /// The newest task id of our PID namespace: the last field of proc_loadavg(5).
    fn newest(&self) -> i32 {
        let mut bytes = [0u8; 128];
        let read = self.loadavg.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok());
        let text = bytes.get(..read.unwrap_or(0)).unwrap_or_default();
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.split_ascii_whitespace().next_back()?.parse().ok())
            .unwrap_or(0)
    }

    /// All process ids, the newest (highest) first.
    fn processes(&self) -> Vec<i32> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let Ok(mut dir) = Dir::openat(&self.proc, ".", flags, Mode::empty()) else {
            return Vec::new();
        };
        let mut pids: Vec<i32> = dir
            .iter()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
            .collect();
        pids.sort_unstable_by(|a, b| b.cmp(a));
        pids
    }

    /// Looks through a task's descriptors; remembers every socket on the way.
    fn scan(&mut self, task: i32, inode: u64, path: &mut String, denied: &mut usize) -> bool {
        use std::fmt::Write as _;
        path.clear();
        // Writing to a String cannot fail.
        let _ = write!(path, "{task}/fd");
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut dir = match Dir::openat(&self.proc, path.as_str(), flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(error) => {
                *denied += usize::from(matches!(error, nix::Error::EACCES | nix::Error::EPERM));
                return false;
            }
        };
        let numbers: Vec<i32> = dir
            .iter()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
            .collect();
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        let mut found = false;
        // The newest descriptor is the likeliest.
        for fd in numbers.into_iter().rev() {
            path.clear();
            let _ = write!(path, "{fd}");
            let Ok(link) = readlinkat(&dir, path.as_str()) else {
                continue;
            };
            if let Some(number) = socket_inode(&link.into_vec()) {
                found |= number == inode;
                self.known.insert(number, (task, fd));
                if found {
                    break;
                }
            }
        }
        found
    }

    /// Reads what a process is, right now. `task` may be any of its threads.
    fn describe(&self, task: i32) -> Owner {
        let status = self.read(&format!("{task}/status"), 4096).unwrap_or_default();
        let pid =
            status_number(&status, b"Tgid:").and_then(|n| i32::try_from(n).ok()).unwrap_or(task);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut process = Process {
            pid,
            uid: status_number(&status, b"Uid:").and_then(|n| u32::try_from(n).ok()),
            ..Process::default()
        };
        // One handle for all reads: they are of the same process even if the id is given anew.
        let Ok(dir) = openat(&self.proc, pid.to_string().as_str(), flags, Mode::empty()) else {
            let why = "the process ended before it could be described".to_owned();
            return Owner::Process(Arc::new(process), Some(why));
        };
        let mut missing = Vec::new();
        match read_in(&dir, "cmdline", CMDLINE_BYTES * 16) {
            Ok(bytes) => (process.cmdline, process.cmdline_total_bytes) = arguments(&bytes),
            Err(error) => missing.push(format!("cmdline: {error}")),
        }
        match readlinkat(&dir, "exe") {
            Ok(target) => process.exe = Some(RawBytes(target.into_vec())),
            Err(error) => missing.push(format!("exe: {error}")),
        }
        match read_in(&dir, "stat", 4096) {
            Ok(bytes) => {
                (process.comm, process.start_ticks) = stat_fields(&bytes);
            }
            Err(error) => missing.push(format!("stat: {error}")),
        }
        let why = (!missing.is_empty()).then(|| format!("not read: {}", missing.join(", ")));
        Owner::Process(Arc::new(process), why)
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        read_in(&self.proc, path, usize::try_from(limit).unwrap_or(4096))
    }
}

fn read_in(dir: &OwnedFd, path: &str, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = File::from(openat(dir, path, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The number in `socket:[123]`.
fn socket_inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The first number after a key of proc_pid_status(5).
fn status_number(status: &[u8], key: &[u8]) -> Option<u64> {
    let rest = status.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(key))?;
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// `comm` and the start time from proc_pid_stat(5); the name may hold any byte, `)` too.
fn stat_fields(stat: &[u8]) -> (Option<RawBytes>, Option<u64>) {
    let open = stat.iter().position(|&b| b == b'(');
    let close = stat.iter().rposition(|&b| b == b')');
    let (Some(open), Some(close)) = (open, close) else {
        return (None, None);
    };
    let comm = stat.get(open + 1..close).map(RawBytes::from);
    // Field 3 comes first after the name; the start time is field 22.
    let start = stat
        .get(close + 1..)
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(|rest| rest.split_ascii_whitespace().nth(19)?.parse().ok());
    (comm, start)
}

/// Arguments from proc_pid_cmdline(5); with the bytes in all where they are cut.
fn arguments(bytes: &[u8]) -> (Vec<RawBytes>, Option<u64>) {
    let kept = bytes.get(..CMDLINE_BYTES).unwrap_or(bytes);
    let trimmed = kept.strip_suffix(b"\0").unwrap_or(kept);
    if trimmed.is_empty() {
        return (Vec::new(), None);
    }
    let mut arguments: Vec<RawBytes> = trimmed.split(|&b| b == 0).map(RawBytes::from).collect();
    let cut = kept.len() < bytes.len() || arguments.len() > ARGUMENTS;
    arguments.truncate(ARGUMENTS);
    (arguments, cut.then_some(bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsRawFd as _;

    fn inode_of(socket: &std::net::UdpSocket) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        socket_inode(link.as_os_str().as_encoded_bytes()).unwrap()
    }

    #[test]
    fn finds_this_process_and_forgets_a_closed_socket() {
        let mut owners = Owners::open().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let inode = inode_of(&socket);
        for _ in 0..2 {
            let Owner::Process(process, None) = owners.find(inode) else {
                panic!("not found");
            };
            assert_eq!(process.pid, std::process::id() as i32);
            assert_eq!(
                process.exe.as_ref().unwrap().0,
                std::env::current_exe().unwrap().into_os_string().into_vec()
            );
            assert_eq!(process.cmdline[0].0, std::env::args_os().next().unwrap().into_vec());
            assert!(process.start_ticks.unwrap() > 0);
        }
        drop(socket);
        assert!(matches!(owners.find(inode), Owner::None(_)));
    }

    #[test]
    fn reads_hostile_names_and_long_arguments() {
        let stat = b"7 (a) b (\xff)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 999 20";
        assert_eq!(stat_fields(stat), (Some(RawBytes(b"a) b (\xff)".to_vec())), Some(999)));
        assert_eq!(arguments(b"dig\0\0x\0").0.len(), 3);
        let (kept, total) = arguments(&[b'a'; 100_000]);
        assert_eq!((kept[0].0.len(), total), (CMDLINE_BYTES, Some(100_000)));
        assert_eq!(arguments(b""), (Vec::new(), None));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (stat_fields(&bytes), arguments(&bytes), socket_inode(&bytes), status_number(&bytes, b"Uid:"));
        }
    }
}
