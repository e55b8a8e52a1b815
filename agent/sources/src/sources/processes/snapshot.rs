//! Reads one process after the other and emits its record.

use super::{
    Misses, area,
    exe::Executables,
    fds, namespaces,
    record::{Io, Record, StatPart, StatusPart},
};
use crate::{
    Dir, Emitter, Host, Options, SinkClosed,
    proc::{
        fields::{NulList, Raw},
        fs::{Scratch, each_line},
        maps::MapsSummary,
        stat::{self, Stat},
        status::{self, Status},
        view::View,
    },
    sys,
};
use cleanroom_evidence::{RawBytes, Timestamp};
use nix::unistd::{SysconfVar, sysconf};
use std::io;

/// Bytes of `stat`, `io` and the like at most.
const SMALL_BYTES: usize = 16 * 1024;
/// Bytes of `status` and `cgroup` at most: 65,536 supplementary groups fit.
const STATUS_BYTES: usize = 1024 * 1024;

/// Reads processes with buffers that are used again.
pub struct Reader<'h> {
    host: &'h Host,
    proc: &'h View<'h>,
    hash: bool,
    max_raw_bytes: u64,
    units: Units,
    executables: Executables,
    small: Scratch,
    cmdline: Scratch,
    environ: Scratch,
}

/// What the kernel counts in.
struct Units {
    boot_ns: i128,
    ticks_per_second: i128,
    page_bytes: u64,
}

impl<'h> Reader<'h> {
    pub fn new(host: &'h Host, proc: &'h View<'h>, options: &Options) -> Self {
        Self {
            host,
            proc,
            hash: options.hash_executables,
            max_raw_bytes: options.max_file_bytes,
            units: Units::of_this_machine(),
            executables: Executables::default(),
            small: Scratch::default(),
            cmdline: Scratch::default(),
            environ: Scratch::default(),
        }
    }

    /// Reads the process and emits its record, whatever of it could be read.
    pub fn process(&mut self, pid: u32, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
        let mut misses = Misses::default();
        let mut record = Record::new(pid);
        record.covered_by_mount = self.proc.covered.contains(&pid);
        let dir = misses.keep("process", self.proc.process(pid));
        let stat = dir.as_ref().and_then(|dir| {
            let stat = read_stat(dir, &mut self.small);
            misses.keep("stat", stat)
        });
        let (Some(dir), Some(stat)) = (dir, stat) else {
            record.exited_midway = misses.gone;
            return finish(record, &misses, out);
        };

        let status = self.small.shown(&dir, b"status", STATUS_BYTES);
        let status = misses.keep("status", status.map(status::parse));
        record.stat = Some(self.units.stat_part(&stat, status.as_ref()));
        record.status = status.map(StatusPart::from);
        let cgroup = self.small.shown(&dir, b"cgroup", STATUS_BYTES);
        if let Some(cgroup) = misses.keep("cgroup", cgroup) {
            (record.cgroup, record.cgroups) = cgroups(cgroup);
        }
        record.namespaces = namespaces::read(&dir, &mut misses);
        // A thread of the kernel has no memory and no files. One that claims to be and has an
        // executable is read as any other.
        if has_user_part(&stat, &dir) {
            let hash = self.hash;
            record.exe = self.executables.of(self.host, &dir, hash, &mut misses);
            let max = self.max_raw_bytes;
            let area = area::read(&dir, pid, "cmdline", &mut self.cmdline, max, out)?;
            if let Some(area) = misses.keep("cmdline", area) {
                record.cmdline = Some(NulList(area.inline));
                (record.cmdline_total_bytes, record.cmdline_raw_sha256) = area.whole.unzip();
                misses.add_all("cmdline", area.trouble);
            }
            let area = area::read(&dir, pid, "environ", &mut self.environ, max, out)?;
            if let Some(area) = misses.keep("environ", area) {
                record.environ = Some(NulList(area.inline));
                (record.environ_total_bytes, record.environ_raw_sha256) = area.whole.unzip();
                misses.add_all("environ", area.trouble);
                let short = record.environ_total_bytes.filter(|n| *n < stat.environ_bytes);
                misses.add_all(
                    "environ",
                    short.map(|n| format!("ends after {n} of {} bytes", stat.environ_bytes)),
                );
            }
            record.cwd = misses.keep("cwd", dir.link_target(b"cwd")).map(RawBytes);
            record.root = misses.keep("root", dir.link_target(b"root")).map(RawBytes);
            let io = self.small.shown(&dir, b"io", SMALL_BYTES);
            record.io = misses.keep("io", io.map(Io::parse));
            let (files, total) = fds::read(&dir, &mut self.small, &mut misses);
            record.open_files_total = Some(total);
            record.open_files = Some(files);
            record.maps = misses.keep("maps", read_maps(&dir));
        }
        let nothing_left = record.cmdline.is_some_and(|list| list.0.is_empty());
        if misses.gone || nothing_left {
            record.exited_midway = has_ended_since(&dir, &stat, &mut self.small);
        }
        finish(record, &misses, out)
    }
}

impl Units {
    fn of_this_machine() -> Self {
        let clock = sys::file::clock();
        let setting = |name, usual: i64| match sysconf(name) {
            Ok(Some(value)) if value > 0 => value,
            _ => usual,
        };
        Self {
            boot_ns: clock.utc.unix_nanoseconds() - i128::from(clock.boottime_ns),
            ticks_per_second: setting(SysconfVar::CLK_TCK, 100).into(),
            page_bytes: u64::try_from(setting(SysconfVar::PAGE_SIZE, 4096)).unwrap_or(4096),
        }
    }

    fn stat_part<'s>(&self, stat: &'s Stat, status: Option<&Status>) -> StatPart<'s> {
        let after_boot = i128::from(stat.start_ticks) * 1_000_000_000 / self.ticks_per_second;
        let pages = u64::try_from(stat.rss_pages).unwrap_or(0);
        StatPart {
            ppid: stat.ppid,
            comm: Raw(&stat.comm),
            state: stat.state,
            start_time: Timestamp::from_unix_nanoseconds(self.boot_ns + after_boot),
            start_ticks: stat.start_ticks,
            kernel_thread: stat.is_kernel_thread(),
            threads: stat.threads,
            process_group_id: stat.process_group,
            session_id: stat.session,
            tty: stat.terminal(),
            utime_ticks: stat.utime_ticks,
            stime_ticks: stat.stime_ticks,
            // That of `status` is exact; `stat` keeps a sum that lags behind.
            rss_bytes: status
                .and_then(|status| status.rss_bytes)
                .unwrap_or(pages.saturating_mul(self.page_bytes)),
            vsize_bytes: stat.vsize_bytes,
        }
    }
}

fn read_stat(dir: &Dir<'_>, scratch: &mut Scratch) -> io::Result<Stat> {
    let bytes = scratch.shown(dir, b"stat", SMALL_BYTES)?;
    stat::parse(bytes).ok_or_else(|| io::Error::other("not the format of proc_pid_stat(5)"))
}

/// True for all but kernel threads and zombies, and for a kernel thread that has an executable.
fn has_user_part(stat: &Stat, dir: &Dir<'_>) -> bool {
    !stat.has_ended() && (!stat.is_kernel_thread() || dir.link_target(b"exe").is_ok())
}

fn read_maps(dir: &Dir<'_>) -> io::Result<MapsSummary> {
    let mut maps = MapsSummary::default();
    each_line(dir.open(b"maps")?, |line| maps.add(line))?;
    Ok(maps)
}

/// True where the process is gone, or a zombie that was none before.
fn has_ended_since(dir: &Dir<'_>, before: &Stat, scratch: &mut Scratch) -> bool {
    match read_stat(dir, scratch) {
        Ok(now) => now.has_ended() && !before.has_ended(),
        Err(error) => crate::proc::fields::is_gone(&error),
    }
}

/// The telling path and, where there are several hierarchies, all lines.
fn cgroups(bytes: &[u8]) -> (Option<RawBytes>, Vec<RawBytes>) {
    let lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
    let path_of = |prefix: &[u8]| {
        lines.iter().find_map(|line| {
            let (_, rest) = line.split_at(line.iter().position(|&b| b == b':')?);
            rest.strip_prefix(prefix)
        })
    };
    let unified = path_of(b"::");
    let systemd = path_of(b":name=systemd:");
    let path = match (unified, systemd) {
        (Some(b"/") | None, Some(systemd)) => Some(systemd),
        (unified, _) => unified,
    };
    let all = match lines.len() {
        0 | 1 => Vec::new(),
        _ => lines.iter().map(|line| RawBytes::from(*line)).collect(),
    };
    (path.map(RawBytes::from), all)
}

/// Emits the record, and each thing that could not be read also as a gap of the source.
fn finish(record: Record<'_>, misses: &Misses, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    for miss in &misses.list {
        let operation = format!("read {}", miss.what);
        out.gap(&operation, record.path.as_bytes(), &miss.why);
    }
    let record = Record { unreadable: &misses.list, ..record };
    out.record("processes", &record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_of_each_layout() {
        let path = |text: &str| cgroups(text.as_bytes());
        assert_eq!(path("0::/system.slice/a\n"), (Some("/system.slice/a".into()), vec![]));
        let (hybrid, all) = path("4:cpu:/x\n1:name=systemd:/user.slice\n0::/\n");
        assert_eq!((hybrid, all.len()), (Some("/user.slice".into()), 3));
        assert_eq!(path(""), (None, vec![]));
    }
}
