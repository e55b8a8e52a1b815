//! When the host booted, from the `host` record.

use super::{Kind, Moment, Record};

pub(super) struct Boots;

impl Kind for Boots {
    fn name(&self) -> &'static str {
        "host"
    }

    fn descriptions(&self) -> &'static [&'static str] {
        &["Boot Time"]
    }

    fn record_set(&self) -> Option<&'static str> {
        Some("host")
    }

    fn in_record(&self, record: &Record<'_>) -> Vec<Moment> {
        let Some(time) = record.time("boot_time") else {
            return Vec::new();
        };
        let kernel = record.text("kernel_release").unwrap_or("unknown");
        vec![Moment {
            time,
            description: "Boot Time",
            message: format!("the host booted, kernel {kernel}"),
        }]
    }
}
