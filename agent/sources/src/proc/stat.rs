//! `/proc/PID/stat` (proc_pid_stat(5)): bytes to numbers. It reads no file.

use super::fields::{number, words};

/// PF_KTHREAD of the kernel's `include/linux/sched.h`: the only proof of a kernel thread; names
/// and an empty command line can be had by any process.
const PF_KTHREAD: u64 = 0x0020_0000;

/// What the line says. Ticks are clock ticks since boot (sysconf `_SC_CLK_TCK` a second).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Process id as the reader's pid namespace sees it.
    pub pid: u32,
    /// The thread's name: any bytes.
    pub comm: Vec<u8>,
    /// `R`, `S`, `D`, `Z`, `T`, `t`, `I`, …
    pub state: char,
    /// Parent; 0 for the first processes and for parents outside the namespace.
    pub ppid: u32,
    /// Process group.
    pub process_group: i64,
    /// Session.
    pub session: i64,
    /// Device number of the terminal, 0 for none.
    pub tty: i64,
    /// Kernel flags (PF_…).
    pub flags: u64,
    /// Time in user mode, ticks.
    pub utime_ticks: u64,
    /// Time in kernel mode, ticks.
    pub stime_ticks: u64,
    /// Threads.
    pub threads: i64,
    /// Start after boot, ticks.
    pub start_ticks: u64,
    /// Virtual memory, bytes.
    pub vsize_bytes: u64,
    /// Resident memory, pages.
    pub rss_pages: i64,
    /// Length of the environment area, bytes; 0 where we may not know it.
    pub environ_bytes: u64,
}

impl Stat {
    /// True for a thread of the kernel itself.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }

    /// True where the process has ended and only waits for its parent.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// The terminal's usual name, e.g. `pts/0`, or `major:minor`.
    pub fn terminal(&self) -> Option<String> {
        let device = u64::try_from(self.tty).ok().filter(|device| *device != 0)?;
        let major = device >> 8 & 0xfff;
        let minor = device & 0xff | device >> 12 & 0xf_ff00;
        Some(match (major, minor) {
            (136..=143, _) => format!("pts/{}", (major - 136) * 256 + minor),
            (4, 0..64) => format!("tty{minor}"),
            (4, _) => format!("ttyS{}", minor - 64),
            _ => format!("{major}:{minor}"),
        })
    }
}

/// Reads the line; `None` where it is not one. The name may hold anything, parentheses and line
/// ends too: it ends at the last `)`.
pub fn parse(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&b| b == b'(')?;
    let close = bytes.iter().rposition(|&b| b == b')')?;
    let comm = bytes.get(open + 1..close)?;
    let fields: Vec<&[u8]> = words(bytes.get(close + 1..)?).collect();
    let field = |at: usize| fields.get(at).copied();
    let unsigned = |at: usize| field(at).and_then(number::<u64>);
    let signed = |at: usize| field(at).and_then(number::<i64>);
    // Since Linux 4.9 the areas' addresses are 0 for readers that may not trace the process.
    let environ = unsigned(47).zip(unsigned(48));
    Some(Stat {
        pid: number(bytes.get(..open)?.trim_ascii())?,
        comm: comm.to_vec(),
        state: char::from(*field(0)?.first()?),
        ppid: field(1).and_then(number)?,
        process_group: signed(2)?,
        session: signed(3)?,
        tty: signed(4)?,
        flags: unsigned(6)?,
        utime_ticks: unsigned(11)?,
        stime_ticks: unsigned(12)?,
        threads: signed(17)?,
        start_ticks: unsigned(19)?,
        vsize_bytes: unsigned(20)?,
        rss_pages: signed(21)?,
        environ_bytes: environ.map_or(0, |(start, end)| end.saturating_sub(start)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAIL: &str = "S 1 7 8 34816 -1 4194560 1 0 2 0 11 12 0 0 20 0 3 0 5000 1048576 256 \
        18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 100 200 300 1300 0";

    #[test]
    fn reads_the_fields_after_any_name() {
        for name in ["sshd", "a) S 1 (b", "x\n2 (y) R", ""] {
            let stat = parse(format!("42 ({name}) {TAIL}\n").as_bytes()).unwrap();
            assert_eq!(stat.comm, name.as_bytes());
            assert_eq!((stat.pid, stat.state, stat.ppid, stat.session), (42, 'S', 1, 8));
            assert_eq!((stat.utime_ticks, stat.stime_ticks), (11, 12));
            assert_eq!((stat.threads, stat.start_ticks), (3, 5000));
            assert_eq!((stat.vsize_bytes, stat.rss_pages), (1_048_576, 256));
            assert_eq!(stat.environ_bytes, 1000);
            assert_eq!(stat.terminal().as_deref(), Some("pts/0"));
            assert!(!stat.is_kernel_thread());
        }
        let kernel = parse(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0");
        assert!(kernel.unwrap().is_kernel_thread());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(stat) = parse(&bytes) {
                stat.terminal();
            }
        }
        #[test]
        fn any_name_and_terminal(
            name in proptest::collection::vec(any::<u8>(), 0..20), tty in any::<i64>()
        ) {
            let mut line = b"9 (".to_vec();
            line.extend(&name);
            line.extend(format!(") {TAIL}").replace("34816", &tty.to_string()).bytes());
            let stat = parse(&line).unwrap();
            stat.terminal();
            prop_assert_eq!(stat.comm, name);
        }
    }
}
