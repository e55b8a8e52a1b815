//! The instance metadata over IMDSv2: user data, identity document and its signatures, and the
//! metadata tree without the credentials in it.

use super::{
    ImdsFacts,
    parts::{Parts, TEXT_BYTES},
};
use crate::{Emitter, SinkClosed, imds::Imds};
use std::time::{Duration, Instant};

const USER_DATA: &str = "/latest/user-data";
const IDENTITY: &str = "/latest/dynamic/instance-identity/";
/// The document, and three signatures over it.
const IDENTITY_FILES: [&str; 4] = ["document", "pkcs7", "rsa2048", "signature"];
const TREE: &str = "/latest/meta-data/";

/// Bytes of user data at most; EC2 takes 16 KiB.
const MAX_USER_DATA: usize = 1024 * 1024;
/// Bytes of one metadata value at most.
const MAX_VALUE: usize = 64 * 1024;
/// Bytes of all metadata values at most.
const MAX_VALUES: usize = 2 * 1024 * 1024;
/// Questions about the tree at most; a host with several interfaces needs about 100.
const MAX_QUESTIONS: usize = 500;
/// Levels of the tree at most.
const MAX_DEPTH: usize = 10;
/// Bytes of one name in a listing at most.
const MAX_NAME: usize = 255;
/// Values that are recorded as present and never asked for, at most.
const MAX_REDACTED: usize = 100;
/// For the whole tree.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Asks for everything and emits it as raw items named `imds:` and the path.
pub(super) fn collect(
    imds: &Imds,
    parts: &mut Parts,
    out: &mut Emitter<'_>,
) -> Result<ImdsFacts, SinkClosed> {
    let mut facts = ImdsFacts { state: "answered", ..ImdsFacts::default() };
    if let Some(bytes) = ask(imds, USER_DATA, MAX_USER_DATA, out) {
        emit(USER_DATA, &[("sensitive", "true")], &bytes, &mut facts, out)?;
        let cut = bytes.len() > TEXT_BYTES;
        let head = bytes.get(..TEXT_BYTES).unwrap_or(&bytes);
        parts.add(format!("imds:{USER_DATA}").as_bytes(), head, cut, out)?;
    }
    for name in IDENTITY_FILES {
        let path = format!("{IDENTITY}{name}");
        if let Some(bytes) = ask(imds, &path, MAX_VALUE, out) {
            emit(&path, &[], &bytes, &mut facts, out)?;
        }
    }
    tree(imds, &mut facts, out)?;
    Ok(facts)
}

fn tree(imds: &Imds, facts: &mut ImdsFacts, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let start = Instant::now();
    let mut pending = vec![(TREE.to_owned(), 0usize)];
    let (mut questions, mut room) = (0usize, MAX_VALUES);
    while let Some((path, depth)) = pending.pop() {
        questions += 1;
        let bound = match () {
            () if questions > MAX_QUESTIONS => Some("more paths than the bound"),
            () if start.elapsed() > TIME_LIMIT => Some("slower than the bound"),
            () if depth > MAX_DEPTH => Some("deeper than the bound"),
            () if room == 0 => Some("more bytes than the bound"),
            () => None,
        };
        if let Some(why) = bound {
            out.gap("ask IMDS", path.as_bytes(), why);
            if depth > MAX_DEPTH {
                continue;
            }
            return Ok(());
        }
        let Some(bytes) = ask(imds, &path, MAX_VALUE.min(room), out) else {
            continue;
        };
        room -= bytes.len().min(room);
        if !path.ends_with('/') {
            emit(&path, &[], &bytes, facts, out)?;
            continue;
        }
        for entry in entries(&path, &bytes).into_iter().rev() {
            match entry {
                Entry::Ask(path) => pending.push((path, depth + 1)),
                Entry::Redacted(path) if facts.redacted.len() < MAX_REDACTED => {
                    facts.redacted.push(format!("imds:{path}").as_str().into());
                }
                Entry::Redacted(_) => {}
                Entry::Odd(name) => out.gap("ask IMDS", &name, "not a name of metadata"),
            }
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Entry {
    /// A value, or with a final `/` a listing.
    Ask(String),
    /// A credential: only that it is there.
    Redacted(String),
    /// Nothing that can be asked for.
    Odd(Vec<u8>),
}

/// What a listing names. A line that ends in `/` is a listing itself; below `public-keys/` a line
/// is `INDEX=NAME` and the path goes by the index; below `security-credentials/` stand secrets.
fn entries(directory: &str, listing: &[u8]) -> Vec<Entry> {
    let secret = directory.split('/').any(|part| part.eq_ignore_ascii_case("security-credentials"));
    let keys = directory.ends_with("/public-keys/");
    let to_entry = |line: &[u8]| {
        let text = std::str::from_utf8(line).ok().filter(|text| is_name(text));
        let Some(name) = text else {
            return Entry::Odd(line.get(..MAX_NAME).unwrap_or(line).to_vec());
        };
        match name.split_once('=').filter(|_| keys) {
            _ if secret => Entry::Redacted(format!("{directory}{name}")),
            Some((index, _)) if is_name(index) => Entry::Ask(format!("{directory}{index}/")),
            _ => Entry::Ask(format!("{directory}{name}")),
        }
    };
    listing
        .split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .take(MAX_QUESTIONS)
        .map(to_entry)
        .collect()
}

/// One level of a path, with a final `/` or not, that cannot lead anywhere else.
fn is_name(text: &str) -> bool {
    let level = text.strip_suffix('/').unwrap_or(text);
    let fits = |b: u8| b.is_ascii_graphic() && !b"/?#%\\".contains(&b);
    (1..=MAX_NAME).contains(&level.len()) && !level.starts_with("..") && level.bytes().all(fits)
}

/// The answer, or `None` where there is none; a failure is a gap.
fn ask(imds: &Imds, path: &str, max_bytes: usize, out: &mut Emitter<'_>) -> Option<Vec<u8>> {
    imds.get(path, max_bytes).unwrap_or_else(|why| {
        out.gap("ask IMDS", path.as_bytes(), &why);
        None
    })
}

fn emit(
    path: &str,
    labels: &[(&str, &str)],
    bytes: &[u8],
    facts: &mut ImdsFacts,
    out: &mut Emitter<'_>,
) -> Result<(), SinkClosed> {
    facts.items += 1;
    out.raw(format!("imds:{path}").as_bytes(), labels, bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn listings() {
        let ask = |path: &str| Entry::Ask(path.to_owned());
        let listing = b"ami-id\r\niam/\n\n../../x\na b\n";
        let found = entries("/latest/meta-data/", listing);
        let odd = |text: &[u8]| Entry::Odd(text.to_vec());
        let expected = [
            ask("/latest/meta-data/ami-id"),
            ask("/latest/meta-data/iam/"),
            odd(b"../../x"),
            odd(b"a b"),
        ];
        assert_eq!(found, expected);
        assert_eq!(entries("/x/public-keys/", b"0=my key"), [odd(b"0=my key")]);
        assert_eq!(entries("/x/public-keys/", b"0=my-key"), [ask("/x/public-keys/0/")]);
        let secret = entries("/x/iam/security-credentials/", b"role\ndeep/");
        assert!(secret.iter().all(|entry| matches!(entry, Entry::Redacted(_))), "{secret:?}");
    }

    proptest! {
        #[test]
        fn any_listing_stays_in_its_directory(
            bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            for entry in entries("/latest/meta-data/", &bytes) {
                if let Entry::Ask(path) = entry {
                    let rest = path.strip_prefix("/latest/meta-data/").unwrap();
                    prop_assert!(!rest.trim_end_matches('/').contains('/'), "{rest}");
                    prop_assert!(!rest.starts_with(".."), "{rest}");
                }
            }
            for entry in entries("/a/security-credentials/b/", &bytes) {
                prop_assert!(!matches!(entry, Entry::Ask(_)));
            }
        }
    }
}
