//! The topic that carries hints, and the queues that hear them.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Cloud;

impl Cloud {
    /// The topic that agents listen to by default.
    pub const TOPIC: &str = "fleetkey-agent-notifications";

    /// Makes a topic; returns its ARN.
    pub async fn create_topic(&self, name: &str) -> Result<String> {
        let made = self.sns.create_topic().name(name).send().await?;
        made.topic_arn.context("CreateTopic gives an ARN")
    }

    /// Publishes the hint to look: base64 of `{"version": 1, "type": 1}`.
    pub async fn publish_hint(&self, topic_arn: &str) -> Result<()> {
        self.publish(topic_arn, &STANDARD.encode(r#"{"version": 1, "type": 1}"#)).await
    }

    /// Publishes anything.
    pub async fn publish(&self, topic_arn: &str, body: &str) -> Result<()> {
        self.sns.publish().topic_arn(topic_arn).message(body).send().await?;
        Ok(())
    }

    /// The URLs of all queues, sorted.
    pub async fn queues(&self) -> Result<Vec<String>> {
        let mut pages = self.sqs.list_queues().into_paginator().send();
        let mut queues = Vec::new();
        while let Some(page) = pages.try_next().await? {
            queues.extend(page.queue_urls.unwrap_or_default());
        }
        queues.sort();
        Ok(queues)
    }

    /// The endpoints of all subscriptions, queue ARNs, sorted.
    pub async fn subscriptions(&self) -> Result<Vec<String>> {
        let mut pages = self.sns.list_subscriptions().into_paginator().send();
        let mut endpoints = Vec::new();
        while let Some(page) = pages.try_next().await? {
            endpoints.extend(page.subscriptions().iter().filter_map(|subscription| subscription.endpoint.clone()));
        }
        endpoints.sort();
        Ok(endpoints)
    }
}
