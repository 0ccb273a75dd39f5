//! The public-key bucket: whether it is there, and set up as `fleetkey init` does.

use super::world::World;
use super::{Blocked, Finding, State};
use crate::account::bucket::{self, Setting};
use crate::account::look::bucket_arn;
use crate::aws::CallError;
use crate::aws::bucket::Bucket;

const NAME: &str = "bucket";

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    let region = world.region()?;
    let found = match world.find_bucket().await? {
        Ok(found) => found,
        Err(error) => return Ok(vec![Finding::failed(NAME, error)]),
    };
    let init = format!("fleetkey init --region {region} --bucket {}", found.name());
    if !found.exists() {
        return Ok(vec![Finding::missing(NAME, format!("there is no bucket {}", found.name())).mend(init)]);
    }
    let arn = bucket_arn(world.caller().await?, found);
    let mut findings = vec![Finding::ok(NAME, format!("{} in {}", found.name(), found.region()))];
    let mut hidden = Vec::new();
    for setting in Setting::ALL {
        match is_set(found, setting, &arn).await {
            Ok(false) if setting == Setting::TlsOnly && found.in_the_clear().await.unwrap_or(false) => {
                findings.push(Finding::ok(NAME, "transport: without TLS, as the endpoint is"));
            }
            Ok(true) => findings.push(Finding::ok(NAME, format!("{}: {}", setting.as_str(), setting.wanted()))),
            Ok(false) => {
                let what = format!("{}: not {}", setting.as_str(), setting.wanted());
                let adopt = if setting == Setting::Mark { " --adopt" } else { "" };
                findings.push(Finding::new(NAME, weight(setting), what).mend(format!("{init}{adopt}")));
            }
            Err(error) => match error.missing_permission() {
                Some(permission) => hidden.push(permission),
                None => findings.push(Finding::failed(NAME, &error)),
            },
        }
    }
    for rule in bucket::dangerous(&found.lifecycle().await.unwrap_or_default()) {
        let what = format!("lifecycle rule {rule} deletes current objects; keys or packages may be among them");
        let mend = format!("aws s3api get-bucket-lifecycle-configuration --bucket {} shows it", found.name());
        findings.push(Finding::warning(NAME, what).mend(mend));
    }
    if !hidden.is_empty() {
        let what = format!("the caller may not see how it is set up: it lacks {}", hidden.join(", "));
        findings.push(Finding::unknown(NAME, what).mend("the policy fleetkey-controller-doctor has what it takes"));
    }
    Ok(findings)
}

/// What is open to others, or was left to chance, is worse than what is not kept.
fn weight(setting: Setting) -> State {
    match setting {
        Setting::Private => State::Missing,
        _ => State::Warning,
    }
}

async fn is_set(found: &Bucket, setting: Setting, arn: &str) -> Result<bool, CallError> {
    Ok(match setting {
        Setting::Mark => bucket::is_marked(&found.tags().await?),
        Setting::Private => found.public_access_blocked().await?,
        Setting::Owned => found.ownership_enforced().await?,
        Setting::Encrypted => found.encryption().await?.is_some(),
        Setting::Versioned => found.versioned().await?,
        Setting::TlsOnly => bucket::is_tls_only(found.policy().await?.as_ref(), arn),
        Setting::Lifecycle => bucket::has_rules(&found.lifecycle().await?),
    })
}
