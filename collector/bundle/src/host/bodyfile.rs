//! Bodyfile lines, version 3 of The Sleuth Kit (its wiki, "Body file"):
//! `MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime`. Each line is printable UTF-8:
//! control characters, bytes that are not UTF-8 and the separator become `\xNN`, which plaso reads
//! back and mactime shows. MD5 is 0 ("not computed"): the digests stand in `items.jsonl`.

use cleanroom_evidence::{FileKind, FileMeta};

/// One line with its newline, for a path with metadata.
pub fn line(path: &[u8], meta: &FileMeta) -> String {
    let mut name = escaped(path);
    if let Some(target) = &meta.link_target {
        name.push_str(" -> ");
        name.push_str(&escaped(target.as_bytes()));
    }
    format!(
        "0|{name}|{}|{}|{}|{}|{}|{}|{}|{}|{}\n",
        meta.inode,
        mode(meta),
        meta.uid,
        meta.gid,
        meta.size_bytes,
        meta.accessed.unix_seconds,
        meta.modified.unix_seconds,
        meta.changed.unix_seconds,
        meta.born.map_or(0, |born| born.unix_seconds),
    )
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                // A C1 control is shown as its two UTF-8 bytes, like any other byte.
                '|' | '\0'..='\x1f' | '\x7f'..='\u{9f}' => {
                    let mut utf8 = [0u8; 4];
                    for byte in c.encode_utf8(&mut utf8).bytes() {
                        out.push_str(&format!("\\x{byte:02x}"));
                    }
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// The mode as `fls` writes it: type by name, a slash, type by inode, permissions.
fn mode(meta: &FileMeta) -> String {
    let kind = match meta.kind {
        FileKind::Regular => 'r',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Block => 'b',
        FileKind::Char => 'c',
    };
    let bit = |mask: u32, letter: char| if meta.mode & mask != 0 { letter } else { '-' };
    let last = |exec: u32, special: u32, both: char, only: char| match (
        meta.mode & exec != 0,
        meta.mode & special != 0,
    ) {
        (true, true) => both,
        (false, true) => only,
        (true, false) => 'x',
        (false, false) => '-',
    };
    [
        kind,
        '/',
        kind,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        last(0o100, 0o4000, 's', 'S'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        last(0o010, 0o2000, 's', 'S'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        last(0o001, 0o1000, 't', 'T'),
    ]
    .iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleanroom_evidence::Timestamp;
    use proptest::prelude::*;

    fn meta() -> FileMeta {
        FileMeta {
            mode: 0o4755,
            uid: 1,
            gid: 2,
            size_bytes: 3,
            inode: 4,
            accessed: Timestamp::new(5, 9),
            modified: Timestamp::new(6, 9),
            changed: Timestamp::new(7, 9),
            ..FileMeta::default()
        }
    }

    #[test]
    fn eleven_fields_as_the_sleuth_kit_orders_them() {
        assert_eq!(line(b"/bin/su", &meta()), "0|/bin/su|4|r/rrwsr-xr-x|1|2|3|5|6|7|0\n");
        let link = FileMeta {
            kind: FileKind::Symlink,
            mode: 0o777,
            link_target: Some("/x|y".into()),
            born: Some(Timestamp::new(8, 0)),
            ..meta()
        };
        assert_eq!(line(b"/l", &link), "0|/l -> /x\\x7cy|4|l/lrwxrwxrwx|1|2|3|5|6|7|8\n");
    }

    proptest! {
        #[test]
        fn a_name_never_adds_a_field_or_a_line(path in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = line(&path, &meta());
            prop_assert_eq!(line.matches('|').count(), 10);
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control));
        }
    }
}
