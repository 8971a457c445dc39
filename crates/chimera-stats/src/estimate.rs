//! What leaves this crate: a number together with how sure it is. Not a place for computing anything.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A closed interval at a stated confidence level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower limit, in the unit of the estimate.
    pub low: f64,
    /// Upper limit, in the unit of the estimate.
    pub high: f64,
    /// Confidence level in (0, 1), 0.95 for instance.
    pub level: f64,
}

impl Interval {
    /// Whether `value` lies within the limits, which belong to the interval.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Both limits through an increasing function: from logarithms back to the data's unit, say.
    #[must_use]
    pub fn map(self, increasing: impl Fn(f64) -> f64) -> Self {
        Self { low: increasing(self.low), high: increasing(self.high), level: self.level }
    }
}

/// A point estimate that says how it came about.
///
/// `interval` and `standard_error` are absent where the data cannot support them (one block, say); absent is not zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value itself.
    pub point: f64,
    /// Its standard error, in the same unit.
    pub standard_error: Option<f64>,
    /// Its confidence interval.
    pub interval: Option<Interval>,
    /// How point and interval were made, e.g. `mean, t` or `median, order statistics`.
    pub method: Cow<'static, str>,
    /// What was replicated, e.g. `block`. The `n` counts these.
    pub unit: Cow<'static, str>,
    /// Number of replicates.
    pub n: usize,
}
