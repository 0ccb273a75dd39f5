//! A stand-in for AWS that answers what a test tells it to: for pages, which moto does not have, and for faults.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_config::SdkConfig;
use fleetkey_common::aws::{AgentAccess, AgentCredentials, for_agent};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Users in a page of a group, and objects in a page of a bucket.
const GROUP_PAGE: usize = 100;
const BUCKET_PAGE: usize = 1000;

/// What came in.
pub(super) struct Request {
    /// The request line and headers.
    pub(super) head: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) body: String,
}

/// Answers until it is dropped.
pub(super) struct Stub {
    endpoint: String,
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Stub {
    pub(super) async fn start(answer: impl Fn(&Request) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        });
        Self { endpoint, folder: tempfile::tempdir().unwrap(), task }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The agent's own configuration, led here.
    pub(super) async fn config(&self) -> SdkConfig {
        agent_config(&self.endpoint, self.folder.path()).await
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the agent uses, with credentials in a file of root's own in `folder`.
pub(super) async fn agent_config(endpoint: &str, folder: &Path) -> SdkConfig {
    agent_config_as(endpoint, folder, "AKIATEST", "secret").await
}

/// The same, with this access key.
pub(super) async fn agent_config_as(endpoint: &str, folder: &Path, id: &str, secret: &str) -> SdkConfig {
    let file = folder.join("credentials");
    std::fs::write(&file, format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let access = AgentAccess {
        region: "us-west-2".to_owned(),
        endpoint_url: Some(endpoint.to_owned()),
        ca_bundle: None,
        credentials: AgentCredentials::File(file),
    };
    for_agent(&access).await.unwrap()
}

async fn serve(mut stream: TcpStream, answer: &(impl Fn(&Request) -> (u16, String) + ?Sized)) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = head.lines().filter_map(|line| line.split_once(':'));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map(|(_, value)| value.trim().parse().unwrap()).next().unwrap_or(0);
        while bytes.len() < end + 4 + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = String::from_utf8_lossy(&bytes[end + 4..end + 4 + length]).into_owned();
        bytes.drain(..end + 4 + length);
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = answer(&Request { head: head.clone(), target, body });
        // The last header is one that the metadata service must send beside a token.
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\
             X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n\r\n",
            body.len()
        );
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

/// IAM's answer to GetGroup for a group of `size` users, in pages.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetGroup.html>
pub(super) fn group_page(request: &Request, size: usize) -> (u16, String) {
    let value = |name: &str| request.body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let start: usize = value("Marker").map_or(0, |marker| marker.parse().unwrap());
    let end = size.min(start + GROUP_PAGE);
    let mut users = String::new();
    for at in start..end {
        write!(
            users,
            "<member><Path>/</Path><UserName>user{at}</UserName><UserId>AIDA{at}</UserId>\
             <Arn>arn:aws:iam::123456789012:user/user{at}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></member>"
        )
        .unwrap();
    }
    let rest = if end < size {
        format!("<IsTruncated>true</IsTruncated><Marker>{end}</Marker>")
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    let page = format!(
        "<GetGroupResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><GetGroupResult><Group><Path>/</Path>\
         <GroupName>g</GroupName><GroupId>AGPA</GroupId><Arn>arn:aws:iam::123456789012:group/g</Arn>\
         <CreateDate>2026-01-01T00:00:00Z</CreateDate></Group><Users>{users}</Users>{rest}</GetGroupResult>\
         </GetGroupResponse>"
    );
    (200, page)
}

/// S3's answer to ListObjectsV2 for a bucket of `size` persons with one object each, too large to be fetched; and EC2's
/// to DescribeKeyPairs, that there are none.
pub(super) fn bucket_page(request: &Request, size: usize) -> (u16, String) {
    if request.target == "/" {
        let none = "<DescribeKeyPairsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><keySet/></DescribeKeyPairsResponse>";
        return (200, none.to_owned());
    }
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let start: usize = value("continuation-token").map_or(0, |token| token.parse().unwrap());
    let end = size.min(start + BUCKET_PAGE);
    let mut entries = String::new();
    for at in start..end {
        if value("delimiter").is_some() {
            write!(entries, "<CommonPrefixes><Prefix>people/person{at}/</Prefix></CommonPrefixes>").unwrap();
        } else {
            write!(
                entries,
                "<Contents><Key>people/person{at}/laptop.pub</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>&quot;00&quot;</ETag><Size>99999</Size></Contents>"
            )
            .unwrap();
        }
    }
    let next = if end < size { format!("<NextContinuationToken>{end}</NextContinuationToken>") } else { String::new() };
    let page = format!(
        "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>{}</KeyCount>\
         <IsTruncated>{}</IsTruncated>{next}{entries}</ListBucketResult>",
        end - start,
        end < size
    );
    (200, page)
}
