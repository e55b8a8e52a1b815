//! How this host resolves names and what its resolvers remember: configuration, logs and caches of
//! glibc, systemd-resolved, dnsmasq, unbound, named and nscd, raw and as `dns-config` lines; the
//! cache of a running systemd-resolved as `dns-cache`. It resolves no name and flushes no cache.

use crate::{
    Emitter, FileRead, Host, Options, SinkClosed, Source, Volatility,
    dns::{
        cache,
        config::{self, Format, LINES, Line},
        places::{FILES, FOLDERS, LOGS},
    },
};
use cleanroom_evidence::{FileKind, Outcome, RawBytes};
use serde::Serialize;
use std::{collections::BTreeSet, io, time::Duration};

/// Bytes of a configuration file that are parsed (the raw file is kept beyond).
const PARSED_BYTES: usize = 1024 * 1024;
/// Files taken from one folder at most.
const FOLDER_FILES: usize = 256;
/// Records of configuration lines at most.
const RECORDS: usize = 100_000;
/// How long systemd-resolved may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Resolver configuration, logs and caches.
pub struct Dns;

impl Source for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }
    fn about(&self) -> &'static str {
        "resolver configuration, logs and caches (glibc, systemd-resolved, dnsmasq, unbound, named, nscd)"
    }
    fn volatility(&self) -> Volatility {
        Volatility::Temporary
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        let mut run = Run {
            host,
            options,
            out,
            seen: BTreeSet::new(),
            records: Vec::new(),
            logs: Vec::new(),
        };
        // What a daemon holds in memory is gone first.
        let cached = run.resolved_cache()?;
        for (path, kind, format) in FILES {
            run.config(path.as_bytes(), kind, *format)?;
        }
        for (folder, suffix, kind, format) in FOLDERS {
            for path in run.names(folder.as_bytes(), b"", suffix.as_bytes()) {
                run.config(&path, kind, *format)?;
            }
        }
        let logs = std::mem::take(&mut run.logs);
        let mut total = 0;
        for path in logs {
            run.log(&path, &mut total)?;
        }
        for (folder, prefix) in LOGS {
            for path in run.names(folder.as_bytes(), prefix.as_bytes(), b"") {
                run.log(&path, &mut total)?;
            }
        }
        let Run { seen, records, out, .. } = run;
        for record in &records {
            out.record("dns-config", record)?;
        }
        for entry in &cached {
            out.record("dns-cache", entry)?;
        }
        match out.outcome()? {
            Outcome::Complete if seen.is_empty() => {
                Ok(Outcome::Absent("no resolver configuration".to_owned()))
            }
            outcome => Ok(outcome),
        }
    }
}

/// One line of configuration.
#[derive(Serialize)]
struct ConfigRecord {
    path: RawBytes,
    /// The file that the path leads to, where it is a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target: Option<RawBytes>,
    kind: &'static str,
    key: RawBytes,
    value: RawBytes,
}

/// Where a file lies behind its links, and its first bytes.
type Taken = (Vec<u8>, Vec<u8>);

struct Run<'a, 's> {
    host: &'a Host,
    options: &'a Options,
    out: &'a mut Emitter<'s>,
    /// Paths that were emitted.
    seen: BTreeSet<Vec<u8>>,
    records: Vec<ConfigRecord>,
    /// Log files that configurations name.
    logs: Vec<Vec<u8>>,
}

impl Run<'_, '_> {
    /// Emits a configuration file, behind its links too, and keeps its lines for later.
    fn config(
        &mut self,
        path: &[u8],
        kind: &'static str,
        format: Format,
    ) -> Result<(), SinkClosed> {
        let Some((real, head)) = self.take(path, kind, PARSED_BYTES)? else {
            return Ok(());
        };
        self.logs.extend(config::log_paths(&head, format));
        let (lines, more) = config::parse(&head, format);
        if more {
            self.out.gap("parse", path, &format!("more than {LINES} lines"));
        } else if head.len() >= PARSED_BYTES {
            self.out.gap("parse", path, &format!("only the first {PARSED_BYTES} bytes"));
        }
        for Line { key, value } in lines {
            if self.records.len() >= RECORDS {
                self.out.gap("parse", path, &format!("more than {RECORDS} lines in all files"));
                break;
            }
            self.records.push(ConfigRecord {
                path: path.into(),
                link_target: (real != path).then(|| real.as_slice().into()),
                kind,
                key: key.into(),
                value: value.into(),
            });
        }
        Ok(())
    }

    /// Emits a path and, where it is a link, what it leads to; each path once. Gives the real path
    /// and the first bytes.
    fn take(&mut self, path: &[u8], kind: &str, keep: usize) -> Result<Option<Taken>, SinkClosed> {
        let max = self.options.max_file_bytes;
        let mut at = path.to_vec();
        for _ in 0..2 {
            if self.seen.contains(&at) {
                // A link led to a file that came before: its bytes are there already.
                let bytes = self.host.read(&at, keep).map(|content| content.bytes);
                return Ok(bytes.ok().filter(|_| keep > 0).map(|bytes| (at, bytes)));
            }
            let read = self.out.file(self.host, &at, &[("kind", kind)], max, keep)?;
            let meta = match read {
                FileRead::Missing => return Ok(None),
                FileRead::Read { head, .. } => {
                    self.seen.insert(at.clone());
                    return Ok(Some((at, head)));
                }
                FileRead::Unread(meta) => meta,
            };
            self.seen.insert(at.clone());
            if meta.kind != FileKind::Symlink {
                return Ok(None);
            }
            match self.host.resolve(&at) {
                Ok(real) => at = real,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => {
                    self.out.gap_io("resolve", &at, &error);
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    fn log(&mut self, path: &[u8], total: &mut u64) -> Result<(), SinkClosed> {
        let bound = self.options.max_file_bytes.saturating_mul(8);
        if *total >= bound {
            self.out.gap("read", path, &format!("the logs reached their limit of {bound} bytes"));
            return Ok(());
        }
        let before = self.out.totals().1;
        self.take(path, "log", 0)?;
        *total += self.out.totals().1.saturating_sub(before);
        Ok(())
    }

    /// Files (and links) in a folder by beginning and end of their names; a folder that is missing
    /// has none.
    fn names(&mut self, folder: &[u8], prefix: &[u8], suffix: &[u8]) -> Vec<Vec<u8>> {
        let entries = match self.host.list(folder) {
            Ok(entries) => entries,
            Err(error) => {
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                    self.out.gap_io("list", folder, &error);
                }
                return Vec::new();
            }
        };
        let mut paths: Vec<Vec<u8>> = entries
            .into_iter()
            .filter(|entry| entry.kind != Some(FileKind::Directory))
            .filter(|entry| entry.name.starts_with(prefix) && entry.name.ends_with(suffix))
            .map(|entry| [folder, b"/", &entry.name].concat())
            .collect();
        if paths.len() > FOLDER_FILES {
            self.out.gap("list", folder, &format!("more than {FOLDER_FILES} files"));
            paths.truncate(FOLDER_FILES);
        }
        paths
    }

    /// The cache of a running systemd-resolved: the answer as it came, and its entries.
    fn resolved_cache(&mut self) -> Result<Vec<cache::Entry>, SinkClosed> {
        let is_socket = |meta: cleanroom_evidence::FileMeta| meta.kind == FileKind::Socket;
        if !self.host.is_live() || !self.host.metadata(cache::SOCKET).is_ok_and(is_socket) {
            return Ok(Vec::new());
        }
        let answer = match cache::ask(cache::SOCKET, ANSWER_TIME) {
            Ok(answer) => answer,
            // The socket of a daemon that was stopped stays where it was.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Vec::new()),
            Err(error) => {
                self.out.gap_io("dump cache", cache::SOCKET, &error);
                return Ok(Vec::new());
            }
        };
        let labels = [("method", "io.systemd.Resolve.Monitor.DumpCache")];
        self.out.raw(b"systemd-resolved-cache", &labels, &answer)?;
        match cache::parse(&answer) {
            Ok(entries) => Ok(entries),
            Err(why) => {
                self.out.gap("dump cache", cache::SOCKET, &why);
                Ok(Vec::new())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn an_image_with_links_and_logs() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in [
            "etc/dnsmasq.d",
            "etc/systemd/resolved.conf.d",
            "run/systemd/resolve",
            "var/log/custom",
            "etc/bind",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        symlink("/run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf")).unwrap();
        fs::write(root.join("run/systemd/resolve/stub-resolv.conf"), "nameserver 127.0.0.53\n")
            .unwrap();
        fs::write(root.join("etc/hosts"), b"10.1.2.3 pool\xff.example\n").unwrap();
        fs::write(
            root.join("etc/dnsmasq.d/log"),
            "log-queries\nlog-facility=/var/log/custom/q.log\n",
        )
        .unwrap();
        fs::write(root.join("var/log/custom/q.log"), "query[A] evil.example from 127.0.0.1\n")
            .unwrap();
        fs::write(root.join("var/log/dnsmasq.log.1"), "old\n").unwrap();
        fs::write(root.join("etc/systemd/resolved.conf.d/a.conf"), "[Resolve]\nDNS=9.9.9.9\n")
            .unwrap();
        nix::unistd::mkfifo(&root.join("etc/gai.conf"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut sink = Captured::default();
        let host = Host::at(root).unwrap();
        let mut out = Emitter::new("dns", &mut sink);
        let outcome = Dns.collect(&host, &Options::default(), &mut out).unwrap();
        assert_eq!(outcome, Outcome::Complete);
        let names: Vec<String> =
            sink.items.iter().map(|(header, ..)| header.name.to_string()).collect();
        for wanted in [
            "/etc/resolv.conf",
            "/run/systemd/resolve/stub-resolv.conf",
            "/etc/hosts",
            "/etc/gai.conf",
            "/var/log/custom/q.log",
            "/var/log/dnsmasq.log.1",
        ] {
            assert_eq!(
                names.iter().filter(|name| *name == wanted).count(),
                1,
                "{wanted} in {names:?}"
            );
        }
        let records = sink.records("dns-config");
        let has = |path: &str, key: &str, value: &str| {
            records.iter().any(|r| r["path"] == path && r["key"] == key && r["value"] == value)
        };
        assert!(has("/etc/resolv.conf", "nameserver", "127.0.0.53"), "{records:?}");
        assert!(has("/etc/hosts", "10.1.2.3", "pool\\xff.example"));
        assert!(has("/etc/systemd/resolved.conf.d/a.conf", "Resolve.DNS", "9.9.9.9"));
        assert!(has("/etc/dnsmasq.d/log", "log-queries", ""));
        assert!(sink.records("dns-cache").is_empty());
    }

    #[test]
    fn an_empty_root_is_absent_and_this_host_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = Captured::default();
        let mut collect = |host: Host| {
            let mut out = Emitter::new("dns", &mut sink);
            Dns.collect(&host, &Options::default(), &mut out).unwrap()
        };
        assert!(matches!(collect(Host::at(dir.path()).unwrap()), Outcome::Absent(_)));
        assert!(!matches!(collect(Host::live().unwrap()), Outcome::Failed(_)));
    }
}
