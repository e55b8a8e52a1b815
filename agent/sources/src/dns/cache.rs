//! The cache of systemd-resolved, as its monitor gives it over varlink (systemd 254 and newer):
//! JSON, ended by a NUL byte. It asks for a dump and nothing else; it flushes nothing.

use super::{message, names};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cleanroom_evidence::RawBytes;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    time::{Duration, Instant},
};

/// Where the monitor listens.
pub const SOCKET: &[u8] = b"/run/systemd/resolve/io.systemd.Resolve.Monitor";
/// What is asked.
const REQUEST: &[u8] = b"{\"method\":\"io.systemd.Resolve.Monitor.DumpCache\",\"parameters\":{}}\0";
/// Bytes of an answer at most.
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Sends the request and reads the answer up to its NUL byte, within `limit` in all.
pub fn ask(path: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    // A full backlog must not make us wait: connect without blocking, then set the limits.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let mut stream = UnixStream::from(fd);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        let end = bytes.iter().position(|&b| b == 0);
        answer.extend_from_slice(bytes.get(..end.unwrap_or(read)).unwrap_or_default());
        if end.is_some() {
            return Ok(answer);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if answer.len() > ANSWER_BYTES {
            return Err(io::Error::other(format!("an answer of more than {ANSWER_BYTES} bytes")));
        }
    }
}

/// One entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The name.
    pub name: RawBytes,
    /// Type, e.g. `A`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Class, e.g. `IN`.
    pub class: String,
    /// `positive`, or what the cache calls it (`nxdomain`, `nodata`, …).
    pub result: String,
    /// The data in presentation form, for a positive entry.
    pub data: Option<RawBytes>,
    /// Time to live as it was received.
    pub ttl_seconds: Option<u32>,
    /// When it expires, on CLOCK_BOOTTIME.
    pub until_boottime_ns: Option<u64>,
    /// Scope: `dns`, `mdns`, `llmnr`.
    pub protocol: Option<String>,
    /// Interface of the scope.
    pub interface: Option<String>,
    /// Why the data of this entry could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    error: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    dump: Vec<Scope>,
}

#[derive(Deserialize)]
struct Scope {
    protocol: Option<String>,
    ifname: Option<String>,
    #[serde(default)]
    cache: Option<Vec<Cached>>,
}

#[derive(Deserialize)]
struct Cached {
    key: Key,
    #[serde(default)]
    rrs: Option<Vec<Record>>,
    #[serde(rename = "type")]
    result: Option<String>,
    until: Option<u64>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    class: u16,
    #[serde(rename = "type", default)]
    kind: u16,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Record {
    raw: Option<String>,
}

/// Reads an answer. An error is what the daemon says, or what is wrong with the JSON.
pub fn parse(answer: &[u8]) -> Result<Vec<Entry>, String> {
    let reply: Reply = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if let Some(error) = reply.error {
        return Err(error);
    }
    let mut entries = Vec::new();
    for scope in reply.parameters.dump {
        for cached in scope.cache.unwrap_or_default() {
            let bare = Entry {
                name: cached.key.name.as_str().into(),
                kind: names::type_name(cached.key.kind),
                class: names::class_name(cached.key.class),
                result: cached.result.unwrap_or_else(|| "positive".to_owned()),
                data: None,
                ttl_seconds: None,
                until_boottime_ns: cached.until.and_then(|usec| usec.checked_mul(1000)),
                protocol: scope.protocol.clone(),
                interface: scope.ifname.clone(),
                malformed: None,
            };
            match cached.rrs.unwrap_or_default() {
                records if records.is_empty() => entries.push(bare),
                records => entries.extend(records.iter().map(|record| positive(&bare, record))),
            }
        }
    }
    Ok(entries)
}

fn positive(bare: &Entry, record: &Record) -> Entry {
    let wire = record.raw.as_deref().map(|text| STANDARD.decode(text));
    let answer = match &wire {
        Some(Ok(bytes)) => message::single(bytes).map_err(str::to_owned),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("no wire format".to_owned()),
    };
    match answer {
        Ok(answer) => Entry {
            name: answer.name,
            kind: answer.kind,
            data: Some(answer.data),
            ttl_seconds: Some(answer.ttl_seconds),
            ..bare.clone()
        },
        Err(why) => Entry { malformed: Some(why), ..bare.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::names::tests::wire;
    use proptest::prelude::*;
    use std::os::unix::{ffi::OsStrExt as _, net::UnixListener};

    fn sample() -> String {
        let rr =
            [&wire(&[b"pool", b"x\xff"])[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 9]]
                .concat();
        let raw = STANDARD.encode(rr);
        format!(
            r#"{{"parameters":{{"dump":[{{"protocol":"dns","family":2,"ifindex":2,"ifname":"ens5","cache":[
            {{"key":{{"class":1,"type":1,"name":"pool.x"}},"rrs":[{{"rr":{{}},"raw":"{raw}"}},{{"raw":"!"}}],"until":5}},
            {{"key":{{"class":1,"type":28,"name":"gone.x"}},"type":"nxdomain","until":7}}]}},
            {{"protocol":"llmnr","family":10,"cache":[]}}]}}}}"#
        )
    }

    #[test]
    fn reads_positive_and_negative_entries() {
        let entries = parse(sample().as_bytes()).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].name.0, b"pool.x\xff");
        assert_eq!(entries[0].data.as_ref().unwrap().0, b"198.51.100.9");
        assert_eq!((entries[0].ttl_seconds, entries[0].until_boottime_ns), (Some(60), Some(5000)));
        assert!(entries[1].malformed.is_some());
        assert_eq!((&entries[2].result[..], &entries[2].kind[..]), ("nxdomain", "AAAA"));
        let error =
            br#"{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}"#;
        assert_eq!(parse(error).unwrap_err(), "org.varlink.service.MethodNotFound");
    }

    #[test]
    fn asks_and_gives_up_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor");
        let listener = UnixListener::bind(&path).unwrap();
        let bytes = path.as_os_str().as_bytes();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; REQUEST.len()];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(sample().as_bytes()).unwrap();
            stream.write_all(b"\0").unwrap();
            (request, listener)
        });
        assert_eq!(ask(bytes, Duration::from_secs(5)).unwrap(), sample().into_bytes());
        let (request, _listener) = daemon.join().unwrap();
        assert_eq!(request, REQUEST);
        let began = Instant::now();
        assert!(ask(bytes, Duration::from_millis(100)).is_err());
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, byte: u8) {
            let _ = parse(&bytes);
            let mut damaged = sample().into_bytes();
            if let Some(place) = damaged.get_mut(at) { *place = byte; }
            let _ = parse(&damaged);
        }
    }
}
