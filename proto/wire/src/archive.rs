//! The offline form of a session: the same messages, one after the other in a file.
//!
//! Layout: the line [`MAGIC`], then records `length (u32, big endian) · message · chain`, where
//! `chain` is the first 16 bytes of SHA-256(previous chain · message). A record that was changed,
//! moved or cut is found at its place; the last record of a finished file is `Done`.

use crate::{MAX_MESSAGE_BYTES, pb};
use cleanroom_evidence::Hasher;
use prost::Message as _;
use std::io::{self, Read, Write};

/// First bytes of the file.
pub const MAGIC: &[u8] = b"CLEANROOM OFFLINE SESSION 1\n";
const CHAIN_BYTES: usize = 16;
type Chain = [u8; CHAIN_BYTES];

/// Why an offline file could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are others.
    #[error("not an offline session of cleanroom-agent (its first line is missing)")]
    NotAnArchive,
    /// The file stops in the middle of a record.
    #[error("the file ends in the middle of record {record}: it was cut")]
    Cut {
        /// Counted from 1.
        record: u64,
    },
    /// A record does not follow from the one before.
    #[error("record {record} was changed or moved: its checksum does not match")]
    Changed {
        /// Counted from 1.
        record: u64,
    },
    /// A record is no message.
    #[error("record {record} is not a message that this version knows: {why}")]
    Undecodable {
        /// Counted from 1.
        record: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The file could not be read.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

fn link(previous: &Chain, message: &[u8]) -> Chain {
    let mut hasher = Hasher::default();
    hasher.update(previous);
    hasher.update(message);
    let mut chain = Chain::default();
    for (to, from) in chain.iter_mut().zip(hasher.finish().as_bytes()) {
        *to = *from;
    }
    chain
}

/// Writes an offline session.
pub struct ArchiveWriter<W> {
    to: W,
    chain: Chain,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins the file.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Self { to, chain: Chain::default() })
    }

    /// Adds a message.
    pub fn write(&mut self, message: &pb::AgentMessage) -> io::Result<()> {
        let bytes = message.encode_to_vec();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.chain = link(&self.chain, &bytes);
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&bytes)?;
        self.to.write_all(&self.chain)
    }

    /// Hands the writer back, to flush and sync it.
    pub fn into_inner(self) -> W {
        self.to
    }
}

/// Reads an offline session; bounded memory whatever the file claims.
pub struct ArchiveReader<R> {
    from: R,
    chain: Chain,
    record: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Checks the first line.
    pub fn new(mut from: R) -> Result<Self, ArchiveError> {
        let mut magic = [0u8; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => Ok(Self { from, chain: Chain::default(), record: 0 }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(ArchiveError::NotAnArchive),
        }
    }

    /// The next message; `None` at the end of the file.
    pub fn next_message(&mut self) -> Result<Option<pb::AgentMessage>, ArchiveError> {
        let record = self.record + 1;
        let mut length = [0u8; 4];
        match self.from.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => self.fill(record, &mut length[1..])?,
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            let why = format!("{length} bytes long, the limit is {MAX_MESSAGE_BYTES}");
            return Err(ArchiveError::Undecodable { record, why });
        }
        let mut bytes = vec![0u8; length];
        self.fill(record, &mut bytes)?;
        let mut chain = Chain::default();
        self.fill(record, &mut chain)?;
        if chain != link(&self.chain, &bytes) {
            return Err(ArchiveError::Changed { record });
        }
        self.chain = chain;
        self.record = record;
        pb::AgentMessage::decode(bytes.as_slice())
            .map(Some)
            .map_err(|error| ArchiveError::Undecodable { record, why: error.to_string() })
    }

    fn fill(&mut self, record: u64, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.from.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Cut { record },
            _ => error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::agent_message::Message;

    fn file() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
        for seq in 1..4 {
            let chunk = pb::Chunk { seq, offset: 0, data: vec![7; 20].into() };
            writer.write(&pb::AgentMessage { message: Some(Message::Chunk(chunk)) }).unwrap();
        }
        writer.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<u64, ArchiveError> {
        let mut reader = ArchiveReader::new(bytes)?;
        let mut count = 0;
        while reader.next_message()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_change_of_any_byte_is_found_and_a_cut_is_named() {
        let good = file();
        assert_eq!(read(&good).unwrap(), 3);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "byte {at}");
        }
        let mut whole_records = 0;
        for length in MAGIC.len()..good.len() {
            match read(&good[..length]) {
                Ok(_) => whole_records += 1,
                Err(error) => assert!(matches!(error, ArchiveError::Cut { .. }), "{error}"),
            }
        }
        assert_eq!(whole_records, 3, "only between records does a prefix read well: no Done there");
    }
}
