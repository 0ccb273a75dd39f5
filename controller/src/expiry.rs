//! `--expires WHEN`: the moment from which a key lets nobody in.
//!
//! A date alone means that the key works through the whole of that day in UTC, wherever the operator sits: the
//! same command means the same moment for everyone.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use thiserror::Error;

/// When a key ends, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// `never`
    Never,
    /// `2026-12-31`, `2026-12-31T18:00:00+01:00`
    At(Timestamp),
    /// `90d`, `1d 12h`
    In(SignedDuration),
}

/// Why a text is no such moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WhenError {
    /// No form of it.
    #[error(
        "{0:?} is no time; give a date (2026-12-31: through that day in UTC), a time (2026-12-31T18:00:00Z), a span \
         (90d, 12h), or never"
    )]
    Form(String),
    /// The moment is not ahead.
    #[error("{0} is in the past: the key would let nobody in")]
    Past(Timestamp),
    /// The moment is past the end of the calendar.
    #[error("the span reaches past the year 9999; say never for a key without an end")]
    TooFar,
}

impl When {
    /// The moment that is meant at `now`, in whole seconds; `None` for never.
    ///
    /// # Errors
    /// When it is not ahead of `now`.
    pub(crate) fn moment(self, now: Timestamp) -> Result<Option<Timestamp>, WhenError> {
        let moment = match self {
            When::Never => return Ok(None),
            When::At(moment) => moment,
            When::In(span) => now.checked_add(span).map_err(|_| WhenError::TooFar)?,
        };
        // Rounded down: a key never outlives what was asked for.
        let seconds = Timestamp::from_second(moment.as_second()).map_err(|_| WhenError::TooFar)?;
        if seconds > now { Ok(Some(seconds)) } else { Err(WhenError::Past(seconds)) }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        let form = || WhenError::Form(text.to_owned());
        if text == "never" {
            return Ok(When::Never);
        }
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(When::At(moment));
        }
        // A time of day without a zone would pass for a date; only the plain form is one.
        if text.len() == "2026-12-31".len()
            && let Ok(date) = text.parse::<Date>()
        {
            let after = date.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC)).map_err(|_| WhenError::TooFar)?;
            return Ok(When::At(after.timestamp()));
        }
        let span = humantime::parse_duration(text).map_err(|_| form())?;
        SignedDuration::try_from(span).map(When::In).map_err(|_| WhenError::TooFar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Result<Option<String>, WhenError> {
        let now: Timestamp = "2026-11-21T10:00:00.7Z".parse().unwrap();
        Ok(text.parse::<When>()?.moment(now)?.map(|moment| moment.to_string()))
    }

    #[test]
    fn every_form_means_one_moment() {
        for (text, expected) in [
            ("2026-12-31", "2027-01-01T00:00:00Z"),
            ("2026-11-21", "2026-11-22T00:00:00Z"),
            ("2026-12-31T18:00:00+01:00", "2026-12-31T17:00:00Z"),
            ("2026-12-31T18:00:00.9Z", "2026-12-31T18:00:00Z"),
            ("90d", "2027-02-19T10:00:00Z"),
            ("12h", "2026-11-21T22:00:00Z"),
            ("1d 12h", "2026-11-22T22:00:00Z"),
        ] {
            assert_eq!(moment(text).unwrap().as_deref(), Some(expected), "{text}");
        }
        assert_eq!(moment("never"), Ok(None));
    }

    #[test]
    fn what_is_past_is_refused() {
        for text in ["2026-11-20", "2026-11-21T10:00:00Z", "0s", "1970-01-01"] {
            assert!(matches!(moment(text), Err(WhenError::Past(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_that_are() {
        for text in ["", "soon", "90", "2026-13-01", "2026-02-30", "2026-12-31T18:00:00", "-5d", "31.12.2026", "d"] {
            assert_eq!(moment(text), Err(WhenError::Form(text.to_owned())), "{text}");
        }
        for text in ["9999y", "9999-12-31"] {
            assert_eq!(moment(text), Err(WhenError::TooFar), "{text}");
        }
    }
}
