//! Takes an offline session file into a case: the same frames, the same store, the same custody.

use crate::{
    failure::Failure,
    ingest::{session_of, store_frame},
    setup,
};
use cleanroom_evidence::{HostId, SessionId};
use cleanroom_store::{Case, Event};
use cleanroom_wire::{
    Frame,
    archive::{ArchiveError, ArchiveReader},
    pb::{self, agent_message::Message},
};
use std::{fs::File, io::BufReader, path::Path};

/// Frames between commits.
const COMMIT_FRAMES: u32 = 512;

/// What was taken.
#[derive(Debug)]
pub struct Imported {
    /// The session in the file.
    pub session: SessionId,
    /// Its host.
    pub host: HostId,
    /// Entries that are in the case now.
    pub entries: u64,
    /// Why the file ends early; what came before it is in the case.
    pub cut: Option<String>,
}

/// Imports a file. A cut or damaged file gives what stands before the damage, and says so.
pub fn import(case: &Case, path: &Path, host: Option<HostId>) -> Result<Imported, Failure> {
    let digest = setup::file_digest(path)?;
    let named = |error: ArchiveError| {
        Failure::new(format!("{}: {}", path.display(), crate::failure::chain(&error)))
    };
    let mut reader =
        ArchiveReader::new(BufReader::with_capacity(1 << 20, File::open(path)?)).map_err(named)?;
    let open = match reader.next_message().map_err(named)? {
        Some(pb::AgentMessage { message: Some(Message::Open(open)) }) => open,
        _ => return Err(Failure::new(format!("{}: it does not begin with Open", path.display()))),
    };
    let host = match host {
        Some(host) => host,
        None => setup::host_id(&open.host_name)?,
    };
    let peer = format!("offline file sha256:{digest}");
    let open = session_of(open, host.clone(), peer).map_err(Failure::new)?;
    let session_id = open.session.clone();
    let known = case.reader().sessions()?;
    if known.iter().any(|s| s.session == session_id && s.incarnation != open.incarnation) {
        return Err(Failure::new(format!(
            "session {session_id} is in the case already, and not from this file"
        )));
    }
    let event = serde_json::json!({
        "file": path.display().to_string(), "sha256": digest, "session": session_id,
    });
    case.record(Event::new("import.started", setup::actor(), event))?;
    let mut session = case.open_session(open)?;
    let (mut staged, mut done, mut cut) = (0, None, None);
    loop {
        let message = match reader.next_message() {
            Ok(Some(pb::AgentMessage { message: Some(Message::Done(end)) })) => {
                done = Some(end.last_seq);
                break;
            }
            Ok(Some(pb::AgentMessage { message: Some(message) })) => message,
            Ok(Some(_)) => continue,
            Ok(None) => {
                cut = Some("the file ends before its last record".to_owned());
                break;
            }
            Err(error) => {
                cut = Some(crate::failure::chain(&error));
                break;
            }
        };
        let stored = Frame::try_from(message)
            .map_err(Failure::from)
            .and_then(|frame| Ok(store_frame(&mut session, frame)?));
        if let Err(refused) = stored {
            cut = Some(format!("a record was refused: {refused}"));
            break;
        }
        staged += 1;
        if staged % COMMIT_FRAMES == 0 {
            session.commit()?;
        }
    }
    let durable = session.commit()?;
    if let Some(last) = done
        && last != durable.seq
    {
        cut = Some(format!("{last} entries were announced, {} are there", durable.seq));
    }
    session.close(cut.as_deref().unwrap_or("complete"))?;
    Ok(Imported { session: session_id, host, entries: durable.seq, cut })
}
