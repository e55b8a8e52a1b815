//! The evidence service: one stream is one connection of one session. This layer checks who
//! speaks, measures the clocks and turns messages into frames; the intake stores them.

use super::{
    Collector, Progress,
    intake::{Input, intake},
    listener::Peer,
};
use crate::enrol::Enrolled;
use cleanroom_evidence::{Clock, ClockOffset, SessionId, Sha256Digest};
use cleanroom_store::{SessionOpen, Tool};
use cleanroom_wire::{
    Frame, clock_from,
    pb::{
        self, agent_message::Message as FromAgent, collector_message::Message as ToAgent,
        evidence_server::Evidence,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// The agent opens and answers the clock probe within this.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Frames that wait for the disk: with the largest chunks 4 MiB.
const FRAMES_WAITING: usize = 16;

/// The service.
pub struct Service {
    /// What the services share.
    pub collector: Arc<Collector>,
    /// Ends the streams when the server stops.
    pub stop: CancellationToken,
    /// A place for each stream.
    pub places: Arc<Semaphore>,
}

type Answers = mpsc::Sender<Result<pb::CollectorMessage, Status>>;

#[tonic::async_trait]
impl Evidence for Service {
    type CaptureStream = ReceiverStream<Result<pb::CollectorMessage, Status>>;

    async fn capture(
        &self,
        request: Request<Streaming<pb::AgentMessage>>,
    ) -> Result<Response<Self::CaptureStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("no peer"))?;
        let enrolled = identify(&self.collector, &peer)?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Status::unavailable("all places are taken: try again later"))?;
        let (answers, stream) = mpsc::channel(16);
        let (collector, stop) = (Arc::clone(&self.collector), self.stop.clone());
        let messages = request.into_inner();
        tokio::spawn(async move {
            let conversation = converse(&collector, &enrolled, &peer, messages, &answers);
            let ended = tokio::select! {
                ended = conversation => ended,
                () = stop.cancelled() => Err(Status::unavailable("the collector is stopping")),
            };
            if let Err(status) = ended {
                // The agent may be gone already; then nobody needs the reason.
                let _ = answers.send(Err(status)).await;
            }
            drop(place);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn identify(collector: &Collector, peer: &Peer) -> Result<Enrolled, Status> {
    let Some(certificate) = peer.certificate else {
        return Err(Status::unauthenticated("show the client certificate that enrolment gave"));
    };
    match collector.enrolment.identify(&certificate) {
        Ok(Some(enrolled)) => Ok(enrolled),
        Ok(None) => Err(Status::unauthenticated(
            "this client certificate is not one that this collector issued, or it has ended",
        )),
        Err(error) => {
            eprintln!("warning: {}", crate::failure::chain(&error));
            Err(Status::unavailable("the collector cannot read its enrolments now"))
        }
    }
}

async fn converse(
    collector: &Arc<Collector>,
    enrolled: &Enrolled,
    peer: &Peer,
    mut messages: Streaming<pb::AgentMessage>,
    answers: &Answers,
) -> Result<(), Status> {
    let opening = async {
        let open = match next(&mut messages).await? {
            Some(FromAgent::Open(open)) => open,
            _ => return Err(Status::invalid_argument("the first message must be Open")),
        };
        let offset = measure(&mut messages, answers).await?;
        Ok((open, offset))
    };
    let (open, offset) = timeout(OPEN_LIMIT, opening)
        .await
        .map_err(|_| Status::deadline_exceeded("Open did not come in time"))??;
    let open = session_open(open, enrolled, peer)?;
    (collector.progress)(Progress::Connected { host: enrolled.host.clone() });
    let (frames, waiting) = mpsc::channel(FRAMES_WAITING);
    let (shared, case, to_agent) = (Arc::clone(collector), enrolled.case.clone(), answers.clone());
    let mut storing = tokio::task::spawn_blocking(move || {
        intake(&shared, &case, open, offset, waiting, &to_agent)
    });
    let ended = |_| Status::internal("the intake ended early");
    // Both at once: an intake that fails must be heard while the agent waits for an answer.
    tokio::select! {
        stored = &mut storing => stored.map_err(ended)?,
        fed = feed(&mut messages, frames) => {
            // The intake's reason is the cause where both failed.
            storing.await.map_err(ended)??;
            fed
        }
    }
}

/// Hands frames over in order until the stream ends or the intake stops taking them.
async fn feed(
    messages: &mut Streaming<pb::AgentMessage>,
    frames: mpsc::Sender<Input>,
) -> Result<(), Status> {
    loop {
        let input = match next(messages).await? {
            None => return Ok(()),
            Some(FromAgent::Done(done)) => Input::Done { last_seq: done.last_seq },
            Some(FromAgent::ClockReply(_)) => continue,
            Some(message) => Input::Frame(
                Frame::try_from(message)
                    .map_err(|error| Status::invalid_argument(error.to_string()))?,
            ),
        };
        let last = matches!(input, Input::Done { .. });
        if frames.send(input).await.is_err() || last {
            return Ok(());
        }
    }
}

async fn next(messages: &mut Streaming<pb::AgentMessage>) -> Result<Option<FromAgent>, Status> {
    match messages.message().await? {
        None => Ok(None),
        Some(pb::AgentMessage { message: Some(message) }) => Ok(Some(message)),
        Some(_) => Err(Status::invalid_argument("a message without content")),
    }
}

/// One exchange of clocks. The host can lie about its own; the round trip is ours.
async fn measure(
    messages: &mut Streaming<pb::AgentMessage>,
    answers: &Answers,
) -> Result<ClockOffset, Status> {
    let sent = now();
    let nonce = sent.boottime_ns;
    send(answers, ToAgent::ClockProbe(pb::ClockProbe { nonce })).await?;
    let Some(FromAgent::ClockReply(reply)) = next(messages).await? else {
        return Err(Status::invalid_argument("the second message must be ClockReply"));
    };
    let (received, host) = (now(), clock_from(reply.clock));
    let host = host.map_err(|error| Status::invalid_argument(error.to_string()))?;
    if reply.nonce != nonce {
        return Err(Status::invalid_argument("ClockReply to a probe that was not sent"));
    }
    let round_trip_ns = received.boottime_ns.saturating_sub(sent.boottime_ns);
    let middle = sent.utc.unix_nanoseconds() + i128::from(round_trip_ns / 2);
    let difference = host.utc.unix_nanoseconds() - middle;
    let bounded = difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    Ok(ClockOffset { host_minus_collector_ns: bounded as i64, round_trip_ns })
}

fn now() -> Clock {
    cleanroom_store::clock_now()
}

async fn send(answers: &Answers, message: ToAgent) -> Result<(), Status> {
    answers
        .send(Ok(pb::CollectorMessage { message: Some(message) }))
        .await
        .map_err(|_| Status::cancelled("the agent is gone"))
}

fn session_open(open: pb::Open, enrolled: &Enrolled, peer: &Peer) -> Result<SessionOpen, Status> {
    let certificate = peer.certificate.map(|c| c.to_string()).unwrap_or_default();
    let via = format!("{} with certificate sha256:{certificate}", peer.address);
    session_of(open, enrolled.host.clone(), via)
        .map_err(|what| Status::invalid_argument(format!("Open: {what}")))
}

/// The store's view of `Open`; host facts are bounded and labelled as the host's own words.
pub fn session_of(
    open: pb::Open,
    host: cleanroom_evidence::HostId,
    peer: String,
) -> Result<SessionOpen, String> {
    let session: SessionId = open.session_id.parse().map_err(|e| format!("{e}"))?;
    let sha256 = match open.agent_sha256.is_empty() {
        true => Sha256Digest::from_bytes([0; 32]),
        false => Sha256Digest::try_from(open.agent_sha256.as_slice()).map_err(|e| e.to_string())?,
    };
    let texts = [&open.incarnation, &open.agent_version, &open.boot_id, &open.host_name];
    if texts.iter().any(|t| t.len() > 256) || open.profile.len() > 256 || open.root.len() > 4096 {
        return Err("a text is too long".into());
    }
    if open.command_line.len() > 64 * 1024 {
        return Err("the command line is too long".into());
    }
    let clock = clock_from(open.clock).map_err(|error| error.to_string())?;
    let arguments = open.command_line.split(|&b| b == 0).map(cleanroom_evidence::escape);
    let facts = serde_json::json!({
        "host_name": open.host_name,
        "boot_id": open.boot_id,
        "clock": clock,
        "profile": open.profile,
        "root": open.root,
        "command_line": arguments.collect::<Vec<_>>(),
    });
    let host_facts = match facts {
        serde_json::Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    let agent = Tool { name: "cleanroom-agent".into(), version: open.agent_version, sha256 };
    Ok(SessionOpen { host, session, incarnation: open.incarnation, agent, host_facts, peer })
}
