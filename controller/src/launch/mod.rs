//! Boxes launched: what was asked for and what is there make a plan, which is carried out step by step and undone when
//! a step fails.
//!
//! | module | holds |
//! | --- | --- |
//! | `request` | what was asked for |
//! | `keys`, `place`, `machine`, `kept`, `profile` | what that comes to, each by itself; pure |
//! | `attempts` | what a launch is tried with while EC2 has no room; pure |
//! | `plan` | the changes, and how they are shown |
//! | `look` | asks AWS for all that planning needs, and plans |
//! | `boot` | what the box boots with: the agent, its policies, the role |
//! | `journal` | what a create has come to, for the command that goes on with it |
//! | `spot` | the spot market: prices, and requests that stay open |
//! | `carry` | makes what is missing |
//! | `answers` | what an error of a launch says of what became of it |
//! | `send` | launches, and finds a launch again |
//! | `converge` | the same for what is there already, without a launch |
//! | `volumes` | attaches the volumes that a box takes over, and names all of them |
//! | `ready` | waits until the box can be used |
//! | `undo` | takes back what a create made |
//! | `course` | all of these in their order |

mod answers;
mod attempts;
mod boot;
mod carry;
pub(crate) mod converge;
pub(crate) mod course;
mod journal;
pub(crate) mod kept;
pub(crate) mod keys;
mod look;
mod machine;
mod place;
pub(crate) mod plan;
pub(crate) mod profile;
mod ready;
pub(crate) mod request;
mod send;
pub(crate) mod spot;
#[cfg(test)]
mod testing;
mod undo;
mod volumes;

use aws_sdk_iam::Client as IamClient;
use fleetkey_common::aws_names::AbsoluteName;

use crate::aws::bucket::Bucket;
use crate::aws::caller::Caller;
use crate::aws::security_groups::Group;
use crate::entry::Entry;
use crate::fleet::Fleet;
use crate::printer::Printer;
use crate::session::find_bucket;
use crate::settings::Settings;
use crate::ssh::Route;

pub(crate) use carry::Hands;

/// Tag of a security group, and of a box's volumes: the full name of the boxes that it is for. Only a group that has it
/// is changed.
pub(crate) use crate::volume::BOX_TAG;

/// Tag of a security group: when it was made, which EC2 does not tell.
pub(crate) const MADE_TAG: &str = "fleetkey:made";

/// What a description of Fleetkey's begins with.
const DESCRIBED: &str = "Fleetkey:";

/// What a group and an IAM role say of themselves: both take letters, digits and these signs.
fn description(of: &AbsoluteName) -> String {
    format!("{DESCRIBED}{of}")
}

/// The boxes that something is for, by what it says of itself.
pub(crate) fn described(description: &str) -> Option<AbsoluteName> {
    description.strip_prefix(DESCRIBED)?.parse().ok()
}

/// Whether a security group is Fleetkey's, for the boxes of this name.
fn is_of(group: &Group, of: &AbsoluteName) -> bool {
    group.tags.get(BOX_TAG).map(String::as_str) == Some(of.as_str())
}

/// The world of a launch.
#[derive(Debug)]
pub(crate) struct World {
    /// Region, namespace, EC2.
    pub(crate) fleet: Fleet,
    /// IAM.
    pub(crate) iam: IamClient,
    /// The bucket of public keys and packages.
    pub(crate) bucket: Bucket,
    /// Who calls.
    pub(crate) caller: Caller,
    /// The topic of hints.
    pub(crate) topic: String,
    /// Where progress is told.
    pub(crate) printer: Printer,
    /// By which way the box is reached.
    pub(crate) route: Route,
    /// From where SSH is let in.
    pub(crate) entry: Entry,
}

impl World {
    /// Finds out who calls, and the bucket. Changes nothing.
    pub(crate) async fn open(fleet: Fleet, settings: &Settings, printer: Printer) -> anyhow::Result<Self> {
        let caller = fleet.caller().await?.clone();
        let bucket = find_bucket(&fleet.config, settings, &fleet.region, &caller).await?;
        let (topic, route, entry) = (settings.topic.clone(), Route::default(), Entry::default());
        Ok(Self { iam: fleet.iam(), fleet, bucket, caller, topic, printer, route, entry })
    }

    /// What changes are made with.
    pub(crate) fn hands(&self) -> Hands<'_> {
        Hands { ec2: &self.fleet.ec2, iam: &self.iam, partition: self.caller.partition() }
    }
}
