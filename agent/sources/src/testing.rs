//! A sink for tests that keeps every item in memory.

use crate::{Sink, SinkClosed};
use cleanroom_evidence::{ItemHeader, ItemKind, ItemStatus};

/// Every item that a source gave, in order.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Header, all bytes, and how the item ended.
    pub(crate) items: Vec<(ItemHeader, Vec<u8>, ItemStatus)>,
}

impl Captured {
    /// The lines of a record set, all of its parts joined.
    pub(crate) fn records(&self, set: &str) -> Vec<serde_json::Value> {
        let of_set = |header: &ItemHeader| {
            header.kind == ItemKind::Records && header.name.as_bytes() == set.as_bytes()
        };
        self.items
            .iter()
            .filter(|(header, _, _)| of_set(header))
            .flat_map(|(_, bytes, _)| bytes.split(|&b| b == b'\n'))
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a record is one JSON line"))
            .collect()
    }
}

impl Sink for Captured {
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed> {
        let open = ItemStatus::Partial("never sealed".to_owned());
        self.items.push((header, Vec::new(), open));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        let (_, content, _) = self.items.last_mut().expect("bytes outside an item");
        content.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, status: ItemStatus) -> Result<(), SinkClosed> {
        self.items.last_mut().expect("seal outside an item").2 = status;
        Ok(())
    }
}
