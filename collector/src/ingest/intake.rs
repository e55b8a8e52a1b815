//! Stores frames and says what is durable. Runs on a thread that may block on the disk; commits
//! in groups, so that thousands of small items cost few syncs.

use super::{Collector, Progress};
use cleanroom_evidence::{CaseId, ClockOffset, HostId};
use cleanroom_store::{Case, Durable, Session, SessionOpen, StoreError};
use cleanroom_wire::{
    Frame, FrameBody,
    pb::{self, collector_message::Message as ToAgent},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tonic::Status;

/// What comes from a stream or an offline file.
pub enum Input {
    /// Evidence.
    Frame(Frame),
    /// Nothing more will come.
    Done {
        /// The number of the last entry.
        last_seq: u64,
    },
}

/// A commit is due when so much is staged.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;
const COMMIT_FRAMES: usize = 512;
/// Or when nothing more has come for this long.
const COMMIT_IDLE: Duration = Duration::from_millis(10);
/// Or, while frames keep coming, after this long: an agent waits for room.
const COMMIT_EVERY: Duration = Duration::from_millis(250);

type Answers = mpsc::Sender<Result<pb::CollectorMessage, Status>>;

/// Opens the session and stores what comes until the stream ends.
pub fn intake(
    collector: &Arc<Collector>,
    case: &CaseId,
    open: SessionOpen,
    offset: ClockOffset,
    mut frames: mpsc::Receiver<Input>,
    answers: &Answers,
) -> Result<(), Status> {
    let case = collector.cases.get(case).map_err(|error| status(&error))?;
    let host = open.host.clone();
    let mut session = case.open_session(open).map_err(|error| status(&error))?;
    session.set_clock_offset(offset);
    answer(answers, ToAgent::Opened(opened(&session)))?;
    let mut batch = Batch::default();
    loop {
        let input = match next(&mut frames, &batch) {
            Next::Input(input) => input,
            Next::Idle => {
                acknowledge(batch.commit(&mut session)?, answers)?;
                continue;
            }
            Next::End => {
                // The connection was cut: what came whole is kept, nobody can be told.
                return batch.commit(&mut session).map(drop);
            }
        };
        match input {
            Input::Frame(frame) => {
                tell(collector, &host, &frame);
                batch.add(&frame);
                store(&mut session, frame).map_err(|error| status(&error))?;
                if batch.is_due() {
                    acknowledge(batch.commit(&mut session)?, answers)?;
                }
            }
            Input::Done { last_seq } => {
                let durable = batch.commit(&mut session)?;
                let checkpoint = finish(session, &case, durable, last_seq)?;
                let closed =
                    pb::Closed { durable_seq: durable.seq, custody_checkpoint: checkpoint };
                answer(answers, ToAgent::Closed(closed))?;
                (collector.progress)(Progress::Done { host });
                return Ok(());
            }
        }
    }
}

/// Ends the session once everything that was announced is durable.
pub fn finish(
    session: Session,
    case: &Case,
    durable: Durable,
    last_seq: u64,
) -> Result<String, Status> {
    if durable.seq != last_seq {
        let text = format!("entry {last_seq} was announced as the last, {} came", durable.seq);
        return Err(Status::invalid_argument(text));
    }
    session.close("complete").map_err(|error| status(&error))?;
    let custody = case.reader().custody().map_err(|error| status(&error))?;
    Ok(custody.checkpoint)
}

#[derive(Default)]
struct Batch {
    frames: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Batch {
    fn add(&mut self, frame: &Frame) {
        self.frames += 1;
        self.bytes += frame.weight();
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.bytes >= COMMIT_BYTES
            || self.frames >= COMMIT_FRAMES
            || self.since.is_some_and(|since| since.elapsed() >= COMMIT_EVERY)
    }

    fn commit(&mut self, session: &mut Session) -> Result<Durable, Status> {
        *self = Self::default();
        session.commit().map_err(|error| status(&error))
    }
}

enum Next {
    Input(Input),
    Idle,
    End,
}

/// The next input; with something staged it waits only briefly.
fn next(frames: &mut mpsc::Receiver<Input>, batch: &Batch) -> Next {
    let received = match batch.frames {
        0 => frames.blocking_recv(),
        _ => match frames.try_recv() {
            Ok(input) => Some(input),
            Err(mpsc::error::TryRecvError::Disconnected) => None,
            Err(mpsc::error::TryRecvError::Empty) => {
                match Handle::current()
                    .block_on(async { timeout(COMMIT_IDLE, frames.recv()).await })
                {
                    Ok(received) => received,
                    Err(_) => return Next::Idle,
                }
            }
        },
    };
    received.map_or(Next::End, Next::Input)
}

/// Puts one frame into the session.
pub fn store(session: &mut Session, Frame { seq, body }: Frame) -> Result<(), StoreError> {
    match body {
        FrameBody::Begin { header, resume: None } => session.begin(seq, *header),
        FrameBody::Begin { header, resume: Some((offset, sha256)) } => {
            let partial = session.resume().partial;
            // After a second cut this very agent goes on with what it had resumed.
            let ours = partial.is_some_and(|p| p.seq == seq && p.offset > offset);
            match ours {
                true => session.begin(seq, *header),
                false => session.begin_resumed(seq, *header, offset, sha256),
            }
        }
        FrameBody::Chunk { offset, data } => session.chunk(seq, offset, &data),
        FrameBody::Seal(seal) => session.seal(seq, *seal),
        FrameBody::SourceEnd(outcome) => session.end_source(seq, *outcome),
        FrameBody::Note { kind, json } => {
            let body = serde_json::from_slice(&json).unwrap_or_else(
                |_| serde_json::json!({"unreadable": cleanroom_evidence::escape(&json)}),
            );
            session.note(seq, &kind, body)
        }
    }
}

fn tell(collector: &Collector, host: &HostId, frame: &Frame) {
    let progress = match &frame.body {
        FrameBody::Begin { header, .. } => Progress::Item { source: header.source.clone() },
        FrameBody::Chunk { data, .. } => Progress::Bytes(data.len() as u64),
        FrameBody::SourceEnd(end) => {
            Progress::SourceEnd { host: host.clone(), outcome: end.clone() }
        }
        FrameBody::Seal(_) | FrameBody::Note { .. } => return,
    };
    (collector.progress)(progress);
}

fn opened(session: &Session) -> pb::Opened {
    let resume = session.resume();
    pb::Opened {
        durable_seq: resume.durable_seq,
        partial: resume.partial.map(|partial| pb::Partial {
            seq: partial.seq,
            incarnation: partial.incarnation,
            source: partial.header.source,
            name: partial.header.name.0,
            offset: partial.offset,
            sha256_so_far: partial.sha256_so_far.as_bytes().to_vec(),
        }),
        finished_sources: resume.finished_sources,
    }
}

fn acknowledge(durable: Durable, answers: &Answers) -> Result<(), Status> {
    let (partial_seq, partial_offset) = durable.partial.unwrap_or((0, 0));
    let message = pb::Durable { seq: durable.seq, partial_seq, partial_offset };
    answer(answers, ToAgent::Durable(message))
}

fn answer(answers: &Answers, message: ToAgent) -> Result<(), Status> {
    answers
        .blocking_send(Ok(pb::CollectorMessage { message: Some(message) }))
        .map_err(|_| Status::cancelled("the agent is gone"))
}

/// The store's refusal in the words of gRPC: which of them are worth another try is in the code.
pub fn status(error: &StoreError) -> Status {
    let text = crate::failure::chain(error);
    match error {
        StoreError::NoSpace { .. } => Status::resource_exhausted(text),
        StoreError::QuotaExceeded { .. }
        | StoreError::CaseClosed(_)
        | StoreError::CaseMissing(_) => Status::failed_precondition(text),
        StoreError::DigestMismatch { .. } | StoreError::LengthMismatch { .. } => {
            Status::data_loss(text)
        }
        StoreError::OutOfOrder { .. } | StoreError::TooLarge { .. } => {
            Status::invalid_argument(text)
        }
        StoreError::ResumeMismatch(_) => Status::failed_precondition(text),
        StoreError::TakenOver => Status::aborted(text),
        _ => {
            eprintln!("warning: {text}");
            Status::unavailable(text)
        }
    }
}
