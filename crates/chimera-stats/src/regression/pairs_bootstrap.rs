//! Bootstrap of a slope by resampling points. It treats the points as drawn at random, which the models of a scaling
//! study are not, and it ignores the noise within a point: it is here to recompute published intervals and as a second
//! look beside the t interval.

use serde::{Deserialize, Serialize};

use super::simple::{self, check};
use crate::error::{check_count, check_level};
use crate::random::Resampling;
use crate::summary::{mean, sum};
use crate::{Interval, Sample, StatsError};

/// What becomes of a resample in which every point is the same, so that no slope exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DegenerateResamples {
    /// It does not count.
    Discard,
    /// It counts with the slope of the minimum-norm solution after scaling of the columns, mean(y) / (2 x): what
    /// `numpy.polyfit` returns. The value depends on the units; use it only to recompute what was published that way.
    MinimumNorm,
}

/// Percentile interval of a slope over resampled points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairsBootstrap {
    /// Slope through all points.
    pub slope: f64,
    /// Type-7 percentile interval of the resampled slopes.
    pub interval: Interval,
    /// Number of points.
    pub n: usize,
    /// Resamples drawn.
    pub resamples: usize,
    /// How many of them had no slope of their own.
    pub degenerate: usize,
}

/// Resamples the points of the line y on x; for a power law give logarithms. With [`Resampling::numpy`] the order of the
/// points matters.
///
/// # Errors
/// As [`super::ols`]; [`StatsError::TooFew`] below 3 points; [`StatsError::InvalidParameter`] below 100 resamples;
/// [`StatsError::Degenerate`] if more than half of the resamples have no slope and are discarded.
pub fn pairs_bootstrap_slope(
    x: &[f64],
    y: &[f64],
    resampling: Resampling,
    degenerate: DegenerateResamples,
    level: f64,
) -> Result<PairsBootstrap, StatsError> {
    const WHAT: &str = "pairs bootstrap";
    check_level(level)?;
    check(WHAT, x, y)?;
    check_count(WHAT, 3, x.len())?;
    let n = x.len();
    let full = simple::line(x, y, None)?;
    let mut indices = resampling.indices()?;
    let (mut rx, mut ry) = (vec![0.0; n], vec![0.0; n]);
    let mut slopes = Vec::with_capacity(resampling.resamples);
    let mut without_slope = 0;
    for _ in 0..resampling.resamples {
        for slot in 0..n {
            let index = indices.below(n);
            (rx[slot], ry[slot]) = (x[index], y[index]);
        }
        match (simple_slope(&rx, &ry), degenerate) {
            (Some(slope), _) => slopes.push(slope),
            (None, DegenerateResamples::Discard) => without_slope += 1,
            (None, DegenerateResamples::MinimumNorm) => {
                without_slope += 1;
                slopes.push(crate::error::in_range(WHAT, mean(&ry) / (2.0 * rx[0]))?);
            }
        }
    }
    if 2 * slopes.len() < resampling.resamples {
        return Err(StatsError::Degenerate { what: WHAT, reason: "most resamples have no slope" });
    }
    let sorted = Sample::trusted(&slopes, "resample").sorted();
    let tail = (1.0 - level) / 2.0;
    Ok(PairsBootstrap {
        slope: full.slope,
        interval: Interval { low: sorted.at(tail), high: sorted.at(1.0 - tail), level },
        n,
        resamples: resampling.resamples,
        degenerate: without_slope,
    })
}

/// Slope of a resample, if its x are not all one. The points were checked, so this is the short form of
/// [`simple::line`].
fn simple_slope(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.iter().all(|v| *v == x[0]) {
        return None;
    }
    let (mx, my) = (mean(x), mean(y));
    let sxx = sum(x.iter().map(|v| (v - mx).powi(2)));
    let sxy = sum(x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)));
    Some(sxy / sxx).filter(|s| s.is_finite())
}
