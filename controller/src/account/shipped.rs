//! The IAM policies of `packaging/iam`: who each is for, and what it says. Pure.

use serde_json::Value;

/// Whom a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Audience {
    /// Whoever launches boxes, logs in to them, and registers keys of her own
    Operators,
    /// Whoever may bar anybody's keys
    Revokers,
    /// Whoever publishes the agent's packages, and so decides what runs as root on new boxes
    Publishers,
    /// Whoever, or whatever job, deletes what nobody uses any more
    Cleaners,
    /// Boxes that `fleetkey create` does not launch: it gives its own the policies that they need
    Agents,
    /// Whoever sets up the account: never made by `fleetkey init`, since it gives itself every other
    Administrators,
}

impl Audience {
    /// In a word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Audience::Operators => "operators",
            Audience::Revokers => "revokers",
            Audience::Publishers => "publishers",
            Audience::Cleaners => "cleaners",
            Audience::Agents => "agents",
            Audience::Administrators => "administrators",
        }
    }
}

/// A policy of `packaging/iam`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// The name of its file, without `.json`.
    pub(crate) file: &'static str,
    /// Whom it is for.
    pub(crate) audience: Audience,
    /// What it lets them do, in a few words. IAM never lets it be changed.
    pub(crate) purpose: &'static str,
    text: &'static str,
}

macro_rules! shipped {
    ($($file:literal $audience:ident $purpose:literal),+ $(,)?) => {
        /// All of them.
        pub(crate) const SHIPPED: &[Shipped] = &[$(Shipped {
            file: $file,
            audience: Audience::$audience,
            purpose: $purpose,
            text: include_str!(concat!("../../../packaging/iam/", $file, ".json")),
        }),+];
    };
}

shipped! {
    "controller-create" Operators "launch boxes",
    "controller-doctor" Operators "see how the account is set up",
    "controller-lifecycle" Operators "list boxes, switch them on and off, terminate them, take and delete images of them",
    "controller-refresh-ingress" Operators "open port 22 of boxes to their own address",
    "controller-register-key" Operators "register keys of her own",
    "controller-role-changes" Operators "bring security groups and instance profiles in step with roles",
    "controller-spot" Operators "launch boxes from the spot market",
    "controller-ssh" Operators "find boxes and their host keys",
    "controller-revoke-key" Revokers "bar anybody's keys",
    "controller-publish-agent" Publishers "publish packages of the agent",
    "controller-cleanup" Cleaners "delete what nobody uses any more, in all regions",
    "agent-metrics" Agents "report memory and disk use",
    "agent-push" Agents "hear hints",
    "agent-registry-ec2" Agents "read keys from EC2 key pairs",
    "agent-registry-iam" Agents "read keys from IAM users",
    "agent-registry-s3" Agents "read keys and revocations from the bucket",
    "agent-report" Agents "keep a status object in the bucket",
    "agent-source-iam" Agents "look up IAM users and groups",
    "controller-init" Administrators "set up the account",
}

impl Shipped {
    /// Its name in IAM.
    pub(crate) fn name(&self) -> String {
        format!("fleetkey-{}", self.file)
    }

    /// What it says, with the words of `packaging/iam/README.md` still in it. `Null` for no file that is shipped: tests
    /// read them all.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(self.text).unwrap_or_default()
    }
}

/// What the policy of this file says; `Null` where none is shipped.
pub(crate) fn document(file: &str) -> Value {
    SHIPPED.iter().find(|shipped| shipped.file == file).map(Shipped::document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_policy_that_is_shipped_has_somebody_whom_it_is_for() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/iam");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<String> = files.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
        let known: BTreeSet<String> = SHIPPED.iter().map(|shipped| shipped.file.to_owned()).collect();
        assert_eq!(known, files);
        assert!(SHIPPED.iter().all(|shipped| shipped.document()["Statement"].is_array()));
    }
}
