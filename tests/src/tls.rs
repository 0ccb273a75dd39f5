//! A certificate authority for one test, made by openssl, to try clients over real TLS.
//!
//! Its private keys never leave their folder, which is gone when it is dropped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::scratch::Scratch;

/// What the server's certificate is good for.
const SERVER_EXTENSIONS: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";

/// A certificate authority and one server certificate of it, for `localhost` and `127.0.0.1`, good for two days.
#[derive(Debug)]
pub struct TestCa {
    folder: Scratch,
}

impl TestCa {
    /// Makes both.
    pub fn new() -> Result<Self> {
        let folder = Scratch::new()?;
        let ca = Self { folder };
        fs::write(ca.file("extensions"), SERVER_EXTENSIONS)?;
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        ca.openssl(
            &["req", "-x509", "-subj", "/CN=Test CA", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"],
            &key,
        )?;
        ca.openssl(&["req", "-new", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"], &key)?;
        let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        ca.openssl(&sign, &["-days", "2", "-extfile", "extensions", "-out", "server.pem"])?;
        Ok(ca)
    }

    /// The PEM file that a client has to trust.
    pub fn ca_bundle(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's side of TLS, HTTP/1.1 only.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_file(self.file("server.pem"))?;
        let key = PrivateKeyDer::from_pem_file(self.file("server.key"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, verb: &[&str], rest: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(verb).args(rest).current_dir(self.folder.path());
        let output = command.output().context("cannot run openssl; install openssl")?;
        ensure!(output.status.success(), "openssl {verb:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
