//! What time it is to AWS: the `Date` that every answer carries.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, Region, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use jiff::{SignedDuration, Timestamp};

use super::CallError;

/// A name to ask S3 about: what it answers does not matter.
const ANY_BUCKET: &str = "fleetkey";

/// How far this machine's clock is ahead of AWS's. The request is not signed, so that neither credentials nor the clock
/// can spoil it, and any answer will do.
pub(crate) async fn ahead(config: &SdkConfig, region: &str) -> Result<SignedDuration, CallError> {
    let action = format!("s3 HeadBucket in {region}");
    let date = DateOfAnswer::default();
    let config = config.to_builder().region(Region::new(region.to_owned()));
    let mut config = config.build().into_builder();
    config.set_credentials_provider(None);
    let config = config.build();
    let path_style = config.endpoint_url().is_some();
    let client = aws_sdk_s3::config::Builder::from(&config).force_path_style(path_style).allow_no_auth();
    let client = aws_sdk_s3::Client::from_conf(client.interceptor(date.clone()).build());
    let before = SystemTime::now();
    let answer = client.head_bucket().bucket(ANY_BUCKET).send().await;
    let half = before.elapsed().unwrap_or_default() / 2;
    let Some(text) = date.0.get() else {
        let none = CallError::answer(action.clone(), "the answer has no date");
        return Err(answer.err().map_or(none, |error| CallError::new(action, &error)));
    };
    let wrong = |error: jiff::Error| CallError::answer(action.clone(), format!("{text:?} is no date: {error}"));
    let there = jiff::fmt::rfc2822::parse(text).map_err(wrong)?.timestamp();
    let here = Timestamp::try_from(before + half).map_err(wrong)?;
    Ok(here.duration_since(there))
}

/// Keeps the `Date` of the first answer, whatever it says otherwise.
#[derive(Debug, Clone, Default)]
struct DateOfAnswer(Arc<OnceLock<String>>);

impl Intercept for DateOfAnswer {
    fn name(&self) -> &'static str {
        "DateOfAnswer"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            let _ = self.0.set(date.to_owned());
        }
        Ok(())
    }
}
