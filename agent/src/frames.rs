//! The sink that the sources see: numbers entries, hashes whole items, cuts them into chunks.
//!
//! After a kill it can go on with the item that the killed agent was sending: it reads that far
//! again, and if the bytes hash to what the collector has, sends only the rest.

use crate::{spool::Outbox, throttle::Throttle};
use cleanroom_evidence::{
    Hasher, ItemHeader, ItemKind, ItemStatus, Limits, RawBytes, Seal, Sha256Digest, SourceOutcome,
};
use cleanroom_sources::{Sink, SinkClosed, sys::file::clock};
use cleanroom_wire::{Frame, FrameBody, MAX_NOTE_BYTES};

/// An item of which the collector holds the first bytes from a killed agent.
#[derive(Clone, Debug)]
pub struct ResumePoint {
    /// Its source.
    pub source: String,
    /// Its name.
    pub name: RawBytes,
    /// How many bytes the collector holds.
    pub offset: u64,
    /// Their digest.
    pub sha256: Sha256Digest,
}

/// Makes frames of items.
pub struct FrameSink<'o> {
    outbox: &'o dyn Outbox,
    throttle: Throttle,
    seq: u64,
    open: Option<Open>,
    resume: Option<ResumePoint>,
    stale_resume: bool,
    buffer: Vec<u8>,
}

struct Open {
    hasher: Hasher,
    /// Bytes hashed so far.
    length: u64,
    /// Bytes that are framed or that the collector already holds.
    framed: u64,
    /// Present while bytes are read again that the collector holds.
    skipping: Option<(ItemHeader, ResumePoint)>,
}

impl<'o> FrameSink<'o> {
    /// Entries are numbered from `first_seq`.
    pub fn new(
        outbox: &'o dyn Outbox,
        throttle: Throttle,
        first_seq: u64,
        resume: Option<ResumePoint>,
    ) -> Self {
        let buffer = Vec::new();
        let seq = first_seq - 1;
        Self { outbox, throttle, seq, open: None, resume, stale_resume: false, buffer }
    }

    /// True once, after the bytes of an item turned out to be others than those that the killed
    /// agent had sent: the source must run again, and the item is sent whole.
    pub fn take_stale_resume(&mut self) -> bool {
        self.open = None;
        std::mem::take(&mut self.stale_resume)
    }

    /// An error once nothing more will be taken.
    pub fn check(&self) -> Result<(), SinkClosed> {
        self.outbox.check()
    }

    /// The number of the last entry.
    pub fn last_seq(&self) -> u64 {
        self.seq
    }

    /// Records the end of a source.
    pub fn end_source(&mut self, outcome: SourceOutcome) -> Result<(), SinkClosed> {
        self.seq += 1;
        self.send(FrameBody::SourceEnd(Box::new(outcome)))
    }

    /// Records a fact about the run. `json` that is too large is replaced by a word about it.
    pub fn note(&mut self, kind: &str, json: &serde_json::Value) -> Result<(), SinkClosed> {
        self.seq += 1;
        let mut text = json.to_string();
        if text.len() > MAX_NOTE_BYTES {
            text = format!("{{\"left_out\":\"{} bytes\"}}", text.len());
        }
        self.send(FrameBody::Note { kind: kind.to_owned(), json: text.into() })
    }

    fn send(&mut self, body: FrameBody) -> Result<(), SinkClosed> {
        self.outbox.push(Frame { seq: self.seq, body })
    }

    fn flush(&mut self) -> Result<(), SinkClosed> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let offset = open.framed;
        open.framed += self.buffer.len() as u64;
        let data = std::mem::take(&mut self.buffer).into();
        self.send(FrameBody::Chunk { offset, data })
    }

    /// The collector's bytes and ours are the same so far: the item begins where they end.
    fn skipped_far_enough(&mut self) -> Result<(), SinkClosed> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let reached = open.skipping.as_ref().is_some_and(|(_, point)| open.length == point.offset);
        let Some((header, point)) = open.skipping.take_if(|_| reached) else {
            return Ok(());
        };
        if open.hasher.so_far() != point.sha256 {
            return Err(self.stale());
        }
        open.framed = point.offset;
        let resume = Some((point.offset, point.sha256));
        self.send(FrameBody::Begin { header: Box::new(header), resume })
    }

    fn stale(&mut self) -> SinkClosed {
        self.stale_resume = true;
        self.seq -= 1;
        SinkClosed("the item has changed since the killed agent sent its first bytes".into())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        if self.buffer.len() + bytes.len() > Limits::CHUNK_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

impl Sink for FrameSink<'_> {
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed> {
        self.seq += 1;
        self.buffer.clear();
        let point = self.resume.take_if(|p| {
            // Records are made anew by each process and never come out the same.
            header.kind != ItemKind::Records && p.source == header.source && p.name == header.name
        });
        let mut open = Open { hasher: Hasher::default(), length: 0, framed: 0, skipping: None };
        match point {
            Some(point) => {
                open.skipping = Some((header, point));
                self.open = Some(open);
                Ok(())
            }
            None => {
                self.open = Some(open);
                self.send(FrameBody::Begin { header: Box::new(header), resume: None })
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        let Some(open) = &mut self.open else {
            return Err(SinkClosed("bytes outside an item: a fault in the source".into()));
        };
        let skip = match &open.skipping {
            Some((_, point)) => usize::try_from(point.offset - open.length).unwrap_or(usize::MAX),
            None => 0,
        };
        let (again, fresh) = bytes.split_at(skip.min(bytes.len()));
        open.hasher.update(again);
        open.length += again.len() as u64;
        self.skipped_far_enough()?;
        if fresh.is_empty() {
            return Ok(());
        }
        self.throttle.pass(fresh.len());
        if let Some(open) = &mut self.open {
            open.hasher.update(fresh);
            open.length += fresh.len() as u64;
        }
        self.append(fresh)
    }

    fn seal(&mut self, status: ItemStatus) -> Result<Sha256Digest, SinkClosed> {
        if self.open.as_ref().is_some_and(|open| open.skipping.is_some()) {
            return Err(self.stale());
        }
        self.flush()?;
        let Some(open) = self.open.take() else {
            return Err(SinkClosed("seal outside an item: a fault in the source".into()));
        };
        let (sha256, length_bytes) = (open.hasher.finish(), open.length);
        let seal = Seal { sha256, length_bytes, status, read_end: clock() };
        self.send(FrameBody::Seal(Box::new(seal)))?;
        Ok(sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleanroom_evidence::Clock;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Kept(RefCell<Vec<Frame>>);

    impl Outbox for Kept {
        fn push(&self, frame: Frame) -> Result<(), SinkClosed> {
            self.0.borrow_mut().push(frame);
            Ok(())
        }
    }

    fn header(name: &str) -> ItemHeader {
        ItemHeader {
            source: "files".into(),
            kind: ItemKind::File,
            name: name.into(),
            file: None,
            read_at: Clock::default(),
            labels: Default::default(),
        }
    }

    fn item(sink: &mut FrameSink<'_>, name: &str, bytes: &[u8]) -> Result<(), SinkClosed> {
        sink.begin(header(name))?;
        bytes.chunks(100_000).try_for_each(|part| sink.write(part))?;
        sink.seal(ItemStatus::Whole).map(drop)
    }

    fn point(bytes: &[u8], offset: usize) -> Option<ResumePoint> {
        Some(ResumePoint {
            source: "files".into(),
            name: "/big".into(),
            offset: offset as u64,
            sha256: Sha256Digest::of(&bytes[..offset]),
        })
    }

    #[test]
    fn an_item_is_cut_into_chunks_that_join_to_its_digest() {
        let kept = Kept::default();
        let mut sink = FrameSink::new(&kept, Throttle::new(None), 1, None);
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        item(&mut sink, "/a", &bytes).unwrap();
        let mut joined = Vec::new();
        for frame in kept.0.borrow().iter() {
            match &frame.body {
                FrameBody::Chunk { offset, data } => {
                    assert_eq!(*offset, joined.len() as u64);
                    assert!(data.len() <= Limits::CHUNK_BYTES);
                    joined.extend_from_slice(data);
                }
                FrameBody::Seal(seal) => assert_eq!(seal.sha256, Sha256Digest::of(&bytes)),
                _ => {}
            }
        }
        assert_eq!(joined, bytes);
    }

    #[test]
    fn a_resumed_item_sends_only_the_rest_and_hashes_the_whole() {
        let bytes: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
        let kept = Kept::default();
        let mut sink = FrameSink::new(&kept, Throttle::new(None), 5, point(&bytes, 333_333));
        item(&mut sink, "/big", &bytes).unwrap();
        let frames = kept.0.borrow();
        assert!(matches!(&frames[0].body,
            FrameBody::Begin { resume: Some((333_333, _)), .. } if frames[0].seq == 5));
        assert!(matches!(&frames[1].body, FrameBody::Chunk { offset: 333_333, .. }));
        assert!(matches!(&frames.last().unwrap().body,
            FrameBody::Seal(seal) if seal.sha256 == Sha256Digest::of(&bytes)));
    }

    #[test]
    fn a_changed_or_shorter_item_asks_for_the_source_again() {
        let bytes = vec![7u8; 500_000];
        for now in [vec![8u8; 500_000], vec![7u8; 100]] {
            let kept = Kept::default();
            let mut sink = FrameSink::new(&kept, Throttle::new(None), 5, point(&bytes, 400_000));
            item(&mut sink, "/big", &now).unwrap_err();
            assert!(sink.take_stale_resume());
            item(&mut sink, "/big", &now).unwrap();
            let frames = kept.0.borrow();
            assert!(matches!(frames[0].body, FrameBody::Begin { resume: None, .. }));
            assert_eq!(frames[0].seq, 5, "no number is left out");
        }
    }
}
