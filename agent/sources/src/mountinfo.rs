//! Lines of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), with their octal escapes undone.
//!
//! Parses bytes only; which process's file they come from is the caller's choice.

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `major:minor` of the file system's device.
    pub(crate) device: String,
    /// Where it is mounted, as seen from the process's root.
    pub(crate) mount_point: Vec<u8>,
    /// Options of this mount (not of the file system), e.g. `ro`, `nosuid`.
    pub(crate) options: Vec<String>,
    /// Type of the file system.
    pub(crate) fs_type: String,
    /// What was mounted, e.g. `/dev/xvda1`.
    pub(crate) source: Vec<u8>,
}

/// The mounts of a mountinfo file, in its order; lines of another form are left out.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|&b| b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let device = text(fields.nth(2)?);
    let mount_point = unescape(fields.nth(1)?);
    let options = fields.next()?.split(|&b| b == b',').map(text).collect();
    // Optional fields of any number end with a single hyphen.
    fields.find(|field| *field == b"-")?;
    Some(Mount {
        device,
        mount_point,
        options,
        fs_type: text(fields.next()?),
        source: unescape(fields.next()?),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Undoes `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_escapes_and_optional_fields() {
        let lines = b"36 35 98:0 /mnt1 /a\\040b\\134\\xff rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw\n\
            broken line\n\
            22 27 0:21 / /proc rw - proc proc rw\n";
        let found = parse(lines);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].mount_point, b"/a b\\\\xff");
        assert_eq!(found[0].device, "98:0");
        assert_eq!(found[0].options, ["rw", "noatime"]);
        assert_eq!((found[0].fs_type.as_str(), &found[0].source[..]), ("ext3", &b"/dev/root"[..]));
        assert_eq!(found[1].fs_type, "proc");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = unescape(&bytes);
        }
    }
}
