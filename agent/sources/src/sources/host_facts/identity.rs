//! The one record of the set `host`.

use super::{
    instance::{Answer, Instance},
    read,
};
use crate::{Emitter, Host, SinkClosed, sys};
use cleanroom_evidence::{Clock, RawBytes, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// What the firmware says of the machine. On EC2 `sys_vendor` is `Amazon EC2` and
/// `board_asset_tag` the instance id (Nitro).
const DMI: [&str; 12] = [
    "bios_date",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_vendor",
    "chassis_asset_tag",
    "chassis_vendor",
    "product_name",
    "product_serial",
    "product_uuid",
    "product_version",
    "sys_vendor",
];

/// One line of the set `host`. What is absent has no file on this host; of a dead disk all that
/// only a kernel knows.
#[derive(Debug, Default, Serialize)]
struct Record {
    live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os_release: Option<OsRelease>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_id: Option<RawBytes>,
    #[serde(flatten)]
    kernel: Option<Kernel>,
    instance: Option<Instance>,
    imds_state: String,
}

/// What only a running kernel tells.
#[derive(Debug, Serialize)]
struct Kernel {
    kernel_release: Option<RawBytes>,
    kernel_version: Option<RawBytes>,
    /// Bits of why the kernel is tainted, 0 for none (`admin-guide/tainted-kernels`).
    kernel_tainted: Option<RawBytes>,
    /// Lockdown modes with the one in force in brackets.
    lockdown: Option<RawBytes>,
    boot_id: Option<RawBytes>,
    boot_time: Timestamp,
    uptime_seconds: u64,
    clock: Clock,
    command_line: Option<RawBytes>,
    hypervisor_uuid: Option<RawBytes>,
    dmi: BTreeMap<&'static str, RawBytes>,
}

/// os-release(5).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct OsRelease {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pretty_name: Option<RawBytes>,
}

/// Emits the record.
pub fn emit(host: &Host, answer: Answer, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let live = host.is_live();
    let hostname = match live {
        true => read::line(host, "/proc/sys/kernel/hostname", out),
        false => read::line(host, "/etc/hostname", out),
    };
    let record = Record {
        live,
        hostname,
        os_release: os_release(host, out),
        architecture: architecture(host),
        timezone: timezone(host, out),
        machine_id: read::line(host, "/etc/machine-id", out),
        kernel: live.then(|| kernel(host, out)),
        instance: answer.instance,
        imds_state: answer.state,
    };
    out.record("host", &record)
}

fn kernel(host: &Host, out: &mut Emitter<'_>) -> Kernel {
    let clock = sys::file::clock();
    let boot = clock.utc.unix_nanoseconds() - i128::from(clock.boottime_ns);
    let mut dmi = BTreeMap::new();
    for name in DMI {
        let value = read::line(host, &format!("/sys/class/dmi/id/{name}"), out);
        dmi.extend(value.map(|value| (name, value)));
    }
    Kernel {
        kernel_release: read::line(host, "/proc/sys/kernel/osrelease", out),
        kernel_version: read::line(host, "/proc/sys/kernel/version", out),
        kernel_tainted: read::line(host, "/proc/sys/kernel/tainted", out),
        lockdown: read::line(host, "/sys/kernel/security/lockdown", out),
        boot_id: read::line(host, "/proc/sys/kernel/random/boot_id", out),
        boot_time: Timestamp::from_unix_nanoseconds(boot),
        uptime_seconds: clock.boottime_ns / 1_000_000_000,
        clock,
        command_line: read::line(host, "/proc/cmdline", out),
        hypervisor_uuid: read::line(host, "/sys/hypervisor/uuid", out),
        dmi,
    }
}

fn os_release(host: &Host, out: &mut Emitter<'_>) -> Option<OsRelease> {
    // os-release(5): the first of the two that exists.
    let text = read::bytes(host, b"/etc/os-release", 64 * 1024, out)
        .or_else(|| read::bytes(host, b"/usr/lib/os-release", 64 * 1024, out))?;
    Some(parse_os_release(&text))
}

fn parse_os_release(text: &[u8]) -> OsRelease {
    let mut found = OsRelease::default();
    for line in text.split(|&b| b == b'\n') {
        let line = line.trim_ascii();
        let Some(equals) = line.iter().position(|&b| b == b'=') else {
            continue;
        };
        let (key, value) = line.split_at(equals);
        let value = Some(unquoted(value.strip_prefix(b"=").unwrap_or_default()));
        match key {
            b"ID" => found.id = value,
            b"VERSION_ID" => found.version_id = value,
            b"PRETTY_NAME" => found.pretty_name = value,
            _ => {}
        }
    }
    found
}

/// A shell word as os-release(5) allows it: quoted or not, with backslashes in double quotes.
fn unquoted(value: &[u8]) -> RawBytes {
    if let [b'\'', inner @ .., b'\''] = value {
        return inner.into();
    }
    let [b'"', inner @ .., b'"'] = value else {
        return value.into();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = byte == b'\\';
        match bytes.next_if(|next| escapes && b"\"\\$`".contains(next)) {
            Some(escaped) => out.push(escaped),
            None => out.push(byte),
        }
    }
    RawBytes(out)
}

/// The zone's name: Debian keeps it in a file, all others only in where `localtime` points.
fn timezone(host: &Host, out: &mut Emitter<'_>) -> Option<RawBytes> {
    let from_link = || {
        let target = host.link_target(b"/etc/localtime").ok()?;
        let marker = b"zoneinfo/";
        let at = target.windows(marker.len()).position(|w| w == marker)?;
        target.get(at + marker.len()..).map(RawBytes::from)
    };
    from_link().or_else(|| read::line(host, "/etc/timezone", out))
}

/// Of the running kernel; of a dead disk that of its shell's ELF header.
fn architecture(host: &Host) -> Option<String> {
    if host.is_live() {
        let name = nix::sys::utsname::uname().ok()?;
        return Some(name.machine().to_string_lossy().into_owned());
    }
    let header = host.read(b"/bin/sh", 20).ok()?.bytes;
    elf_machine(&header).map(str::to_owned)
}

/// The machine of a little-endian ELF file (`e_machine` at byte 18, elf(5)).
fn elf_machine(header: &[u8]) -> Option<&'static str> {
    let [0x7f, b'E', b'L', b'F', _, 1, .., low, high] = header else {
        return None;
    };
    match u16::from_le_bytes([*low, *high]) {
        3 => Some("i686"),
        40 => Some("armv7l"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn os_release_is_read_as_a_shell_would() {
        let release = parse_os_release(
            b"# comment\nID=debian\nVERSION_ID='12'\nPRETTY_NAME=\"A \\\"B\\\" \\\\ \\n\"\nNAME=x\n",
        );
        assert_eq!(release.id, Some("debian".into()));
        assert_eq!(release.version_id, Some("12".into()));
        assert_eq!(release.pretty_name, Some("A \"B\" \\ \\n".into()));
        assert_eq!(unquoted(b"\""), RawBytes::from("\""));
    }

    #[test]
    fn machine_of_an_executable() {
        let mut header = std::fs::read("/bin/sh").unwrap();
        header.truncate(20);
        let uname = nix::sys::utsname::uname().unwrap();
        assert_eq!(elf_machine(&header), uname.machine().to_str());
        assert_eq!(elf_machine(b"#!/bin/sh"), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse_os_release(&bytes);
            let _ = (elf_machine(&bytes), unquoted(&bytes));
        }
    }
}
