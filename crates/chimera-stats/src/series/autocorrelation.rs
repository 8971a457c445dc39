//! How much neighbours resemble one another, and how many independent values a series is worth.

use serde::{Deserialize, Serialize};

use crate::summary::{centred, is_rounding, max_abs, sum};
use crate::{Sample, StatsError};

/// Autocorrelations at lags 0 to `lags`, with the divisor n at every lag (the biased form, which is a correlation matrix).
///
/// # Errors
/// [`StatsError::TooFew`] unless there are more than `lags` values and at least 2, [`StatsError::Degenerate`] if they are
/// constant, [`StatsError::Overflow`].
pub fn autocorrelation(series: Sample<'_>, lags: usize) -> Result<Vec<f64>, StatsError> {
    const WHAT: &str = "autocorrelation";
    series.require(WHAT, (lags + 1).max(2))?;
    let scaled = unit(series, WHAT)?;
    Ok((0..=lags).map(|lag| at(&scaled, lag)).collect())
}

/// Deviations from the mean over their norm.
fn unit(series: Sample<'_>, what: &'static str) -> Result<Vec<f64>, StatsError> {
    let (deviations, _, norm) = centred(series.values());
    crate::error::in_range(what, norm)?;
    if is_rounding(norm, series.len(), max_abs(series.values())) {
        return Err(StatsError::Degenerate { what, reason: "the values are constant" });
    }
    Ok(deviations.iter().map(|d| d / norm).collect())
}

fn at(unit: &[f64], lag: usize) -> f64 {
    sum(unit.iter().zip(&unit[lag..]).map(|(a, b)| a * b))
}

/// How many independent values a series is worth for its mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EffectiveSize {
    /// Values in the series.
    pub n: usize,
    /// Independent values with the same variance of the mean, at most n.
    pub effective: f64,
    /// n / effective before it is cut at 1: the factor on the variance of the mean.
    pub inflation: f64,
    /// Lags that went into it.
    pub lags: usize,
}

/// Effective size n / (1 + 2 sum of autocorrelations), summed in pairs of lags while the pairs are positive and made to
/// fall (Geyer's initial monotone sequence, 1992, *Statistical Science* 7). It sees drift as dependence, which is what
/// drift does to an interval. Short series hide theirs: fifty values are few.
///
/// # Errors
/// [`StatsError::TooFew`] below 4 values, otherwise as [`autocorrelation`].
pub fn effective_size(series: Sample<'_>) -> Result<EffectiveSize, StatsError> {
    const WHAT: &str = "effective size";
    series.require(WHAT, 4)?;
    let scaled = unit(series, WHAT)?;
    let n = series.len();
    let (mut total, mut ceiling, mut lags) = (-1.0, f64::INFINITY, 0);
    for pair in 0..n / 2 {
        let both = at(&scaled, 2 * pair) + at(&scaled, 2 * pair + 1);
        if both <= 0.0 {
            break;
        }
        ceiling = both.min(ceiling);
        total += 2.0 * ceiling;
        lags = 2 * pair + 1;
    }
    // Without a positive pair neighbours alternate; the mean is then better than independent values would make it.
    let inflation = if lags == 0 { 1.0 + 2.0 * at(&scaled, 1) } else { total };
    let effective = if inflation > 0.0 { (n as f64 / inflation).min(n as f64) } else { n as f64 };
    Ok(EffectiveSize { n, effective, inflation, lags })
}
