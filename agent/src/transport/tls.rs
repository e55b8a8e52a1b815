//! TLS to the collector. Trust is one digest: the SHA-256 of the collector's CA certificate, which
//! came with the launch command. No system store, no name look-up.

use cleanroom_evidence::Sha256Digest;
use cleanroom_wire::COLLECTOR_NAME;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// A connection attempt ends after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where the collector is and how to know it.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Its address.
    pub address: SocketAddr,
    /// SHA-256 of its CA certificate (DER).
    pub ca_pin: Sha256Digest,
}

/// Parses `IP:PORT`, with or without `https://`. Names are refused: a static binary on a suspect
/// host must not ask that host's resolver.
pub fn collector_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    bare.parse().map_err(|_| {
        format!("{text:?} is not IP:PORT, e.g. 10.0.0.5:7443 or [fd00::5]:7443 (names are not resolved on a suspect host)")
    })
}

/// Accepts exactly the chains that end in the pinned CA.
#[derive(Debug)]
struct PinnedCa {
    pin: Sha256Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates
            .iter()
            .find(|certificate| Sha256Digest::of(certificate) == self.pin)
            .ok_or_else(|| Error::General("the collector's CA is not the pinned one".into()))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Collector {
    /// Dials once. `identity`: the client certificate and its key (PKCS #8), for all but enrolment.
    pub async fn dial(&self, identity: Option<(&[u8], &[u8])>) -> Result<Channel, String> {
        let connector = TlsConnector::from(Arc::new(self.config(identity)?));
        let address = self.address;
        let connect = move |_: tonic::codegen::http::Uri| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::try_from(COLLECTOR_NAME).map_err(io::Error::other)?;
                connector.connect(name, tcp).await.map(TokioIo::new)
            }
        };
        // The scheme only labels requests: the connector above always speaks TLS.
        Endpoint::from_static("http://collector.cleanroom")
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(512 * 1024)
            .connect_with_connector(tower::service_fn(connect))
            .await
            .map_err(|error| format!("cannot reach the collector at {address}: {}", chain(&error)))
    }

    fn config(&self, identity: Option<(&[u8], &[u8])>) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = PinnedCa { pin: self.ca_pin, provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from(certificate.to_vec())],
                    PrivateKeyDer::try_from(key.to_vec())?,
                )
                .map_err(|error| error.to_string())?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// An error with all that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_only() {
        assert!(collector_address("https://10.0.0.5:7443/").is_ok());
        assert!(collector_address("[fd00::5]:7443").is_ok());
        for bad in ["collector.example:7443", "10.0.0.5", ""] {
            assert!(collector_address(bad).unwrap_err().contains("IP:PORT"), "{bad}");
        }
    }
}
