//! What most commands need first: the store, who acts with which tool, fresh names.

use crate::{
    cases::Cases,
    enrol::Enrolment,
    failure::Failure,
    ingest::{Collector, Progress},
    pki::Authority,
};
use cleanroom_evidence::{CaseId, HostId, Sha256Digest};
use cleanroom_store::{Actor, CaseDraft, Store, Tool};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    sync::Arc,
};

/// Folder of keys in the store.
pub const KEYS: &str = "keys";

/// This program, with the digest of its own binary.
pub fn tool() -> Result<Tool, Failure> {
    let sha256 = file_digest(Path::new("/proc/self/exe"))?;
    let (name, version) = ("cleanroom".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Ok(Tool { name, version, sha256 })
}

/// The person at the command line, as the system knows them.
pub fn actor() -> Actor {
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| "?".to_owned());
    let who = match std::env::var("SUDO_USER") {
        Ok(behind) => format!("{behind} as {name} (uid {uid})"),
        Err(_) => format!("{name} (uid {uid})"),
    };
    Actor { who, how: "command line".to_owned() }
}

/// Everything that a server needs, over one store.
pub fn collector(
    root: &Path,
    progress: Box<dyn Fn(Progress) + Send + Sync>,
) -> Result<Arc<Collector>, Failure> {
    let store = Store::open(root)?;
    Ok(Arc::new(Collector {
        cases: Cases::new(store, tool()?),
        enrolment: Enrolment::open(root)?,
        authority: Authority::open(&root.join(KEYS))?,
        progress,
    }))
}

/// A new case in the words of the command line.
pub fn draft(
    id: CaseId,
    title: Option<String>,
    examiner: Option<String>,
) -> Result<CaseDraft, Failure> {
    Ok(CaseDraft {
        title: title.unwrap_or_else(|| format!("Case {id}")),
        examiner: examiner.unwrap_or_else(|| actor().who),
        authority: String::new(),
        tool: tool()?,
        quota_bytes: None,
        id,
    })
}

/// A case id of its own for each capture: the day, the time, four random digits.
pub fn fresh_case_id() -> Result<CaseId, Failure> {
    let time = cleanroom_store::clock_now().utc.to_string();
    let digits: String = time.chars().take(19).filter(char::is_ascii_digit).collect();
    let (day, clock) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    let mut random = [0u8; 2];
    SystemRandom::new().fill(&mut random).map_err(|_| Failure::new("no random bytes"))?;
    let [a, b] = random;
    Ok(format!("case-{day}-{clock}-{a:02x}{b:02x}").parse()?)
}

/// The id of the host that is captured: the EC2 instance id where the firmware tells it, else the
/// host's name; for a mounted image the name in the image.
pub fn host_of(root: Option<&Path>) -> Result<HostId, Failure> {
    let name = match root {
        Some(root) => {
            let path = root.join("etc/hostname");
            // A link could lead to the examiner's own name.
            match fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
                true => first_bytes(&path),
                false => String::new(),
            }
        }
        None => {
            // Nitro instances carry their id there; readable without privileges, nothing is asked.
            let tag = first_bytes(Path::new("/sys/class/dmi/id/board_asset_tag"));
            if tag.starts_with("i-")
                && let Ok(id) = tag.trim().parse()
            {
                return Ok(id);
            }
            first_bytes(Path::new("/proc/sys/kernel/hostname"))
        }
    };
    host_id(name.trim())
}

/// The beginning of a small text file, empty where it cannot be read.
fn first_bytes(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// A name made fit for a host id.
pub fn host_id(name: &str) -> Result<HostId, Failure> {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) => c,
        _ => '-',
    };
    let text: String = name.chars().take(64).map(fit).collect();
    let text = text.trim_start_matches(['-', '_', '.']);
    Ok(if text.is_empty() { "host".parse()? } else { text.parse()? })
}

/// SHA-256 of a file, read once.
pub fn file_digest(path: &Path) -> Result<Sha256Digest, Failure> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (cleanroom_evidence::Hasher::default(), vec![0u8; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_host_name_becomes_an_id() {
        assert_eq!(
            host_id("ip-10-0-0-5.EC2.internal").unwrap().as_str(),
            "ip-10-0-0-5.ec2.internal"
        );
        assert_eq!(host_id("../x y").unwrap().as_str(), "x-y");
        assert_eq!(host_id("é").unwrap().as_str(), "host");
        assert!(fresh_case_id().unwrap().as_str().starts_with("case-2"));
    }
}
