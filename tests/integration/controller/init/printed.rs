//! What is printed for Terraform and CloudFormation: the same as `init` makes.
//!
//! moto plays CloudFormation, but of a bucket only its name, tags and encryption: the rest of the template is held
//! against the bucket that `init` made. Terraform itself cannot be had here: its file is read as it reads it, as JSON whose
//! strings are templates.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, LifecycleExpiration, NoncurrentVersionExpiration};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::moto::environment;
use serde_json::{Value, json};

use super::super::fleetkey::Operator;
use super::setting::{bare, bucket, init, policies, topics};

/// Deploys a template, as somebody with the AWS CLI would, and fails unless the stack is whole.
const DEPLOY: &str = "
import boto3, sys
endpoint, region, key, secret, token, template = sys.argv[1:]
client = boto3.client('cloudformation', endpoint_url=endpoint, region_name=region, aws_access_key_id=key,
                      aws_secret_access_key=secret, aws_session_token=token)
client.create_stack(StackName='fleetkey', TemplateBody=open(template).read(), Capabilities=['CAPABILITY_NAMED_IAM'])
print(client.describe_stacks(StackName='fleetkey')['Stacks'][0]['StackStatus'])
";

/// The most bytes that CloudFormation takes with a request.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
const LONGEST_TEMPLATE: usize = 51_200;

/// What `init --print` says, with no way to AWS and no credentials.
async fn printed(operator: &Operator, tool: &str, more: &[&str]) -> Result<Value> {
    serde_json::from_str(&text(operator, tool, more).await?).context("it is JSON")
}

/// The same, byte for byte.
async fn text(operator: &Operator, tool: &str, more: &[&str]) -> Result<String> {
    let variables =
        [("FLEETKEY_ZONE", "us-west-2a"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("HOME", "/nonexistent")];
    let ran = operator.run_with(&[&["init", "--print", tool], more].concat(), &variables).await?.ended(0);
    assert_eq!(ran.stderr, "");
    Ok(ran.stdout)
}

fn deploy(cloud: &Cloud, region: &str, template: &std::path::Path) -> Result<()> {
    let credentials = cloud.credentials();
    let output = Command::new(environment()?.join("bin/python3"))
        .args(["-c", DEPLOY, cloud.endpoint(), region, credentials.access_key_id(), credentials.secret_access_key()])
        .arg(credentials.session_token().unwrap_or_default())
        .arg(template)
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout)?.trim(), "CREATE_COMPLETE");
    Ok(())
}

/// The account that something is about, in another's place.
fn as_of(value: &impl serde::Serialize, account: &str, other: &str) -> Result<Value> {
    Ok(serde_json::from_str(&serde_json::to_string(value)?.replace(account, other))?)
}

#[tokio::test]
async fn a_stack_of_the_template_is_what_init_makes() -> Result<()> {
    let (made, stacked) = (bare().await?, bare().await?);
    init(&made, &["--regions", "us-west-2,eu-west-1"]).await?.ended(0);
    let printed = text(&stacked, "cloudformation", &["--regions", "us-west-2,eu-west-1"]).await?;
    assert!(printed.len() < LONGEST_TEMPLATE, "{} bytes", printed.len());
    let template: Value = serde_json::from_str(&printed)?;
    let file = stacked.file("fleetkey.json", &printed)?;
    for region in ["us-west-2", "eu-west-1"] {
        deploy(&stacked.cloud, region, &file)?;
        assert_eq!(topics(&stacked.cloud, region).await?, topics(&made.cloud, region).await?);
    }
    let (ours, other) = (stacked.cloud.account_id(), made.cloud.account_id());
    assert_eq!(as_of(&policies(&stacked.cloud).await?, ours, other)?, json!(policies(&made.cloud).await?));

    let is = bucket(&made.cloud).await?;
    let s3 = stacked.cloud.s3();
    let encryption = s3.get_bucket_encryption().bucket(stacked.cloud.bucket()).send().await?;
    let rules = encryption.server_side_encryption_configuration.context("it is encrypted")?.rules;
    let default = rules[0].apply_server_side_encryption_by_default.as_ref().context("there is a default")?;
    assert_eq!(default.sse_algorithm.as_str(), is.encryption);
    let tags = s3.get_bucket_tagging().bucket(stacked.cloud.bucket()).send().await?.tag_set;
    assert_eq!(tags.into_iter().map(|tag| (tag.key, tag.value)).collect::<std::collections::BTreeMap<_, _>>(), is.tags);

    let properties = &template["Resources"]["Bucket"]["Properties"];
    let block = &properties["PublicAccessBlockConfiguration"];
    let ways = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    assert_eq!(ways.map(|way| block[way].as_bool()), is.blocked);
    assert_eq!(properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"], is.ownership);
    assert_eq!(properties["VersioningConfiguration"]["Status"], is.versioning);
    let rules: Vec<Value> = is
        .rules
        .iter()
        .map(|rule| {
            json!({
                "Id": rule.id(),
                "Status": rule.status().as_str(),
                "Prefix": rule.filter().and_then(|filter| filter.prefix()),
                "ExpiredObjectDeleteMarker": rule.expiration().and_then(LifecycleExpiration::expired_object_delete_marker),
                "NoncurrentVersionExpiration":
                    {"NoncurrentDays": rule.noncurrent_version_expiration().and_then(NoncurrentVersionExpiration::noncurrent_days)},
                "AbortIncompleteMultipartUpload": {
                    "DaysAfterInitiation":
                        rule.abort_incomplete_multipart_upload().and_then(AbortIncompleteMultipartUpload::days_after_initiation)
                },
            })
        })
        .collect();
    assert_eq!(properties["LifecycleConfiguration"]["Rules"], json!(rules));
    let statement = &template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
    assert_eq!((&statement["Effect"], &statement["Principal"]), (&json!("Deny"), &json!("*")));
    Ok(())
}

#[tokio::test]
async fn cloudformations_own_linter_finds_nothing_wrong_with_the_template() -> Result<()> {
    let operator = bare().await?;
    let template = text(&operator, "cloudformation", &["--regions", "us-west-2,eu-west-1"]).await?;
    let lint = |text: &str| -> Result<(bool, String)> {
        let file = operator.file("template.json", text)?;
        let output = Command::new(environment()?.join("bin/cfn-lint"))
            .args(["--regions", "us-west-2", "--"])
            .arg(file)
            .stdin(Stdio::null())
            .output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    let (sound, said) = lint(&template)?;
    assert!(sound && said.is_empty(), "{said}");
    let (sound, _) = lint(&template.replace("\"TopicName\"", "\"TopicNaem\""))?;
    assert!(!sound, "it does find what is wrong");
    Ok(())
}

/// What Terraform makes of a template in a string: `${data...}` filled in, and `$${` as `${`.
fn evaluated(text: &str, account: &str) -> String {
    text.replace("${data.aws_partition.current.partition}", "aws")
        .replace("${data.aws_caller_identity.current.account_id}", account)
        .replace("$${", "${")
}

#[tokio::test]
async fn terraforms_file_says_what_init_makes() -> Result<()> {
    let operator = bare().await?;
    init(&operator, &["--regions", "us-west-2,eu-west-1"]).await?.ended(0);
    let file = printed(&operator, "terraform", &["--regions", "us-west-2,eu-west-1"]).await?;
    let (account, resources) = (operator.cloud.account_id(), &file["resource"]);
    let made = policies(&operator.cloud).await?;
    let printed = resources["aws_iam_policy"].as_object().context("it has policies")?;
    assert_eq!(printed.len(), made.len());
    for policy in printed.values() {
        let name = policy["name"].as_str().context("it has a name")?;
        let document: Value = serde_json::from_str(&evaluated(policy["policy"].as_str().context("text")?, account))?;
        assert_eq!(made[name], (policy["path"].as_str().unwrap_or_default().to_owned(), document), "{name}");
    }
    let is = bucket(&operator.cloud).await?;
    let whole = &resources["aws_s3_bucket"]["fleetkey"];
    assert_eq!(evaluated(whole["bucket"].as_str().unwrap_or_default(), account), operator.cloud.bucket());
    assert_eq!(whole["tags"], json!(is.tags));
    let of = |kind: &str| &resources[format!("aws_s3_bucket_{kind}")]["fleetkey"];
    assert_eq!(of("versioning")["versioning_configuration"]["status"], is.versioning);
    assert_eq!(of("ownership_controls")["rule"]["object_ownership"], is.ownership);
    let ways = ["block_public_acls", "ignore_public_acls", "block_public_policy", "restrict_public_buckets"];
    assert_eq!(ways.map(|way| of("public_access_block")[way].as_bool()), is.blocked);
    let encryption = &of("server_side_encryption_configuration")["rule"];
    assert_eq!(encryption["apply_server_side_encryption_by_default"]["sse_algorithm"], is.encryption);
    let rules = of("lifecycle_configuration")["rule"].as_array().context("it has rules")?;
    assert_eq!(rules.len(), is.rules.len());
    for (printed, rule) in rules.iter().zip(&is.rules) {
        assert_eq!(printed["id"].as_str(), rule.id());
        assert_eq!(printed["filter"]["prefix"].as_str(), rule.filter().and_then(|filter| filter.prefix()));
        let days = rule.noncurrent_version_expiration().and_then(NoncurrentVersionExpiration::noncurrent_days);
        assert_eq!(printed["noncurrent_version_expiration"]["noncurrent_days"], json!(days));
    }
    let policy: Value = serde_json::from_str(&evaluated(of("policy")["policy"].as_str().context("text")?, account))?;
    assert_eq!(policy["Statement"][0]["Resource"][0], format!("arn:aws:s3:::{}", operator.cloud.bucket()));
    let topics = &resources["aws_sns_topic"];
    assert_eq!(topics["us-west-2"], json!({"name": Cloud::TOPIC}));
    assert_eq!(topics["eu-west-1"], json!({"name": Cloud::TOPIC, "provider": "aws.eu-west-1"}));
    let providers = json!([{"region": "us-west-2"}, {"alias": "eu-west-1", "region": "eu-west-1"}]);
    assert_eq!(file["provider"]["aws"], providers);
    Ok(())
}

#[tokio::test]
async fn names_that_are_given_are_printed_as_given() -> Result<()> {
    let operator = bare().await?;
    let more = ["--bucket", "our-keys", "--topic", "hints", "--no-policies"];
    let template = printed(&operator, "cloudformation", &more).await?;
    assert_eq!(template["Resources"]["Bucket"]["Properties"]["BucketName"], "our-keys");
    assert_eq!(template["Resources"]["Topic"]["Properties"]["TopicName"], "hints");
    let kinds = template["Resources"].as_object().context("it has resources")?;
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["Bucket", "BucketPolicy", "Topic"]);
    let file = printed(&operator, "terraform", &more).await?;
    assert_eq!(file["resource"]["aws_s3_bucket"]["fleetkey"]["bucket"], "our-keys");
    assert_eq!(file["resource"].get("aws_iam_policy"), None);
    Ok(())
}
