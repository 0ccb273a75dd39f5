//! The registries that are asked over the network, and what they are asked with.
//!
//! An answer that is not whole is made an error here, never a shorter answer.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::key_pairs::KeyPairs;
use super::{KeyRegistry, Lookup, Registry, RegistryError, ec2, iam, s3};
use crate::aws::error_text;
use crate::names::PersonName;
use crate::restrictions::AllowedOptions;

/// What the registries are asked with.
#[derive(Debug, Clone)]
pub struct Access {
    /// For the bucket.
    pub s3: aws_sdk_s3::Client,
    /// For key pairs; its region is theirs.
    pub ec2: aws_sdk_ec2::Client,
    /// For IAM users.
    pub iam: aws_sdk_iam::Client,
    /// The public-key bucket.
    pub bucket: String,
    /// The options that keys in the bucket may carry.
    pub allowed: AllowedOptions,
}

/// The registries of these kinds, in this order. The directory is no registry to be asked by network and is left out.
pub fn open(kinds: &[Registry], access: &Access) -> Vec<Box<dyn KeyRegistry>> {
    let pairs = KeyPairs::new(access.ec2.clone());
    let open = |kind: &Registry| -> Option<Box<dyn KeyRegistry>> {
        match kind {
            Registry::S3 => Some(Box::new(s3::S3Registry::new(access.clone(), pairs.clone()))),
            Registry::Ec2 => Some(Box::new(ec2::Ec2Registry::new(pairs.clone()))),
            Registry::Iam => Some(Box::new(iam::IamRegistry::new(access.iam.clone()))),
            Registry::Directory => None,
        }
    };
    kinds.iter().filter_map(open).collect()
}

impl RegistryError {
    /// A call that AWS failed or refused.
    pub(crate) fn of_call<E>(registry: Registry, action: impl Into<String>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        Self { registry, action: action.into(), cause: error_text(error) }
    }

    /// An answer that says there is more and not where: to take it for whole would drop what is missing.
    pub(crate) fn cut_short(registry: Registry, action: impl Into<String>) -> Self {
        let cause = "the answer is said to go on, and does not say where".to_owned();
        Self { registry, action: action.into(), cause }
    }
}

impl Lookup {
    /// Takes in what another place has of the same person. The first fault is kept.
    pub(crate) fn add(&mut self, other: Lookup) {
        self.keys.extend(other.keys);
        self.rejected.extend(other.rejected);
        self.fault = self.fault.take().or(other.fault);
    }

    /// The answer of a registry that could not be asked about anybody.
    pub(crate) fn all_failed(people: &BTreeSet<PersonName>, error: RegistryError) -> BTreeMap<PersonName, Lookup> {
        let fault = Arc::new(error);
        let lookup = |_| Lookup { fault: Some(Arc::clone(&fault)), ..Lookup::default() };
        people.iter().map(|person| (person.clone(), lookup(person))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_in_one_line_with_the_call_and_its_cause() {
        let error = RegistryError::cut_short(Registry::S3, "ListObjectsV2 b/people/");
        assert_eq!(
            error.to_string(),
            "s3: ListObjectsV2 b/people/ failed: the answer is said to go on, and does not say where"
        );
    }
}
