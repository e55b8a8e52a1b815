//! Files by which something comes back after a logout, a boot or an update: units, hooks, keys,
//! profiles. Each raw with its metadata, and one record that says what it runs where that is cheap.
//!
//! A place is one line of `persist::places`. Private keys are never asked for; files with password
//! hashes are taken under the label `sensitive`. Links are given as links and not followed.

use crate::{
    Emitter, FileRead, Host, Options, SinkClosed, Source, Volatility,
    accounts::Accounts,
    persist::{
        places::{PLACES, Place},
        runs::{self, Parser},
        walk::{Found, expand},
    },
};
use cleanroom_evidence::{FileKind, FileMeta, Outcome, RawBytes, Sha256Digest, Timestamp};
use serde::Serialize;
use std::collections::HashSet;

/// Files taken at most, over all places.
const MAX_FILES: usize = 30_000;
/// Bytes of a file that are looked into for commands.
const HEAD_BYTES: usize = 256 * 1024;
/// Bytes of passwd and of one sshd_config that are read at most.
const CONFIG_BYTES: usize = 1024 * 1024;
/// Records that wait until the raw files before them are given.
const PENDING: usize = 2_000;
const SET: &str = "persistence";

/// The `persistence` source.
pub struct Persistence;

#[derive(Serialize)]
struct Record {
    path: RawBytes,
    place: &'static str,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target: Option<RawBytes>,
    kind: FileKind,
    file: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256Digest>,
}

#[derive(Serialize)]
struct Facts {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: Timestamp,
    changed: Timestamp,
    size_bytes: u64,
}

impl Source for Persistence {
    fn name(&self) -> &'static str {
        "persistence"
    }

    fn about(&self) -> &'static str {
        "units, hooks, keys, profiles and other files by which something runs again"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Disk
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        let passwd = host.read(b"/etc/passwd", CONFIG_BYTES).unwrap_or_default();
        let mut run = Run {
            host,
            accounts: Accounts::parse(&passwd.bytes),
            max_bytes: options.max_file_bytes,
            out,
            seen: HashSet::new(),
            pending: Vec::new(),
        };
        for pattern in configured_keys(host) {
            let keys = Place {
                id: "authorized-keys",
                pattern: "",
                what: "authorized-key",
                parser: Parser::AuthorizedKeys,
                sensitive: false,
            };
            run.place(&keys, &pattern)?;
        }
        for place in PLACES {
            run.place(place, place.pattern.as_bytes())?;
        }
        run.flush()?;
        run.out.outcome()
    }
}

/// Where the host's own sshd looks for keys, beside its default.
fn configured_keys(host: &Host) -> Vec<Vec<u8>> {
    const CONFIG: &[u8] = b"/etc/ssh/sshd_config";
    let (drop_ins, _) = expand(host, &Accounts::default(), b"/etc/ssh/sshd_config.d/*.conf");
    let paths = std::iter::once(CONFIG.to_vec()).chain(drop_ins.into_iter().map(|f| f.path));
    paths
        .take(200)
        .filter_map(|path| host.read(&path, CONFIG_BYTES).ok())
        .flat_map(|content| runs::authorized_keys_files(&content.bytes))
        .take(100)
        .collect()
}

struct Run<'r, 'h, 's> {
    host: &'h Host,
    accounts: Accounts,
    max_bytes: u64,
    out: &'r mut Emitter<'s>,
    /// Paths given already, with the links before their last part resolved: `/lib` and `/usr/lib`
    /// are often one directory.
    seen: HashSet<Vec<u8>>,
    pending: Vec<Record>,
}

impl Run<'_, '_, '_> {
    fn place(&mut self, place: &Place, pattern: &[u8]) -> Result<(), SinkClosed> {
        let (found, trouble) = expand(self.host, &self.accounts, pattern);
        for (operation, path, reason) in trouble {
            self.out.gap(operation, &path, &reason);
        }
        let mut directory = (Vec::new(), Vec::new());
        for found in found {
            if self.seen.len() >= MAX_FILES {
                let reason = format!("more than {MAX_FILES} files: the rest was not taken");
                self.out.gap("collect", pattern, &reason);
                break;
            }
            let at = found.path.iter().rposition(|&b| b == b'/').unwrap_or(0);
            let (parent, name) = found.path.split_at_checked(at).unwrap_or_default();
            if directory.0 != parent || directory.1.is_empty() {
                let real = self.host.resolve(parent).unwrap_or_else(|_| parent.to_vec());
                directory = (parent.to_vec(), real);
            }
            if self.seen.insert([directory.1.as_slice(), name].concat()) {
                self.file(place, &found)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &Place, found: &Found) -> Result<(), SinkClosed> {
        let what = runs::what(&found.path, place.what);
        let labels = [("place", place.id), ("sensitive", "true")];
        let labels = if place.sensitive { &labels[..] } else { labels.split_at(1).0 };
        let keep = if place.parser == Parser::Nothing { 0 } else { HEAD_BYTES };
        let read = self.out.file(self.host, &found.path, labels, self.max_bytes, keep)?;
        let (meta, head, sha256) = match read {
            FileRead::Missing => return Ok(()),
            FileRead::Unread(meta) => (meta, Vec::new(), None),
            FileRead::Read { meta, head, sha256, .. } => (meta, head, Some(sha256)),
        };
        if !matches!(meta.kind, FileKind::Regular | FileKind::Symlink | FileKind::Directory) {
            self.out.gap("read", &found.path, "not a regular file: only its metadata was taken");
        }
        let regular = meta.kind == FileKind::Regular;
        let parser = if regular { place.parser } else { Parser::Nothing };
        let seen = parser.look(&found.path, &head);
        let record = Record {
            path: found.path.as_slice().into(),
            place: place.id,
            what,
            user: seen.user.or_else(|| found.user.clone()).map(RawBytes),
            runs: (!seen.runs.is_empty()).then_some(RawBytes(seen.runs)),
            link_target: meta.link_target.clone(),
            kind: meta.kind,
            file: facts(&meta),
            sha256,
        };
        self.pending.push(record);
        if self.pending.len() >= PENDING { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SinkClosed> {
        self.pending.drain(..).try_for_each(|record| self.out.record(SET, &record))
    }
}

fn facts(meta: &FileMeta) -> Facts {
    Facts {
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        modified: meta.modified,
        changed: meta.changed,
        size_bytes: meta.size_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
        path::Path,
    };

    fn put(root: &Path, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn collect(root: &Path) -> (Captured, Outcome) {
        let host = Host::at(root).unwrap();
        let mut captured = Captured::default();
        let mut out = Emitter::new("persistence", &mut captured);
        let outcome = Persistence.collect(&host, &Options::default(), &mut out).unwrap();
        (captured, outcome)
    }

    #[test]
    fn places_of_every_kind_are_raw_and_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nann:x:1:1::/home/ann:/bin/sh\n");
        put(root, "etc/shadow", b"root:$y$secret:1::::::\n");
        put(root, "etc/ld.so.preload", b"/lib/evil.so\n");
        put(root, "etc/ssh/sshd_config.d/a.conf", b"AuthorizedKeysFile /etc/keys/%u\n");
        put(root, "etc/keys/ann", b"command=\"/x\" ssh-ed25519 A\n");
        put(root, "home/ann/.ssh/id_ed25519", b"PRIVATE");
        put(root, "home/ann/.bashrc", b"alias sudo=x\n");
        put(root, "home/ann/.config/systemd/user/m.service", b"[Service]\nExecStart=/m\n");
        put(root, "usr/lib/systemd/system/a.service", b"[Service]\nExecStart=/a\nUser=ann\n");
        put(root, "etc/systemd/system/b.timer", b"[Timer]\nOnCalendar=hourly\n");
        put(root, "etc/systemd/system/a.service.d/o.conf", b"[Service]\nExecStartPre=/o\n");
        put(root, "etc/systemd/system/multi-user.target.wants/x", b"");
        let link = "etc/systemd/system/multi-user.target.wants/a.service";
        symlink("/usr/lib/systemd/system/a.service", root.join(link)).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        let (captured, outcome) = collect(root);
        assert_eq!(outcome, Outcome::Complete);
        let records = captured.records(SET);
        let of = |path: &str| {
            let found: Vec<_> = records.iter().filter(|record| record["path"] == path).collect();
            assert_eq!(found.len(), 1, "{path}");
            found[0]
        };
        assert_eq!(of("/etc/ld.so.preload")["runs"], "/lib/evil.so");
        assert_eq!(of("/etc/keys/ann")["what"], "authorized-key");
        assert_eq!(of("/etc/keys/ann")["runs"], "command=\"/x\"");
        assert_eq!(of("/home/ann/.bashrc")["user"], "ann");
        assert_eq!(of("/home/ann/.config/systemd/user/m.service")["runs"], "ExecStart=/m");
        let service = of("/usr/lib/systemd/system/a.service");
        assert_eq!(
            (&service["what"], &service["user"]),
            (&"systemd-service".into(), &"ann".into())
        );
        assert_eq!(service["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(of("/etc/systemd/system/b.timer")["runs"], "OnCalendar=hourly");
        assert_eq!(of("/etc/systemd/system/a.service.d/o.conf")["what"], "systemd-drop-in");
        assert_eq!(of(&format!("/{link}"))["link_target"], "/usr/lib/systemd/system/a.service");
        assert!(
            records.iter().all(|record| !record["path"].as_str().unwrap().starts_with("/lib/"))
        );
        let item = |path: &str| {
            captured.items.iter().find(|(h, _, _)| h.name.as_bytes() == path.as_bytes())
        };
        assert_eq!(item("/etc/shadow").unwrap().0.labels["sensitive"], "true");
        assert!(!item("/etc/passwd").unwrap().0.labels.contains_key("sensitive"));
        assert!(captured.items.iter().all(|(_, bytes, _)| !bytes.starts_with(b"PRIVATE")));
        let (last, raw) = captured.items.split_last().unwrap();
        assert_eq!(last.0.name.as_bytes(), SET.as_bytes());
        assert!(raw.iter().all(|(header, _, _)| header.kind == cleanroom_evidence::ItemKind::File));
    }

    #[test]
    fn hostile_trees_end_and_are_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "etc/passwd", b"a:x:1:1::/../../..//x:/\nb:x:2:2::/loop:/\nc:x:3:3::/:/\n");
        symlink("loop", root.join("loop")).unwrap();
        put(root, "etc/systemd/system/real", b"");
        symlink("..", root.join("etc/systemd/system/up.d")).unwrap();
        symlink("/etc/systemd/system", root.join("etc/udev")).unwrap();
        let odd = OsStr::from_bytes(b"x\xff\n\x1b[2J.service");
        put(root, Path::new("etc/systemd/system").join(odd), b"ExecStart=\xfe\\\n\\\n");
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&root.join("etc/ld.so.preload"), mode).unwrap();
        let deep = "d/".repeat(12);
        put(root, format!("etc/systemd/system/{deep}f"), b"");
        let (captured, outcome) = collect(root);
        let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
        assert!(gaps.iter().any(|gap| gap.reason.contains("levels deep")), "{gaps:?}");
        assert!(gaps.iter().any(|gap| gap.reason.contains("not a regular file")), "{gaps:?}");
        let records = captured.records(SET);
        let odd = records.iter().find(|record| record["path"].as_str().unwrap().contains("\\xff"));
        assert_eq!(odd.unwrap()["runs"], "ExecStart=\\xfe\\\\\n\\\\");
        let preload = records.iter().find(|record| record["place"] == "ld-preload").unwrap();
        assert_eq!(preload["kind"], "fifo");
    }
}
