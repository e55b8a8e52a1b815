//! Small shared steps: split, number, escaped text. None of them panics on any bytes.

use serde::{Serialize, Serializer};
use std::{io, str::FromStr};

/// Borrowed bytes of the host, written as [`cleanroom_evidence::RawBytes`] is, without a copy
/// where they are plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) if !self.0.contains(&b'\\') => serializer.serialize_str(text),
            _ => serializer.serialize_str(&cleanroom_evidence::escape(self.0)),
        }
    }
}

/// Strings that each end with a NUL, as `cmdline` and `environ` hold them; the last may lack it.
/// Serialized as a list of [`Raw`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NulList<'a>(pub &'a [u8]);

impl<'a> NulList<'a> {
    /// Each string, empty ones included.
    pub fn iter(self) -> impl Iterator<Item = Raw<'a>> {
        let body = self.0.strip_suffix(b"\0").unwrap_or(self.0);
        let some = !self.0.is_empty();
        body.split(|&b| b == 0).filter(move |_| some).map(Raw)
    }
}

impl Serialize for NulList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Fields between runs of spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// A decimal number, all of the bytes.
pub fn number<T: FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A hexadecimal number, all of the bytes, without a sign.
pub fn hex(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes).ok()?;
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Bytes without white space at both ends.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// Undoes the octal escapes (`\040`) of mount tables and maps. A backslash that begins none stays.
pub fn unescape_octal(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) =
            (first, tail)
        {
            out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// The system's error with its name, e.g. `EACCES: Permission denied`.
pub fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).to_string(),
        None => error.to_string(),
    }
}

/// True where the error says that the process (or what belonged to it) is no longer there.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nul_lists_keep_empty_strings_and_a_missing_end() {
        let list = |bytes| NulList(bytes).iter().map(|raw| raw.0.to_vec()).collect::<Vec<_>>();
        assert!(list(b"").is_empty());
        assert_eq!(list(b"\0"), [b""]);
        assert_eq!(list(b"a\0\0b\0"), [&b"a"[..], b"", b"b"]);
        assert_eq!(list(b"title only"), [b"title only"]);
    }

    #[test]
    fn raw_writes_what_raw_bytes_write() {
        for bytes in [&b"plain"[..], b"back\\slash", b"\xff\n\"", "π".as_bytes()] {
            let owned = cleanroom_evidence::RawBytes::from(bytes);
            assert_eq!(
                serde_json::to_string(&Raw(bytes)).unwrap(),
                serde_json::to_string(&owned).unwrap()
            );
        }
    }

    proptest! {
        #[test]
        fn octal_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let escaped: Vec<u8> = bytes.iter().flat_map(|b| match b {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' | 0x80.. => format!("\\{b:03o}").into_bytes(),
                other => vec![*other],
            }).collect();
            prop_assert_eq!(unescape_octal(&escaped), bytes);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            unescape_octal(&bytes);
            let _ = (number::<u32>(&bytes), hex(&bytes), words(&bytes).count());
        }
    }
}
