//! `/proc/PID/status` (proc_pid_status(5)): bytes to facts. It reads no file.

use super::fields::{number, words};
use serde::Serialize;

/// Four ids of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// Who it was started as.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// What it may switch back to.
    pub saved: u32,
    /// Whose rights count for files.
    pub fs: u32,
}

/// Capability sets as the kernel prints them: 16 hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// In force.
    pub effective: String,
    /// May be put in force.
    pub permitted: String,
    /// Kept over execve by files that want them.
    pub inheritable: String,
    /// The most that execve can give.
    pub bounding: String,
    /// Kept over execve of an ordinary file (Linux 4.3).
    pub ambient: String,
}

/// What the file says of who the process is and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// User ids.
    pub uid: Option<Ids>,
    /// Group ids.
    pub gid: Option<Ids>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The process that traces this one, 0 for none.
    pub tracer_pid: Option<u32>,
    /// Its ids in each pid namespace, from the reader's to its own.
    pub namespace_pids: Vec<u32>,
    /// Capability sets.
    pub capabilities: Option<Capabilities>,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u32>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: Option<bool>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
}

fn ids(value: &[u8]) -> Option<Ids> {
    let mut all = words(value).map(number::<u32>);
    let mut next = || all.next().flatten();
    Some(Ids { real: next()?, effective: next()?, saved: next()?, fs: next()? })
}

fn hex_set(value: &[u8]) -> Option<String> {
    let digits = value.trim_ascii();
    let fits = digits.len() <= 32 && digits.iter().all(u8::is_ascii_hexdigit);
    fits.then(|| String::from_utf8_lossy(digits).into_owned())
}

/// Reads what is there; what is missing (older kernels) stays empty. The kernel escapes line ends
/// in the name, so a process cannot add lines.
pub fn parse(bytes: &[u8]) -> Status {
    let mut status = Status::default();
    let mut sets = Capabilities::default();
    let mut some_set = false;
    for line in bytes.split(|&b| b == b'\n') {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        let (key, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default();
        let mut set = |place: &mut String| {
            if let Some(digits) = hex_set(value) {
                *place = digits;
                some_set = true;
            }
        };
        match key {
            b"Uid" => status.uid = ids(value),
            b"Gid" => status.gid = ids(value),
            b"Groups" => status.groups = words(value).filter_map(number).collect(),
            b"NSpid" => status.namespace_pids = words(value).filter_map(number).collect(),
            b"TracerPid" => status.tracer_pid = number(value.trim_ascii()),
            b"Seccomp" => status.seccomp = number(value.trim_ascii()),
            b"NoNewPrivs" => status.no_new_privs = number::<u8>(value.trim_ascii()).map(|n| n != 0),
            b"VmRSS" => {
                let kib = words(value).next().and_then(number::<u64>);
                status.rss_bytes = kib.map(|n| n.saturating_mul(1024));
            }
            b"CapEff" => set(&mut sets.effective),
            b"CapPrm" => set(&mut sets.permitted),
            b"CapInh" => set(&mut sets.inheritable),
            b"CapBnd" => set(&mut sets.bounding),
            b"CapAmb" => set(&mut sets.ambient),
            _ => {}
        }
    }
    status.capabilities = some_set.then_some(sets);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_facts() {
        let status = parse(
            b"Name:\ta\\nUid: 0\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nGroups:\t4 24 \nNSpid:\t77\t1\n\
              TracerPid:\t9\nVmRSS:\t     512 kB\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n",
        );
        let uid = status.uid.unwrap();
        assert_eq!((uid.real, uid.effective, uid.saved, uid.fs), (1, 2, 3, 4));
        assert_eq!(status.groups, [4, 24]);
        assert_eq!(status.namespace_pids, [77, 1]);
        assert_eq!(status.tracer_pid, Some(9));
        assert_eq!(status.rss_bytes, Some(524_288));
        assert_eq!(status.capabilities.unwrap().effective, "000001ffffffffff");
        assert_eq!((status.seccomp, status.no_new_privs), (Some(2), Some(true)));
        assert_eq!(parse(b""), Status::default());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }
    }
}
