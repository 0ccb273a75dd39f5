//! The policy of whoever sets up an account: enough, each permission in it called for, and what is missing told.
//!
//! To moto some settings of a bucket take the permission to list it, or to make it, rather than one of their own: the
//! lack of those cannot be shown here. Nor that of `iam:CreatePolicy`: moto takes the signature of a request that has
//! blanks in its body, as the description of a policy does, for a wrong one.

use anyhow::Result;
use fleetkey_tests::cloud::Cloud;
use serde_json::json;

use super::super::permissions::{HEAD_BUCKET, Limited, allow, called_for, tells_of};
use super::setting::{changed, init, topics};

const INIT: &str = "controller-init";
const REPORT: &str = "fleetkey-agent-report";

/// Takes away what there is but for the policies.
async fn raze(cloud: &Cloud) -> Result<()> {
    if cloud.s3().head_bucket().bucket(cloud.bucket()).send().await.is_ok() {
        cloud.s3().delete_bucket().bucket(cloud.bucket()).send().await?;
    }
    for topic in topics(cloud, Cloud::REGION).await? {
        let arn = format!("arn:aws:sns:{}:{}:{topic}", Cloud::REGION, cloud.account_id());
        cloud.sns().delete_topic().topic_arn(arn).send().await?;
    }
    Ok(())
}

/// Has a policy say something else, in as many versions as IAM keeps.
async fn alter(cloud: &Cloud) -> Result<()> {
    let arn = format!("arn:aws:iam::{}:policy/fleetkey/{REPORT}", cloud.account_id());
    let there = cloud.iam().list_policy_versions().policy_arn(&arn).send().await?.versions().len();
    for at in there..5 {
        let other = json!({"Version": "2012-10-17",
            "Statement": [{"Sid": format!("V{at}"), "Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}]});
        let call = cloud.iam().create_policy_version().policy_arn(&arn).policy_document(other.to_string());
        call.set_as_default(true).send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn setting_up_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new(INIT, &[HEAD_BUCKET]).await?;
    let cloud = &operator.cloud;
    moto.enforce_iam(u32::MAX)?;
    raze(cloud).await?;
    init(&operator, &[]).await?.ended(0);
    moto.enforce_iam(0)?;
    let lacking = async |action: &str| -> Result<()> {
        allow(cloud, &policy, Some(action)).await?;
        let ran = init(&operator, &[]).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        Ok(())
    };
    for action in [
        "s3:GetBucketTagging",
        "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration",
        "s3:GetBucketPolicy",
        "sns:GetTopicAttributes",
        "iam:ListPolicies",
        "iam:GetPolicyVersion",
    ] {
        lacking(action).await?;
    }
    for action in [
        "s3:CreateBucket",
        "s3:PutBucketTagging",
        "s3:PutBucketVersioning",
        "s3:PutLifecycleConfiguration",
        "sns:CreateTopic",
    ] {
        raze(cloud).await?;
        lacking(action).await?;
    }
    for action in ["iam:ListPolicyVersions", "iam:DeletePolicyVersion", "iam:CreatePolicyVersion"] {
        alter(cloud).await?;
        lacking(action).await?;
    }
    raze(cloud).await?;
    alter(cloud).await?;
    allow(cloud, &policy, None).await?;
    init(&operator, &[]).await?.ended(0);
    assert_eq!(changed(&init(&operator, &[]).await?.ended(0))?, Vec::<String>::new());
    let mut called = called_for(&proxy);
    // Over plain HTTP the bucket's policy is left out.
    called.insert("s3:PutBucketPolicy".to_owned());
    assert_eq!(called, policy.actions());
    Ok(())
}
