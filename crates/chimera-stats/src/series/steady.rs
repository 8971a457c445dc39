//! When a series becomes steady, and what a warm-up cut leaves out. The rule is Barrett et al.'s (2017, *OOPSLA*): find
//! the changes of level, then ask whether the last level lasted; a series that never settles is said never to settle, and
//! nothing is cut from it. It decides by levels and trend; whether the steady part is what one wants to measure is not
//! for it to say.

use serde::{Deserialize, Serialize};

use super::autocorrelation::{EffectiveSize, effective_size};
use super::pelt::{Penalty, Stretch, pelt};
use crate::error::{check_unit, in_range};
use crate::hypothesis::{Refusal, kolmogorov_smirnov};
use crate::regression::ols;
use crate::summary::mean;
use crate::{Interval, Sample, StatsError};

/// What counts as steady.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Criteria {
    /// Levels within this share of the last one count as the same, and so does a trend that adds up to no more: 0.02.
    pub tolerance: f64,
    /// The steady part must be at least this share of the series: 0.5.
    pub least_share: f64,
    /// Fewest values of a level: 3.
    pub least_values: usize,
    /// The price of a change of level.
    pub penalty: Penalty,
}

impl Default for Criteria {
    fn default() -> Self {
        Self { tolerance: 0.02, least_share: 0.5, least_values: 3, penalty: Penalty::Modified }
    }
}

/// How the series goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// One level throughout.
    Flat,
    /// Steady after values that were larger: the warm-up of a latency.
    FallsThenSteady,
    /// Steady after values that were smaller: the warm-up of a rate, or a machine that slows down.
    RisesThenSteady,
    /// Steady after values on both sides.
    UnevenThenSteady,
    /// The last level did not last long enough.
    NotSettled,
    /// One level by its steps, but with a trend beyond the tolerance.
    Drifting,
}

/// What was found, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// The verdict.
    pub course: Course,
    /// Index of the first steady value; none if the series is not steady.
    pub from: Option<usize>,
    /// The levels found.
    pub levels: Vec<Stretch>,
    /// Mean before over mean after; none where nothing comes before, or the mean after is zero.
    pub before_over_after: Option<f64>,
    /// What the trend of the candidate part adds up to over its length, relative to its mean, with the interval of the
    /// slope carried along; none where it cannot be had.
    pub drift: Option<(f64, Option<Interval>)>,
    /// p of the Kolmogorov-Smirnov test between the halves of the candidate part, for a reader to weigh; it takes
    /// neighbours as independent.
    pub halves: Result<f64, Refusal>,
    /// What the candidate part is worth in independent values; none for constant values or fewer than 4.
    pub effective: Option<EffectiveSize>,
    /// Values in all.
    pub n: usize,
}

/// Finds the steady part.
///
/// # Errors
/// [`StatsError::TooFew`] below twice the fewest values of a level, [`StatsError::InvalidParameter`] for criteria outside
/// their domain, otherwise as [`pelt`].
pub fn steady_state(series: Sample<'_>, criteria: Criteria) -> Result<Steady, StatsError> {
    const WHAT: &str = "steady state";
    check_unit("tolerance", criteria.tolerance)?;
    check_unit("least share", criteria.least_share)?;
    series.require(WHAT, 2 * criteria.least_values)?;
    let levels = pelt(series, criteria.penalty, criteria.least_values)?;
    let n = series.len();
    let last = levels[levels.len() - 1].mean;
    // Backwards through all levels that are the last one's equals.
    let start = levels
        .iter()
        .rev()
        .take_while(|level| (level.mean - last).abs() <= criteria.tolerance * last.abs())
        .last()
        .map_or(0, |level| level.start);
    let candidate = Sample::trusted(&series.values()[start..], series.unit());
    let centre = candidate.mean();
    let drift = drift(candidate, centre);
    let drifts = drift.as_ref().is_some_and(|(drift, interval)| {
        // The trend must be there, and matter.
        drift.abs() > criteria.tolerance && interval.is_none_or(|i| !i.contains(0.0))
    });
    let before = &series.values()[..start];
    let before_over_after =
        (!before.is_empty() && centre != 0.0).then(|| mean(before) / centre).filter(|r| r.is_finite());
    let lasted = candidate.len() as f64 >= criteria.least_share * n as f64;
    let differing = levels.iter().filter(|level| level.end <= start);
    let higher = differing.clone().any(|level| level.mean > last);
    let lower = differing.clone().any(|level| level.mean < last);
    let course = match (lasted, drifts, higher, lower) {
        (false, ..) => Course::NotSettled,
        (true, true, ..) => Course::Drifting,
        (_, _, false, false) => Course::Flat,
        (_, _, true, false) => Course::FallsThenSteady,
        (_, _, false, true) => Course::RisesThenSteady,
        (_, _, true, true) => Course::UnevenThenSteady,
    };
    let half = candidate.len() / 2;
    let (first, second) = candidate.values().split_at(half);
    let halves = if half == 0 {
        Err(Refusal::TooFew { needed: 3, got: 0 })
    } else {
        kolmogorov_smirnov(Sample::trusted(first, series.unit()), Sample::trusted(second, series.unit()))?
            .p(1.0)
    };
    Ok(Steady {
        from: (!matches!(course, Course::NotSettled | Course::Drifting)).then_some(start),
        course,
        levels,
        before_over_after,
        drift,
        halves,
        effective: effective_size(candidate).ok(),
        n,
    })
}

/// Slope over the part times its length, over its mean.
fn drift(part: Sample<'_>, centre: f64) -> Option<(f64, Option<Interval>)> {
    let time: Vec<f64> = (0..part.len()).map(|i| i as f64).collect();
    let line = ols(&time, part.values(), 0.99).ok()?;
    let factor = (part.len() - 1) as f64 / centre.abs();
    let drift = in_range("drift", line.slope.value * factor).ok()?;
    let interval = line.slope.interval.map(|i| i.map(|limit| limit * factor));
    Some((drift, interval.filter(|i| i.low.is_finite() && i.high.is_finite())))
}

/// A series after its warm-up, and the values that went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trimmed {
    /// The values kept, in order.
    pub kept: Vec<f64>,
    /// The values cut, in order: the first of the series. Empty where the series is steady from the start, or never.
    pub cut: Vec<f64>,
    /// What the cut rests on.
    pub evidence: Steady,
}

/// Cuts what comes before the steady part. A series that is not steady is left whole, and its course says so: no part of
/// it is better than the rest.
///
/// # Errors
/// As [`steady_state`].
pub fn trim_warm_up(series: Sample<'_>, criteria: Criteria) -> Result<Trimmed, StatsError> {
    let evidence = steady_state(series, criteria)?;
    let (cut, kept) = series.values().split_at(evidence.from.unwrap_or(0));
    Ok(Trimmed { kept: kept.to_vec(), cut: cut.to_vec(), evidence })
}
