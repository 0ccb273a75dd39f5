//! What an error of a launch says of what became of it, and asking again until there is an answer.

use std::time::Duration;

use super::World;
use super::carry::{not_there_yet, settle};
use super::spot::Unfilled;
use crate::aws::CallError;
use crate::aws::launch::Launch;
use crate::wait::{WaitError, Waiter};

/// The codes after which a launch may have been made all the same.
const UNCERTAIN: [&str; 4] = ["InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"];

/// The code by which EC2 says that it is asked too often.
const TOO_OFTEN: &str = "RequestLimitExceeded";

/// The codes that say nothing of a launch that was asked for before: too many calls, a caller whom EC2 does not listen to
/// any more, and a token that was used otherwise.
const OPEN: [&str; 5] =
    [TOO_OFTEN, "AuthFailure", "RequestExpired", "UnauthorizedOperation", "IdempotentParameterMismatch"];

/// The pause before a launch is asked for again whose answer was not heard; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest such pause; after it, nobody asks again.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Asks for one launch until EC2 has heard of the security group and the instance profile, and until it answers. `look`
/// finds what a call has made whose answer was not heard.
///
/// # Errors
/// One is an answer to the launch, as [`is_refused`] has it, only where no call before it may have launched.
pub(super) async fn until_answered<T>(
    world: &World,
    waiter: &Waiter,
    launch: &Launch,
    run: impl AsyncFn() -> Result<T, CallError>,
    look: impl AsyncFn() -> Result<Option<T>, CallError>,
) -> anyhow::Result<T> {
    let what = match &launch.profile {
        Some(profile) => format!("EC2 knows security group {} and instance profile {profile}", launch.group),
        None => format!("EC2 knows security group {}", launch.group),
    };
    let (mut pause, mut unheard) = (FIRST_PAUSE, false);
    loop {
        let error = match settle(waiter, &what, not_there_yet, &run).await {
            Err(error) if pause <= LAST_PAUSE && is_unanswered(&error) => error,
            Err(error) if unheard && !rules_out(&error) => return Err(no_answer(error)),
            answered => return answered,
        };
        unheard |= !is_refused(&error);
        world.printer.detail(&format!("asking again: {error:#}"));
        let looking = async {
            tokio::time::sleep(pause).await;
            look().await
        };
        match waiter.act("launch the box", looking).await.map_err(WaitError::into_anyhow)? {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if is_passing(&error) => world.printer.detail(&error.to_string()),
            Err(error) => return Err(no_answer(error.into())),
        }
        pause *= 2;
    }
}

/// The same error without its code, by which it would be taken for EC2's answer to the launch.
fn no_answer(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<CallError>() {
        Ok(mut call) => {
            call.code = None;
            call.into()
        }
        Err(error) => error,
    }
}

/// Whether it is not known what became of a call, or EC2 says that it is asked too often.
fn is_unanswered(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(is_passing)
}

/// Whether a call may do better a moment later.
pub(super) fn is_passing(call: &CallError) -> bool {
    match call.code.as_deref() {
        None => call.missing_permission().is_none(),
        Some(code) => code == TOO_OFTEN || UNCERTAIN.contains(&code),
    }
}

/// Whether EC2 has answered that it does not launch. Whoever hears nothing, or stops listening, does not know.
pub(super) fn is_refused(error: &anyhow::Error) -> bool {
    code_of(error).is_some_and(|code| !UNCERTAIN.contains(&code))
}

/// Whether such an answer also says that nothing came of asking before with the same token.
pub(super) fn rules_out(error: &anyhow::Error) -> bool {
    is_refused(error) && !code_of(error).is_some_and(|code| OPEN.contains(&code))
}

/// EC2's word for why there is no instance.
pub(super) fn code_of(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref::<Unfilled>() {
        Some(unfilled) => Some(&unfilled.code),
        None => error.downcast_ref::<CallError>().and_then(|call| call.code.as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Option<&str>) -> anyhow::Error {
        let mut error = CallError::answer("ec2 RunInstances", "no");
        error.code = code.map(str::to_owned);
        error.into()
    }

    #[test]
    fn a_launch_is_refused_only_when_ec2_says_so() {
        let refused = |code| is_refused(&error(code));
        assert!(refused(Some("InvalidParameterValue")) && refused(Some("VcpuLimitExceeded")));
        assert!(!refused(None) && !refused(Some("InternalError")) && !refused(Some("Unavailable")));
        assert!(!is_refused(&WaitError::Interrupted("launch the box".into()).into()));
        let unfilled = Unfilled { request: "sir-1".into(), code: "price-too-low".into(), why: "more".into() };
        assert!(is_refused(&unfilled.into()));
    }

    #[test]
    fn what_says_nothing_of_an_earlier_call_rules_out_nothing() {
        assert!(rules_out(&error(Some("InsufficientInstanceCapacity"))));
        for code in OPEN.into_iter().chain(["InternalError"]).map(Some).chain([None]) {
            assert!(!rules_out(&error(code)), "{code:?}");
        }
    }

    #[test]
    fn an_error_that_is_no_answer_to_the_launch_is_not_taken_for_a_refusal() {
        let stripped = no_answer(error(Some("RequestExpired")));
        assert!(!is_refused(&stripped));
        assert_eq!(stripped.to_string(), "ec2 RunInstances failed: no");
        let interrupted = no_answer(WaitError::Interrupted("launch the box".into()).into());
        assert!(matches!(interrupted.downcast_ref(), Some(WaitError::Interrupted(_))));
    }
}
