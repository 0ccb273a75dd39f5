//! The HTTP client of all of the agent's clients, and the connections in it: kept for as long as the same certificate
//! authorities are trusted, and made anew as soon as a bundle holds others.
//!
//! What it is made of, the certificates of the whole system above all, is a hundred times what a request needs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_http_client::tls::{self, TlsContext, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpClient as _, SharedHttpClient, http_client_fn};
use sha2::{Digest as _, Sha256};

use super::trust::{self, TrustError};
use super::{IDLE_CONNECTIONS, IDLE_TIMEOUT};

/// The HTTP client that was last made, if there is one. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    /// SHA-256 of all certificates that are trusted.
    trusted: [u8; 32],
    client: SharedHttpClient,
}

impl Connections {
    /// The HTTP client that trusts what the bundle, or the system, has now: the bundle is read at every call.
    pub(super) async fn trusting(
        &self,
        bundle: Option<PathBuf>,
        plain_http: bool,
    ) -> Result<SharedHttpClient, TrustError> {
        let certificates = trust::certificates_of(bundle, plain_http).await?;
        let digest = certificates.iter().fold(Sha256::new(), |digest, certificate| {
            digest.chain_update(certificate.len().to_be_bytes()).chain_update(certificate)
        });
        let trusted = digest.finalize().into();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.trusted == trusted) {
            return Ok(kept.client.clone());
        }
        let client = http_client(trust::tls_context(&certificates)?);
        *kept = Some(Kept { trusted, client: client.clone() });
        Ok(client)
    }
}

/// One pool of connections for all clients that share timeouts. It goes through no proxy.
fn http_client(context: TlsContext) -> SharedHttpClient {
    let client = aws_smithy_http_client::Builder::new()
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https();
    // On its own it sets TLS up once more for each service, only to see that it can: `trust` has seen to that.
    http_client_fn(move |settings, components| client.http_connector(settings, components))
}
