//! The AWS API, played by the moto server.
//!
//! It runs as a process that ends with this one. Ordinary tests share one, each in an AWS account of its own; a test
//! that needs enforcement of IAM policies or an outage starts its own.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use sha2::{Digest as _, Sha256};

use crate::log::Log;
use crate::process::{Kept, bound};
use crate::scratch::cache;
use crate::wait_until;

/// The packages of the virtual environment; its hash names the environment's folder, as in `tests/prepare`.
const REQUIREMENTS: &[u8] = include_bytes!("../requirements.txt");

/// How long a start may take on a busy machine; on an idle one it takes a second or two.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// A running moto server, gone when dropped.
#[derive(Debug)]
pub struct Moto {
    process: Kept,
    log: Log,
    address: SocketAddr,
}

impl Moto {
    /// Starts a server on a free loopback port and waits until it listens.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with settings of moto's own in its environment.
    /// <https://docs.getmoto.org/en/latest/docs/configuration/environment_variables.html>
    pub fn start_with(settings: &[(&str, &OsStr)]) -> Result<Self> {
        let program = environment()?.join("bin").join("moto_server");
        ensure!(program.is_file(), "{} is missing; run tests/prepare", program.display());
        let log = Log::new()?;
        let mut command = bound(program);
        // The server picks the port itself, so that no two can pick the same.
        command.args(["--host", "127.0.0.1", "--port", "0"]).env_clear().env("PYTHONUNBUFFERED", "1");
        command.envs(settings.iter().copied());
        command
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("moto"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PATH", "/usr/bin:/bin").stdout(log.writer()?).stderr(log.writer()?);
        command.stdin(std::process::Stdio::null());
        let mut process = Kept::start("moto_server", command)?;
        let line = wait_until_it_listens(&mut process, &log)?;
        let (_, address) = line.split_once("http://").context("the line was matched by this")?;
        let address = address.trim().parse().with_context(|| format!("moto_server says {line:?}"))?;
        Ok(Self { process, log, address })
    }

    /// The one server of this process, for tests that keep to an account of their own.
    ///
    /// It is never dropped, as statics are not; the kernel ends it with this process.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Moto, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start().map_err(|error| format!("{error:#}")));
        shared.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint to give to an AWS client.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the server wrote: a line for each request, and tracebacks of its own faults.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Forgets everything, in all accounts. Not for the shared server.
    pub fn reset(&self) -> Result<()> {
        self.post("/moto-api/reset", "")
    }

    /// From now on, after `free_calls` more, checks signatures and IAM policies. Not for the shared server.
    /// <https://docs.getmoto.org/en/latest/docs/iam.html>
    pub fn enforce_iam(&self, free_calls: u32) -> Result<()> {
        self.post("/moto-api/reset-auth", &free_calls.to_string())
    }

    fn post(&self, path: &str, body: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.address).context("moto_server is gone")?;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close", self.address);
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        ensure!(response.starts_with("HTTP/1.1 200"), "moto_server answers POST {path} with {response}");
        Ok(())
    }
}

/// The line in which the server says where it listens.
fn wait_until_it_listens(process: &mut Kept, log: &Log) -> Result<String> {
    let mut line = None;
    let waited = wait_until("moto_server listens", START_DEADLINE, || {
        let ended = process.ended()?;
        line = log.lines()?.into_iter().find(|line| line.contains("Running on http://"));
        ensure!(line.is_some() || ended.is_none(), "moto_server ended at once");
        Ok(line.is_some())
    });
    waited.with_context(|| format!("the log of moto_server says:\n{}", log.text().unwrap_or_default()))?;
    line.context("the line was seen")
}

/// The virtual environment that `tests/prepare` made: `$FLEETKEY_TEST_VENV`, or in the cache by the hash of its packages.
pub fn environment() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("FLEETKEY_TEST_VENV") {
        return Ok(PathBuf::from(folder));
    }
    // What `sha256sum` prints, cut as `tests/prepare` cuts it.
    let hash = hex::encode(Sha256::digest(REQUIREMENTS));
    Ok(cache()?.join(format!("venv-{}", &hash[..16])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_resets_and_is_gone_when_dropped() -> Result<()> {
        let moto = Moto::start()?;
        moto.reset()?;
        moto.enforce_iam(10)?;
        let (address, pid) = (moto.address(), moto.pid());
        drop(moto);
        assert!(TcpStream::connect(address).is_err());
        assert!(!crate::process::runs(pid));
        Ok(())
    }
}
