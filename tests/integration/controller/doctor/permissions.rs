//! What the caller may do: tried, inferred, or not known.

use anyhow::Result;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::proxy::{Fault, Proxy};

use super::super::boxes::launch_box;
use super::super::permissions::{HEAD_BUCKET, Limited, allow};
use super::lines::{at_work, doctor, lines, of, told};

/// What IAM says when it is asked about policies, which moto cannot be.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
fn simulated(results: &[(&str, &str)]) -> String {
    let member = |(action, decision): &(&str, &str)| {
        format!("<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>")
    };
    let members: String = results.iter().map(member).collect();
    format!(
        "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
         <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>\
         <EvaluationResults>{members}</EvaluationResults></SimulatePrincipalPolicyResult>\
         <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"
    )
}

#[tokio::test]
async fn what_cannot_be_tried_is_asked_of_iam_and_told_as_inferred() -> Result<()> {
    let mut operator = at_work().await?;
    let proxy = Proxy::start(Moto::shared()?.address())?;
    operator.go_through(proxy.endpoint());
    proxy.answer("iam:SimulatePrincipalPolicy", 200, &simulated(&[("s3:PutObject", "allowed")]));
    let found = lines(&doctor(&operator, &["--as", "publishers"]).await?.ended(0))?;
    let wanted = "ok publish packages of the agent: 2 tried and allowed, 1 allowed as IAM infers";
    assert_eq!(of(&found, "permissions"), [wanted]);

    proxy.answer("iam:SimulatePrincipalPolicy", 200, &simulated(&[("s3:PutObject", "implicitDeny")]));
    let found = lines(&doctor(&operator, &["--as", "publishers"]).await?.ended(1))?;
    let mend = format!(
        "aws iam attach-user-policy --user-name alice --policy-arn arn:aws:iam::{}:policy/fleetkey/fleetkey-controller-publish-agent",
        operator.cloud.account_id()
    );
    told(&found, "permissions", "missing publish packages of the agent: lacks s3:PutObject (inferred)", &mend);

    proxy.heal();
    proxy.spoil("iam:SimulatePrincipalPolicy", Fault::Refuse("AccessDenied", "no"));
    let found = lines(&doctor(&operator, &["--as", "publishers"]).await?.ended(0))?;
    let begins = "unknown publish packages of the agent: 2 tried and allowed, 1 not known, since they cannot be tried";
    told(&found, "permissions", begins, "fleetkey-controller-doctor");
    Ok(())
}

#[tokio::test]
async fn permissions_are_found_out_by_trying_and_nothing_comes_of_it() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-lifecycle", &[HEAD_BUCKET]).await?;
    moto.enforce_iam(u32::MAX)?;
    let id = launch_box(&operator.cloud, "web").await?;
    moto.enforce_iam(0)?;
    let purpose = "list boxes, switch them on and off, terminate them, take and delete images of them";
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    // moto knows no simulation, and the caller has no other policy.
    told(
        &found,
        "permissions",
        &format!("unknown {purpose}: 8 tried and allowed, 4 not known"),
        "SimulatePrincipalPolicy",
    );
    told(
        &found,
        "permissions",
        "missing launch boxes: lacks ec2:DescribeInstanceTypeOfferings, ",
        "fleetkey-controller-create",
    );
    for action in ["ec2:StopInstances", "ec2:DescribeSnapshots"] {
        allow(&operator.cloud, &policy, Some(action)).await?;
        let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
        told(&found, "permissions", &format!("missing {purpose}: lacks {action}"), "fleetkey-controller-lifecycle");
    }
    let dry = |call: &fleetkey_tests::proxy::Call| String::from_utf8_lossy(&call.body).contains("DryRun=true");
    let changing = ["StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"];
    let calls = proxy.take_calls();
    let tried: Vec<_> = calls.iter().filter(|call| changing.contains(&call.action.as_str())).collect();
    assert!(tried.len() >= 8 && tried.iter().all(|call| dry(call)), "{tried:?}");
    let answer = operator.cloud.ec2().describe_instances().instance_ids(id).send().await?;
    let state = answer.reservations()[0].instances()[0]
        .state()
        .and_then(|state| state.name())
        .map(aws_sdk_ec2::types::InstanceStateName::as_str);
    assert_eq!(state, Some("running"));
    Ok(())
}

#[tokio::test]
async fn who_has_the_doctors_policy_sees_how_the_account_is_set_up_and_who_has_not_is_told() -> Result<()> {
    let Limited { operator, policy, proxy, moto } = Limited::new("controller-doctor", &[HEAD_BUCKET]).await?;
    moto.enforce_iam(u32::MAX)?;
    operator.run(&["init", "--yes", "--no-policies"]).await?.ended(0);
    moto.enforce_iam(0)?;
    // To moto, some settings take the permission to list.
    let listing =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["*"]}]}"#;
    let put = operator.cloud.iam().put_user_policy().user_name("alice").policy_name("listing");
    put.policy_document(listing).send().await?;
    let ran = doctor(&operator, &[]).await?.ended(1);
    let found = lines(&ran)?;
    assert_eq!(of(&found, "bucket").len(), 8, "{found:#?}");
    for check in ["bucket", "topic", "region"] {
        assert!(of(&found, check).iter().all(|line| line.starts_with("ok ")), "{check}: {found:#?}");
    }
    let called: Vec<String> =
        proxy.take_calls().into_iter().map(|call| format!("{}:{}", call.service, call.action)).collect();
    for action in policy.actions() {
        assert!(called.contains(&action), "{action} is never asked for");
    }

    allow(&operator.cloud, &policy, Some("s3:GetBucketVersioning")).await?;
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    let begins = "unknown the caller may not see how it is set up: it lacks s3:GetBucketVersioning";
    told(&found, "bucket", begins, "fleetkey-controller-doctor");
    allow(&operator.cloud, &policy, Some("sns:GetTopicAttributes")).await?;
    let found = lines(&doctor(&operator, &[]).await?.ended(1))?;
    told(&found, "topic", "unknown the caller may not look: it lacks sns:GetTopicAttributes", "");
    Ok(())
}
