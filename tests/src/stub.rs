//! A server that answers what a test tells it to, for what no real part can be brought to say: pages, which moto does
//! not have, lies, and answers that are empty or no answer at all.
//!
//! Where the moto server, the proxy or the metadata service of this harness will do, it has no place.

use std::fmt;
use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::http::{Message, read_request};
use crate::server::Server;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Message);

impl Request {
    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.0.method()
    }

    /// Path and query, as sent.
    pub fn target(&self) -> &str {
        self.0.target()
    }

    /// The first header field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    /// The body; bytes that are not UTF-8 are shown as U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.body).into_owned()
    }

    /// The value of a field of a form in the body, else of the query, as sent.
    pub fn field(&self, name: &str) -> Option<String> {
        let body = self.text();
        let (_, query) = self.target().split_once('?').unwrap_or_default();
        let mut pairs = body.split('&').chain(query.split('&'));
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(Message);

impl Answer {
    /// A status, and a body of this content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self(Message::response(&format!("{status} Stub"), content_type, body))
    }

    /// The same with one header field more.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.0.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Script = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// A running server, gone when dropped.
pub struct Stub {
    server: Server,
    requests: mpsc::UnboundedReceiver<Request>,
}

impl Stub {
    /// A server on a free loopback port that answers by this function.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let (report, requests) = mpsc::unbounded_channel();
        let script: Script = Arc::new(answer);
        let serve = move |listener| accept(listener, script, report);
        let server = Server::start("stub", serve).context("cannot start a stub")?;
        Ok(Self { server, requests })
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// The endpoint to give to a client.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The first request that was not looked at yet, as soon as there is one.
    ///
    /// # Errors
    /// When the server has ended.
    pub async fn next_request(&mut self) -> Result<Request> {
        self.requests.recv().await.context("the stub has ended")
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub").field("server", &self.server).finish_non_exhaustive()
    }
}

async fn accept(
    listener: std::net::TcpListener,
    script: Script,
    report: mpsc::UnboundedSender<Request>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A broken connection concerns its client alone.
        tokio::spawn(serve(stream, Arc::clone(&script), report.clone()));
    }
}

async fn serve(stream: TcpStream, script: Script, report: mpsc::UnboundedSender<Request>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(message) = read_request(&mut stream).await? {
        let request = Request(message);
        let Answer(answer) = script(&request);
        // Nobody may look at the requests any more.
        let _ = report.send(request);
        stream.write_all(&answer.bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}
