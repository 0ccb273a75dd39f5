//! The one line that a cloud says to whom started it.

use serde::{Deserialize, Serialize};

/// That it is up, or why not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Hello {
    /// It is up.
    Up(Up),
    /// What went wrong.
    Failed(String),
}

/// Where a cloud's things are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Up {
    /// The process id, on the machine, of process 1 of the cloud's namespace; the keeper fills it in.
    pub(crate) init: u32,
    /// The cloud's folder on the machine; gone with it.
    pub(crate) folder: std::path::PathBuf,
    /// Where a process in the cloud's network, a box among them, reaches the AWS API.
    pub(crate) endpoint: String,
    /// Where a process of the machine does.
    pub(crate) outer_endpoint: String,
    /// Twelve digits.
    pub(crate) account_id: String,
    /// Of a role that may do everything.
    pub(crate) access_key_id: String,
    /// The secret part of that key.
    pub(crate) secret_access_key: String,
    /// What goes with it.
    pub(crate) session_token: String,
    /// The image of Debian.
    pub(crate) image_id: String,
}
