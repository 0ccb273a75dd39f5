//! A short text from the web, for an operator: with the certificates of the system, and through no proxy.

use std::time::Duration;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorSettings};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::error::display::DisplayErrorContext;
use thiserror::Error;

use super::trust::{self, TrustError};
use super::{CONNECT_TIMEOUT, READ_TIMEOUT};

/// How long all of it may take.
const TIMEOUT: Duration = READ_TIMEOUT;

/// The status of an answer that is the text asked for.
const OK: u16 = 200;

/// Why there is no text.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Not a URL that can be fetched.
    #[error("it is not the URL of a web page; give one that begins with https:// or http://")]
    Url,
    /// The certificates to trust are not to be had.
    #[error("cannot set up TLS")]
    Trust(#[from] TrustError),
    /// Nobody answered.
    #[error("there is no answer: {}", DisplayErrorContext(.0))]
    Unanswered(#[source] ConnectorError),
    /// Nobody answered in time.
    #[error("there is no answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// It was answered otherwise.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The text broke off, is none, or is too long.
    #[error("the answer is not a short text")]
    Text,
}

/// Fetches the text at a URL. One with more bytes than `limit` is an error.
///
/// # Errors
/// When there is no such text to be had.
pub async fn fetch(url: &str, limit: usize) -> Result<String, FetchError> {
    tokio::time::timeout(TIMEOUT, fetch_without_limit_of_time(url, limit)).await.unwrap_or(Err(FetchError::Late))
}

async fn fetch_without_limit_of_time(url: &str, limit: usize) -> Result<String, FetchError> {
    let plain_http = url.starts_with("http://");
    if !plain_http && !url.starts_with("https://") {
        return Err(FetchError::Url);
    }
    let request = HttpRequest::get(url).map_err(|_| FetchError::Url)?;
    let certificates = trust::certificates_of(None, plain_http).await?;
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build();
    let connector = Connector::builder()
        .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(trust::tls_context(&certificates)?)
        .connector_settings(settings)
        .sleep_impl(TokioSleep::new())
        .build();
    let answer = connector.call(request).await.map_err(FetchError::Unanswered)?;
    if answer.status().as_u16() != OK {
        return Err(FetchError::Status(answer.status().as_u16()));
    }
    let (mut body, mut bytes) = (ByteStream::new(answer.into_body()), Vec::new());
    while let Some(chunk) = body.try_next().await.map_err(|_| FetchError::Text)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > limit {
            return Err(FetchError::Text);
        }
    }
    String::from_utf8(bytes).map_err(|_| FetchError::Text)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of one answer of a server on this machine.
    async fn fetched(answer: &'static str) -> Result<String, String> {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", server.local_addr().unwrap());
        let serve = async {
            let (mut connection, _) = server.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = connection.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            connection.write_all(answer.as_bytes()).await.unwrap();
        };
        let (fetched, ()) = tokio::join!(fetch(&url, 16), serve);
        fetched.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_short_text_is_fetched_and_nothing_else() {
        assert_eq!(fetched("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await.unwrap(), "hello");
        for (answer, error) in [
            ("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "the answer has status 302"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n01234567890123456", "the answer is not a short text"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", "the answer is not a short text"),
        ] {
            assert_eq!(fetched(answer).await.unwrap_err(), error);
        }
        for url in ["", "ftp://127.0.0.1/", "127.0.0.1", "https://a b/"] {
            assert!(matches!(fetch(url, 16).await, Err(FetchError::Url)), "{url}");
        }
    }

    #[tokio::test]
    async fn that_nobody_answers_is_told() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = fetch(&format!("http://127.0.0.1:{port}/"), 16).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
