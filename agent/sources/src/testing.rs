//! A sink for tests that keeps every item. It never leaves this crate.

use crate::{Sink, SinkClosed};
use cleanroom_evidence::{ItemHeader, ItemKind, ItemStatus};

/// Everything that was emitted, in order.
#[derive(Default)]
pub(crate) struct Captured {
    pub items: Vec<(ItemHeader, Vec<u8>, ItemStatus)>,
}

impl Captured {
    /// The records of one set, all parts joined.
    pub fn records(&self, set: &str) -> Vec<serde_json::Value> {
        let parts = self.items.iter().filter(|(header, _, _)| {
            header.kind == ItemKind::Records && header.name.as_bytes() == set.as_bytes()
        });
        parts
            .flat_map(|(_, bytes, _)| bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()))
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Sink for Captured {
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed> {
        let open = ItemStatus::Partial("not sealed".into());
        self.items.push((header, Vec::new(), open));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        self.items.last_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, status: ItemStatus) -> Result<(), SinkClosed> {
        self.items.last_mut().unwrap().2 = status;
        Ok(())
    }
}
