//! Tar headers from facts, as raw bytes: POSIX ustar for the bundle, GNU for host tars. One member
//! always gives the same bytes, which is what lets the verifier rebuild and compare them.
//!
//! Layout: POSIX.1-2017, pax, "ustar Interchange Format"; GNU long names (types `L` and `K`) and
//! base-256 numbers: GNU tar manual, "Basic Tar Format". Never reads or writes a file.

use super::{BLOCK, padding};

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory; its name ends in `/`.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// The facts in a header.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The name's bytes, without NUL; any length.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes that follow the header.
    pub size: u64,
    /// Last change of the content, seconds since 1970 UTC; may be negative.
    pub mtime: i64,
    /// Where a symbolic link points; without NUL.
    pub link: &'a [u8],
}

/// Which dialect a header is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// POSIX ustar; a name that does not fit gets a GNU long-name member before it.
    Ustar,
    /// GNU.
    Gnu,
}

const NAME: usize = 100;
const PREFIX: usize = 155;
const LONG_LINK: &[u8] = b"././@LongLink";

/// The header block of a member, with the blocks of long names before it where it needs them.
/// Its length depends on the names only, never on the size.
pub fn encode(member: &Member<'_>, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    if member.link.len() > NAME {
        long(&mut out, b'K', member.link, dialect);
    }
    let (prefix, name) = match dialect {
        _ if member.name.len() <= NAME => (&b""[..], member.name),
        Dialect::Ustar => split(member.name).unwrap_or_else(|| {
            long(&mut out, b'L', member.name, dialect);
            (b"", cut(member.name))
        }),
        Dialect::Gnu => {
            long(&mut out, b'L', member.name, dialect);
            (&b""[..], cut(member.name))
        }
    };
    let flag = match member.kind {
        Kind::File => b'0',
        Kind::Directory => b'5',
        Kind::Symlink => b'2',
    };
    out.extend_from_slice(&block(member, dialect, flag, prefix, name));
    out
}

fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME).unwrap_or(name)
}

/// Splits a long name at the last slash that leaves both halves within their fields.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = name.iter().take(PREFIX + 1).rposition(|byte| *byte == b'/')?;
    let (prefix, rest) = name.split_at_checked(slash)?;
    let rest = rest.get(1..)?;
    (!prefix.is_empty() && !rest.is_empty() && rest.len() <= NAME).then_some((prefix, rest))
}

/// A GNU long name: a member of its own that holds the name and a NUL.
fn long(out: &mut Vec<u8>, flag: u8, name: &[u8], dialect: Dialect) {
    let size = name.len() as u64 + 1;
    let member = Member {
        name: LONG_LINK,
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: 0,
        link: b"",
    };
    out.extend_from_slice(&block(&member, dialect, flag, b"", LONG_LINK));
    out.extend_from_slice(name);
    out.resize(out.len() + 1 + padding(size), 0);
}

fn block(
    member: &Member<'_>,
    dialect: Dialect,
    flag: u8,
    prefix: &[u8],
    name: &[u8],
) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    put(&mut block, 0, name);
    put(&mut block, 100, &number::<8>(member.mode.into()));
    put(&mut block, 108, &number::<8>(member.uid.into()));
    put(&mut block, 116, &number::<8>(member.gid.into()));
    put(&mut block, 124, &number::<12>(member.size.into()));
    put(&mut block, 136, &number::<12>(member.mtime.into()));
    put(&mut block, 148, b"        ");
    put(&mut block, 156, &[flag]);
    put(&mut block, 157, cut(member.link));
    put(
        &mut block,
        257,
        match dialect {
            Dialect::Ustar => b"ustar\x0000",
            Dialect::Gnu => b"ustar  \0",
        },
    );
    put(&mut block, 345, prefix);
    // The sum is taken with the field itself as spaces; 512 × 255 fits six octal digits.
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// A number field: octal with a closing NUL where it fits, else GNU base-256 (big-endian two's
/// complement, the first bit set).
fn number<const N: usize>(value: i128) -> [u8; N] {
    let mut field = [0u8; N];
    let digits = N - 1;
    if (0..1i128 << (3 * digits)).contains(&value) {
        for (to, from) in field.iter_mut().zip(format!("{value:0digits$o}").bytes()) {
            *to = from;
        }
        return field;
    }
    for (to, from) in field.iter_mut().rev().zip(value.to_le_bytes()) {
        *to = from;
    }
    if let Some(first) = field.first_mut() {
        *first |= 0x80;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn member(name: &[u8]) -> Member<'_> {
        Member {
            name,
            kind: Kind::File,
            mode: 0o4755,
            uid: 1000,
            gid: 4_000_000_000,
            size: 3,
            mtime: -5,
            link: b"",
        }
    }

    #[test]
    fn a_name_is_split_or_long_only_when_it_must_be() {
        let short = vec![b'a'; 100];
        assert_eq!(encode(&member(&short), Dialect::Ustar).len(), BLOCK);
        let splits = [vec![b'p'; 155], vec![b'n'; 100]].join(&b'/');
        assert_eq!(encode(&member(&splits), Dialect::Ustar).len(), BLOCK);
        assert_eq!(encode(&member(&splits), Dialect::Gnu).len(), 3 * BLOCK);
        assert_eq!(encode(&member(&[b'a'; 101]), Dialect::Ustar).len(), 3 * BLOCK);
    }

    #[test]
    fn the_length_does_not_depend_on_the_size() {
        let name = [b'x'; 300];
        let small = encode(&member(&name), Dialect::Ustar);
        let large = Member { size: u64::MAX, ..member(&name) };
        assert_eq!(small.len(), encode(&large, Dialect::Ustar).len());
    }

    proptest! {
        /// An independent reader (the tar crate) gets every fact back.
        #[test]
        fn another_reader_agrees(
            name in proptest::collection::vec(1u8..=255, 1..600),
            link in proptest::collection::vec(1u8..=255, 1..300),
            uid: u32, gid: u32, mode in 0u32..0o10000, mtime in 0i64..1 << 40,
            symlink: bool, gnu: bool,
        ) {
            prop_assume!(name.last() != Some(&b'/') && !name.starts_with(b"/"));
            let kind = if symlink { Kind::Symlink } else { Kind::File };
            let size = if symlink { 0 } else { 3 };
            let link = if symlink { link } else { Vec::new() };
            let dialect = if gnu { Dialect::Gnu } else { Dialect::Ustar };
            let given = Member { name: &name, kind, mode, uid, gid, size, mtime, link: &link };
            let mut bytes = encode(&given, dialect);
            if !symlink {
                bytes.extend_from_slice(b"abc");
                bytes.resize(bytes.len() + padding(3), 0);
            }
            bytes.resize(bytes.len() + 2 * BLOCK, 0);
            let mut archive = tar::Archive::new(&bytes[..]);
            let mut entries = archive.entries().unwrap();
            let mut entry = entries.next().unwrap().unwrap();
            prop_assert_eq!(&entry.path_bytes()[..], &name[..]);
            prop_assert_eq!(entry.header().mode().unwrap(), mode);
            prop_assert_eq!(entry.header().uid().unwrap(), u64::from(uid));
            prop_assert_eq!(entry.header().gid().unwrap(), u64::from(gid));
            prop_assert_eq!(entry.header().mtime().unwrap(), mtime as u64);
            if symlink {
                prop_assert_eq!(&entry.link_name_bytes().unwrap()[..], &link[..]);
            } else {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                prop_assert_eq!(content, b"abc");
            }
        }
    }
}
