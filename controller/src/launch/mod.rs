//! Boxes launched: what was asked for and what is there make a plan, which is carried out step by step and undone when
//! a step fails.
//!
//! | module | holds |
//! | --- | --- |
//! | `request` | what was asked for |
//! | `keys`, `place`, `machine`, `profile` | what that comes to, each by itself; pure |
//! | `plan` | the changes, and how they are shown |
//! | `look` | asks AWS for all that planning needs, and plans |
//! | `boot` | what the box boots with: the agent, its policies, the role |
//! | `journal` | what a create has come to, for the command that goes on with it |
//! | `carry` | makes what is missing and launches |
//! | `volumes` | names the volumes of a box that was launched |
//! | `ready` | waits until the box can be used |
//! | `undo` | takes back what a create made |
//! | `course` | all of these in their order |

mod boot;
mod carry;
pub(crate) mod course;
mod journal;
pub(crate) mod keys;
mod look;
mod machine;
mod place;
pub(crate) mod plan;
mod profile;
mod ready;
pub(crate) mod request;
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
use crate::ssh::Route;

/// Tag of a security group: the full name of the boxes that it is for. Only a group that has it is changed.
pub(crate) const GROUP_TAG: &str = "fleetkey:box";

/// Whether a security group is Fleetkey's, for the boxes of this name.
fn is_of(group: &Group, of: &AbsoluteName) -> bool {
    group.tags.get(GROUP_TAG).map(String::as_str) == Some(of.as_str())
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
