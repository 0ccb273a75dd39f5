//! What an AWS account has to have for Fleetkey, and how it comes to have it: bucket, topics, IAM policies.
//!
//! How these should be is said here and nowhere else: `fleetkey init` and the first write make them so, `fleetkey doctor`
//! holds against it what is there, and Terraform and CloudFormation are printed from it.

pub(crate) mod bucket;
pub(crate) mod carry;
pub(crate) mod cloudformation;
pub(crate) mod look;
pub(crate) mod plan;
pub(crate) mod sheet;
pub(crate) mod shipped;
pub(crate) mod terraform;
pub(crate) mod words;
