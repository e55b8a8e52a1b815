//! Trades the one-time join token for a client certificate. The key never leaves the host.

use super::tls::Collector;
use cleanroom_evidence::{BadId, CaseId, HostId};
use cleanroom_wire::pb::{self, enrollment_client::EnrollmentClient};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::fmt;
use tonic::Code;

/// What the agent is to the collector: a certificate for one case and one host.
#[derive(Clone)]
pub struct Identity {
    /// The case.
    pub case: CaseId,
    /// The host.
    pub host: HostId,
    /// The client certificate (DER).
    pub certificate_der: Vec<u8>,
    /// Its private key (PKCS #8); shown nowhere.
    pub key_der: Vec<u8>,
    /// When the certificate ends, seconds since 1970.
    pub not_after_unix_seconds: i64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}/{})", self.case, self.host)
    }
}

/// Why there is no identity.
pub enum EnrolError {
    /// The token was not used: try again.
    Unreachable(String),
    /// The collector said no, or its answer is not usable; the token may be spent.
    Refused(String),
}

/// Enrols once; a token is worth one answer.
pub async fn enrol(collector: &Collector, token: &[u8; 32]) -> Result<Identity, EnrolError> {
    let unfit = |error: rcgen::Error| EnrolError::Refused(error.to_string());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unfit)?;
    let csr = CertificateParams::default().serialize_request(&key).map_err(unfit)?;
    let channel = collector.dial(None).await.map_err(EnrolError::Unreachable)?;
    let request = pb::EnrollRequest { token: token.to_vec(), csr_der: csr.der().to_vec() };
    let answer = EnrollmentClient::new(channel)
        .enroll(request)
        .await
        .map_err(|status| match status.code() {
            // The collector promises that the token is not spent then.
            Code::Unavailable => EnrolError::Unreachable(status.message().to_owned()),
            _ => EnrolError::Refused(status.message().to_owned()),
        })?
        .into_inner();
    let strange = |error: BadId| EnrolError::Refused(format!("its answer: {error}"));
    Ok(Identity {
        case: answer.case_id.parse().map_err(strange)?,
        host: answer.host_id.parse().map_err(strange)?,
        certificate_der: answer.certificate_der,
        key_der: key.serialize_der(),
        not_after_unix_seconds: answer.not_after_unix_seconds,
    })
}
