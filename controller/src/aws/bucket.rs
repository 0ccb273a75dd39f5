//! The public-key bucket: objects put, got, deleted and listed.
//!
//! One bucket serves all regions, so it is spoken to in its own region, whichever the command is about. A bucket under
//! the default name must belong to the caller's account: the name can be guessed, and whoever owned it would say who
//! may log in.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{ProvideCredentials as _, Region, SharedCredentialsProvider};
use aws_sdk_s3::operation::head_bucket::HeadBucketError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use fleetkey_common::aws::is_no_such_key;
use jiff::Timestamp;

use super::{CallError, failed};

/// The largest object that is read, in bytes: no registered key is near it, and no index of packages.
const MAX_OBJECT: i64 = 64 * 1024;

/// The region in which CreateBucket takes no location constraint.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
const FIRST_REGION: &str = "us-east-1";

/// An object's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its bytes; empty if it is larger than any key.
    pub(crate) body: Vec<u8>,
    /// Its metadata, names without `x-amz-meta-`.
    pub(crate) metadata: HashMap<String, String>,
}

/// An object as a listing tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its key.
    pub(crate) key: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// When it was last put, also if with the same content.
    pub(crate) modified: Option<Timestamp>,
}

/// On which condition an object is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Only {
    /// Whatever is there.
    Always,
    /// There is none.
    IfNew,
    /// It is still the one with this entity tag.
    IfStill(String),
}

/// The codes by which S3 says that a condition did not hold, or that somebody else was writing just then.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
const CONDITION_FAILED: [&str; 3] = ["PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"];

/// The bucket, there or yet to be made.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    region: String,
    /// The account that must own it; `None` for a bucket that was named by configuration.
    pub(super) owner: Option<String>,
    exists: bool,
    lets_in: bool,
    credentials: Option<SharedCredentialsProvider>,
}

impl Bucket {
    /// Finds a bucket, wherever it is; `region` is where it would be made.
    pub(crate) async fn find(
        config: &SdkConfig,
        region: &str,
        name: &str,
        owner: Option<String>,
    ) -> Result<Self, CallError> {
        let bucket = |region: &str, exists: bool, lets_in: bool| Self {
            client: client(config, region),
            name: name.to_owned(),
            region: region.to_owned(),
            owner: owner.clone(),
            exists,
            lets_in,
            credentials: config.credentials_provider(),
        };
        let here = bucket(region, true, true);
        let head = here.client.head_bucket().bucket(name).set_expected_bucket_owner(owner.clone());
        let error = match head.send().await {
            Ok(answer) => return Ok(answer.bucket_region.map_or(here, |region| bucket(&region, true, true))),
            Err(error) => error,
        };
        if error.as_service_error().is_some_and(HeadBucketError::is_not_found) {
            return Ok(bucket(region, false, false));
        }
        // S3 names the region also to those whom it refuses.
        let Some(answer) = error.raw_response() else {
            return Err(CallError::new(format!("s3 HeadBucket {name}"), &error));
        };
        match (answer.headers().get("x-amz-bucket-region"), answer.status().as_u16()) {
            (Some(elsewhere), _) if elsewhere != region => Ok(bucket(elsewhere, true, false)),
            // A policy that allows listing by prefix alone forbids this call and none of those that follow.
            (_, 403) => Ok(bucket(region, true, false)),
            _ => Err(CallError::new(format!("s3 HeadBucket {name}"), &error)),
        }
    }

    /// The bucket's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was there when looked for. One that is not reads as empty.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// Whether S3 let the caller in when it was looked for. If not, she may lack one permission or all, or the bucket is
    /// not that of the account that must own it.
    pub(crate) fn lets_in(&self) -> bool {
        self.lets_in
    }

    /// The region that it is in, or would be made in.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Makes the bucket, with nothing set: how it should be is `account::bucket`'s to say.
    pub(crate) async fn create(&mut self) -> Result<(), CallError> {
        let constraint = (self.region != FIRST_REGION).then(|| {
            let location = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(location).build()
        });
        let call = self.client.create_bucket().bucket(&self.name).set_create_bucket_configuration(constraint);
        call.send().await.map_err(failed(format!("s3 CreateBucket {} in {}", self.name, self.region)))?;
        (self.exists, self.lets_in) = (true, true);
        Ok(())
    }

    /// The keys of all objects that begin with `prefix`, in S3's order.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<String>, CallError> {
        Ok(self.list_objects(prefix).await?.into_iter().map(|listed| listed.key).collect())
    }

    /// All objects whose keys begin with `prefix`, in S3's order.
    pub(crate) async fn list_objects(&self, prefix: &str) -> Result<Vec<Listed>, CallError> {
        let mut found = Vec::new();
        if !self.exists {
            return Ok(found);
        }
        let call = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = call.set_expected_bucket_owner(self.owner.clone()).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed(format!("s3 ListObjectsV2 {prefix} in {}", self.name)))?;
            found.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let modified = object.last_modified.and_then(|time| Timestamp::from_nanosecond(time.as_nanos()).ok());
                let bytes = object.size.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
                Some(Listed { key: object.key?, bytes, modified })
            }));
        }
        Ok(found)
    }

    /// An object's content, or `None` if there is none of that key.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Object>, CallError> {
        Ok(self.get_tagged(key).await?.map(|(object, _)| object))
    }

    /// The same with its entity tag, which another content would not have.
    pub(crate) async fn get_tagged(&self, key: &str) -> Result<Option<(Object, String)>, CallError> {
        if !self.exists {
            return Ok(None);
        }
        let action = self.about("GetObject", key);
        let call = self.client.get_object().bucket(&self.name).key(key);
        let answer = match call.set_expected_bucket_owner(self.owner.clone()).send().await {
            Ok(answer) => answer,
            Err(error) if is_no_such_key(&error) => return Ok(None),
            Err(error) => return Err(CallError::new(action, &error)),
        };
        let metadata = answer.metadata.unwrap_or_default();
        let tag = answer.e_tag.unwrap_or_default();
        if answer.content_length.is_none_or(|length| length > MAX_OBJECT) {
            return Ok(Some((Object { body: Vec::new(), metadata }, tag)));
        }
        let body = answer.body.collect().await.map_err(|error| CallError::answer(action, error.to_string()))?;
        Ok(Some((Object { body: body.to_vec(), metadata }, tag)))
    }

    /// How long an object is, in bytes, or `None` if there is none of that key.
    pub(crate) async fn length(&self, key: &str) -> Result<Option<i64>, CallError> {
        if !self.exists {
            return Ok(None);
        }
        let call = self.client.head_object().bucket(&self.name).key(key);
        match call.set_expected_bucket_owner(self.owner.clone()).send().await {
            Ok(answer) => Ok(Some(answer.content_length.unwrap_or_default())),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(None),
            Err(error) => Err(CallError::new(self.about("HeadObject", key), &error)),
        }
    }

    /// Puts an object if the condition holds, and says whether it did.
    pub(crate) async fn put_bytes(
        &self,
        key: &str,
        body: Vec<u8>,
        content_type: &str,
        only: &Only,
    ) -> Result<bool, CallError> {
        let call = self.client.put_object().bucket(&self.name).key(key).content_type(content_type);
        let call = match only {
            Only::Always => call,
            Only::IfNew => call.if_none_match("*"),
            Only::IfStill(tag) => call.if_match(tag),
        };
        let call = call.set_expected_bucket_owner(self.owner.clone()).body(ByteStream::from(body));
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) => match CallError::new(self.about("PutObject", key), &error) {
                failure
                    if *only != Only::Always
                        && failure.code.as_deref().is_some_and(|code| CONDITION_FAILED.contains(&code)) =>
                {
                    Ok(false)
                }
                failure => Err(failure),
            },
        }
    }

    /// A URL that gives an object to whoever has it, from `start` for `valid`, though no longer than the credentials
    /// last. Nothing is said of the bucket's owner in it: a header would have to be sent along.
    pub(crate) async fn presigned(&self, key: &str, start: SystemTime, valid: Duration) -> Result<String, CallError> {
        let action = || format!("signing a URL of {key} in {}", self.name);
        let config = PresigningConfig::builder().start_time(start).expires_in(valid).build();
        let config = config.map_err(|error| CallError::answer(action(), error.to_string()))?;
        let signed = self.client.get_object().bucket(&self.name).key(key).presigned(config).await;
        Ok(signed.map_err(failed(action()))?.uri().to_owned())
    }

    /// When the credentials in use end; `None` for those that do not.
    pub(crate) async fn credentials_end(&self) -> Result<Option<SystemTime>, CallError> {
        let Some(provider) = &self.credentials else { return Ok(None) };
        let credentials = provider.provide_credentials().await;
        let credentials =
            credentials.map_err(|error| CallError::answer("asking for credentials", error.to_string()))?;
        Ok(credentials.expiry())
    }

    /// Puts an object in place of whatever is there.
    pub(crate) async fn put(&self, key: &str, body: &str, metadata: HashMap<String, String>) -> Result<(), CallError> {
        let call = self.client.put_object().bucket(&self.name).key(key).set_metadata(Some(metadata));
        let call = call.set_expected_bucket_owner(self.owner.clone()).content_type("text/plain; charset=utf-8");
        let sent = call.body(ByteStream::from(body.as_bytes().to_vec())).send().await;
        sent.map_err(failed(self.about("PutObject", key)))?;
        Ok(())
    }

    /// Puts an object unless there is one of that key, and says whether it did.
    pub(crate) async fn put_new(&self, key: &str, body: &str) -> Result<bool, CallError> {
        self.put_bytes(key, body.as_bytes().to_vec(), "application/json", &Only::IfNew).await
    }

    /// Deletes an object. Gone already: done.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), CallError> {
        let call = self.client.delete_object().bucket(&self.name).key(key);
        let sent = call.set_expected_bucket_owner(self.owner.clone()).send().await;
        sent.map_err(failed(self.about("DeleteObject", key)))?;
        Ok(())
    }

    fn about(&self, verb: &str, key: &str) -> String {
        format!("s3 {verb} {key} in {}", self.name)
    }
}

fn client(config: &SdkConfig, region: &str) -> Client {
    fleetkey_common::aws::s3(&config.to_builder().region(Region::new(region.to_owned())).build())
}
