//! The clock of this machine, against AWS's: requests that are signed too far from now are refused.

use jiff::SignedDuration;

use super::world::World;
use super::{Blocked, Finding};
use crate::aws::clock;

const NAME: &str = "clock";

/// How far off AWS still takes requests.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
const LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// How far off a clock that is kept in step never is.
const DRIFTED: SignedDuration = SignedDuration::from_mins(1);

pub(super) async fn look(world: &World) -> Result<Vec<Finding>, Blocked> {
    Ok(vec![match clock::ahead(&world.config, world.any_region()).await {
        Ok(ahead) => judge(ahead),
        Err(error) => Finding::failed(NAME, &error),
    }])
}

fn judge(ahead: SignedDuration) -> Finding {
    const MEND: &str = "sudo timedatectl set-ntp true";
    let off = ahead.abs();
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let what = format!("{} s {way} AWS's", off.as_secs());
    // The date has whole seconds, and the answer took some time.
    match off {
        _ if off > LIMIT => Finding::missing(NAME, format!("{what}; AWS refuses what is signed so far off")).mend(MEND),
        _ if off > DRIFTED => Finding::warning(NAME, what).mend(MEND),
        _ if off.as_secs() <= 1 => Finding::ok(NAME, "in step with AWS's"),
        _ => Finding::ok(NAME, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off_either_way() {
        for (seconds, state, what) in [
            (0, State::Ok, "in step with AWS's"),
            (-1, State::Ok, "in step with AWS's"),
            (59, State::Ok, "59 s ahead of AWS's"),
            (-61, State::Warning, "61 s behind AWS's"),
            (301, State::Missing, "301 s ahead of AWS's; AWS refuses what is signed so far off"),
        ] {
            let found = judge(SignedDuration::from_secs(seconds));
            assert_eq!((found.state, found.what.as_str()), (state, what), "{seconds}");
            assert_eq!(found.mend.is_some(), state != State::Ok);
        }
    }
}
