//! A sink for tests: keeps every item whole.

use crate::{Sink, SinkClosed};
use cleanroom_evidence::{ItemHeader, ItemKind, ItemStatus, Sha256Digest};

/// What a source gave, in its order.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Header, bytes and how the read ended.
    pub(crate) items: Vec<(ItemHeader, Vec<u8>, ItemStatus)>,
}

impl Captured {
    /// The records of a set, its parts joined.
    pub(crate) fn records(&self, set: &str) -> Vec<serde_json::Value> {
        self.items
            .iter()
            .filter(|(header, ..)| {
                header.kind == ItemKind::Records && header.name.as_bytes() == set.as_bytes()
            })
            .flat_map(|(_, bytes, _)| bytes.split(|&b| b == b'\n'))
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a record is JSON"))
            .collect()
    }
}

impl Sink for Captured {
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed> {
        let open = ItemStatus::Partial("not sealed".to_owned());
        self.items.push((header, Vec::new(), open));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        let (_, content, _) = self.items.last_mut().expect("bytes outside an item");
        content.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(&mut self, status: ItemStatus) -> Result<Sha256Digest, SinkClosed> {
        let item = self.items.last_mut().expect("seal outside an item");
        item.2 = status;
        Ok(Sha256Digest::of(&item.1))
    }
}
