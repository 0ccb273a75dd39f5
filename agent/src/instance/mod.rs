//! Which instance this is: to AWS (`identify`), and to the state on its own disk ([`HostIdentity`]).
//!
//! Neither is ever guessed: where two sources disagree, there is no answer.

mod host;
#[cfg(feature = "aws")]
mod identity;

pub use host::HostIdentity;
#[cfg(feature = "aws")]
pub use identity::{IdentityError, InstanceIdentity, identify};
