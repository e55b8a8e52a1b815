//! `mountinfo` (proc_pid_mountinfo(5)) and `fstab` (fstab(5)): lines to mounts. It reads no file.

use super::fields::{number, unescape_octal, words};
use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// One mount, or one line of `fstab` (then without the facts that only a mount has).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The mount's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_id: Option<u64>,
    /// The mount that it is mounted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<u64>,
    /// `major:minor` of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<RawBytes>,
    /// The folder of the file system that is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<RawBytes>,
    /// Where it is mounted.
    pub mount_point: RawBytes,
    /// Options of the mount.
    pub options: RawBytes,
    /// E.g. `ext4`.
    pub fs_type: RawBytes,
    /// The device, or what the file system calls its source.
    pub source: RawBytes,
    /// Options of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub super_options: Option<RawBytes>,
}

fn text(field: &[u8]) -> RawBytes {
    RawBytes(unescape_octal(field))
}

impl Mount {
    /// `major:minor` of the file system, as text; empty where it is not known.
    pub fn device_number(&self) -> String {
        let device = self.device.as_ref().map(RawBytes::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(device).into_owned()
    }

    /// The options of the mount, one by one.
    pub fn option_list(&self) -> impl Iterator<Item = &[u8]> {
        self.options.as_bytes().split(|&b| b == b',')
    }
}

/// The mounts of a whole `mountinfo`, in its order; lines of another form are left out.
pub fn parse_all(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|&b| b == b'\n').filter_map(parse_mountinfo).collect()
}

/// One line of `mountinfo`; `None` where it is not one.
pub fn parse_mountinfo(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let mount_id = number(fields.next()?)?;
    let parent_id = number(fields.next()?)?;
    let device = fields.next()?;
    let root = fields.next()?;
    let mount_point = fields.next()?;
    let options = fields.next()?;
    // Optional fields (shared:1, …) up to a lone hyphen.
    fields.by_ref().find(|field| *field == b"-")?;
    let fs_type = fields.next()?;
    Some(Mount {
        mount_id: Some(mount_id),
        parent_id: Some(parent_id),
        device: Some(text(device)),
        root: Some(text(root)),
        mount_point: text(mount_point),
        options: text(options),
        fs_type: text(fs_type),
        source: text(fields.next().unwrap_or_default()),
        super_options: fields.next().map(text),
    })
}

/// One line of `fstab`; `None` for comments, empty lines and what is no entry.
pub fn parse_fstab(line: &[u8]) -> Option<Mount> {
    let mut fields = words(line);
    let source = fields.next().filter(|field| !field.starts_with(b"#"))?;
    Some(Mount {
        source: text(source),
        mount_point: text(fields.next()?),
        fs_type: text(fields.next()?),
        options: text(fields.next().unwrap_or(b"defaults")),
        ..Mount::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_mount_and_a_line_of_fstab() {
        let mount = parse_mountinfo(
            b"36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
        )
        .unwrap();
        assert_eq!((mount.mount_id, mount.parent_id), (Some(36), Some(35)));
        assert_eq!(mount.mount_point, RawBytes::from("/mnt two"));
        assert_eq!(mount.fs_type, RawBytes::from("ext3"));
        assert_eq!(mount.source, RawBytes::from("/dev/root"));
        assert_eq!(mount.super_options, Some("rw,errors=continue".into()));
        let entry = parse_fstab(b"UUID=1-2\t/boot/efi vfat umask=0077 0 1").unwrap();
        assert_eq!(entry.mount_point, RawBytes::from("/boot/efi"));
        assert_eq!(entry.options, RawBytes::from("umask=0077"));
        for none in [&b""[..], b"# /dev/x / ext4", b"  ", b"one two"] {
            assert_eq!(parse_fstab(none), None);
        }
    }

    #[test]
    fn reads_escapes_and_optional_fields() {
        let lines = b"36 35 98:0 /mnt1 /a\\040b\\134\\xff rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw\n\
            broken line\n\
            22 27 0:21 / /proc rw - proc proc rw\n";
        let found = parse_all(lines);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].mount_point.as_bytes(), b"/a b\\\\xff");
        assert_eq!(found[0].device, Some("98:0".into()));
        assert_eq!(found[0].option_list().collect::<Vec<_>>(), [&b"rw"[..], b"noatime"]);
        assert_eq!((&found[0].fs_type, &found[0].source), (&"ext3".into(), &"/dev/root".into()));
        assert_eq!(found[1].fs_type, "proc".into());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse_mountinfo(&bytes), parse_all(&bytes), parse_fstab(&bytes));
        }
    }
}
