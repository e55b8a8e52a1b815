//! A sink for tests that keeps everything in memory.

use crate::{Sink, SinkClosed};
use cleanroom_evidence::{ItemHeader, ItemKind, ItemStatus};

/// What a source gave.
#[derive(Default)]
pub(crate) struct Captured {
    /// Each item with its bytes and how it ended.
    pub items: Vec<(ItemHeader, Vec<u8>, ItemStatus)>,
    open: Option<(ItemHeader, Vec<u8>)>,
}

impl Captured {
    /// The records of a set, all parts in order.
    pub fn records(&self, set: &str) -> Vec<serde_json::Value> {
        self.items
            .iter()
            .filter(|(h, ..)| h.kind == ItemKind::Records && h.name.0 == set.as_bytes())
            .flat_map(|(_, bytes, _)| bytes.split(|&b| b == b'\n'))
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Sink for Captured {
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed> {
        assert!(self.open.is_none(), "begin inside an item");
        self.open = Some((header, Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        let open = self.open.as_mut().expect("bytes outside an item");
        open.1.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, status: ItemStatus) -> Result<(), SinkClosed> {
        let (header, bytes) = self.open.take().expect("seal outside an item");
        self.items.push((header, bytes, status));
        Ok(())
    }
}
