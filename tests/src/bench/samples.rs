//! Numbers out of samples: medians and quantiles. Pure; it never measures anything itself.

use std::time::Duration;

use anyhow::{Result, ensure};

/// Measurements of one thing, at least one, in the unit of their row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Samples {
    /// Ascending.
    sorted: Vec<f64>,
}

impl Samples {
    /// These measurements.
    ///
    /// # Errors
    /// When there is none, or one is no number.
    pub(super) fn new(values: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        ensure!(!sorted.is_empty(), "nothing was measured");
        ensure!(sorted.iter().all(|value| value.is_finite()), "a measurement is no number: {sorted:?}");
        sorted.sort_by(f64::total_cmp);
        Ok(Self { sorted })
    }

    /// One measurement.
    pub(super) fn one(value: f64) -> Result<Self> {
        Self::new([value])
    }

    /// Times, in milliseconds.
    pub(super) fn milliseconds(times: impl IntoIterator<Item = Duration>) -> Result<Self> {
        Self::new(times.into_iter().map(milliseconds))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The middle one, or the mean of the two in the middle.
    pub(super) fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        if self.sorted.len().is_multiple_of(2) {
            f64::midpoint(self.sorted[middle - 1], self.sorted[middle])
        } else {
            self.sorted[middle]
        }
    }

    /// The least measurement that no more than one in a hundred are above: of fewer than a hundred, the greatest.
    pub(super) fn p99(&self) -> f64 {
        let rank = (self.sorted.len() * 99).div_ceil(100);
        self.sorted[rank - 1]
    }
}

/// A time in milliseconds.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() -> Result<()> {
        assert_eq!(Samples::new([3.0, 1.0, 2.0])?, Samples::new([1.0, 2.0, 3.0])?);
        assert!((Samples::new([3.0, 1.0, 2.0])?.median() - 2.0).abs() < f64::EPSILON);
        assert!((Samples::new([4.0, 1.0, 2.0, 3.0])?.median() - 2.5).abs() < f64::EPSILON);
        Ok(())
    }

    #[test]
    fn one_in_a_hundred_may_be_above_the_p99() -> Result<()> {
        let hundred = Samples::new((1..=100).map(f64::from))?;
        assert!((hundred.p99() - 99.0).abs() < f64::EPSILON);
        let fifty = Samples::new((1..=50).map(f64::from))?;
        assert!((fifty.p99() - 50.0).abs() < f64::EPSILON, "of fifty, no one is one in a hundred");
        Ok(())
    }

    #[test]
    fn nothing_measured_and_no_number_are_errors() {
        assert!(Samples::new([]).is_err());
        assert!(Samples::new([1.0, f64::NAN]).is_err());
    }
}
