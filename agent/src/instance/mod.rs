//! Which instance this is: to AWS ([`identify`]), and to the state on its own disk ([`HostIdentity`]).
//!
//! Neither is ever guessed: where two sources disagree, there is no answer.

mod host;
mod identity;

pub use host::HostIdentity;
pub use identity::{IdentityError, InstanceIdentity, identify};
