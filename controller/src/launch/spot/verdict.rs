//! What EC2 says of a spot request, in the words of a launch. Pure.

use thiserror::Error;

use crate::aws::spot::Request;

/// The codes of a request that is sound and is not filled now: a request in another place, or of another type, may be.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html>
pub(crate) const HELD: [&str; 7] = [
    "capacity-not-available",
    "capacity-oversubscribed",
    "price-too-low",
    "launch-group-constraint",
    "az-group-constraint",
    "placement-group-constraint",
    "constraint-not-fulfillable",
];

/// The code of a request whose time is up, by EC2's clock or ours.
const EXPIRED: &str = "schedule-expired";

/// A request that was not filled, and is open no more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spot request {request} was not filled: {why}")]
pub(crate) struct Unfilled {
    /// `sir-...`
    pub(crate) request: String,
    /// EC2's word for why.
    pub(crate) code: String,
    /// EC2's sentence.
    pub(crate) why: String,
}

/// What there is to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It came to this instance.
    Filled(String),
    /// EC2 has not said yet.
    Undecided,
    /// It is not filled now, and may be later.
    Held(Unfilled),
    /// It is over, without an instance.
    Over(Unfilled),
}

impl Verdict {
    /// What EC2 says of this request.
    pub(super) fn of(request: &Request) -> Self {
        let unfilled = || Unfilled {
            request: request.id.clone(),
            code: request.code.clone(),
            why: if request.message.is_empty() {
                request.code.clone()
            } else {
                format!("{}: {}", request.code, request.message)
            },
        };
        match (request.state.as_str(), &request.instance) {
            // A request that was filled in the moment in which it was cancelled is cancelled, and its instance runs.
            ("active" | "cancelled", Some(instance)) => Verdict::Filled(instance.clone()),
            ("open", _) if HELD.contains(&request.code.as_str()) => Verdict::Held(unfilled()),
            ("open" | "active" | "", _) => Verdict::Undecided,
            _ => Verdict::Over(unfilled()),
        }
    }
}

impl Unfilled {
    /// Whether its time was up.
    pub(crate) fn is_expired(&self) -> bool {
        self.code == EXPIRED
    }

    /// A request whose time is up, and what was last heard of it.
    pub(super) fn expired(request: &str, last: Option<&Unfilled>) -> Self {
        let why = match last {
            Some(last) => format!("its time is up; at last: {}", last.why),
            None => "its time is up, and EC2 did not say why".to_owned(),
        };
        Self { request: request.to_owned(), code: EXPIRED.to_owned(), why }
    }
}

/// Whether a code says that another place may have what this one has not.
pub(crate) fn may_be_elsewhere(code: &str) -> bool {
    HELD.contains(&code) || code == EXPIRED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(state: &str, code: &str, instance: Option<&str>) -> Verdict {
        let (id, message) = ("sir-1".to_owned(), "words".to_owned());
        Verdict::of(&Request {
            id,
            state: state.into(),
            code: code.into(),
            message,
            instance: instance.map(str::to_owned),
        })
    }

    #[test]
    fn a_request_is_filled_once_it_has_an_instance_also_when_it_was_cancelled_in_that_moment() {
        let filled = Verdict::Filled("i-1".into());
        assert_eq!(verdict("active", "fulfilled", Some("i-1")), filled);
        assert_eq!(verdict("cancelled", "request-canceled-and-instance-running", Some("i-1")), filled);
        // EC2 ended that instance itself.
        for code in ["instance-terminated-no-capacity", "instance-terminated-by-user"] {
            assert!(matches!(verdict("closed", code, Some("i-1")), Verdict::Over(_)), "{code}");
        }
    }

    #[test]
    fn an_open_request_is_undecided_or_held_and_any_other_without_an_instance_is_over() {
        for (state, code) in [
            ("open", "pending-evaluation"),
            ("open", "pending-fulfillment"),
            ("open", "not-scheduled-yet"),
            ("active", ""),
        ] {
            assert_eq!(verdict(state, code, None), Verdict::Undecided, "{code}");
        }
        for code in HELD {
            assert!(matches!(verdict("open", code, None), Verdict::Held(unfilled) if unfilled.code == code));
        }
        for (state, code) in [
            ("cancelled", "canceled-before-fulfillment"),
            ("cancelled", "schedule-expired"),
            ("failed", "bad-parameters"),
            ("closed", "system-error"),
            ("disabled", ""),
        ] {
            let over = verdict(state, code, None);
            assert!(matches!(over, Verdict::Over(unfilled) if unfilled.why == format!("{code}: words")), "{code}");
        }
    }

    #[test]
    fn only_what_another_place_may_have_is_tried_in_another() {
        assert!(may_be_elsewhere("capacity-not-available") && may_be_elsewhere("schedule-expired"));
        assert!(!may_be_elsewhere("bad-parameters") && !may_be_elsewhere("canceled-before-fulfillment"));
        let held =
            Unfilled { request: "sir-1".into(), code: "price-too-low".into(), why: "price-too-low: more".into() };
        let said = Unfilled::expired("sir-1", Some(&held)).to_string();
        assert_eq!(said, "spot request sir-1 was not filled: its time is up; at last: price-too-low: more");
    }
}
