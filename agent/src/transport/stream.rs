//! One session over as many connections as it takes: opens, sends the spool in order, drops what
//! the collector says is durable, dials again after a cut.

use super::enrol::{EnrolError, Identity, enrol};
use super::tls::{Collector, chain};
use crate::{
    frames::ResumePoint,
    spool::{Outbox as _, Spool},
};
use cleanroom_evidence::{RawBytes, SessionId, Sha256Digest};
use cleanroom_sources::sys::file::clock;
use cleanroom_wire::{
    MAX_MESSAGE_BYTES, clock_to,
    pb::{
        self, agent_message::Message as ToCollector, collector_message::Message as FromCollector,
        evidence_client::EvidenceClient,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

/// The collector answers `Open` within this.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Pauses between dials: from the first, doubled, to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A connection that lasted so long was good, also when there was nothing to send.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// How the agent presents itself when it opens a stream.
#[derive(Clone, Debug)]
pub struct Session {
    /// Kept over restarts of the agent.
    pub id: SessionId,
    /// The rest of `Open`, the same on every connection of this process.
    pub open: pb::Open,
}

/// A collector and how long to go on trying.
#[derive(Clone, Debug)]
pub struct Link {
    /// The collector.
    pub collector: Collector,
    /// Give up after so long without progress.
    pub patience: Duration,
    /// Told why it does not go on, when the reason changes.
    pub trouble: fn(&str),
}

/// What the collector said when the first stream was open.
#[derive(Debug)]
pub struct Established {
    /// The first number for new entries.
    pub first_seq: u64,
    /// Sources that an earlier process of this session has finished.
    pub finished_sources: Vec<String>,
    /// An item that an earlier process of this session left half sent.
    pub resume: Option<ResumePoint>,
}

/// Why the evidence could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No progress for as long as we were told to wait.
    #[error("no progress with the collector for {waited_seconds} s: {why}")]
    Unreachable {
        /// How long.
        waited_seconds: u64,
        /// The last reason.
        why: String,
    },
    /// The collector will not take this session, now or later.
    #[error("the collector refused: {0}")]
    Refused(String),
    /// A signal ended the run.
    #[error("stopped by a signal")]
    Stopped,
    /// The two sides do not fit.
    #[error("the collector broke the protocol: {0}")]
    Protocol(String),
}

enum Cut {
    Later(String),
    Never(TransportError),
}

impl From<tonic::Status> for Cut {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::DataLoss
            | Code::Unimplemented
            | Code::OutOfRange => Self::Never(TransportError::Refused(status.message().to_owned())),
            _ => Self::Later(chain(&status)),
        }
    }
}

/// Sends the spool until it is finished and everything is durable; gives the signed checkpoint.
pub async fn send_spool(
    link: &Link,
    identity: &Identity,
    session: &Session,
    spool: &Arc<Spool>,
    established: oneshot::Sender<Established>,
) -> Result<String, TransportError> {
    let mut established = Some(established);
    let mut retry = Retry::new(link);
    loop {
        let (before, began) = (spool.delivered(), Instant::now());
        match converse(link, identity, session, spool, &mut established).await {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(Cut::Never(error)) => return Err(error),
            Err(Cut::Later(why)) => {
                if spool.delivered() > before || began.elapsed() > GOOD_CONNECTION {
                    retry = Retry::new(link);
                }
                retry.wait(why).await?;
            }
        }
    }
}

async fn converse(
    link: &Link,
    identity: &Identity,
    session: &Session,
    spool: &Arc<Spool>,
    established: &mut Option<oneshot::Sender<Established>>,
) -> Result<String, Cut> {
    let pair = (identity.certificate_der.as_slice(), identity.key_der.as_slice());
    let channel = link.collector.dial(Some(pair)).await.map_err(Cut::Later)?;
    let (to_collector, outgoing) = mpsc::channel(2);
    let mut open = session.open.clone();
    open.clock = Some(clock_to(clock()));
    let first = pb::AgentMessage { message: Some(ToCollector::Open(open)) };
    to_collector.send(first).await.map_err(|_| Cut::Later("stream closed".into()))?;
    let mut incoming = EvidenceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .capture(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let answer = tokio::time::timeout(OPEN_LIMIT, next(&mut incoming, &to_collector))
        .await
        .map_err(|_| Cut::Later("the collector did not answer".into()))??;
    let FromCollector::Opened(answer) = answer else {
        return Err(protocol("its first message is not Opened"));
    };
    accept(answer, session, spool, established)?;
    let writer = tokio::spawn(write(Arc::clone(spool), to_collector.clone()));
    let result = read(&mut incoming, &to_collector, spool).await;
    writer.abort();
    result
}

fn protocol(what: &str) -> Cut {
    Cut::Never(TransportError::Protocol(what.to_owned()))
}

/// Takes note of what the collector already holds.
fn accept(
    answer: pb::Opened,
    session: &Session,
    spool: &Spool,
    established: &mut Option<oneshot::Sender<Established>>,
) -> Result<(), Cut> {
    let ours = answer.partial.as_ref().filter(|p| p.incarnation == session.open.incarnation);
    let (partial_seq, partial_offset) = ours.map_or((0, 0), |p| (p.seq, p.offset));
    if let Some(first_time) = established.take() {
        let resume = answer.partial.map(resume_point).transpose()?;
        // The receiver is gone only when the run has ended; then nobody needs the answer.
        let _ = first_time.send(Established {
            first_seq: answer.durable_seq + 1,
            finished_sources: answer.finished_sources,
            resume,
        });
    } else if spool.last_seq() > 0 && answer.durable_seq > spool.last_seq() {
        return Err(protocol("it holds entries of another agent in this session"));
    } else {
        spool.acknowledge(answer.durable_seq, partial_seq, partial_offset);
    }
    Ok(())
}

fn resume_point(partial: pb::Partial) -> Result<ResumePoint, Cut> {
    let sha256 = Sha256Digest::try_from(partial.sha256_so_far.as_slice())
        .map_err(|_| protocol("a digest that is none"))?;
    let name = RawBytes(partial.name);
    Ok(ResumePoint { source: partial.source, name, offset: partial.offset, sha256 })
}

async fn write(spool: Arc<Spool>, to_collector: mpsc::Sender<pb::AgentMessage>) {
    let mut cursor = spool.rewind();
    while let Some(frame) = spool.next(&mut cursor).await {
        if to_collector.send(frame.into()).await.is_err() {
            return;
        }
    }
    if spool.check().is_err() {
        // The run was broken off: it must not pass for a complete one.
        return;
    }
    let done = ToCollector::Done(pb::Done { last_seq: spool.last_seq() });
    let _ = to_collector.send(pb::AgentMessage { message: Some(done) }).await;
}

async fn read(
    incoming: &mut Streaming<pb::CollectorMessage>,
    to_collector: &mpsc::Sender<pb::AgentMessage>,
    spool: &Spool,
) -> Result<String, Cut> {
    loop {
        match next(incoming, to_collector).await? {
            FromCollector::Durable(d) => {
                spool.acknowledge(d.seq, d.partial_seq, d.partial_offset);
            }
            FromCollector::Closed(closed) => {
                spool.acknowledge(closed.durable_seq, 0, 0);
                return Ok(closed.custody_checkpoint);
            }
            FromCollector::Opened(_) => return Err(protocol("Opened a second time")),
            FromCollector::ClockProbe(_) => {}
        }
    }
}

/// The next message, with clock probes answered at once.
async fn next(
    incoming: &mut Streaming<pb::CollectorMessage>,
    to_collector: &mpsc::Sender<pb::AgentMessage>,
) -> Result<FromCollector, Cut> {
    loop {
        let message = incoming
            .message()
            .await?
            .and_then(|message| message.message)
            .ok_or_else(|| Cut::Later("the collector closed the stream".into()))?;
        let FromCollector::ClockProbe(probe) = message else {
            return Ok(message);
        };
        let reply = pb::ClockReply { nonce: probe.nonce, clock: Some(clock_to(clock())) };
        let reply = pb::AgentMessage { message: Some(ToCollector::ClockReply(reply)) };
        to_collector.send(reply).await.map_err(|_| Cut::Later("stream closed".into()))?;
    }
}

/// Enrols, trying again while the collector cannot be reached at all.
pub async fn enrol_patiently(link: &Link, token: &[u8; 32]) -> Result<Identity, TransportError> {
    let mut retry = Retry::new(link);
    loop {
        match enrol(&link.collector, token).await {
            Ok(identity) => return Ok(identity),
            Err(EnrolError::Unreachable(why)) => retry.wait(why).await?,
            Err(EnrolError::Refused(why)) => return Err(TransportError::Refused(why)),
        }
    }
}

/// Pauses between tries, longer each time, until patience ends.
struct Retry<'l> {
    link: &'l Link,
    since: Instant,
    pause: Duration,
    last_why: String,
}

impl<'l> Retry<'l> {
    fn new(link: &'l Link) -> Self {
        Self { link, since: Instant::now(), pause: PAUSE.0, last_why: String::new() }
    }

    async fn wait(&mut self, why: String) -> Result<(), TransportError> {
        let waited = self.since.elapsed();
        if waited > self.link.patience {
            return Err(TransportError::Unreachable { waited_seconds: waited.as_secs(), why });
        }
        if why != self.last_why {
            (self.link.trouble)(&why);
            self.last_why = why;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        Ok(())
    }
}
