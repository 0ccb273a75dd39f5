//! The socket on which a service tells systemd how it is (sd_notify(3)), with the harness at the other end.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::sandbox::Sandbox;
use crate::wait_until;

/// How often the reader looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One assignment that the service sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When it came in.
    pub at: Instant,
    /// Such as `READY`, `STATUS` or `WATCHDOG`.
    pub key: String,
    /// What stands behind the `=`.
    pub value: String,
}

/// The socket, and all that came in so far.
#[derive(Debug)]
pub struct NotifySocket {
    inside: String,
    incoming: mpsc::Receiver<Vec<Notice>>,
    heard: Vec<Notice>,
    end: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl NotifySocket {
    /// A new socket below the sandbox's `/run`.
    pub fn bind(sandbox: &Sandbox) -> Result<Self> {
        let inside = format!("/run/notify-{:016x}", fastrand::u64(..));
        let socket = UnixDatagram::bind(sandbox.path(&inside)).context("cannot bind the notify socket")?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let (tell, incoming) = mpsc::channel::<Vec<Notice>>();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let path = sandbox.path(&inside);
        // The kernel queues few datagrams and then blocks the service: they are taken as they come.
        let reader = std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            let mut datagram = [0; 4096];
            while !ended.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut datagram) else { continue };
                let at = Instant::now();
                let text = String::from_utf8_lossy(&datagram[..length]);
                let lines = text.lines().filter_map(|line| line.split_once('='));
                let notices = lines.map(|(key, value)| Notice { at, key: key.to_owned(), value: value.to_owned() });
                // What was sent together is heard together.
                let _ = tell.send(notices.collect());
            }
            // The sandbox may be gone by now, and the socket with it.
            let _ = fs::remove_file(path);
        })?;
        Ok(Self { inside, incoming, heard: Vec::new(), end, reader: Some(reader) })
    }

    /// What to set as `NOTIFY_SOCKET` inside.
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// Everything so far, in order.
    pub fn heard(&mut self) -> &[Notice] {
        self.heard.extend(self.incoming.try_iter().flatten());
        &self.heard
    }

    /// The last value sent for `key`.
    pub fn last(&mut self, key: &str) -> Option<&str> {
        self.heard().iter().rev().find(|notice| notice.key == key).map(|notice| notice.value.as_str())
    }

    /// How often `key` was sent: `WATCHDOG`, say.
    pub fn count(&mut self, key: &str) -> usize {
        self.heard().iter().filter(|notice| notice.key == key).count()
    }

    /// Waits until `wanted` holds for the last value of `key`, `None` when there is none; returns the time that took.
    pub fn wait_for(
        &mut self,
        key: &str,
        deadline: Duration,
        mut wanted: impl FnMut(Option<&str>) -> Result<bool>,
    ) -> Result<Duration> {
        wait_until(&format!("the service sends {key}="), deadline, || wanted(self.last(key)))
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
