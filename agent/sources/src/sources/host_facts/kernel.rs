//! Loaded modules and mounts: the kernel's, and of a dead disk those that `fstab` asks for.

use super::read;
use crate::{
    Emitter, Host, SinkClosed,
    proc::{
        fields::{number, why},
        fs::try_each_line,
        mounts::{Mount, parse_fstab, parse_mountinfo},
    },
};
use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::ops::ControlFlow;

/// Bytes of `/etc/fstab` at most.
const FSTAB_BYTES: usize = 1024 * 1024;

/// One line of the set `mounts`; `path` says whether it is mounted or only asked for.
#[derive(Serialize)]
struct MountRecord<'a> {
    path: &'a str,
    #[serde(flatten)]
    mount: Mount,
}

/// A loaded module (`/proc/modules`).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Module {
    path: &'static str,
    name: RawBytes,
    size_bytes: u64,
    /// How many hold it; absent where it cannot be unloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<u32>,
    /// Modules that depend on it.
    used_by: Vec<RawBytes>,
    /// `Live`, `Loading`, `Unloading`.
    state: RawBytes,
    /// Letters as the kernel gives them: `O` out of tree, `E` unsigned, `P` proprietary, …
    #[serde(skip_serializing_if = "Option::is_none")]
    taints: Option<RawBytes>,
}

/// Calls `each` with every line of a live file; false where the file is not there.
fn lines(
    host: &Host,
    path: &str,
    out: &mut Emitter<'_>,
    mut each: impl FnMut(&[u8], &mut Emitter<'_>) -> Result<(), SinkClosed>,
) -> Result<bool, SinkClosed> {
    let ended = host.open(path.as_bytes()).and_then(|opened| {
        try_each_line(opened.file, |line| match each(line, out) {
            Ok(()) => ControlFlow::Continue(()),
            Err(closed) => ControlFlow::Break(closed),
        })
    });
    match ended {
        Ok(ControlFlow::Break(closed)) => Err(closed),
        Ok(ControlFlow::Continue(())) => Ok(true),
        Err(error) => {
            if !read::is_missing(&error) {
                out.gap("read", path.as_bytes(), &why(&error));
            }
            Ok(false)
        }
    }
}

/// Emits the set `modules`; a kernel without loadable modules has no such file.
pub fn modules(host: &Host, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    lines(host, "/proc/modules", out, |line, out| match parse_module(line) {
        Some(module) => out.record("modules", &module),
        None => Ok(()),
    })
    .map(|_| ())
}

/// `NAME SIZE REFERENCES USED-BY, STATE ADDRESS (TAINTS)`.
fn parse_module(line: &[u8]) -> Option<Module> {
    let mut fields = line.split(|&b| b == b' ');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let size_bytes = number(fields.next()?)?;
    let references = number(fields.next()?);
    let used_by = fields.next()?;
    let state = fields.next()?;
    let names = used_by.split(|&b| b == b',');
    let taints =
        fields.find_map(|field| field.strip_prefix(b"(")?.strip_suffix(b")")).map(RawBytes::from);
    Some(Module {
        path: "/proc/modules",
        name: name.into(),
        size_bytes,
        references,
        used_by: names
            .filter(|name| !matches!(*name, b"" | b"-" | b"[permanent]"))
            .map(RawBytes::from)
            .collect(),
        state: state.into(),
        taints,
    })
}

/// Emits the set `mounts` as the first process sees it; an ordinary user may only read their own.
pub fn mounts(host: &Host, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    // The first process's is the host's own; an agent may have been started in a namespace.
    let path = match host.open(b"/proc/1/mountinfo") {
        Ok(_) => "/proc/1/mountinfo",
        Err(error) => {
            out.gap("read", b"/proc/1/mountinfo", &why(&error));
            "/proc/self/mountinfo"
        }
    };
    lines(host, path, out, |line, out| match parse_mountinfo(line) {
        Some(mount) => out.record("mounts", &MountRecord { path, mount }),
        None => Ok(()),
    })
    .map(|_| ())
}

/// Emits the set `mounts` of a dead disk: what its `fstab` asks for.
pub fn fstab(host: &Host, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let path = "/etc/fstab";
    let text = read::bytes(host, path.as_bytes(), FSTAB_BYTES, out).unwrap_or_default();
    text.split(|&b| b == b'\n')
        .filter_map(parse_fstab)
        .try_for_each(|mount| out.record("mounts", &MountRecord { path, mount }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn modules_of_every_kind() {
        let line = b"nf_nat 57344 2 nft_chain_nat,xt_MASQUERADE, Live 0xffffffffc0a00000 (OE)";
        let module = parse_module(line).unwrap();
        assert_eq!(module.name, RawBytes::from("nf_nat"));
        assert_eq!((module.size_bytes, module.references), (57_344, Some(2)));
        assert_eq!(
            module.used_by,
            [RawBytes::from("nft_chain_nat"), RawBytes::from("xt_MASQUERADE")]
        );
        assert_eq!(module.taints, Some("OE".into()));
        let line = b"ena 131072 - [permanent], Loading 0x0000000000000000";
        let module = parse_module(line).unwrap();
        assert_eq!((module.references, module.used_by.len()), (None, 0));
        assert_eq!((module.state, module.taints), ("Loading".into(), None));
        assert_eq!(parse_module(b""), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_module(&bytes);
        }
    }
}
