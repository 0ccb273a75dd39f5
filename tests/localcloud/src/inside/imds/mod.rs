//! The instance metadata service, version 2 only: each box sees its own and nobody else's.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
//!
//! Who asks is told by the address that the question comes from, which the router vouches for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use fleetkey_tests::http::{Message, read_request};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::fleet::{Fleet, Record};
use super::{network, note};

mod tree;

/// The header that carries a token.
const TOKEN: &str = "x-aws-ec2-metadata-token";

/// The header that says for how many seconds one is wanted.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// Where role credentials are.
const CREDENTIALS: &str = "meta-data/iam/security-credentials/";

struct Service {
    fleet: Arc<Fleet>,
    /// For each token, whose it is and until when.
    tokens: Mutex<BTreeMap<String, (String, Instant)>>,
    /// For each instance, the role and its credentials.
    keys: tokio::sync::Mutex<BTreeMap<String, (String, tree::Credentials)>>,
}

/// Serves for as long as the runtime runs.
pub(super) async fn start(fleet: Arc<Fleet>) -> Result<()> {
    let listener = TcpListener::bind(network::METADATA).await.context("cannot start the metadata service")?;
    let service = Arc::new(Service { fleet, tokens: Mutex::default(), keys: tokio::sync::Mutex::default() });
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                // A broken connection concerns its client alone.
                Ok((stream, from)) => drop(tokio::spawn(serve(stream, from.ip(), Arc::clone(&service)))),
                Err(error) => note(&format!("metadata: {error}")),
            }
        }
    });
    Ok(())
}

async fn serve(stream: TcpStream, from: IpAddr, service: Arc<Service>) -> io::Result<()> {
    let IpAddr::V4(from) = from else { return Ok(()) };
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let mut answer = service.answer(&request, from).await;
        answer.headers.push(("Server".to_owned(), "EC2ws".to_owned()));
        stream.write_all(&answer.bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Service {
    async fn answer(&self, request: &Message, from: Ipv4Addr) -> Message {
        let Some(record) = self.fleet.record_of(from) else { return plain("404 Not Found") };
        let options = record.instance.metadata_options();
        if options.and_then(|options| options.http_endpoint()).is_some_and(|endpoint| endpoint.as_str() == "disabled") {
            return plain("403 Forbidden");
        }
        let id = record.instance.instance_id().unwrap_or_default();
        let Some((_version, path)) = request.target().trim_start_matches('/').split_once('/') else {
            return plain("404 Not Found");
        };
        if path.trim_end_matches('/') == "api/token" {
            return self.give_token(request, id);
        }
        if request.method() != "GET" {
            return plain("405 Method Not Allowed");
        }
        if !request.header(TOKEN).is_some_and(|token| self.is_good(token, id)) {
            return plain("401 Unauthorized");
        }
        match self.look_up(path, &record).await {
            Ok(Some(body)) => Message::response("200 OK", "text/plain", body),
            Ok(None) => plain("404 Not Found"),
            Err(error) => {
                note(&format!("metadata for {id}: {path}: {error:#}"));
                plain("500 Internal Server Error")
            }
        }
    }

    async fn look_up(&self, path: &str, record: &Record) -> Result<Option<Vec<u8>>> {
        if path == "user-data" {
            return Ok(record.boot.user_data.clone());
        }
        let role = self.fleet.role_of(&record.instance).await?;
        if let Some(name) = path.strip_prefix(CREDENTIALS).filter(|name| !name.is_empty()) {
            return match role.filter(|role| role == name) {
                Some(role) => Ok(Some(self.credentials(&role, record).await?.into_bytes())),
                None => Ok(None),
            };
        }
        Ok(tree::value(path, record, role.as_deref()).map(String::into_bytes))
    }

    /// The same for as long as they last well.
    async fn credentials(&self, role: &str, record: &Record) -> Result<String> {
        let id = record.instance.instance_id().unwrap_or_default();
        let mut kept = self.keys.lock().await;
        if let Some((of, credentials)) = kept.get(id)
            && of == role
            && credentials.last_well()
        {
            return Ok(credentials.document());
        }
        let credentials = tree::Credentials(self.fleet.keys_of(role, id).await?);
        let document = credentials.document();
        kept.insert(id.to_owned(), (role.to_owned(), credentials));
        Ok(document)
    }

    fn give_token(&self, request: &Message, id: &str) -> Message {
        if request.method() != "PUT" {
            return plain("405 Method Not Allowed");
        }
        // What came through a proxy is not the box's own question.
        if request.header("x-forwarded-for").is_some() {
            return plain("403 Forbidden");
        }
        let Some(ttl @ 1..=21600) = request.header(TTL).and_then(|ttl| ttl.parse::<u64>().ok()) else {
            return plain("400 Bad Request");
        };
        let token = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
        let now = Instant::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (_, until)| *until > now);
        tokens.insert(token.clone(), (id.to_owned(), now + Duration::from_secs(ttl)));
        let mut answer = Message::response("200 OK", "text/plain", token);
        answer.headers.push((TTL.to_owned(), ttl.to_string()));
        answer
    }

    fn is_good(&self, token: &str, id: &str) -> bool {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(token).is_some_and(|(of, until)| of == id && *until > Instant::now())
    }
}

fn plain(status: &str) -> Message {
    Message::response(status, "text/plain", "")
}
