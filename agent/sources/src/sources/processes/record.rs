//! The record of one process.

use super::{Unreadable, exe::Exe, fds::OpenFile, is_false, namespaces::Namespaces};
use crate::proc::{
    fields::{NulList, Raw},
    maps::MapsSummary,
    status::{Capabilities, Ids, Status},
};
use cleanroom_evidence::{RawBytes, Sha256Digest, Timestamp};
use serde::Serialize;

/// One line of the set `processes`. A key that is absent could not be read or does not apply.
#[derive(Debug, Default, Serialize)]
pub struct Record<'a> {
    pub pid: u32,
    /// The file that it comes from.
    pub path: String,
    /// From `stat`.
    #[serde(flatten)]
    pub stat: Option<StatPart<'a>>,
    /// From `status`.
    #[serde(flatten)]
    pub status: Option<StatusPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<Exe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<NulList<'a>>,
    /// Only where the list is cut: the raw item `proc/PID/cmdline` holds all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_raw_sha256: Option<Sha256Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environ: Option<NulList<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environ_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environ_raw_sha256: Option<Sha256Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<RawBytes>,
    /// The path in the unified hierarchy, or in systemd's where that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<RawBytes>,
    /// Every hierarchy (`id:controllers:path`) where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<Vec<OpenFile>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maps: Option<MapsSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<Io>,
    /// True where something else is mounted over `/proc/PID`: a way to hide a process.
    #[serde(skip_serializing_if = "is_false")]
    pub covered_by_mount: bool,
    /// True where the process ended while it was read: what is absent is lost.
    pub exited_midway: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub unreadable: &'a [Unreadable],
}

impl Record<'_> {
    pub fn new(pid: u32) -> Self {
        Self { pid, path: format!("/proc/{pid}"), ..Self::default() }
    }
}

impl From<Status> for StatusPart {
    fn from(mut status: Status) -> Self {
        Self {
            uid: status.uid,
            gid: status.gid,
            groups: status.groups,
            capabilities: status.capabilities,
            seccomp: status.seccomp,
            no_new_privs: status.no_new_privs,
            tracer_pid: status.tracer_pid,
            namespace_pids: status.namespace_pids.split_off(1.min(status.namespace_pids.len())),
        }
    }
}

/// What `stat` tells.
#[derive(Debug, Serialize)]
pub struct StatPart<'a> {
    pub ppid: u32,
    pub comm: Raw<'a>,
    pub state: char,
    pub start_time: Timestamp,
    pub start_ticks: u64,
    pub kernel_thread: bool,
    pub threads: i64,
    pub process_group_id: i64,
    pub session_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    pub utime_ticks: u64,
    pub stime_ticks: u64,
    pub rss_bytes: u64,
    pub vsize_bytes: u64,
}

/// What `status` tells.
#[derive(Debug, Serialize)]
pub struct StatusPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Ids>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Ids>,
    pub groups: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_new_privs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer_pid: Option<u32>,
    /// Ids in the inner pid namespaces, where it is in one.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub namespace_pids: Vec<u32>,
}

/// `/proc/PID/io` (proc_pid_io(5)).
#[derive(Debug, Default, Serialize)]
pub struct Io {
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub cancelled_write_bytes: u64,
    pub read_chars: u64,
    pub write_chars: u64,
    pub read_calls: u64,
    pub write_calls: u64,
}

impl Io {
    /// Reads the lines `key: number`.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut io = Self::default();
        for line in bytes.split(|&b| b == b'\n') {
            let mut parts = line.splitn(2, |&b| b == b':');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
                continue;
            };
            let Some(value) = crate::proc::fields::number(value.trim_ascii()) else {
                continue;
            };
            match key {
                b"read_bytes" => io.read_bytes = value,
                b"write_bytes" => io.write_bytes = value,
                b"cancelled_write_bytes" => io.cancelled_write_bytes = value,
                b"rchar" => io.read_chars = value,
                b"wchar" => io.write_chars = value,
                b"syscr" => io.read_calls = value,
                b"syscw" => io.write_calls = value,
                _ => {}
            }
        }
        io
    }
}
