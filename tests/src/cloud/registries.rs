//! The three registries: the public-key bucket, EC2 key pairs, SSH public keys of IAM users.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_iam::types::StatusType;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use fleetkey_common::public_key::Fingerprint;
use serde_json::json;

use super::Cloud;
use crate::keys::TestKey;

impl Cloud {
    /// Makes a bucket in the region.
    pub async fn create_bucket(&self, name: &str) -> Result<()> {
        let region = BucketLocationConstraint::from(Self::REGION);
        let place = CreateBucketConfiguration::builder().location_constraint(region).build();
        self.s3.create_bucket().bucket(name).create_bucket_configuration(place).send().await?;
        Ok(())
    }

    /// Puts an object with metadata (`x-amz-meta-*`) into the public-key bucket.
    pub async fn put_object(&self, key: &str, body: impl Into<Vec<u8>>, metadata: &[(&str, &str)]) -> Result<()> {
        let metadata = metadata.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let put = self.s3.put_object().bucket(self.bucket()).key(key).set_metadata(Some(metadata));
        put.body(body.into().into()).send().await?;
        Ok(())
    }

    /// Deletes an object of the public-key bucket.
    pub async fn delete_object(&self, key: &str) -> Result<()> {
        self.s3.delete_object().bucket(self.bucket()).key(key).send().await?;
        Ok(())
    }

    /// The objects of the public-key bucket below a prefix, with their bodies.
    pub async fn objects(&self, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let list = self.s3.list_objects_v2().bucket(self.bucket()).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut objects = BTreeMap::new();
        while let Some(page) = pages.try_next().await? {
            for key in page.contents().iter().filter_map(|object| object.key()) {
                let object = self.s3.get_object().bucket(self.bucket()).key(key).send().await?;
                objects.insert(key.to_owned(), object.body.collect().await?.to_vec());
            }
        }
        Ok(objects)
    }

    /// Where a person's key stands in the bucket.
    pub fn person_object(person: &str, key: &TestKey) -> String {
        format!("people/{person}/{}.pub", key.fingerprint().to_hex())
    }

    /// Registers a key of a person, good in all regions.
    pub async fn put_person_key(&self, person: &str, key: &TestKey) -> Result<()> {
        self.put_object(&Self::person_object(person, key), format!("{}\n", key.line()), &[]).await
    }

    /// Takes a key of a person out of the bucket.
    pub async fn delete_person_key(&self, person: &str, key: &TestKey) -> Result<()> {
        self.delete_object(&Self::person_object(person, key)).await
    }

    /// Registers a key as CGCloud does: an EC2 key pair of this name, and the object `ssh_pubkey:<EC2 fingerprint>`,
    /// with the fingerprint that EC2 states.
    pub async fn put_cgcloud_key(&self, name: &str, key: &TestKey) -> Result<()> {
        let fingerprint = self.import_key_pair(name, key).await?;
        self.put_object(&format!("ssh_pubkey:{fingerprint}"), key.line(), &[]).await
    }

    /// Imports an EC2 key pair; returns the fingerprint that EC2 states.
    pub async fn import_key_pair(&self, name: &str, key: &TestKey) -> Result<String> {
        let import = self.ec2.import_key_pair().key_name(name);
        let made = import.public_key_material(Blob::new(key.line())).send().await?;
        made.key_fingerprint.context("ImportKeyPair states a fingerprint")
    }

    /// Deletes an EC2 key pair.
    pub async fn delete_key_pair(&self, name: &str) -> Result<()> {
        self.ec2.delete_key_pair().key_name(name).send().await?;
        Ok(())
    }

    /// Uploads an SSH public key to an IAM user; returns its id, `APKA...`.
    pub async fn upload_iam_key(&self, user: &str, key: &TestKey) -> Result<String> {
        let upload = self.iam.upload_ssh_public_key().user_name(user).ssh_public_key_body(key.line());
        let made = upload.send().await?;
        Ok(made.ssh_public_key.context("UploadSSHPublicKey gives the key")?.ssh_public_key_id)
    }

    /// Makes an SSH public key of an IAM user active or inactive.
    pub async fn set_iam_key_active(&self, user: &str, id: &str, active: bool) -> Result<()> {
        let status = if active { StatusType::Active } else { StatusType::Inactive };
        self.iam.update_ssh_public_key().user_name(user).ssh_public_key_id(id).status(status).send().await?;
        Ok(())
    }

    /// Deletes an SSH public key of an IAM user.
    pub async fn delete_iam_key(&self, user: &str, id: &str) -> Result<()> {
        self.iam.delete_ssh_public_key().user_name(user).ssh_public_key_id(id).send().await?;
        Ok(())
    }

    /// Bars a key, whatever registry holds it.
    pub async fn revoke(&self, fingerprint: Fingerprint) -> Result<()> {
        let body = json!({"who": "test", "when": jiff::Timestamp::now().to_string(), "why": "test"});
        self.put_object(&format!("revoked/{}", fingerprint.to_hex()), body.to_string(), &[]).await
    }

    /// Takes a revocation back.
    pub async fn unrevoke(&self, fingerprint: Fingerprint) -> Result<()> {
        self.delete_object(&format!("revoked/{}", fingerprint.to_hex())).await
    }
}
