//! Wire ↔ domain, once. Every check of what the other side sent is in the `TryFrom`s here.

use crate::{
    Frame, FrameBody, MAX_NOTE_BYTES,
    pb::{self, agent_message::Message, outcome::Outcome as Kind},
};
use cleanroom_evidence::{
    BadDigest, Clock, FileKind, FileMeta, Gap, ItemHeader, ItemKind, ItemStatus, Limits, Outcome,
    RawBytes, Seal, Sha256Digest, SourceOutcome, Timestamp,
};

/// Why a message from the other side was refused.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A required part is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A part is larger than its limit.
    #[error("{what} has {given} bytes, the limit is {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A digest is not 32 bytes.
    #[error(transparent)]
    Digest(#[from] BadDigest),
    /// A value is not one that the contract knows.
    #[error("{0} is not usable")]
    Unusable(&'static str),
    /// The message does not belong in the middle of a stream.
    #[error("this message does not carry evidence")]
    NotEvidence,
}

fn bounded(what: &'static str, given: usize, limit: usize) -> Result<(), WireError> {
    if given > limit { Err(WireError::TooLarge { what, given, limit }) } else { Ok(()) }
}

/// The domain's clock from the wire's.
pub fn clock_from(clock: Option<pb::Clock>) -> Result<Clock, WireError> {
    let clock = clock.ok_or(WireError::Missing("clock"))?;
    Ok(Clock {
        utc: Timestamp::new(clock.unix_seconds, clock.nanoseconds),
        boottime_ns: clock.boottime_ns,
    })
}

/// The wire's clock from the domain's.
pub fn clock_to(clock: Clock) -> pb::Clock {
    pb::Clock {
        unix_seconds: clock.utc.unix_seconds,
        nanoseconds: clock.utc.nanoseconds,
        boottime_ns: clock.boottime_ns,
    }
}

fn time_to(time: Timestamp) -> pb::Time {
    pb::Time { unix_seconds: time.unix_seconds, nanoseconds: time.nanoseconds }
}

fn time_from(time: Option<pb::Time>) -> Result<Timestamp, WireError> {
    time.map(|t| Timestamp::new(t.unix_seconds, t.nanoseconds)).ok_or(WireError::Missing("time"))
}

impl From<Frame> for pb::AgentMessage {
    fn from(Frame { seq, body }: Frame) -> Self {
        let message = match body {
            FrameBody::Begin { header, resume } => {
                let (resume_offset, resume_sha256) = match resume {
                    Some((offset, digest)) => (offset, digest.as_bytes().to_vec()),
                    None => (0, Vec::new()),
                };
                let header = Some(header_to(*header));
                Message::Begin(pb::ItemBegin { seq, header, resume_offset, resume_sha256 })
            }
            FrameBody::Chunk { offset, data } => Message::Chunk(pb::Chunk { seq, offset, data }),
            FrameBody::Seal(seal) => Message::Seal(pb::ItemSeal {
                seq,
                sha256: seal.sha256.as_bytes().to_vec(),
                length_bytes: seal.length_bytes,
                partial_why: match seal.status {
                    ItemStatus::Whole => None,
                    ItemStatus::Partial(why) => Some(why),
                },
                read_end: Some(clock_to(seal.read_end)),
            }),
            FrameBody::SourceEnd(end) => Message::SourceEnd(pb::SourceEnd {
                seq,
                source: end.source,
                outcome: Some(outcome_to(end.outcome)),
                started: Some(clock_to(end.started)),
                ended: Some(clock_to(end.ended)),
                items: end.items,
                bytes: end.bytes,
            }),
            FrameBody::Note { kind, json } => {
                Message::Note(pb::Note { seq, kind, json: json.to_vec() })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<Message> for Frame {
    type Error = WireError;

    fn try_from(message: Message) -> Result<Self, WireError> {
        let (seq, body) = match message {
            Message::Begin(begin) => {
                let header = Box::new(header_from(begin.header)?);
                let resume = match begin.resume_offset {
                    0 => None,
                    offset => {
                        Some((offset, Sha256Digest::try_from(begin.resume_sha256.as_slice())?))
                    }
                };
                (begin.seq, FrameBody::Begin { header, resume })
            }
            Message::Chunk(chunk) => {
                bounded("chunk", chunk.data.len(), Limits::CHUNK_BYTES)?;
                (chunk.seq, FrameBody::Chunk { offset: chunk.offset, data: chunk.data })
            }
            Message::Seal(seal) => (seal.seq, FrameBody::Seal(Box::new(seal_from(seal)?))),
            Message::SourceEnd(end) => {
                (end.seq, FrameBody::SourceEnd(Box::new(source_end_from(end)?)))
            }
            Message::Note(note) => {
                bounded("note", note.json.len(), MAX_NOTE_BYTES)?;
                source_name(&note.kind)?;
                (note.seq, FrameBody::Note { kind: note.kind, json: note.json.into() })
            }
            Message::Open(_) | Message::ClockReply(_) | Message::Done(_) => {
                return Err(WireError::NotEvidence);
            }
        };
        if seq == 0 {
            return Err(WireError::Unusable("entry number 0"));
        }
        Ok(Self { seq, body })
    }
}

fn seal_from(seal: pb::ItemSeal) -> Result<Seal, WireError> {
    let status = match seal.partial_why {
        None => ItemStatus::Whole,
        Some(why) => {
            bounded("reason", why.len(), Limits::LABEL_BYTES)?;
            ItemStatus::Partial(why)
        }
    };
    Ok(Seal {
        sha256: Sha256Digest::try_from(seal.sha256.as_slice())?,
        length_bytes: seal.length_bytes,
        status,
        read_end: clock_from(seal.read_end)?,
    })
}

fn source_end_from(end: pb::SourceEnd) -> Result<SourceOutcome, WireError> {
    source_name(&end.source)?;
    Ok(SourceOutcome {
        source: end.source,
        outcome: outcome_from(end.outcome)?,
        started: clock_from(end.started)?,
        ended: clock_from(end.ended)?,
        items: end.items,
        bytes: end.bytes,
    })
}

/// A source's name is a word that is safe in reports and file names.
fn source_name(name: &str) -> Result<(), WireError> {
    bounded("source name", name.len(), Limits::SOURCE_BYTES)?;
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(WireError::Unusable("source name"));
    }
    Ok(())
}

fn header_to(header: ItemHeader) -> pb::ItemHeader {
    let kind = match header.kind {
        ItemKind::File => pb::ItemKind::File,
        ItemKind::Records => pb::ItemKind::Records,
        ItemKind::Raw => pb::ItemKind::Raw,
    };
    pb::ItemHeader {
        source: header.source,
        kind: kind.into(),
        name: header.name.0,
        file: header.file.map(file_to),
        read_at: Some(clock_to(header.read_at)),
        labels: header.labels,
    }
}

fn header_from(header: Option<pb::ItemHeader>) -> Result<ItemHeader, WireError> {
    let header = header.ok_or(WireError::Missing("item header"))?;
    source_name(&header.source)?;
    bounded("item name", header.name.len(), Limits::NAME_BYTES)?;
    if header.name.is_empty() {
        return Err(WireError::Missing("item name"));
    }
    if header.labels.len() > Limits::LABELS {
        return Err(WireError::Unusable("number of labels"));
    }
    for (name, value) in &header.labels {
        bounded("label", name.len().max(value.len()), Limits::LABEL_BYTES)?;
    }
    let kind = match pb::ItemKind::try_from(header.kind) {
        Ok(pb::ItemKind::File) => ItemKind::File,
        Ok(pb::ItemKind::Records) => {
            let name = std::str::from_utf8(&header.name)
                .map_err(|_| WireError::Unusable("record set name"))?;
            source_name(name)?;
            ItemKind::Records
        }
        Ok(pb::ItemKind::Raw) => ItemKind::Raw,
        Ok(pb::ItemKind::Unspecified) | Err(_) => return Err(WireError::Unusable("item kind")),
    };
    Ok(ItemHeader {
        source: header.source,
        kind,
        name: RawBytes(header.name),
        file: header.file.map(file_from).transpose()?,
        read_at: clock_from(header.read_at)?,
        labels: header.labels,
    })
}

fn file_to(file: FileMeta) -> pb::FileMeta {
    let kind = match file.kind {
        FileKind::Regular => pb::FileKind::Regular,
        FileKind::Directory => pb::FileKind::Directory,
        FileKind::Symlink => pb::FileKind::Symlink,
        FileKind::Fifo => pb::FileKind::Fifo,
        FileKind::Socket => pb::FileKind::Socket,
        FileKind::Block => pb::FileKind::Block,
        FileKind::Char => pb::FileKind::Char,
    };
    pb::FileMeta {
        kind: kind.into(),
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
        size_bytes: file.size_bytes,
        links: file.links,
        inode: file.inode,
        device: file.device,
        accessed: Some(time_to(file.accessed)),
        modified: Some(time_to(file.modified)),
        changed: Some(time_to(file.changed)),
        born: file.born.map(time_to),
        link_target: file.link_target.map(|target| target.0),
    }
}

fn file_from(file: pb::FileMeta) -> Result<FileMeta, WireError> {
    bounded("device number", file.device.len(), 32)?;
    if let Some(target) = &file.link_target {
        bounded("link target", target.len(), Limits::NAME_BYTES)?;
    }
    let kind = match pb::FileKind::try_from(file.kind) {
        Ok(pb::FileKind::Regular) => FileKind::Regular,
        Ok(pb::FileKind::Directory) => FileKind::Directory,
        Ok(pb::FileKind::Symlink) => FileKind::Symlink,
        Ok(pb::FileKind::Fifo) => FileKind::Fifo,
        Ok(pb::FileKind::Socket) => FileKind::Socket,
        Ok(pb::FileKind::Block) => FileKind::Block,
        Ok(pb::FileKind::Char) => FileKind::Char,
        Ok(pb::FileKind::Unspecified) | Err(_) => return Err(WireError::Unusable("file kind")),
    };
    Ok(FileMeta {
        kind,
        mode: file.mode & 0o7777,
        uid: file.uid,
        gid: file.gid,
        size_bytes: file.size_bytes,
        links: file.links,
        inode: file.inode,
        device: file.device,
        accessed: time_from(file.accessed)?,
        modified: time_from(file.modified)?,
        changed: time_from(file.changed)?,
        born: file.born.map(|time| time_from(Some(time))).transpose()?,
        link_target: file.link_target.map(RawBytes),
    })
}

fn outcome_to(outcome: Outcome) -> pb::Outcome {
    let gap = |gap: Gap| pb::Gap {
        operation: gap.operation,
        reason: gap.reason,
        count: gap.count,
        examples: gap.examples.into_iter().map(|example| example.0).collect(),
    };
    let kind = match outcome {
        Outcome::Complete => Kind::Complete(pb::Complete {}),
        Outcome::Partial(gaps) => {
            Kind::Partial(pb::PartialOutcome { gaps: gaps.into_iter().map(gap).collect() })
        }
        Outcome::Absent(why) => Kind::Absent(why),
        Outcome::Failed(why) => Kind::Failed(why),
    };
    pb::Outcome { outcome: Some(kind) }
}

fn outcome_from(outcome: Option<pb::Outcome>) -> Result<Outcome, WireError> {
    let kind = outcome.and_then(|o| o.outcome).ok_or(WireError::Missing("outcome"))?;
    let text = |why: String| {
        bounded("reason", why.len(), Limits::LABEL_BYTES)?;
        Ok::<_, WireError>(why)
    };
    Ok(match kind {
        Kind::Complete(pb::Complete {}) => Outcome::Complete,
        Kind::Absent(why) => Outcome::Absent(text(why)?),
        Kind::Failed(why) => Outcome::Failed(text(why)?),
        Kind::Partial(partial) => {
            bounded("list of gaps", partial.gaps.len(), 64)?;
            Outcome::Partial(partial.gaps.into_iter().map(gap_from).collect::<Result<_, _>>()?)
        }
    })
}

fn gap_from(gap: pb::Gap) -> Result<Gap, WireError> {
    bounded("gap", gap.operation.len().max(gap.reason.len()), Limits::LABEL_BYTES)?;
    bounded("examples of a gap", gap.examples.len(), 16)?;
    for example in &gap.examples {
        bounded("example of a gap", example.len(), Limits::NAME_BYTES)?;
    }
    Ok(Gap {
        operation: gap.operation,
        reason: gap.reason,
        count: gap.count,
        examples: gap.examples.into_iter().map(RawBytes).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    fn header() -> ItemHeader {
        let time = Timestamp::new(-5, 7);
        ItemHeader {
            source: "crontabs".into(),
            kind: ItemKind::File,
            name: RawBytes(b"/etc/cron.d/\xff\n".to_vec()),
            file: Some(FileMeta {
                kind: FileKind::Symlink,
                mode: 0o4755,
                device: "259:1".into(),
                accessed: time,
                born: Some(time),
                link_target: Some("../x".into()),
                ..FileMeta::default()
            }),
            read_at: Clock { utc: time, boottime_ns: 9 },
            labels: [("place".to_owned(), "cron.d".to_owned())].into(),
        }
    }

    fn round_trip(frame: Frame) {
        let message = pb::AgentMessage::from(frame.clone()).message.unwrap();
        assert_eq!(Frame::try_from(message).unwrap(), frame);
    }

    #[test]
    fn every_frame_survives_the_wire() {
        let digest = Sha256Digest::of(b"x");
        let clock = Clock { utc: Timestamp::new(1, 2), boottime_ns: 3 };
        let gap = Gap {
            operation: "open".into(),
            reason: "EACCES".into(),
            count: 2,
            examples: vec![RawBytes(vec![0xff])],
        };
        let end = |outcome| SourceOutcome {
            source: "dns".into(),
            outcome,
            started: clock,
            ended: clock,
            items: 1,
            bytes: 2,
        };
        let seal = Seal {
            sha256: digest,
            length_bytes: 5,
            status: ItemStatus::Partial("EIO".into()),
            read_end: clock,
        };
        let bodies = [
            FrameBody::Begin { header: Box::new(header()), resume: None },
            FrameBody::Begin { header: Box::new(header()), resume: Some((7, digest)) },
            FrameBody::Chunk { offset: 3, data: vec![0; 9].into() },
            FrameBody::Seal(Box::new(Seal { status: ItemStatus::Whole, ..seal.clone() })),
            FrameBody::Seal(Box::new(seal)),
            FrameBody::SourceEnd(Box::new(end(Outcome::Complete))),
            FrameBody::SourceEnd(Box::new(end(Outcome::Partial(vec![gap])))),
            FrameBody::SourceEnd(Box::new(end(Outcome::Absent("none".into())))),
            FrameBody::SourceEnd(Box::new(end(Outcome::Failed("bad".into())))),
            FrameBody::Note { kind: "footprint".into(), json: "{}".into() },
        ];
        for (at, body) in bodies.into_iter().enumerate() {
            round_trip(Frame { seq: at as u64 + 1, body });
        }
    }

    #[test]
    fn what_is_too_large_or_unknown_is_refused() {
        let begin = |change: &dyn Fn(&mut pb::ItemHeader)| {
            let mut wire = header_to(header());
            change(&mut wire);
            let header = Some(wire);
            let begin = pb::ItemBegin { seq: 1, header, ..Default::default() };
            Frame::try_from(Message::Begin(begin))
        };
        assert!(begin(&|_| {}).is_ok());
        assert!(begin(&|h| h.source = "../x".into()).is_err());
        assert!(begin(&|h| h.name = vec![b'a'; Limits::NAME_BYTES + 1]).is_err());
        assert!(begin(&|h| h.name.clear()).is_err());
        assert!(begin(&|h| h.kind = 77).is_err());
        assert!(begin(&|h| h.read_at = None).is_err());
        assert!(
            begin(&|h| {
                h.kind = pb::ItemKind::Records.into();
                h.name = b"../../etc".to_vec();
            })
            .is_err()
        );
        let data = vec![0; Limits::CHUNK_BYTES + 1].into();
        assert!(Frame::try_from(Message::Chunk(pb::Chunk { seq: 1, offset: 0, data })).is_err());
        assert!(Frame::try_from(Message::Chunk(pb::Chunk::default())).is_err(), "entry 0");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(pb::AgentMessage { message: Some(message) }) =
                pb::AgentMessage::decode(bytes.as_slice())
            {
                let _ = Frame::try_from(message);
            }
        }
    }
}
