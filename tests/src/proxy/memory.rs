//! Answers remembered: the same call is answered as it was before, at once. For measuring a program on an account so
//! large that moto takes a minute for an answer. Of use only while nothing is changed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::forward;
use crate::http::Message;

/// What makes two calls the same: the service, the request line and the body. Signatures and times are in neither, but
/// for presigned URLs.
type Question = (String, String, Vec<u8>);

/// The answers so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    answers: Arc<Mutex<HashMap<Question, Arc<OnceCell<Message>>>>>,
}

impl Memory {
    /// The answer to a call; the server is asked once, also by two that come at the same time.
    pub(super) async fn answer(&self, service: &str, request: Message, upstream: SocketAddr) -> io::Result<Message> {
        let question = (service.to_owned(), request.start.clone(), request.body.clone());
        let cell = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(question).or_default())
        };
        cell.get_or_try_init(|| forward(request, upstream)).await.cloned()
    }
}
