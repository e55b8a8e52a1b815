//! Offline collection: the session in a file that `cleanroom import` takes later.

use crate::spool::Outbox;
use cleanroom_sources::SinkClosed;
use cleanroom_wire::{Frame, archive::ArchiveWriter, pb, pb::agent_message::Message};
use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// A session file that is being written. It is complete only after [`finish`](Self::finish).
pub struct OfflineFile {
    writer: Mutex<ArchiveWriter<BufWriter<File>>>,
}

impl OfflineFile {
    /// Creates the file (mode 0600); one that exists already is not touched.
    pub fn create(path: &Path, open: pb::Open) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let mut writer = ArchiveWriter::new(BufWriter::with_capacity(1 << 20, file))?;
        writer.write(&pb::AgentMessage { message: Some(Message::Open(open)) })?;
        Ok(Self { writer: Mutex::new(writer) })
    }

    /// Writes the last record and syncs the file.
    pub fn finish(self, last_seq: u64) -> io::Result<()> {
        let mut writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        let done = Message::Done(pb::Done { last_seq });
        writer.write(&pb::AgentMessage { message: Some(done) })?;
        let mut file = writer.into_inner();
        file.flush()?;
        file.get_ref().sync_all()
    }
}

impl Outbox for OfflineFile {
    fn push(&self, frame: Frame) -> Result<(), SinkClosed> {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(&frame.into())
            .map_err(|error| SinkClosed(format!("cannot write the output file: {error}")))
    }
}
