//! The IAM policies that are shipped for the controller: enough for what the program does, each permission in them
//! called for, and each one that is missing told by its name.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use aws_sdk_ec2::types::{IpPermission, IpRange, Tag};
use fleetkey_tests::cloud::Cloud;
use fleetkey_tests::keys::TestKey;
use fleetkey_tests::moto::Moto;
use fleetkey_tests::packages::Packages;
use fleetkey_tests::policy::ShippedPolicy;
use fleetkey_tests::proxy::Proxy;

use super::box_at_hand::{ROLE, launch};
use super::boxes::launch_box;
use super::fleetkey::Operator;

const USER: &str = "alice";
const REGISTER: &str = "controller-register-key";
const REVOKE: &str = "controller-revoke-key";
const LIFECYCLE: &str = "controller-lifecycle";
const SSH: &str = "controller-ssh";
const REFRESH_INGRESS: &str = "controller-refresh-ingress";
const PUBLISH_AGENT: &str = "controller-publish-agent";
const INIT: &str = "controller-init";

/// In AWS, who may list a bucket may ask whether it is there; to moto this is a permission of its own.
pub(super) const HEAD_BUCKET: &str = r#"{"Version":"2012-10-17",
    "Statement":[{"Effect":"Allow","Action":["s3:HeadBucket"],"Resource":["arn:aws:s3:::*"]}]}"#;

/// An operator who may do what one shipped policy says, on a server that holds every call against it.
pub(super) struct Limited {
    pub(super) operator: Operator,
    pub(super) policy: ShippedPolicy,
    pub(super) proxy: Proxy,
    // Dropped last.
    pub(super) moto: Moto,
}

impl Limited {
    /// One in a new account; `more` are policies beside the shipped one, as moto reads them.
    pub(super) async fn new(policy: &str, more: &[&str]) -> Result<Self> {
        let moto = tokio::task::spawn_blocking(Moto::start).await??;
        let cloud = Cloud::on(&moto).await?;
        let policy = ShippedPolicy::read(policy, &cloud, USER)?;
        let whole = policy.clone().for_moto();
        let credentials = cloud.create_limited_user(USER, &[&[whole.as_str()], more].concat()).await?;
        let mut operator = Operator::with(cloud, &credentials)?;
        let proxy = Proxy::start(moto.address())?;
        operator.go_through(proxy.endpoint());
        moto.enforce_iam(0)?;
        Ok(Self { operator, policy, proxy, moto })
    }

    fn cloud(&self) -> &Cloud {
        &self.operator.cloud
    }

    /// From now on the operator has the policy, or what is left of it without this action.
    async fn allow(&self, all_but: Option<&str>) -> Result<()> {
        allow(self.cloud(), &self.policy, all_but).await
    }

    /// The permissions that the program's calls so far were about.
    fn called_for(&self) -> BTreeSet<String> {
        called_for(&self.proxy)
    }
}

/// From now on the operator has this policy, or what is left of it without this action.
pub(super) async fn allow(cloud: &Cloud, policy: &ShippedPolicy, all_but: Option<&str>) -> Result<()> {
    let policy = match all_but {
        Some(action) => policy.clone().without(action)?,
        None => policy.clone(),
    };
    let put = cloud.iam().put_user_policy().user_name(USER).policy_name("policy-0");
    put.policy_document(policy.for_moto()).send().await?;
    Ok(())
}

/// The permissions that the program's calls so far were about.
pub(super) fn called_for(proxy: &Proxy) -> BTreeSet<String> {
    let calls = proxy.take_calls().into_iter().map(|call| format!("{}:{}", call.service, call.action));
    // AWS lets everybody ask who is calling.
    let calls = calls.filter(|call| call != "sts:GetCallerIdentity");
    // Operations that have no permission of their own.
    let named = [("ListObjectsV2", "ListBucket"), ("HeadBucket", "ListBucket"), ("HeadObject", "GetObject")];
    calls.map(|call| named.iter().fold(call, |call, (from, to)| call.replace(from, to))).collect()
}

/// Whether the program said that this permission is missing, and nothing about another.
pub(super) fn tells_of(stderr: &str, action: &str) -> bool {
    let hints: Vec<_> = stderr.lines().filter(|line| line.starts_with("hint: the caller lacks ")).collect();
    // S3 refuses to read what is not there also for lack of the permission to list.
    let told = if action == "s3:GetObject" { "s3:GetObject or s3:ListBucket" } else { action };
    hints == [format!("hint: the caller lacks {told}; packaging/iam names the policy that has it")]
}

#[tokio::test]
async fn registering_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(REGISTER, &[]).await?;
    limited.cloud().create_topic(Cloud::TOPIC).await?;
    let (first, second) = (TestKey::new("first")?, TestKey::new("second")?);
    let (first_file, second_file) = (limited.operator.key_file(&first)?, limited.operator.key_file(&second)?);
    let every_time = ["s3:ListBucket", "s3:GetObject", "ec2:DescribeKeyPairs"];
    let at_first = [&every_time[..], &["s3:PutObject", "ec2:ImportKeyPair", "sns:Publish"]].concat();
    for (file, flags, needed) in [
        (&first_file, &["--expires", "2090-01-01"][..], &at_first[..]),
        (&first_file, &["--expires", "2091-01-01"], &["ec2:CreateTags"]),
        (&first_file, &["--expires", "never"], &["ec2:DeleteTags"]),
        (&second_file, &["--force"], &["ec2:DeleteKeyPair"]),
    ] {
        for action in needed {
            limited.allow(Some(action)).await?;
            let ran = limited.operator.register(file, flags).await?.ended(1);
            assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
        }
        limited.allow(None).await?;
        limited.operator.register(file, flags).await?.ended(0);
    }
    assert_eq!(limited.called_for(), limited.policy.actions());
    let people: Vec<_> = limited.cloud().objects("people/").await?.into_keys().collect();
    let mut wanted = [&first, &second].map(|key| Cloud::person_object(USER, key));
    wanted.sort();
    assert_eq!(people, wanted);
    Ok(())
}

#[tokio::test]
async fn who_may_register_her_own_keys_may_neither_register_anothers_nor_take_one() -> Result<()> {
    let limited = Limited::new(REGISTER, &[]).await?;
    limited.cloud().create_topic(Cloud::TOPIC).await?;
    let (own, bobs) = (TestKey::new("alice")?, TestKey::new("bob")?);
    let file = limited.operator.key_file(&own)?;
    let ran = limited.operator.register(&file, &["--person", "bob"]).await?.ended(1);
    assert!(tells_of(&ran.stderr, "s3:PutObject"), "{}", ran.stderr);

    limited.cloud().put_person_key("bob", &bobs).await?;
    let ran = limited.operator.register(&limited.operator.key_file(&bobs)?, &["--force"]).await?.ended(1);
    assert!(tells_of(&ran.stderr, "s3:DeleteObject"), "{}", ran.stderr);
    let of_bob: Vec<_> = limited.cloud().objects("people/bob/").await?.into_keys().collect();
    assert_eq!(of_bob, [Cloud::person_object("bob", &bobs)]);
    Ok(())
}

/// Puts a key of bob's into every registry, and another into a file that somebody named by hand.
async fn put_everywhere(limited: &Limited, key: &TestKey) -> Result<()> {
    // moto takes the signature of a request that has blanks in its body, as a key does, for a wrong one.
    limited.moto.enforce_iam(u32::MAX)?;
    let cloud = limited.cloud();
    let held = cloud.iam().list_ssh_public_keys().user_name("bob").send().await?;
    if held.ssh_public_keys().is_empty() {
        cloud.upload_iam_key("bob", key).await?;
    }
    cloud.delete_key_pair("bob").await?;
    cloud.put_cgcloud_key("bob", key).await?;
    cloud.put_person_key("bob", key).await?;
    cloud.put_object("people/bob/by-hand.pub", key.line(), &[]).await?;
    limited.moto.enforce_iam(0)
}

#[tokio::test]
async fn revoking_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(REVOKE, &[]).await?;
    limited.cloud().create_topic(Cloud::TOPIC).await?;
    limited.cloud().create_user("bob").await?;
    let key = TestKey::rsa()?;
    for action in limited.policy.actions() {
        put_everywhere(&limited, &key).await?;
        limited.allow(Some(&action)).await?;
        let ran = limited.operator.revoke(&["--person", "bob"]).await?.ended(1);
        assert!(tells_of(&ran.stderr, &action), "{action}: {}", ran.stderr);
    }
    put_everywhere(&limited, &key).await?;
    limited.allow(None).await?;
    limited.operator.revoke(&["--person", "bob"]).await?.ended(0);
    assert_eq!(limited.called_for(), limited.policy.actions());
    let left: Vec<_> = limited.cloud().objects("").await?.into_keys().collect();
    assert_eq!(left, [format!("revoked/{}", key.fingerprint().to_hex())]);
    assert!(limited.operator.pairs().await?.is_empty());
    let held = limited.cloud().iam().list_ssh_public_keys().user_name("bob").send().await?;
    assert!(held.ssh_public_keys().is_empty());
    Ok(())
}

#[tokio::test]
async fn logging_in_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(SSH, &[]).await?;
    limited.moto.enforce_iam(u32::MAX)?;
    launch(limited.cloud()).await?;
    limited.moto.enforce_iam(0)?;
    let log_in = ["ssh", "-n", "/", ROLE];
    for action in limited.policy.actions() {
        limited.allow(Some(&action)).await?;
        let ran = limited.operator.run(&log_in).await?.ended(1);
        assert!(tells_of(&ran.stderr, &action), "{action}: {}", ran.stderr);
    }
    // All that is missing now is a host key on the console.
    limited.allow(None).await?;
    let ran = limited.operator.run(&[&log_in[..], &["--timeout", "300ms"]].concat()).await?.ended(1);
    assert!(ran.stderr.contains("shows no host keys"), "{}", ran.stderr);
    assert_eq!(limited.called_for(), limited.policy.actions());
    Ok(())
}

#[tokio::test]
async fn letting_oneself_in_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(REFRESH_INGRESS, &[]).await?;
    let refresh = async |from: &str, code: i32| -> Result<String> {
        let ran = limited.operator.run(&["refresh-ingress", "-n", "/", ROLE, "--ssh-from", from]).await?;
        Ok(ran.ended(code).stderr)
    };
    limited.allow(Some("ec2:DescribeSecurityGroups")).await?;
    let said = refresh("203.0.113.7", 1).await?;
    assert!(tells_of(&said, "ec2:DescribeSecurityGroups"), "{said}");
    // Descriptions have blanks, with which moto takes a signature for a wrong one: the rest is looked at, not refused.
    limited.moto.enforce_iam(u32::MAX)?;
    let ec2 = limited.cloud().ec2();
    let tag = Tag::builder().key("fleetkey:box").value(format!("/{ROLE}")).build();
    let made = ec2.create_security_group().group_name(ROLE).description("of a box").send().await?;
    ec2.create_tags().set_resources(made.group_id.clone().map(|id| vec![id])).tags(tag).send().await?;
    let by_hand = ec2.authorize_security_group_ingress().set_group_id(made.group_id);
    let range = IpRange::builder().cidr_ip("198.51.100.9/32").description("fleetkey: ssh of bob").build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22).ip_ranges(range).build();
    by_hand.ip_permissions(rule).send().await?;
    for from in ["203.0.113.7", "198.51.100.9"] {
        refresh(from, 0).await?;
    }
    assert_eq!(limited.called_for(), limited.policy.actions());
    Ok(())
}

#[tokio::test]
async fn publishing_the_agent_needs_every_permission_of_its_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(PUBLISH_AGENT, &[]).await?;
    let packages = Packages::stand_in()?;
    let deb = packages.deb()?;
    let publish = ["agent", "publish", deb.to_str().context("the path is text")?];
    // To moto, looking for what is not there takes no permission to list.
    for action in ["s3:GetObject", "s3:PutObject"] {
        limited.allow(Some(action)).await?;
        let ran = limited.operator.run(&publish).await?.ended(1);
        assert!(tells_of(&ran.stderr, action), "{action}: {}", ran.stderr);
    }
    limited.allow(None).await?;
    limited.operator.run(&publish).await?.ended(0);
    limited.operator.run(&["agent", "list"]).await?.ended(0);
    limited.operator.run(&["agent", "url", "--format", "deb"]).await?.ended(0);
    assert_eq!(limited.called_for(), limited.policy.actions());
    Ok(())
}

#[tokio::test]
async fn boxes_and_images_need_every_permission_of_their_policy_and_no_other() -> Result<()> {
    let limited = Limited::new(LIFECYCLE, &[]).await?;
    limited.moto.enforce_iam(u32::MAX)?;
    launch_box(limited.cloud(), "web").await?;
    limited.moto.enforce_iam(0)?;
    let run = async |arguments: &[&str], code: i32| -> Result<String> {
        Ok(limited.operator.run(&[arguments, &["--namespace", "/"]].concat()).await?.ended(code).stderr)
    };
    let delete = ["delete-image", "web", "-i", "0", "--yes"];
    for (arguments, needed) in [
        (&["list"][..], &["ec2:DescribeInstances"][..]),
        (&["show", "web"], &["ec2:DescribeVolumes"]),
        (&["reboot", "web"], &["ec2:RebootInstances"]),
        (&["stop", "web"], &["ec2:StopInstances"]),
        (&["start", "web"], &["ec2:StartInstances"]),
        (&["stop", "web"], &[]),
        (&["image", "web"], &["ec2:DescribeImages", "ec2:CreateImage", "ec2:CreateTags"]),
        (&delete, &["ec2:DescribeInstances", "ec2:CreateTags", "ec2:DeregisterImage"]),
        (&["terminate", "web", "--yes"], &["ec2:DescribeVolumes", "ec2:TerminateInstances"]),
    ] {
        for action in needed {
            limited.allow(Some(action)).await?;
            let stderr = run(arguments, 1).await?;
            assert!(tells_of(&stderr, action), "{action}: {stderr}");
        }
        limited.allow(None).await?;
        run(arguments, 0).await?;
    }
    // The image that could not be tagged is there, and its deletion stops half way.
    limited.allow(Some("ec2:DeleteSnapshot")).await?;
    let stderr = run(&delete, 1).await?;
    assert!(tells_of(&stderr, "ec2:DeleteSnapshot"), "{stderr}");
    let finish = stderr.lines().find_map(|line| line.strip_prefix("hint: run again to finish: fleetkey "));
    let finish: Vec<_> = finish.context("it says how to finish")?.split(' ').chain(["--yes"]).collect();
    limited.allow(Some("ec2:DescribeSnapshots")).await?;
    let stderr = run(&finish, 1).await?;
    assert!(tells_of(&stderr, "ec2:DescribeSnapshots"), "{stderr}");
    limited.allow(None).await?;
    run(&finish, 0).await?;
    assert_eq!(limited.called_for(), limited.policy.actions());
    Ok(())
}

#[tokio::test]
async fn bucket_and_topic_are_made_at_first_use_by_whoever_may() -> Result<()> {
    let limited = Limited::new(INIT, &[HEAD_BUCKET]).await?;
    let register = ShippedPolicy::read(REGISTER, limited.cloud(), USER)?.for_moto();
    let put = limited.cloud().iam().put_user_policy().user_name(USER).policy_name("register");
    put.policy_document(register).send().await?;
    let bucket = limited.cloud().bucket();
    limited.cloud().s3().delete_bucket().bucket(&bucket).send().await?;
    let key = TestKey::new("alice")?;
    let file = limited.operator.key_file(&key)?;

    limited.allow(Some("s3:CreateBucket")).await?;
    let ran = limited.operator.register(&file, &[]).await?.ended(1);
    let error = ran.stderr.lines().next().context("it says why")?;
    assert!(error.starts_with(&format!("error: there is no bucket {bucket} yet: s3 CreateBucket ")), "{error}");
    assert!(tells_of(&ran.stderr, "s3:CreateBucket"), "{}", ran.stderr);

    limited.allow(Some("sns:CreateTopic")).await?;
    let ran = limited.operator.register(&file, &[]).await?.ended(1);
    assert!(tells_of(&ran.stderr, "sns:CreateTopic"), "{}", ran.stderr);

    limited.allow(None).await?;
    assert_eq!(limited.operator.register(&file, &[]).await?.ended(0).steps()?, ["hint done"]);
    Ok(())
}
