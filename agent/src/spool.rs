//! The spool: evidence that has left a source and is not yet acknowledged, in bounded memory.
//!
//! A source blocks when it is full, so a slow collector slows the sources and memory stays flat.
//! A frame leaves only when the collector says that it is durable; after a cut connection the
//! sender starts again from the first frame that is still here.
//!
//! It never touches the disk of the host.

use cleanroom_sources::SinkClosed;
use cleanroom_wire::{Frame, FrameBody};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Where frames go: the spool, or an offline file.
pub trait Outbox {
    /// Takes a frame; blocks while there is no room.
    fn push(&self, frame: Frame) -> Result<(), SinkClosed>;

    /// An error once nothing more will be taken.
    fn check(&self) -> Result<(), SinkClosed> {
        Ok(())
    }
}

/// A bounded queue between the sources' thread and the sender.
pub struct Spool {
    inner: Mutex<Inner>,
    room: Condvar,
    news: Notify,
    limit_bytes: usize,
}

#[derive(Default)]
struct Inner {
    frames: VecDeque<Frame>,
    /// Frames that have left at the front: the absolute position of `frames[0]`.
    gone: u64,
    bytes: usize,
    /// The entry of the last frame that was pushed; 0 before the first.
    last_seq: u64,
    /// The beginning of an item of which some bytes are acknowledged: still needed to resume.
    held_begin: Option<Frame>,
    finished: bool,
    failed: Option<String>,
}

/// The sender's place in the spool; made anew for each connection.
#[derive(Debug)]
pub struct Cursor {
    begin_first: bool,
    next: u64,
}

impl Spool {
    /// A spool that holds at most about `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { inner: Mutex::default(), room: Condvar::new(), news: Notify::new(), limit_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panicking thread cannot leave the queue half changed: every change is one step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more frames will come.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.news.notify_one();
    }

    /// The transport has given up: wakes a blocked source with the reason.
    pub fn fail(&self, why: &str) {
        self.lock().failed.get_or_insert_with(|| why.to_owned());
        self.room.notify_all();
        self.news.notify_one();
    }

    /// The number of the last entry that was pushed; 0 for none.
    pub fn last_seq(&self) -> u64 {
        self.lock().last_seq
    }

    /// How many frames have left because they are durable: grows while there is progress.
    pub fn delivered(&self) -> u64 {
        self.lock().gone
    }

    /// A place from which everything that is not acknowledged will be sent.
    pub fn rewind(&self) -> Cursor {
        let inner = self.lock();
        Cursor { begin_first: inner.held_begin.is_some(), next: inner.gone }
    }

    /// The next frame to send; `None` when the last has been given.
    pub async fn next(&self, cursor: &mut Cursor) -> Option<Frame> {
        loop {
            {
                let inner = self.lock();
                if std::mem::take(&mut cursor.begin_first)
                    && let Some(begin) = &inner.held_begin
                {
                    return Some(begin.clone());
                }
                cursor.next = cursor.next.max(inner.gone);
                let at = usize::try_from(cursor.next - inner.gone).unwrap_or(usize::MAX);
                if let Some(frame) = inner.frames.get(at) {
                    cursor.next += 1;
                    return Some(frame.clone());
                }
                if inner.finished || inner.failed.is_some() {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    /// Forgets what is durable: entries up to `seq`, and of entry `partial_seq` the first
    /// `partial_offset` bytes.
    pub fn acknowledge(&self, seq: u64, partial_seq: u64, partial_offset: u64) {
        let mut inner = self.lock();
        if inner.held_begin.as_ref().is_some_and(|begin| begin.seq <= seq) {
            inner.held_begin = None;
        }
        while let Some(front) = inner.frames.front() {
            let in_partial = front.seq == partial_seq && partial_seq > seq;
            let covered = match &front.body {
                _ if front.seq <= seq => true,
                FrameBody::Begin { .. } => in_partial,
                FrameBody::Chunk { offset, data } => {
                    in_partial && offset + data.len() as u64 <= partial_offset
                }
                _ => false,
            };
            if !covered {
                break;
            }
            let Some(frame) = inner.frames.pop_front() else {
                break;
            };
            inner.gone += 1;
            inner.bytes -= frame.weight();
            if frame.seq > seq && matches!(frame.body, FrameBody::Begin { .. }) {
                inner.held_begin = Some(frame);
            }
        }
        self.room.notify_all();
    }
}

impl Outbox for Spool {
    fn push(&self, frame: Frame) -> Result<(), SinkClosed> {
        let weight = frame.weight();
        let mut inner = self.lock();
        loop {
            if let Some(why) = &inner.failed {
                return Err(SinkClosed(why.clone()));
            }
            if inner.bytes + weight <= self.limit_bytes || inner.frames.is_empty() {
                break;
            }
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.bytes += weight;
        inner.last_seq = frame.seq;
        inner.frames.push_back(frame);
        drop(inner);
        self.news.notify_one();
        Ok(())
    }

    fn check(&self) -> Result<(), SinkClosed> {
        self.lock().failed.as_ref().map_or(Ok(()), |why| Err(SinkClosed(why.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleanroom_evidence::{Clock, ItemHeader, ItemKind};
    use std::sync::Arc;

    fn begin(seq: u64) -> Frame {
        let header = Box::new(ItemHeader {
            source: "files".into(),
            kind: ItemKind::File,
            name: "/x".into(),
            file: None,
            read_at: Clock::default(),
            labels: Default::default(),
        });
        Frame { seq, body: FrameBody::Begin { header, resume: None } }
    }

    fn chunk(seq: u64, offset: u64, length: usize) -> Frame {
        Frame { seq, body: FrameBody::Chunk { offset, data: vec![0; length].into() } }
    }

    fn drain(spool: &Spool) -> Vec<(u64, Option<u64>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut cursor = spool.rewind();
        spool.finish();
        runtime.block_on(async {
            let mut out = Vec::new();
            while let Some(frame) = spool.next(&mut cursor).await {
                let offset = match frame.body {
                    FrameBody::Chunk { offset, .. } => Some(offset),
                    _ => None,
                };
                out.push((frame.seq, offset));
            }
            out
        })
    }

    #[test]
    fn a_reconnect_sends_again_just_what_is_not_durable() {
        let spool = Spool::new(1 << 20);
        for frame in [begin(1), chunk(1, 0, 10), begin(2), chunk(2, 0, 10), chunk(2, 10, 10)] {
            spool.push(frame).unwrap();
        }
        spool.acknowledge(1, 2, 10);
        assert_eq!(drain(&spool), [(2, None), (2, Some(10))], "the beginning is kept");
        spool.acknowledge(2, 0, 0);
        assert_eq!(drain(&spool), []);
        assert_eq!(spool.last_seq(), 2, "a cut at the very end must not forget the last entry");
    }

    #[test]
    fn a_full_spool_blocks_until_there_is_room_or_the_end() {
        let spool = Arc::new(Spool::new(4096));
        spool.push(chunk(1, 0, 4000)).unwrap();
        let other = Arc::clone(&spool);
        let blocked = std::thread::spawn(move || other.push(chunk(1, 4000, 4000)));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!blocked.is_finished());
        spool.acknowledge(0, 1, 4000);
        blocked.join().unwrap().unwrap();
        spool.fail("collector gone");
        assert!(spool.push(begin(2)).unwrap_err().to_string().contains("collector gone"));
    }
}
