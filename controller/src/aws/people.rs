//! Whether people and groups are there in IAM.

use aws_sdk_iam::Client;
use fleetkey_common::names::{GroupName, PersonName};

use super::{CallError, failed};

/// Whether there is an IAM user of this name.
pub(crate) async fn user_exists(client: &Client, name: &PersonName) -> Result<bool, CallError> {
    let answer = client.get_user().user_name(name.as_str()).send().await;
    there(answer.map_err(failed(format!("iam GetUser {name}"))))
}

/// Whether there is an IAM group of this name.
pub(crate) async fn group_exists(client: &Client, name: &GroupName) -> Result<bool, CallError> {
    let answer = client.get_group().group_name(name.as_str()).max_items(1).send().await;
    there(answer.map_err(failed(format!("iam GetGroup {name}"))))
}

fn there<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Err(error) if error.code.as_deref() == Some("NoSuchEntity") => Ok(false),
        answer => answer.map(|_| true),
    }
}
