//! File work off the async thread.

/// Runs `work` where it may block. Should it panic, the caller does too: half an answer would be taken for a whole.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being shut down, and nobody waits any more.
        Err(_) => std::future::pending().await,
    }
}
