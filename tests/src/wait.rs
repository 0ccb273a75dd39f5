//! Waiting for something to come true, and measuring how long that took.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Time between two looks: short against what is measured, and no load.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The same once it has taken a second: a wait for a box that boots is no load either.
const THEN_EVERY: Duration = Duration::from_millis(25);

/// Looks every 2 ms, every 25 ms after a second, on the calling thread, until `ready` answers true; returns the time that took.
///
/// # Errors
/// The first error of `ready`, or that `what` did not come true within `deadline`.
pub fn wait_until(what: &str, deadline: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    loop {
        if ready()? {
            return Ok(start.elapsed());
        }
        let waited = start.elapsed();
        if waited >= deadline {
            bail!("waited {deadline:?} in vain: {what}");
        }
        std::thread::sleep(if waited < Duration::from_secs(1) { LOOK_EVERY } else { THEN_EVERY });
    }
}
