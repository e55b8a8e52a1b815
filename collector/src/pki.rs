//! The collector's own small PKI: one CA per store, a server certificate per start, short-lived
//! client certificates. Made on first use, kept under `keys/`; no key ever leaves that folder.

use cleanroom_evidence::{CaseId, HostId, Sha256Digest};
use cleanroom_wire::COLLECTOR_NAME;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
        pem::PemObject as _,
    },
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use time::{Duration, OffsetDateTime};

/// How long a client certificate holds: long enough for a capture, too short to be worth stealing.
const CLIENT_LIFETIME: Duration = Duration::hours(4);
/// The CA and the server are trusted by a pinned digest, not by dates: a suspect host's clock may
/// say anything from 1970 on, and must still be captured. In seconds since 1970: up to 2049.
const PINNED_UNTIL_UNIX_SECONDS: i64 = 2_493_072_000;
/// Clocks of hosts may be behind ours by so much.
const CLOCK_SLACK: Duration = Duration::minutes(30);

/// Why the PKI does not work.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key file cannot be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key is not usable.
    #[error("{what}: {why}")]
    Unusable {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// The collector's certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_der: CertificateDer<'static>,
    server_pem_path: PathBuf,
}

/// A client certificate that was just issued.
pub struct Issued {
    /// The certificate.
    pub der: Vec<u8>,
    /// The same as PEM.
    pub pem: String,
    /// When it ends, seconds since 1970.
    pub not_after_unix_seconds: i64,
}

impl Authority {
    /// Opens the CA under `keys`, making it on first use.
    pub fn open(keys: &Path) -> Result<Self, PkiError> {
        let (key_path, pem_path) = (keys.join("ca.key"), keys.join("ca.pem"));
        if !pem_path.exists() {
            create(&key_path, &pem_path)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| PkiError::Io {
                doing: "read",
                path: path.to_owned(),
                source,
            })
        };
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(unusable("the CA's key"))?;
        let certificate_pem = read(&pem_path)?;
        let certificate_der =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| {
                PkiError::Unusable { what: "the CA's certificate", why: error.to_string() }
            })?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)
            .map_err(unusable("the CA's certificate"))?;
        let server_pem_path = keys.join("collector.pem");
        Ok(Self { issuer, certificate_der, server_pem_path })
    }

    /// SHA-256 of the CA certificate: what an agent pins.
    pub fn pin(&self) -> Sha256Digest {
        Sha256Digest::of(&self.certificate_der)
    }

    /// TLS for the listener: a fresh server certificate, client certificates of this CA checked
    /// where one is shown (enrolment shows none).
    pub fn server_config(&self) -> Result<ServerConfig, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(unusable("the collector's key"))?;
        let mut params = CertificateParams::new(vec![COLLECTOR_NAME.to_owned()])
            .map_err(unusable("the collector's name"))?;
        params.distinguished_name = named(COLLECTOR_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = pinned_dates()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(unusable("the collector's certificate"))?;
        write_new(&self.server_pem_path, certificate.pem().as_bytes(), 0o644, true)?;
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate_der.clone()).map_err(tls)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(tls)?;
        let chain = vec![certificate.der().clone(), self.certificate_der.clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(tls)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// Issues a client certificate for one host of one case. Of the request only the public key
    /// counts.
    pub fn issue(&self, csr: &[u8], case: &CaseId, host: &HostId) -> Result<Issued, PkiError> {
        let request = CertificateSigningRequestDer::from(csr);
        let mut request = CertificateSigningRequestParams::from_der(&request)
            .map_err(unusable("the certificate signing request"))?;
        let identity = format!("spiffe://cleanroom/case/{case}/host/{host}");
        let uri = identity.as_str().try_into().map_err(unusable("the client's name"))?;
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("cleanroom agent {host}"));
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (now - CLOCK_SLACK, now + CLIENT_LIFETIME);
        let not_after_unix_seconds = params.not_after.unix_timestamp();
        request.params = params;
        let certificate =
            request.signed_by(&self.issuer).map_err(unusable("the client's certificate"))?;
        let (der, pem) = (certificate.der().to_vec(), certificate.pem());
        Ok(Issued { der, pem, not_after_unix_seconds })
    }
}

fn create(key_path: &Path, pem_path: &Path) -> Result<(), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable("a new CA key"))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Cleanroom collector CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = pinned_dates()?;
    let certificate = params.self_signed(&key).map_err(unusable("a new CA certificate"))?;
    // The certificate last: where it is, the key is whole.
    write_new(key_path, key.serialize_pem().as_bytes(), 0o600, true)?;
    write_new(pem_path, certificate.pem().as_bytes(), 0o644, false)
}

/// Writes a file whole or not at all.
fn write_new(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), PkiError> {
    let failed = |source| PkiError::Io { doing: "write", path: path.to_owned(), source };
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&fresh)
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    match replace {
        true => fs::rename(&fresh, path).map_err(failed),
        false => {
            let linked = fs::hard_link(&fresh, path);
            let _ = fs::remove_file(&fresh);
            linked.map_err(failed)
        }
    }
}

fn pinned_dates() -> Result<(OffsetDateTime, OffsetDateTime), PkiError> {
    let until = OffsetDateTime::from_unix_timestamp(PINNED_UNTIL_UNIX_SECONDS).map_err(tls)?;
    Ok((OffsetDateTime::UNIX_EPOCH, until))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn unusable(what: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |error| PkiError::Unusable { what, why: error.to_string() }
}

fn tls(error: impl std::fmt::Display) -> PkiError {
    PkiError::Unusable { what: "TLS set-up", why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ca_is_made_once_and_only_the_key_of_a_request_counts() {
        let keys = tempfile::tempdir().unwrap();
        let authority = Authority::open(keys.path()).unwrap();
        assert_eq!(authority.pin(), Authority::open(keys.path()).unwrap().pin());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(keys.path().join("ca.key")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        authority.server_config().unwrap();

        let key = KeyPair::generate().unwrap();
        let asks = CertificateParams::new(vec!["collector.cleanroom".to_owned()]).unwrap();
        let csr = asks.serialize_request(&key).unwrap();
        let (case, host) = ("c1".parse().unwrap(), "i-1".parse().unwrap());
        let issued = authority.issue(csr.der(), &case, &host).unwrap();
        let text = String::from_utf8_lossy(&issued.der);
        assert!(text.contains("spiffe://cleanroom/case/c1/host/i-1"));
        assert!(!text.contains("collector.cleanroom"), "a client is never a server");
        assert!(authority.issue(b"junk", &case, &host).is_err());
    }
}
