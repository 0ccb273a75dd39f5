//! Whether the caller may do something, by trying it so that nothing comes of it: reads of what is not there, and EC2's
//! dry runs.
//!
//! Nothing here may change anything, also where a server does not know of dry runs: what would, is tried only once a
//! read has shown that it does.

use aws_config::SdkConfig;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::config::http::HttpResponse;
use fleetkey_common::names::PersonName;

use super::bucket::Bucket;
use super::caller::Caller;
use super::instances::filter;
use super::{CallError, failed, instance_profiles, managed_policies, people, topics};
use crate::instance::{GENERATION_TAG, State};

/// A name that nothing has.
const NOTHING: &str = "fleetkey-doctor";

/// A public parameter that all may read who may read any.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html>
const PUBLIC_PARAMETER: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";

/// An instance type that there is in every region.
const SMALL: &str = "t3.micro";

/// Instances on a page: the fewest that EC2 gives.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
const FEW: i32 = 5;

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It is allowed.
    Allowed,
    /// It is not.
    Denied,
    /// Nobody knows: it cannot be tried, or ended otherwise.
    Unknown,
}

/// What is tried on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    /// What clients are made of.
    pub(crate) config: &'a SdkConfig,
    /// Who calls.
    pub(crate) caller: &'a Caller,
    /// The region.
    pub(crate) region: &'a str,
    /// The topic's name.
    pub(crate) topic: &'a str,
    /// The bucket.
    pub(crate) bucket: Option<&'a Bucket>,
    /// What keys of objects begin with.
    pub(crate) prefix: &'a str,
    /// A person.
    pub(crate) person: Option<&'a PersonName>,
    /// A box, where dry runs are known to be none.
    pub(crate) instance: Option<&'a str>,
}

impl Tried {
    /// A read of what need not be there: any answer but a refusal means that it is allowed.
    fn read<T>(answer: Result<T, CallError>) -> Self {
        match answer {
            Ok(_) => Tried::Allowed,
            Err(error) if error.missing_permission().is_some() => Tried::Denied,
            Err(error) if matches!(error.code.as_deref(), Some("NoSuchEntity" | "ParameterNotFound")) => Tried::Allowed,
            Err(_) => Tried::Unknown,
        }
    }

    /// A dry run. A server that does as it is asked all the same allowed it.
    fn dry<T, E>(answer: Result<T, SdkError<E, HttpResponse>>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        match answer.map_err(failed("ec2 dry-run")) {
            Err(error) if error.code.as_deref() == Some(DRY_RUN) => Tried::Allowed,
            answer => Self::read(answer),
        }
    }
}

/// What EC2 says to a dry run of what is allowed.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html>
const DRY_RUN: &str = "DryRunOperation";

/// A box on which dry runs can be tried: any that is there, if the server has shown with a read that it takes a dry run
/// for one.
pub(crate) async fn any_box(client: &aws_sdk_ec2::Client) -> Option<String> {
    let dry = client.describe_instances().dry_run(true).send().await;
    if !dry.is_err_and(|error| error.code() == Some(DRY_RUN)) {
        return None;
    }
    let states = [State::Running, State::Stopped].map(|state| state.as_str().to_owned());
    let filters = vec![filter("tag-key", [GENERATION_TAG.to_owned()]), filter("instance-state-name", states)];
    let answer = client.describe_instances().set_filters(Some(filters)).max_results(FEW).send().await.ok()?;
    let reservations = answer.reservations.unwrap_or_default().into_iter();
    reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).find_map(|found| found.instance_id)
}

/// Tries an action, as policies name it.
pub(crate) async fn try_action(action: &str, on: &Target<'_>) -> Tried {
    match action.split_once(':') {
        Some(("ec2", operation)) => try_ec2(operation, on).await,
        Some(("s3", operation)) => match on.bucket {
            Some(bucket) => try_s3(operation, bucket, on.prefix).await,
            None => Tried::Unknown,
        },
        Some(("iam", operation)) => try_iam(operation, on).await,
        Some(("sns", "GetTopicAttributes")) => {
            let client = aws_sdk_sns::Client::new(on.config);
            Tried::read(topics::exists(&client, on.caller, on.region, on.topic).await)
        }
        Some(("ssm", "GetParameter")) => {
            let call = aws_sdk_ssm::Client::new(on.config).get_parameter().name(PUBLIC_PARAMETER);
            Tried::read(call.send().await.map_err(failed("ssm GetParameter")))
        }
        _ => Tried::Unknown,
    }
}

async fn try_ec2(operation: &str, on: &Target<'_>) -> Tried {
    let client = aws_sdk_ec2::Client::new(on.config);
    macro_rules! dry {
        ($call:expr) => {
            Tried::dry($call.dry_run(true).send().await)
        };
    }
    match (operation, on.instance) {
        ("DescribeImages", _) => dry!(client.describe_images()),
        ("DescribeInstances", _) => dry!(client.describe_instances()),
        // Where a dry run is done all the same, the whole list would be long.
        ("DescribeInstanceTypeOfferings", _) => {
            dry!(client.describe_instance_type_offerings().filters(filter("instance-type", [SMALL.to_owned()])))
        }
        ("DescribeInstanceTypes", _) => dry!(client.describe_instance_types().instance_types(SMALL.into())),
        ("DescribeKeyPairs", _) => dry!(client.describe_key_pairs()),
        ("DescribeRegions", _) => dry!(client.describe_regions()),
        ("DescribeSecurityGroups", _) => dry!(client.describe_security_groups()),
        ("DescribeSnapshots", _) => dry!(client.describe_snapshots().owner_ids("self")),
        ("DescribeSubnets", _) => dry!(client.describe_subnets()),
        ("DescribeVolumes", _) => dry!(client.describe_volumes()),
        ("GetConsoleOutput", Some(id)) => dry!(client.get_console_output().instance_id(id)),
        ("RebootInstances", Some(id)) => dry!(client.reboot_instances().instance_ids(id)),
        ("StartInstances", Some(id)) => dry!(client.start_instances().instance_ids(id)),
        ("StopInstances", Some(id)) => dry!(client.stop_instances().instance_ids(id)),
        ("TerminateInstances", Some(id)) => dry!(client.terminate_instances().instance_ids(id)),
        _ => Tried::Unknown,
    }
}

async fn try_s3(operation: &str, bucket: &Bucket, prefix: &str) -> Tried {
    let nothing = format!("{prefix}{NOTHING}");
    match operation {
        "ListBucket" => Tried::read(bucket.list(&nothing).await),
        "GetObject" => Tried::read(bucket.length(&nothing).await),
        "GetBucketTagging" => Tried::read(bucket.tags().await),
        "GetBucketPublicAccessBlock" => Tried::read(bucket.public_access_blocked().await),
        "GetBucketOwnershipControls" => Tried::read(bucket.ownership_enforced().await),
        "GetEncryptionConfiguration" => Tried::read(bucket.encryption().await),
        "GetBucketVersioning" => Tried::read(bucket.versioned().await),
        "GetLifecycleConfiguration" => Tried::read(bucket.lifecycle().await),
        "GetBucketPolicy" => Tried::read(bucket.policy().await),
        _ => Tried::Unknown,
    }
}

async fn try_iam(operation: &str, on: &Target<'_>) -> Tried {
    let client = aws_sdk_iam::Client::new(on.config);
    let Ok(group) = NOTHING.parse() else { return Tried::Unknown };
    match (operation, on.person) {
        ("GetUser", Some(person)) => Tried::read(people::user_exists(&client, person).await),
        ("GetGroup", _) => Tried::read(people::group_exists(&client, &group).await),
        ("GetRole", _) => Tried::read(instance_profiles::find_role(&client, NOTHING).await),
        ("GetInstanceProfile", _) => Tried::read(instance_profiles::find_profile(&client, NOTHING).await),
        ("ListPolicies", _) => Tried::read(managed_policies::list(&client).await),
        ("ListSSHPublicKeys", Some(person)) => {
            let call = client.list_ssh_public_keys().user_name(person.as_str()).max_items(1);
            Tried::read(call.send().await.map_err(failed("iam ListSSHPublicKeys")))
        }
        _ => Tried::Unknown,
    }
}
