//! The refusals of the program: what is wrong, what to do about it, and which exit code that makes.
//!
//! Never used in place of a failed AWS call: that is a [`CallError`], which keeps the service's own words.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::process::ExitCode;

use thiserror::Error;

use crate::aws::CallError;

/// Exit code of a command that was asked for something it could not do.
const FAILED: u8 = 1;
/// Exit code of a command line that asks for nothing that can be done; clap uses the same.
const USAGE: u8 = 2;

/// Something that is not done, with its reason in words and a hint for whoever asked.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    message: String,
    hints: Vec<String>,
    code: u8,
}

impl Refusal {
    /// A refusal for a reason that lies in the facts: exit code 1.
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), hints: Vec::new(), code: FAILED }
    }

    /// A refusal for a reason that lies in the command line: exit code 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: USAGE, ..Self::new(message) }
    }

    /// Adds what to do about it, printed as a line of its own after `hint: `.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Adds which permissions the caller lacked in these calls, if that is why any of them failed.
    #[must_use]
    pub(crate) fn hint_permissions<'a>(self, failed: impl IntoIterator<Item = &'a CallError>) -> Self {
        let missing: BTreeSet<String> = failed.into_iter().filter_map(CallError::missing_permission).collect();
        if missing.is_empty() {
            return self;
        }
        let missing: Vec<String> = missing.into_iter().collect();
        self.hint(format!("the caller lacks {}; packaging/iam names the policy that has it", missing.join(", ")))
    }
}

/// The hints of the refusal that an error is or was given as its context.
pub(crate) fn hints(error: &anyhow::Error) -> Vec<&str> {
    let refusal = error.downcast_ref::<Refusal>();
    refusal.into_iter().flat_map(|refusal| refusal.hints.iter().map(String::as_str)).collect()
}

/// The exit code of an error: that of its refusal, else 1.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.downcast_ref::<Refusal>().map_or(FAILED, |refusal| refusal.code))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn hints_and_exit_code_are_found_whether_the_refusal_is_the_cause_or_the_context() {
        let refusal = || Refusal::usage("no").hint("say yes").hint("or --force");
        let cause = Err::<(), _>(refusal()).context("while asking").unwrap_err();
        let context = anyhow::anyhow!("the network is down").context(refusal());
        for error in [cause, context, refusal().into()] {
            assert_eq!(hints(&error), ["say yes", "or --force"]);
            assert_eq!(exit_code(&error), ExitCode::from(2));
        }
        assert_eq!(exit_code(&anyhow::anyhow!("other")), ExitCode::from(1));
    }
}
