//! The public-key bucket: whether it is there, and set up as `fleetkey init` does.

use super::world::World;
use super::{Blocked, Finding, State};
use crate::account::bucket::{self, Setting};
use crate::account::look::bucket_arn;
use crate::aws::CallError;
use crate::aws::bucket::Bucket;

const NAME: &str = "bucket";

/// What is listed to see whether a bucket lets the caller in: each policy of `packaging/iam` that has to do with the
/// bucket allows one of them.
const PROBES: [&str; 2] = ["people/fleetkey-doctor", "agent/fleetkey-doctor"];

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
    if !found.lets_in()
        && let Some(shut) = shut(found).await
    {
        return Ok(vec![shut]);
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
    findings.extend(of_others(found).await);
    if !hidden.is_empty() {
        let what = format!("the caller may not see how it is set up: it lacks {}", hidden.join(", "));
        findings.push(Finding::unknown(NAME, what).mend("the policy fleetkey-controller-doctor has what it takes"));
    }
    Ok(findings)
}

/// What is said of a bucket that lets the caller in to nothing: `None` of one that does.
async fn shut(found: &Bucket) -> Option<Finding> {
    let [people, packages] = PROBES.map(|probe| found.list(probe));
    let answers = [people.await.map(drop), packages.await.map(drop), found.tags().await.map(drop)];
    if answers.iter().any(Result::is_ok) {
        return None;
    }
    let other = answers.iter().filter_map(|answer| answer.as_ref().err()).find(|e| e.missing_permission().is_none());
    if let Some(error) = other {
        return Some(Finding::failed(NAME, error));
    }
    let what = format!(
        "{} answers, and lets the caller in to nothing: she lacks s3:ListBucket, or the bucket is another account's",
        found.name()
    );
    let mend =
        "attach the policies of packaging/iam; names of buckets are shared by all accounts: --bucket gives another";
    Some(Finding::unknown(NAME, what).mend(mend))
}

/// What others have set on the bucket that may harm: as far as the caller may see it.
async fn of_others(found: &Bucket) -> Vec<Finding> {
    let told = |what, verb: &str| {
        Finding::warning(NAME, what).mend(format!("aws s3api {verb} --bucket {} shows it", found.name()))
    };
    let rules = bucket::dangerous(&found.lifecycle().await.unwrap_or_default()).into_iter().map(|rule| {
        let what = format!("lifecycle rule {rule} deletes current objects; keys or packages may be among them");
        told(what, "get-bucket-lifecycle-configuration")
    });
    let policy = found.policy().await.unwrap_or_default();
    let statements = bucket::strangers(policy.as_ref()).into_iter().map(|statement| {
        let what = format!(
            "statement {statement} of its policy allows what it says; whoever may write in the bucket says who may log in"
        );
        told(what, "get-bucket-policy")
    });
    rules.chain(statements).collect()
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
