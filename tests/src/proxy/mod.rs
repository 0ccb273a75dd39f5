//! A proxy between a program and the AWS API: it counts the calls, and spoils the answers when told to.
//!
//! It forwards requests as they are, so that signatures stay good, and never makes an answer up unless told to.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::http::{Message, read_request, read_response};
use crate::server::Server;
use crate::tls::TestCa;

mod call;
mod fault;
mod memory;

pub use call::{Call, classify, count};
pub use fault::Fault;
use memory::Memory;

/// What the proxy was told to do.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// By `*`, service, `service:Action`, or `service:Action region`; the narrowest counts.
    faults: BTreeMap<String, Fault>,
    /// By `service:Action`: what is answered in place of the server's own answer.
    answers: BTreeMap<String, (u16, String)>,
    /// Who answers in place of the server, if he wants to.
    player: Option<Player>,
    /// Whether there is no listener, so that connections are refused.
    refusing: bool,
    /// Whether a call that was answered before is answered the same again.
    remembering: bool,
}

type Play = dyn Fn(&Call) -> Option<(u16, String)> + Send + Sync;

#[derive(Clone)]
struct Player(Arc<Play>);

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Player")
    }
}

impl Rules {
    fn answer_for(&self, call: &Call) -> Option<Message> {
        let played = || self.player.as_ref().and_then(|Player(play)| play(call));
        let told = self.answers.get(&format!("{}:{}", call.service, call.action)).cloned();
        let (status, body) = told.or_else(played)?;
        Some(Message::response(&format!("{status} Proxy"), "text/xml", body))
    }

    fn fault_for(&self, call: &Call) -> Option<Fault> {
        let narrow = format!("{}:{}", call.service, call.action);
        let narrowest = format!("{narrow} {}", call.region);
        [&narrowest, narrow.as_str(), &call.service, "*"].into_iter().find_map(|of| self.faults.get(of)).copied()
    }
}

/// A running proxy, gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    // Dropped first: its tasks use the other ends of the channels.
    server: Server,
    scheme: &'static str,
    rules: watch::Sender<Rules>,
    calls: mpsc::Receiver<Call>,
    held: watch::Receiver<Vec<String>>,
}

impl Proxy {
    /// A proxy to the plain HTTP server at `upstream`, on a free loopback port.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_with(upstream, None)
    }

    /// The same behind TLS, with a certificate for `localhost` by `ca`.
    pub fn start_tls(upstream: SocketAddr, ca: &TestCa) -> Result<Self> {
        Self::start_with(upstream, Some(ca.acceptor()?))
    }

    fn start_with(upstream: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self> {
        let (rules, told) = watch::channel(Rules::default());
        let (report, calls) = mpsc::channel();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (arrived, held) = watch::channel(Vec::new());
        let line = Line { upstream, tls, rules: told, report, held: arrived, memory: Memory::default() };
        let server =
            Server::start("aws-proxy", move |listener| accept(listener, line)).context("cannot start a proxy")?;
        Ok(Self { server, scheme, rules, calls, held })
    }

    /// The endpoint to give to an AWS client: `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn endpoint(&self) -> String {
        let address = self.server.address();
        match self.scheme {
            "https" => format!("https://localhost:{}", address.port()),
            _ => format!("http://{address}"),
        }
    }

    /// From now on, spoils every call to `target`: `*`, a service by its signing name (`s3`, `iam`, `ec2`, `sns`,
    /// `sqs`), one action of it (`s3:GetObject`), or that in one region (`ec2:DescribeKeyPairs eu-west-1`). The narrowest
    /// rule counts.
    pub fn spoil(&self, target: &str, fault: Fault) {
        self.rules.send_modify(|rules| {
            rules.faults.insert(target.to_owned(), fault);
        });
    }

    /// From now on, calls to `target` are no longer spoiled; those that hang are cut.
    pub fn mend(&self, target: &str) {
        self.rules.send_modify(|rules| {
            rules.faults.remove(target);
        });
    }

    /// From now on, answers every call to `target`, such as `ec2:GetConsoleOutput`, with this status and XML: for what
    /// the moto server does not have.
    pub fn answer(&self, target: &str, status: u16, body: &str) {
        self.rules.send_modify(|rules| {
            rules.answers.insert(target.to_owned(), (status, body.to_owned()));
        });
    }

    /// From now on, this answers the calls to which it has an answer, with a status and XML: for a part of AWS that the
    /// moto server does not play as AWS does.
    pub fn play(&self, player: impl Fn(&Call) -> Option<(u16, String)> + Send + Sync + 'static) {
        self.rules.send_modify(|rules| rules.player = Some(Player(Arc::new(player))));
    }

    /// From now on, the server is asked each thing once, and its answer is given again to whoever asks the same.
    pub fn remember(&self) {
        self.rules.send_modify(|rules| rules.remembering = true);
    }

    /// From now on, no connection is taken, and those that are open are cut.
    pub fn refuse(&self) {
        self.rules.send_modify(|rules| rules.refusing = true);
    }

    /// From now on, everything is forwarded again; calls that hang are cut.
    pub fn heal(&self) {
        self.rules.send_modify(|rules| *rules = Rules::default());
    }

    /// The calls that were ever left hanging, as `service:Action`: each from the moment on at which it arrived.
    pub fn held(&self) -> Vec<String> {
        self.held.borrow().clone()
    }

    /// The calls that ended since this was last asked, in that order.
    pub fn take_calls(&self) -> Vec<Call> {
        self.calls.try_iter().collect()
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Line {
    upstream: SocketAddr,
    tls: Option<TlsAcceptor>,
    rules: watch::Receiver<Rules>,
    report: mpsc::Sender<Call>,
    held: watch::Sender<Vec<String>>,
    memory: Memory,
}

impl Line {
    /// The server's answer, or that of the last time.
    async fn ask(&self, request: Message, call: &Call) -> io::Result<Message> {
        let remembering = self.rules.borrow().remembering;
        if remembering {
            self.memory.answer(&call.service, request, self.upstream).await
        } else {
            forward(request, self.upstream).await
        }
    }
}

/// How many connections wait to be taken.
const BACKLOG: u32 = 1024;

/// The port of a proxy.
enum Port {
    Open(TcpListener),
    /// Nobody listens, and nobody else gets the port.
    Closed(TcpSocket),
}

impl Port {
    fn opened_or_closed(self, address: SocketAddr, closed: bool) -> io::Result<Self> {
        match self {
            Self::Open(listener) if closed => {
                drop(listener);
                let socket = TcpSocket::new_v4()?;
                // The connections that were open have not all ended yet.
                socket.set_reuseaddr(true)?;
                socket.bind(address)?;
                Ok(Self::Closed(socket))
            }
            Self::Closed(socket) if !closed => Ok(Self::Open(socket.listen(BACKLOG)?)),
            as_it_is => Ok(as_it_is),
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Open(listener) => listener.accept().await,
            Self::Closed(_) => std::future::pending().await,
        }
    }
}

/// Takes connections, except while told to refuse them.
async fn accept(listener: std::net::TcpListener, mut line: Line) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut port = Port::Open(TcpListener::from_std(listener)?);
    loop {
        let refusing = line.rules.borrow_and_update().refusing;
        port = port.opened_or_closed(address, refusing)?;
        tokio::select! {
            told = line.rules.changed() => {
                if told.is_err() {
                    return Ok(());
                }
            }
            accepted = port.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(connected(stream, line.clone()));
            }
        }
    }
}

/// Serves one connection to its end; a broken one concerns nobody else.
async fn connected(stream: TcpStream, line: Line) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut rules = line.rules.clone();
    let serving = async {
        match &line.tls {
            None => serve(stream, &line).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => serve(stream, &line).await,
                Err(error) => Err(error),
            },
        }
    };
    tokio::select! {
        // The client sees the connection close, and its own error is the one that a test looks at.
        _ = serving => {}
        _ = rules.wait_for(|rules| rules.refusing) => {}
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, line: &Line) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let start = Instant::now();
        let mut call = call::classify(&request);
        let fault = line.rules.borrow().fault_for(&call);
        let answer = answer(request, &call, fault, line).await;
        call.took = start.elapsed();
        call.status = answer.as_ref().ok().and_then(|answer| answer.status);
        let _ = line.report.send(call);
        let answer = answer?;
        stream.write_all(&answer.bytes).await?;
        stream.flush().await?;
        if answer.close {
            stream.shutdown().await?;
            return Ok(());
        }
    }
    Ok(())
}

/// What goes back to the client.
struct Answer {
    status: Option<u16>,
    bytes: Vec<u8>,
    close: bool,
}

async fn answer(request: Message, call: &Call, fault: Option<Fault>, line: &Line) -> io::Result<Answer> {
    let whole = |message: Message| Answer { status: message.status(), bytes: message.bytes(), close: false };
    // Whoever plays does not hear of a call that is spoiled.
    let told = fault.is_none().then(|| line.rules.borrow().answer_for(call)).flatten();
    match fault {
        None => Ok(whole(match told {
            Some(message) => message,
            None => line.ask(request, call).await?,
        })),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(whole(forward(request, line.upstream).await?))
        }
        Some(Fault::Throttle) => Ok(whole(fault::throttled(&call.service))),
        Some(Fault::Refuse(code, message)) => Ok(whole(fault::refused(&call.service, code, message))),
        Some(Fault::ServerError) => Ok(whole(fault::server_error(&call.service))),
        Some(Fault::Garbage) => Ok(whole(fault::garbage())),
        Some(Fault::HalfBody) => {
            let message = forward(request, line.upstream).await?;
            let mut bytes = message.head();
            bytes.extend_from_slice(&message.body[..message.body.len() / 2]);
            if message.body.is_empty() {
                bytes.truncate(bytes.len() / 2);
            }
            Ok(Answer { status: message.status(), bytes, close: true })
        }
        Some(Fault::Close) => Ok(Answer { status: None, bytes: Vec::new(), close: true }),
        Some(Fault::Hang) => {
            // Until another rule holds for this call; then the connection is cut, as by a server that restarts.
            let healed = |rules: &Rules| rules.fault_for(call) != Some(Fault::Hang);
            line.held.send_modify(|held| held.push(format!("{}:{}", call.service, call.action)));
            let _ = line.rules.clone().wait_for(healed).await;
            Ok(Answer { status: None, bytes: Vec::new(), close: true })
        }
    }
}

/// Sends one request on over one connection of its own: the moto server closes after each answer anyway.
pub async fn forward(mut request: Message, upstream: SocketAddr) -> io::Result<Message> {
    let method = request.method().to_owned();
    request.for_connection("close");
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(&request.bytes()).await?;
    let mut response = read_response(&mut stream, &method).await?;
    response.for_connection("keep-alive");
    Ok(response)
}
