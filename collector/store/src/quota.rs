//! The bytes that a case may hold.

use crate::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much of its quota a case holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of blobs, partial items, lists and what is being received.
    pub used_bytes: u64,
    /// The quota, where there is one.
    pub quota_bytes: Option<u64>,
}

/// Counts bytes as they come; refuses before they are written.
pub(crate) struct Quota {
    limit: Option<u64>,
    used: AtomicU64,
}

impl Quota {
    pub(crate) fn new(limit: Option<u64>, used: u64) -> Self {
        Self { limit, used: AtomicU64::new(used) }
    }

    /// Takes bytes, or refuses and takes none.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), StoreError> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(
            |used_bytes| StoreError::QuotaExceeded {
                quota_bytes: limit,
                used_bytes,
                wanted_bytes: bytes,
            },
        )
    }

    /// Gives bytes back: discarded, or held already.
    pub(crate) fn give(&self, bytes: u64) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_sub(bytes))
        });
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage { used_bytes: self.used.load(Ordering::Relaxed), quota_bytes: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_exactly_beyond_the_limit() {
        let quota = Quota::new(Some(10), 4);
        quota.take(6).unwrap();
        assert!(matches!(quota.take(1), Err(StoreError::QuotaExceeded { used_bytes: 10, .. })));
        quota.give(3);
        quota.take(3).unwrap();
        assert!(quota.take(u64::MAX).is_err());
    }
}
