//! SSH public keys on IAM users.
//!
//! Users are asked by name, never all of them: IAM throttles hard.

use aws_sdk_iam::Client;
use aws_sdk_iam::types::EncodingType;
use fleetkey_common::names::PersonName;
use fleetkey_common::public_key::PublicKey;

use super::{CallError, failed};

/// A key on an IAM user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IamKey {
    /// The user.
    pub(crate) user: PersonName,
    /// Its id: `APKA...`.
    pub(crate) id: String,
    /// The key; `None` if it is of a form that Fleetkey does not hand out.
    pub(crate) key: Option<PublicKey>,
}

/// All keys of one user, inactive ones too. No such user: none.
pub(crate) async fn list(client: &Client, user: &PersonName) -> Result<Vec<IamKey>, CallError> {
    let action = format!("iam ListSSHPublicKeys {user}");
    let mut ids = Vec::new();
    let mut pages = client.list_ssh_public_keys().user_name(user.as_str()).into_paginator().send();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => {
                ids.extend(page.ssh_public_keys.unwrap_or_default().into_iter().map(|key| key.ssh_public_key_id))
            }
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_entity_exception()) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(CallError::new(action, &error)),
        }
    }
    let mut keys = Vec::with_capacity(ids.len());
    for id in ids {
        let call = client.get_ssh_public_key().user_name(user.as_str()).ssh_public_key_id(&id);
        let answer = call.encoding(EncodingType::Ssh).send().await;
        let answer = answer.map_err(failed(format!("iam GetSSHPublicKey {id} of {user}")))?;
        let body = answer.ssh_public_key.map(|key| key.ssh_public_key_body).unwrap_or_default();
        keys.push(IamKey { user: user.clone(), id, key: body.trim().parse().ok() });
    }
    Ok(keys)
}

/// Takes a key off its user. Gone already: done.
pub(crate) async fn delete(client: &Client, user: &PersonName, id: &str) -> Result<(), CallError> {
    match client.delete_ssh_public_key().user_name(user.as_str()).ssh_public_key_id(id).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_entity_exception()) => Ok(()),
        Err(error) => Err(CallError::new(format!("iam DeleteSSHPublicKey {id} of {user}"), &error)),
    }
}
