//! Which cron the host has, and what its files say about whether it is started.
//! It never looks at the process table: a live host's running daemons are another source's matter.

use super::{Layout, layout::Settings};
use crate::Host;
use cleanroom_evidence::{FileKind, printable};

/// A small settings file at most, in bytes.
const SETTINGS_BYTES: usize = 64 * 1024;

/// One daemon, by files alone.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    /// Where its program lies.
    pub program: Option<&'static str>,
    /// `Ok`: what starts it (or that nothing is known against it). `Err`: why it is not started.
    pub started: Result<String, String>,
}

impl Daemon {
    /// Would it run what it accepts?
    pub fn runs(&self, what: &str) -> Result<String, String> {
        match self.program {
            None => Err(format!("no {what} is installed")),
            Some(program) => match &self.started {
                Ok(how) => Ok(format!("{program}: {how}")),
                Err(why) => Err(why.clone()),
            },
        }
    }
}

/// The schedulers of a host.
#[derive(Clone, Debug)]
pub(crate) struct Schedulers {
    /// By whose rules the host's files are read.
    pub layout: Layout,
    pub cron: Daemon,
    pub at: Daemon,
    /// True where the anacron program is there.
    pub anacron: bool,
    pub settings: Settings,
}

impl Schedulers {
    /// Looks at programs, units, init links, pid files and `os-release`.
    pub fn of_host(host: &Host) -> Self {
        let debian_family = family(host);
        let cron = first(host, &["/usr/sbin/cron", "/sbin/cron"]);
        let crond = first(host, &["/usr/sbin/crond", "/sbin/crond"]);
        // Debian's package of cronie is also called crond but reads Debian's spool: the family
        // decides where it is known, else the program's name.
        let layout = match (debian_family, cron, crond) {
            (Some(true), _, _) | (None, Some(_), _) => Layout::Debian,
            (Some(false), _, _) | (None, None, Some(_)) => Layout::AmazonLinux,
            (None, None, None) => Layout::Debian,
        };
        let (program, names): (_, &[&str]) = match layout {
            Layout::Debian => {
                (cron.or(crond), if cron.is_some() { &["cron"] } else { &["crond", "cronie"] })
            }
            Layout::AmazonLinux => {
                (crond.or(cron), if crond.is_some() { &["crond"] } else { &["cron"] })
            }
        };
        let settings = Settings {
            lsb_names: option(host, b"/etc/default/cron", "EXTRA_OPTS", 'l'),
            permit_any: option(host, b"/etc/sysconfig/crond", "CRONDARGS", 'p'),
        };
        let at = first(host, &["/usr/sbin/atd", "/sbin/atd"]);
        Self {
            layout,
            cron: Daemon { program, started: started(host, names, "/run/crond.pid") },
            at: Daemon { program: at, started: started(host, &["atd"], "/run/atd.pid") },
            anacron: first(host, &["/usr/sbin/anacron", "/sbin/anacron"]).is_some(),
            settings,
        }
    }
}

/// True for Debian and its children, false for the RPM family; `None` where os-release is silent.
fn family(host: &Host) -> Option<bool> {
    let content = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| host.read(path.as_bytes(), SETTINGS_BYTES).ok())?;
    let text = String::from_utf8_lossy(&content.bytes).into_owned();
    let ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
    let mut words = ids.flat_map(|ids| ids.trim_matches(['"', '\'']).split_ascii_whitespace());
    words.find_map(|id| match id {
        "debian" | "ubuntu" => Some(true),
        "amzn" | "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "ol" => Some(false),
        _ => None,
    })
}

fn first(host: &Host, paths: &[&'static str]) -> Option<&'static str> {
    let there = |path: &&&str| {
        let resolved = host.resolve(path.as_bytes());
        let meta = resolved.and_then(|path| host.metadata(&path));
        meta.is_ok_and(|meta| meta.kind == FileKind::Regular && meta.mode & 0o111 != 0)
    };
    paths.iter().find(there).copied()
}

/// True where the last uncommented `NAME=…` of a settings file holds the option letter.
fn option(host: &Host, path: &[u8], name: &str, letter: char) -> bool {
    let Ok(content) = host.read(path, SETTINGS_BYTES) else {
        return false;
    };
    let text = String::from_utf8_lossy(&content.bytes).into_owned();
    let value = text.lines().rev().find_map(|line| {
        line.trim().strip_prefix(name)?.trim_start().strip_prefix('=').map(str::to_owned)
    });
    value.is_some_and(|value| {
        let words = value.split(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        words
            .filter(|word| word.starts_with('-') && !word.starts_with("--"))
            .any(|word| word.contains(letter))
    })
}

const UNIT_DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

fn started(host: &Host, names: &[&str], pid_file: &str) -> Result<String, String> {
    if host.metadata(pid_file.as_bytes()).is_ok() {
        return Ok(format!("{pid_file} says that it was started since boot"));
    }
    let mut installed = None;
    for name in names {
        let unit = format!("{name}.service");
        for directory in UNIT_DIRECTORIES {
            let path = format!("{directory}/{unit}");
            let Ok(meta) = host.metadata(path.as_bytes()) else {
                continue;
            };
            let nowhere = meta.link_target.as_ref().is_some_and(|t| t.as_bytes() == b"/dev/null");
            if nowhere || (meta.kind == FileKind::Regular && meta.size_bytes == 0) {
                return Err(format!("{unit} is masked ({path})"));
            }
            installed.get_or_insert(path);
        }
        if let Some(link) = wanted(host, &unit) {
            return Ok(format!("{link} starts it"));
        }
        if installed.is_none()
            && let Some(link) = init_link(host, name)
        {
            return Ok(format!("{link} starts it"));
        }
    }
    match installed {
        Some(path) => Err(format!("{path} is there, but no target wants it (not enabled)")),
        None => Ok("nothing found that starts it at boot (a container, or by hand)".to_owned()),
    }
}

/// The link by which a target, or any other unit, pulls this one in.
fn wanted(host: &Host, unit: &str) -> Option<String> {
    UNIT_DIRECTORIES.iter().find_map(|directory| {
        let entries = host.list(directory.as_bytes()).ok()?;
        let pulls = |name: &[u8]| name.ends_with(b".wants") || name.ends_with(b".requires");
        entries.iter().filter(|entry| pulls(&entry.name)).find_map(|entry| {
            let path = [directory.as_bytes(), b"/", &entry.name, b"/", unit.as_bytes()].concat();
            host.metadata(&path).ok().map(|_| printable(&path))
        })
    })
}

fn init_link(host: &Host, name: &str) -> Option<String> {
    [2, 3, 4, 5].iter().find_map(|level| {
        let directory = format!("/etc/rc{level}.d");
        let entries = host.list(directory.as_bytes()).ok()?;
        let link = entries.iter().find(|entry| {
            let digits = entry.name.strip_prefix(b"S").and_then(|rest| rest.split_at_checked(2));
            digits.is_some_and(|(n, rest)| {
                n.iter().all(u8::is_ascii_digit) && rest == name.as_bytes()
            })
        })?;
        Some(format!("{directory}/{}", printable(&link.name)))
    })
}
