//! What a box may know about itself: the instance as moto tells it, and what was given to it at its launch.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{Instance, InstanceAttributeName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetkey_tests::cloud::Cloud;

use super::{Fleet, Phase};

/// How long the credentials of a role are good for, in seconds.
const CREDENTIALS_LAST: i32 = 6 * 3600;

/// What a boot goes by.
#[derive(Debug, Clone, Default)]
pub(in crate::inside) struct Boot {
    /// As it was given, decoded once; `None` when there is none.
    pub(in crate::inside) user_data: Option<Vec<u8>>,
    /// The key pair's public half, in OpenSSH's form.
    pub(in crate::inside) public_key: Option<String>,
}

/// One box's own view.
#[derive(Debug, Clone)]
pub(in crate::inside) struct Record {
    /// As moto told it last.
    pub(in crate::inside) instance: Instance,
    /// As it was booted.
    pub(in crate::inside) boot: Boot,
    /// Twelve digits.
    pub(in crate::inside) account_id: String,
}

/// A role's credentials.
#[derive(Debug, Clone)]
pub(in crate::inside) struct RoleKeys {
    /// The access key's id.
    pub(in crate::inside) access_key_id: String,
    /// Its secret.
    pub(in crate::inside) secret_access_key: String,
    /// What goes with it.
    pub(in crate::inside) session_token: String,
    /// When they were given.
    pub(in crate::inside) given: SystemTime,
    /// When they end.
    pub(in crate::inside) expires: SystemTime,
}

impl Boot {
    /// Asks moto.
    pub(super) async fn load(account: &Cloud, instance: &Instance) -> Result<Self> {
        let id = instance.instance_id().unwrap_or_default();
        let asked = account.ec2().describe_instance_attribute().instance_id(id);
        let asked = asked.attribute(InstanceAttributeName::UserData).send().await.context("user-data")?;
        let encoded = asked.user_data().and_then(|value| value.value()).filter(|value| !value.is_empty());
        let user_data = encoded.map(|encoded| STANDARD.decode(encoded)).transpose().context("user-data")?;
        let public_key = match instance.key_name().filter(|name| !name.is_empty()) {
            Some(name) => public_key(account, name).await?,
            None => None,
        };
        Ok(Self { user_data, public_key })
    }
}

/// EC2 shows a box the key with the pair's name for a comment.
async fn public_key(account: &Cloud, name: &str) -> Result<Option<String>> {
    let asked = account.ec2().describe_key_pairs().key_names(name).include_public_key(true).send().await;
    let pairs = asked.with_context(|| format!("the key pair {name}"))?.key_pairs.unwrap_or_default();
    let key = pairs.first().and_then(|pair| pair.public_key()).unwrap_or_default();
    let mut words = key.split_whitespace();
    Ok(words.next().zip(words.next()).map(|(kind, blob)| format!("{kind} {blob} {name}")))
}

impl Fleet {
    /// What the box at this address may know; `None` when no box has it.
    pub(in crate::inside) fn record_of(&self, address: Ipv4Addr) -> Option<Record> {
        let all = self.known();
        let known = all.values().find(|known| {
            let is_up = !matches!(known.phase, Phase::Stopped | Phase::Terminated);
            is_up && known.cable.as_ref().is_some_and(|cable| cable.private == address || cable.public == Some(address))
        })?;
        let account_id = self.account_id().to_owned();
        Some(Record { instance: known.instance.clone(), boot: known.boot.clone(), account_id })
    }

    /// The name of the role in an instance's profile; `None` when there is none.
    pub(in crate::inside) async fn role_of(&self, instance: &Instance) -> Result<Option<String>> {
        let Some(arn) = instance.iam_instance_profile().and_then(|profile| profile.arn()) else { return Ok(None) };
        let name = arn.rsplit('/').next().unwrap_or_default();
        let asked = self.account.iam().get_instance_profile().instance_profile_name(name).send().await?;
        let roles = asked.instance_profile.map(|profile| profile.roles).unwrap_or_default();
        Ok(roles.first().map(|role| role.role_name().to_owned()))
    }

    /// Credentials of a role, for a box that has it.
    pub(in crate::inside) async fn keys_of(&self, role: &str, instance_id: &str) -> Result<RoleKeys> {
        let arn = format!("arn:aws:iam::{}:role/{role}", self.account_id());
        let assumed = self.sts.assume_role().role_arn(arn).role_session_name(instance_id);
        let assumed = assumed.duration_seconds(CREDENTIALS_LAST).send().await?;
        let keys = assumed.credentials().context("AssumeRole gives credentials")?;
        Ok(RoleKeys {
            access_key_id: keys.access_key_id().to_owned(),
            secret_access_key: keys.secret_access_key().to_owned(),
            session_token: keys.session_token().to_owned(),
            given: SystemTime::now(),
            expires: SystemTime::try_from(*keys.expiration())?,
        })
    }
}
