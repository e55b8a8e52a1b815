//! The enrolment service: one answer a token. What is refused is told clearly and recorded.

use super::{Collector, listener::Peer};
use crate::enrol::{EnrolError, Grant};
use cleanroom_store::{Actor, Event};
use cleanroom_wire::pb::{self, enrollment_server::Enrollment};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
pub struct Service(pub Arc<Collector>);

#[tonic::async_trait]
impl Enrollment for Service {
    async fn enroll(
        &self,
        request: Request<pb::EnrollRequest>,
    ) -> Result<Response<pb::EnrollResponse>, Status> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address.to_string());
        let peer = peer.unwrap_or_default();
        let collector = Arc::clone(&self.0);
        let request = request.into_inner();
        tokio::task::spawn_blocking(move || enroll(&collector, &request, &peer))
            .await
            .map_err(|_| Status::internal("the enrolment ended early"))?
            .map(Response::new)
    }
}

fn enroll(
    collector: &Collector,
    request: &pb::EnrollRequest,
    peer: &str,
) -> Result<pb::EnrollResponse, Status> {
    let refused = |error: EnrolError| {
        if let EnrolError::Used(grant) | EnrolError::Expired(_, grant) = &error {
            record_refusal(collector, grant, &error.to_string(), peer);
        }
        refusal(&error)
    };
    // The case first: where it cannot take the event, the token must not be spent.
    let grant = collector.enrolment.look_up(&request.token).map_err(refused)?;
    let case = collector.cases.get(&grant.case).map_err(|e| Status::unavailable(e.to_string()))?;
    let (enrolled, certificate_der) = collector
        .enrolment
        .redeem(&collector.authority, &request.token, &request.csr_der)
        .map_err(refused)?;
    let mut event = Event::new(
        "agent.enrolled",
        Actor { who: peer.to_owned(), how: "join token".to_owned() },
        serde_json::json!({
            "token_sha256": enrolled.token_sha256,
            "token_issued_by": enrolled.token_issued_by,
            "token_issued_unix_seconds": enrolled.token_issued_unix_seconds,
            "certificate_sha256": cleanroom_evidence::Sha256Digest::of(&certificate_der),
            "not_after_unix_seconds": enrolled.not_after_unix_seconds,
        }),
    );
    event.host = Some(enrolled.host.clone());
    case.record(event).map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(pb::EnrollResponse {
        certificate_der,
        case_id: enrolled.case.to_string(),
        host_id: enrolled.host.to_string(),
        not_after_unix_seconds: enrolled.not_after_unix_seconds,
    })
}

/// A spent or old token that comes again is an alarm: it belongs in the case.
fn record_refusal(collector: &Collector, grant: &Grant, why: &str, peer: &str) {
    eprintln!(
        "warning: enrolment refused for {} of case {} from {peer}: {why}",
        grant.host, grant.case
    );
    if let Ok(case) = collector.cases.get(&grant.case) {
        let subject = serde_json::json!({"why": why, "peer": peer});
        let actor = Actor { who: peer.to_owned(), how: "join token".to_owned() };
        let mut event = Event::new("enrolment.refused", actor, subject);
        event.host = Some(grant.host.clone());
        // The refusal itself stands whether or not the log takes it.
        let _ = case.record(event);
    }
}

fn refusal(error: &EnrolError) -> Status {
    let text = error.to_string();
    match error {
        EnrolError::NotAToken(_) => Status::invalid_argument(text),
        EnrolError::Unknown | EnrolError::Used(_) | EnrolError::Expired(..) => {
            Status::unauthenticated(text)
        }
        EnrolError::Pki(_) => Status::invalid_argument(text),
        EnrolError::Io { .. } | EnrolError::Store(_) => {
            eprintln!("warning: enrolment failed: {}", crate::failure::chain(error));
            Status::unavailable("the collector cannot enrol now")
        }
    }
}
