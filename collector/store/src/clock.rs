//! The collector's own clocks.

use cleanroom_evidence::{Clock, Timestamp};
use std::{io::Read, sync::LazyLock};

/// Both clocks of this machine now.
pub fn now() -> Clock {
    use nix::time::{ClockId, clock_gettime};
    let read = |id| clock_gettime(id).map(|t| (t.tv_sec(), t.tv_nsec())).unwrap_or_default();
    let (seconds, nanoseconds) = read(ClockId::CLOCK_REALTIME);
    let (boot_seconds, boot_nanoseconds) = read(ClockId::CLOCK_BOOTTIME);
    Clock {
        utc: Timestamp::new(seconds, u32::try_from(nanoseconds).unwrap_or(0)),
        boottime_ns: u64::try_from(boot_seconds)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::try_from(boot_nanoseconds).unwrap_or(0)),
    }
}

/// The running kernel's boot id (proc(5)): `boottime_ns` compares only under the same one.
pub(crate) fn boot_id() -> &'static str {
    static ID: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::new();
        let read = std::fs::File::open("/proc/sys/kernel/random/boot_id")
            .and_then(|file| file.take(64).read_to_string(&mut text));
        match read {
            Ok(_) => text.trim().to_owned(),
            Err(error) => format!("unknown: {error}"),
        }
    });
    &ID
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs() {
        let (first, second) = (super::now(), super::now());
        assert!(first.utc.unix_seconds > 1_600_000_000 && first.boottime_ns > 0);
        assert!(second.boottime_ns >= first.boottime_ns);
        assert_eq!(super::boot_id().len(), 36);
    }
}
