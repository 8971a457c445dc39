//! Labels for values that lie far out. A label says where to look; nothing is dropped here, and nothing should be: a slow
//! request was slow.

use serde::{Deserialize, Serialize};

use crate::{Sample, StatsError};

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// Within the limits.
    Inside,
    /// Below the lower limit, not beyond the far one.
    Low,
    /// Above the upper limit, not beyond the far one.
    High,
    /// Below the far lower limit.
    FarLow,
    /// Above the far upper limit.
    FarHigh,
}

/// One label per value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// Lower and upper limit.
    pub near: (f64, f64),
    /// Lower and upper far limit.
    pub far: (f64, f64),
    /// Labels in the order of the values.
    pub labels: Vec<Label>,
}

impl Labels {
    /// Indices of the values that are not inside.
    pub fn outside(&self) -> impl Iterator<Item = usize> {
        self.labels.iter().enumerate().filter(|(_, label)| **label != Label::Inside).map(|(i, _)| i)
    }

    fn new(sample: Sample<'_>, low: f64, high: f64, near: f64, far: f64) -> Result<Self, StatsError> {
        let limits = |reach: f64| (low - reach, high + reach);
        let (near, far) = (limits(near), limits(far));
        if [near.0, near.1, far.0, far.1].iter().any(|limit| !limit.is_finite()) {
            return Err(StatsError::Overflow { what: "outlier limits" });
        }
        let label = |v: &f64| match *v {
            v if v < far.0 => Label::FarLow,
            v if v > far.1 => Label::FarHigh,
            v if v < near.0 => Label::Low,
            v if v > near.1 => Label::High,
            _ => Label::Inside,
        };
        Ok(Self { near, far, labels: sample.values().iter().map(label).collect() })
    }
}

/// Tukey's fences (1977, *Exploratory Data Analysis*): 1.5 and 3 interquartile ranges beyond the type-7 quartiles. Of
/// normal values one in 140 lies outside; of skewed ones far more do, all on one side.
///
/// # Errors
/// [`StatsError::TooFew`] below 4 values, [`StatsError::Overflow`].
pub fn tukey_labels(sample: Sample<'_>) -> Result<Labels, StatsError> {
    sample.require("Tukey's fences", 4)?;
    let sorted = sample.sorted();
    let (low, high) = (sorted.at(0.25), sorted.at(0.75));
    let range = high - low;
    Labels::new(sample, low, high, 1.5 * range, 3.0 * range)
}

/// Distance from the median in median absolute deviations, 1.4826 of which are a standard deviation of normal values:
/// beyond 3.5 of those (Iglewicz and Hoaglin 1993, *How to Detect and Handle Outliers*), far beyond 7.
///
/// # Errors
/// [`StatsError::TooFew`] below 4 values, [`StatsError::Degenerate`] if more than half of the values are equal: any other
/// would lie outside. [`StatsError::Overflow`].
pub fn mad_labels(sample: Sample<'_>) -> Result<Labels, StatsError> {
    const WHAT: &str = "labels by median absolute deviation";
    sample.require(WHAT, 4)?;
    let mad = sample.mad()?;
    if mad == 0.0 {
        return Err(StatsError::Degenerate { what: WHAT, reason: "more than half of the values are equal" });
    }
    let sd = mad / 0.674_489_750_196_081_7;
    let median = sample.median();
    Labels::new(sample, median, median, 3.5 * sd, 7.0 * sd)
}
