//! Which certificate authorities the agent trusts: the system's, or those of one file in their place.
//!
//! It must never look at `SSL_CERT_FILE` or `SSL_CERT_DIR`, as the loader of rustls does: whoever sets them could then
//! stand in for AWS.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use thiserror::Error;

/// Where systems keep all their certificate authorities in one PEM file; the first that is there is taken.
const SYSTEM_BUNDLES: [&str; 5] = [
    // Debian, Ubuntu, Arch, Gentoo.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL 7 and later, Amazon Linux.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE, SLES.
    "/etc/ssl/ca-bundle.pem",
    // Alpine.
    "/etc/ssl/cert.pem",
];

/// The largest bundle that is read, in bytes; Mozilla's has a quarter of a megabyte.
const MAX_BUNDLE: u64 = 4 * 1024 * 1024;

/// Why there are no certificates to trust.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The bundle cannot be read.
    #[error("cannot read the certificates in {}", path.display())]
    Read {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The bundle is larger than any.
    #[error("{} has more than {MAX_BUNDLE} bytes; give a file of PEM certificates", .0.display())]
    Size(PathBuf),
    /// The bundle is not PEM, or is damaged.
    #[error("{} is damaged; it should hold PEM certificates", path.display())]
    Pem {
        /// The bundle.
        path: PathBuf,
        /// Where it breaks.
        source: pem::Error,
    },
    /// A certificate in a bundle that was given is none.
    #[error("certificate {number} in {} cannot be used", path.display())]
    Certificate {
        /// The bundle.
        path: PathBuf,
        /// Which, counted from 1.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// The bundle that was given is empty.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The system has no bundle in any known place.
    #[error("no certificate authorities found on this system; install ca-certificates, or name a file as ca_bundle")]
    NoSystemBundle,
}

/// The certificates to trust: those of this file, or the system's. With `plain_http`, that nothing is found on the system
/// is no error: it is not needed.
pub(super) async fn certificates_of(
    bundle: Option<PathBuf>,
    plain_http: bool,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let load = move || match bundle {
        Some(path) => certificates(&path, true),
        None => match system_certificates() {
            Err(TrustError::NoSystemBundle) if plain_http => Ok(Vec::new()),
            found => found,
        },
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.unwrap_or_else(|stopped| Err(TrustError::Read { path: PathBuf::new(), source: io::Error::other(stopped) }))
}

/// What TLS goes by: these certificates and no others.
pub(super) fn tls_context(certificates: &[CertificateDer<'_>]) -> Result<TlsContext, TrustError> {
    let mut store = TrustStore::empty();
    if !certificates.is_empty() {
        store.add_pem_certificate(to_pem(certificates));
    }
    // Building a context with a trust store and nothing else cannot fail; the default would trust native roots.
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|source| TrustError::Read { path: PathBuf::new(), source: io::Error::other(source) })
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>, TrustError> {
    for path in SYSTEM_BUNDLES.map(Path::new) {
        match certificates(path, false) {
            Err(TrustError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(TrustError::Empty(_)) => {}
            found => return found,
        }
    }
    Err(TrustError::NoSystemBundle)
}

/// The certificates of a bundle that TLS can use. The HTTP client ends the program over one that it cannot, so they
/// are tried here. With `strict`, one that cannot be used is an error; else it is left out, as on every system.
fn certificates(path: &Path, strict: bool) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let mut usable = Vec::new();
    let mut roots = RootCertStore::empty();
    for (at, certificate) in CertificateDer::pem_slice_iter(&read(path)?).enumerate() {
        let certificate = certificate.map_err(|source| TrustError::Pem { path: path.to_owned(), source })?;
        match roots.add(certificate.clone()) {
            Ok(()) => usable.push(certificate),
            Err(source) if strict => {
                return Err(TrustError::Certificate { path: path.to_owned(), number: at + 1, source });
            }
            Err(error) => tracing::debug!(path = %path.display(), number = at + 1, %error, "certificate left out"),
        }
    }
    if usable.is_empty() { Err(TrustError::Empty(path.to_owned())) } else { Ok(usable) }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let failed = |source| TrustError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BUNDLE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BUNDLE {
        return Err(TrustError::Size(path.to_owned()));
    }
    Ok(bytes)
}

/// PEM (RFC 7468), the one form that the HTTP client takes.
fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        let base64 = STANDARD.encode(certificate);
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for start in (0..base64.len()).step_by(64) {
            text.push_str(&base64[start..base64.len().min(start + 64)]);
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_is_not_one_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(matches!(certificates(&path, true), Err(TrustError::Read { .. })));
        std::fs::write(&path, "no certificate\n").unwrap();
        assert!(matches!(certificates(&path, true), Err(TrustError::Empty(_))));
        std::fs::write(&path, to_pem(&[CertificateDer::from(vec![1, 2, 3])])).unwrap();
        let error = certificates(&path, true).unwrap_err();
        assert!(error.to_string().contains("certificate 1 in "), "{error}");
    }

    #[test]
    fn what_was_read_is_written_back_so_that_it_reads_the_same() {
        let given = [CertificateDer::from(vec![7; 100]), CertificateDer::from(vec![9; 48])];
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(to_pem(&given).as_bytes()).collect();
        assert_eq!(read.unwrap(), given);
    }
}
