//! A small instance metadata service, version 2 only, as EC2 documents it.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
//!
//! It never answers a request that carries no token.

use std::io;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::{Message, read_request};
use crate::server::Server;

/// The instance that the service says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Such as `i-0123456789abcdef0`.
    pub instance_id: String,
    /// Twelve digits.
    pub account_id: String,
    /// Such as `us-west-2`; the zone is its `a`.
    pub region: String,
    /// The role of the instance profile, with access key id, secret key and session token; `None` when there is none.
    pub role: Option<Role>,
}

/// A role of an instance and its credentials, good for six hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The role's name.
    pub name: String,
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token.
    pub session_token: String,
}

/// How the service is today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Well,
    /// It takes requests and never answers.
    Hanging,
    /// It says 500.
    Failing,
    /// It says 200 and nonsense, to the request for a token too.
    Raving,
    /// It closes each connection at its first request.
    Closing,
}

/// A running metadata service, gone when dropped.
#[derive(Debug)]
pub struct Imds {
    server: Server,
    state: watch::Sender<(Identity, Mood)>,
}

impl Imds {
    /// A service on a free loopback port.
    pub fn start(identity: Identity) -> Result<Self> {
        let (state, told) = watch::channel((identity, Mood::Well));
        let server = Server::start("imds", move |listener| accept(listener, told)).context("cannot start an IMDS")?;
        Ok(Self { server, state })
    }

    /// The URL to set as the agent's `instance.metadata_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// From now on, answers as another instance.
    pub fn become_instance(&self, identity: Identity) {
        self.state.send_modify(|state| state.0 = identity);
    }

    /// From now on, behaves like this; requests that hang are cut by any other mood.
    pub fn set_mood(&self, mood: Mood) {
        self.state.send_modify(|state| state.1 = mood);
    }
}

async fn accept(listener: std::net::TcpListener, state: watch::Receiver<(Identity, Mood)>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // A token is worth nothing at another service: one for each life of this one.
    let token = format!("token-{:032x}", fastrand::u128(..));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A broken connection concerns its client alone.
        tokio::spawn(serve(stream, state.clone(), token.clone()));
    }
}

async fn serve(stream: TcpStream, mut state: watch::Receiver<(Identity, Mood)>, token: String) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let (identity, mood) = state.borrow_and_update().clone();
        let response = match mood {
            Mood::Well => answer(&request, &identity, &token),
            Mood::Failing => Message::response("500 Internal Server Error", "text/plain", "out of order"),
            Mood::Raving => {
                Message::response("200 OK", "text/plain", b"\x00\xff<<{\r\nnot: metadata\x1b[2J".as_slice())
            }
            Mood::Closing => return Ok(()),
            Mood::Hanging => {
                let _ = state.wait_for(|(_, mood)| *mood != Mood::Hanging).await;
                return Ok(());
            }
        };
        stream.write_all(&response.bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

fn answer(request: &Message, identity: &Identity, token: &str) -> Message {
    let text = |body: &str| Message::response("200 OK", "text/plain", body);
    let target = request.target();
    if target == "/latest/api/token" {
        let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse::<u32>().ok());
        return match (request.method(), ttl) {
            ("PUT", Some(ttl @ 1..=21600)) => {
                let mut response = text(token);
                response.headers.push(("x-aws-ec2-metadata-token-ttl-seconds".to_owned(), ttl.to_string()));
                response
            }
            ("PUT", _) => Message::response("400 Bad Request", "text/plain", ""),
            _ => Message::response("405 Method Not Allowed", "text/plain", ""),
        };
    }
    if request.header("x-aws-ec2-metadata-token") != Some(token) {
        return Message::response("401 Unauthorized", "text/plain", "");
    }
    match metadata(target, identity) {
        Some(body) => text(&body),
        None => Message::response("404 Not Found", "text/plain", ""),
    }
}

/// The value at a path below the root of the service.
fn metadata(target: &str, identity: &Identity) -> Option<String> {
    let zone = format!("{}a", identity.region);
    if target == "/latest/dynamic/instance-identity/document" {
        let document = json!({
            "accountId": identity.account_id, "architecture": "x86_64", "availabilityZone": zone,
            "imageId": "ami-0123456789abcdef0", "instanceId": identity.instance_id, "instanceType": "t3.micro",
            "pendingTime": "2026-01-01T00:00:00Z", "privateIp": "10.0.0.10", "region": identity.region,
            "version": "2017-09-30",
        });
        return Some(document.to_string());
    }
    let role = identity.role.as_ref();
    match target.strip_prefix("/latest/meta-data/")? {
        "instance-id" => Some(identity.instance_id.clone()),
        "placement/region" => Some(identity.region.clone()),
        "placement/availability-zone" => Some(zone),
        "local-hostname" => Some(format!("ip-10-0-0-10.{}.compute.internal", identity.region)),
        "iam/security-credentials" | "iam/security-credentials/" => role.map(|role| role.name.clone()),
        other => {
            let name = other.strip_prefix("iam/security-credentials/")?;
            role.filter(|role| role.name == name).map(credentials)
        }
    }
}

fn credentials(role: &Role) -> String {
    let now = jiff::Timestamp::now();
    let expiration = now + jiff::SignedDuration::from_hours(6);
    let document = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": now.to_string(), "Expiration": expiration.to_string(),
        "AccessKeyId": role.access_key_id, "SecretAccessKey": role.secret_access_key, "Token": role.session_token,
    });
    document.to_string()
}
