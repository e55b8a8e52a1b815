//! The host's time zone, from the host's own files. It never looks at the agent's environment or
//! at the zone data of the machine that examines an image.

use crate::{Emitter, Host};
use jiff::tz::TimeZone;

/// A zone file at most, in bytes; real ones stay below 4 KiB.
const ZONE_BYTES: usize = 64 * 1024;
const ZONEINFO: &[u8] = b"/usr/share/zoneinfo/";

/// A zone and where it was taken from.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub zone: TimeZone,
    /// Its name where one is known, else `localtime`; `UTC` where the host sets none.
    pub name: String,
}

impl Zone {
    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".to_owned() }
    }

    /// `/etc/localtime` as libc reads it; else the name in `/etc/timezone`; else UTC.
    pub fn of_host(host: &Host, out: &mut Emitter<'_>) -> Self {
        const LOCALTIME: &[u8] = b"/etc/localtime";
        let written = host.read(b"/etc/timezone", 256).ok();
        let written = written.and_then(|content| {
            let line = content.bytes.split(|&b| b == b'\n').next()?.trim_ascii();
            String::from_utf8(line.to_vec()).ok().filter(|name| !name.is_empty())
        });
        match host.read(LOCALTIME, ZONE_BYTES) {
            Ok(content) => {
                let linked = host.link_target(LOCALTIME).ok().and_then(|target| {
                    let at = target.windows(9).position(|window| window == b"zoneinfo/")?;
                    String::from_utf8(target.get(at + 9..)?.to_vec()).ok()
                });
                let name = linked.or(written.clone()).unwrap_or_else(|| "localtime".to_owned());
                match TimeZone::tzif(&name, &content.bytes) {
                    Ok(zone) => return Self { zone, name },
                    Err(error) => out.gap("read time zone", LOCALTIME, &error.to_string()),
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => out.gap_io("read time zone", LOCALTIME, &error),
        }
        written.and_then(|name| Self::named(host, &name)).unwrap_or_else(Self::utc)
    }

    /// A zone of the host's own database, as `CRON_TZ` names it.
    pub fn named(host: &Host, name: &str) -> Option<Self> {
        let fits = |part: &str| !part.is_empty() && part != "." && part != "..";
        if name.len() > 100 || !name.split('/').all(fits) {
            return None;
        }
        let content = host.read(&[ZONEINFO, name.as_bytes()].concat(), ZONE_BYTES).ok()?;
        let zone = TimeZone::tzif(name, &content.bytes).ok()?;
        Some(Self { zone, name: name.to_owned() })
    }
}
