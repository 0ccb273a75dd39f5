//! The credentials: whether there are any, whose they are, and how long they last.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::ProvideCredentials as _;

use super::world::{World, seconds};
use super::{Blocked, Finding};

const NAME: &str = "credentials";

/// How the SDK's error begins where no place has any.
const NOT_CONFIGURED: &str = "the credential provider was not enabled";

/// Credentials that end sooner are told: a box takes some minutes to come up.
const SOON: Duration = Duration::from_mins(15);

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    const LOG_IN: &str = "log in: aws sso login, or aws configure; AWS_PROFILE=NAME uses another profile";
    let Some(provider) = world.config.credentials_provider() else {
        return Ok(vec![Finding::missing(NAME, "there are none").mend(LOG_IN)]);
    };
    let credentials = match provider.provide_credentials().await {
        Ok(credentials) => credentials,
        Err(error) => {
            let text = format!("{:#}", anyhow::Error::from(error));
            // Where nothing was configured, each place that was looked in says so at length.
            let what = if text.starts_with(NOT_CONFIGURED) { "there are none".to_owned() } else { text };
            return Ok(vec![Finding::missing(NAME, what).mend(LOG_IN)]);
        }
    };
    let caller = match world.identity().await {
        Ok(caller) => caller,
        Err(error) => {
            let mend = match error.code.as_deref() {
                Some("SignatureDoesNotMatch") => "the secret key does not belong to the access key; or see clock",
                Some(_) => LOG_IN,
                None => "see to the network: the route, the proxy, or the VPC endpoint of sts",
            };
            return Ok(vec![Finding::missing(NAME, error.to_string()).mend(mend)]);
        }
    };
    let left = credentials.expiry().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
    if let Some(left) = left.filter(|left| *left < SOON) {
        let what = format!("those of {} end in {}", caller.arn, seconds(left));
        return Ok(vec![Finding::warning(NAME, what).mend(LOG_IN)]);
    }
    if caller.arn.ends_with(":root") {
        let what = format!("{} is the account's root, which may do everything and is nobody", caller.arn);
        return Ok(vec![Finding::warning(NAME, what).mend("work as an IAM user or role")]);
    }
    let lasts = left.map_or_else(String::new, |left| format!(", for {}", seconds(left)));
    Ok(vec![Finding::ok(NAME, format!("{}{lasts}", caller.arn))])
}
