//! Cliff's delta: how much more often a value of the first arm is the larger one than the smaller one. It asks nothing of
//! the shape of either arm.

use crate::dist::normal_quantile;
use crate::error::check_level;
use crate::summary::sum;
use crate::{Estimate, Interval, Sample, StatsError};

/// P(a > b) - P(a < b), from -1 to 1, with the consistent variance and the asymmetric interval of Feng and Cliff (2004,
/// *Journal of Modern Applied Statistical Methods* 3). Where the arms do not overlap the variance is zero and says
/// nothing, so there is no interval. The probability that a is the larger is (delta + 1) / 2, ties half.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in an arm, [`StatsError::InvalidParameter`] level.
pub fn cliff_delta(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    const METHOD: &str = "Cliff's delta";
    check_level(level)?;
    a.require(METHOD, 2)?;
    b.require(METHOD, 2)?;
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (rows, ties) = dominance(a, b);
    let (columns, _) = dominance(b, a);
    let delta = sum(rows.iter().copied()) / n;
    let squares = |means: &[f64], centre: f64| sum(means.iter().map(|d| (d - centre).powi(2)));
    let (by_row, by_column) = (squares(&rows, delta), squares(&columns, -delta));
    // Every pair that is no tie is 1 or -1.
    let cells = n * m - ties - n * m * delta * delta;
    let variance = (m * m * by_row + n * n * by_column - cells) / (n * m * (n - 1.0) * (m - 1.0));
    // The unbiased estimate may fall below zero; this floor belongs to it.
    let floor = (1.0 - delta * delta) / (n * m - 1.0);
    let variance = variance.max(floor);
    let apart = delta.abs() == 1.0;
    let interval = (!apart).then(|| {
        let z2 = normal_quantile((1.0 + level) / 2.0).powi(2) * variance;
        let centre = delta - delta.powi(3);
        let half = (z2 * ((1.0 - delta * delta).powi(2) + z2)).sqrt();
        let below = 1.0 - delta * delta + z2;
        Interval { low: ((centre - half) / below).max(-1.0), high: ((centre + half) / below).min(1.0), level }
    });
    Ok(Estimate {
        point: delta,
        standard_error: (!apart).then(|| variance.sqrt()),
        interval,
        method: METHOD.into(),
        unit: a.unit().into(),
        n: a.len().min(b.len()),
    })
}

/// For each value of `a` the share of `b` below it minus the share above it; and the number of equal pairs.
fn dominance(a: Sample<'_>, b: Sample<'_>) -> (Vec<f64>, f64) {
    let sorted = b.sorted();
    let sorted = sorted.values();
    let mut ties = 0;
    let rows = a
        .values()
        .iter()
        .map(|v| {
            let below = sorted.partition_point(|w| w < v);
            let at_most = sorted.partition_point(|w| w <= v);
            ties += at_most - below;
            (below as f64 - (sorted.len() - at_most) as f64) / sorted.len() as f64
        })
        .collect();
    (rows, ties as f64)
}
