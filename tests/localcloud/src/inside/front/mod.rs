//! The AWS API as the cloud has it: moto's, with what is true of boxes put in.
//!
//! A request goes on to moto byte for byte, so that its signature stays good, unless moto does not look at signatures
//! and would answer something that no box can be: see [`ec2`].

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::http::{Message, read_request};
use fleetkey_tests::proxy::{classify, forward};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::fleet::Fleet;
use super::seed::BaseImage;
use super::{network, note};

mod ec2;
mod form;
mod ssm;
mod xml;

/// Where a cloud's owner, and nobody else, can ask for what EC2 has no call for.
pub(crate) const CONTROL: &str = "/fleetkey-localcloud";

/// Where moto is told to check signatures from now on.
const MOTO_ENFORCES: &str = "/moto-api/reset-auth";

/// What stands before moto.
pub(super) struct Front {
    moto: SocketAddr,
    fleet: Arc<Fleet>,
    image: BaseImage,
    /// Whether moto checks signatures: then no request can be changed on its way.
    enforces: AtomicBool,
    /// Calls that change instances come one after the other; held by them, with the answers to those with a token.
    changing: tokio::sync::Mutex<BTreeMap<String, ec2::Launch>>,
}

impl Front {
    pub(super) fn new(moto: SocketAddr, fleet: Arc<Fleet>, image: BaseImage, enforces: bool) -> Arc<Self> {
        Arc::new(Self { moto, fleet, image, enforces: enforces.into(), changing: tokio::sync::Mutex::default() })
    }

    /// Listens in the cloud's network, and on the machine's socket `outer`; returns the endpoint in the network.
    pub(super) async fn listen(self: Arc<Self>, outer: std::net::TcpListener) -> Result<String> {
        outer.set_nonblocking(true)?;
        let outer = TcpListener::from_std(outer)?;
        let inner = TcpListener::bind(network::API).await.context("cannot listen for calls")?;
        let endpoint = format!("http://{}", inner.local_addr()?);
        tokio::spawn(Arc::clone(&self).accept(inner, false));
        tokio::spawn(self.accept(outer, true));
        Ok(endpoint)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, is_owner: bool) {
        loop {
            match listener.accept().await {
                // A broken connection concerns its client alone.
                Ok((stream, _)) => drop(tokio::spawn(Arc::clone(&self).serve(stream, is_owner))),
                Err(error) => note(&format!("front: {error}")),
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, is_owner: bool) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream).await? {
            let closes = request.header("connection").is_some_and(|what| what.eq_ignore_ascii_case("close"));
            let answer = match request.target().strip_prefix(CONTROL) {
                Some(order) if is_owner => self.control(order).await,
                _ => self.answer(request).await?,
            };
            stream.write_all(&answer.bytes()).await?;
            stream.flush().await?;
            if closes {
                return stream.shutdown().await;
            }
        }
        Ok(())
    }

    async fn answer(&self, request: Message) -> io::Result<Message> {
        if request.target() == MOTO_ENFORCES {
            self.enforces.store(true, Ordering::Relaxed);
        }
        let call = classify(&request);
        let is_here = is_here(&request);
        let answer = match call.service.as_str() {
            "ec2" if is_here => self.ec2(&call.action, request).await?,
            "ssm" if is_here => self.ssm(&call.action, request).await?,
            "autoscaling" if is_here => {
                let answer = forward(request, self.moto).await?;
                self.fleet.reconcile().await;
                answer
            }
            _ => forward(request, self.moto).await?,
        };
        Ok(answer)
    }

    async fn control(&self, order: &str) -> Message {
        let words: Vec<&str> = order.trim_matches('/').split('/').collect();
        let outcome = match words[..] {
            ["boxes", id, "cut"] => self.fleet.set_cut(id, true).await,
            ["boxes", id, "restore"] => self.fleet.set_cut(id, false).await,
            _ => Err(anyhow::anyhow!("no such order: {order}")),
        };
        match outcome {
            Ok(()) => Message::response("200 OK", "text/plain", ""),
            Err(error) => Message::response("400 Bad Request", "text/plain", format!("{error:#}")),
        }
    }
}

/// Whether a request is for the one region that has boxes.
fn is_here(request: &Message) -> bool {
    request.header("authorization").is_some_and(|header| header.contains(&format!("/{}/", Cloud::REGION)))
}

/// The same answer with another body.
fn with_body(mut answer: Message, body: impl Into<Vec<u8>>) -> Message {
    answer.body = body.into();
    let length = answer.body.len().to_string();
    for (name, value) in &mut answer.headers {
        if name.eq_ignore_ascii_case("content-length") {
            value.clone_from(&length);
        }
    }
    answer
}
