//! Manifest lines (RFC 8493, section 2.1.3): one digest, two spaces, one path. Writing and reading
//! are exact inverses, so no byte of a manifest is free.

use super::path::is_safe;
use cleanroom_evidence::Sha256Digest;

/// One line with its newline.
pub fn line(digest: &Sha256Digest, path: &str) -> String {
    format!("{digest}  {path}\n")
}

/// The digest and path of one line without its newline; `None` for anything that [`line`] would
/// not write.
pub fn parse(line: &[u8]) -> Option<(Sha256Digest, &str)> {
    let (digest, path) = std::str::from_utf8(line).ok()?.split_once("  ")?;
    is_safe(path).then_some(())?;
    Some((digest.parse().ok()?, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_round_trip() {
        let digest = Sha256Digest::of(b"x");
        let written = line(&digest, "data/a/b.txt");
        assert_eq!(parse(written.trim_end().as_bytes()), Some((digest, "data/a/b.txt")));
        let upper = written.to_uppercase();
        for bad in ["", "  ", &upper, &written, &written.replace("  ", " ")] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some((digest, path)) = parse(&bytes) {
                prop_assert_eq!(line(&digest, path).into_bytes(), [&bytes[..], b"\n"].concat());
            }
        }
    }
}
