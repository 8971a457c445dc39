//! Theil-Sen: the median of the slopes of all pairs, the robust twin of a least-squares line. Quadratic in n, so not for
//! more than a few thousand points.

use serde::{Deserialize, Serialize};

use super::simple::check;
use crate::dist::normal_quantile;
use crate::error::check_level;
use crate::rank::tie_groups;
use crate::{Interval, Sample, StatsError};

/// A Theil-Sen line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TheilSen {
    /// Number of points.
    pub n: usize,
    /// Median slope of the pairs with different x.
    pub slope: f64,
    /// Median of y minus slope times median of x.
    pub intercept: f64,
    /// Interval of the slope by Sen's normal approximation with tie correction (Sen 1968, *JASA* 63); coarse below ten
    /// points. None where ties leave no variance.
    pub interval: Option<Interval>,
}

/// Fits y on x, with the conventions of scipy's `theilslopes` (method `separate`).
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotFinite`], [`StatsError::TooFew`] below 2 points,
/// [`StatsError::Degenerate`] if x is constant, [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn theil_sen(x: &[f64], y: &[f64], level: f64) -> Result<TheilSen, StatsError> {
    const WHAT: &str = "Theil-Sen";
    check_level(level)?;
    check(WHAT, x, y)?;
    let n = x.len();
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for i in 0..n {
        for j in 0..i {
            if x[i] != x[j] {
                let slope = (y[i] - y[j]) / (x[i] - x[j]);
                slopes.push(crate::error::in_range(WHAT, slope)?);
            }
        }
    }
    if slopes.is_empty() {
        return Err(StatsError::Degenerate { what: WHAT, reason: "x is constant" });
    }
    let slopes = Sample::trusted(&slopes, "pair").sorted();
    let slope = slopes.median();
    let median = |values: &[f64]| Sample::trusted(values, "").median();
    let intercept = crate::error::in_range(WHAT, median(y) - slope * median(x))?;

    let spread = |k: f64| k * (k - 1.0) * (2.0 * k + 5.0);
    let ties = |values: &[f64]| tie_groups(values).map(|k| spread(k as f64)).sum::<f64>();
    let variance = (spread(n as f64) - ties(x) - ties(y)) / 18.0;
    let pairs = slopes.values().len();
    let interval = (variance > 0.0).then(|| {
        let reach = normal_quantile((1.0 + level) / 2.0) * variance.sqrt();
        let low = ((pairs as f64 - reach) / 2.0).round_ties_even() - 1.0;
        let high = ((pairs as f64 + reach) / 2.0).round_ties_even();
        Interval {
            low: slopes.values()[low.max(0.0) as usize],
            high: slopes.values()[(high as usize).min(pairs - 1)],
            level,
        }
    });
    Ok(TheilSen { n, slope, intercept, interval })
}
