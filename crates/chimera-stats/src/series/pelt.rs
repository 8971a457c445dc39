//! Changes of level in a series, by penalised least squares: the exact optimum over all sets of breaks (PELT, Killick,
//! Fearnhead and Eckley 2012, *JASA* 107). It sees the mean only, and takes dependence between neighbours for changes:
//! see [`super::effective_size`].

use serde::{Deserialize, Serialize};

use crate::error::{check_positive, in_range};
use crate::summary::{centred, is_rounding, max_abs};
use crate::{Sample, StatsError};

/// What one more change must save.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// This much of the sum of squares, in the square of the data's unit.
    Value(f64),
    /// 3 ln n times the variance of the noise (the leading term of Zhang and Siegmund's criterion, 2007, *Biometrics* 63);
    /// the noise is taken from the differences of neighbours, which hardly see the changes.
    Modified,
}

/// A run of values of one level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// Index of its first value.
    pub start: usize,
    /// Index after its last value.
    pub end: usize,
    /// Its mean.
    pub mean: f64,
}

/// Scale of the noise about a slowly moving level: the median absolute difference of neighbours, as the standard deviation
/// of normal noise; where more than half of them are equal, their root mean square instead.
pub(super) fn noise(values: &[f64]) -> f64 {
    let differences: Vec<f64> = values.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    if differences.is_empty() || differences.iter().any(|d| !d.is_finite()) {
        return 0.0;
    }
    let median = Sample::trusted(&differences, "difference").median();
    let root = std::f64::consts::SQRT_2;
    if median > 0.0 {
        return median / 0.674_489_750_196_081_7 / root;
    }
    crate::summary::norm(&differences) / (differences.len() as f64).sqrt() / root
}

/// Stretches of constant mean with at least `least` values each.
///
/// # Errors
/// [`StatsError::TooFew`] below `least` values, [`StatsError::InvalidParameter`] if `least` is 0,
/// [`StatsError::NotPositive`] or [`StatsError::NotFinite`] for a penalty that is none, [`StatsError::Overflow`].
pub fn pelt(series: Sample<'_>, penalty: Penalty, least: usize) -> Result<Vec<Stretch>, StatsError> {
    const WHAT: &str = "change points";
    if least == 0 {
        return Err(StatsError::InvalidParameter {
            name: "values of a stretch",
            value: 0.0,
            expected: "at least 1",
        });
    }
    series.require(WHAT, least)?;
    if let Penalty::Value(value) = penalty {
        check_positive("penalty", &[value])?;
    }
    let n = series.len();
    let (deviations, _, norm) = centred(series.values());
    in_range(WHAT, norm)?;
    let whole = |start: usize, end: usize| Stretch {
        start,
        end,
        mean: crate::summary::mean(&series.values()[start..end]),
    };
    if is_rounding(norm, n, max_abs(series.values())) {
        return Ok(vec![whole(0, n)]);
    }
    // On the scale of the whole spread, so that squares stay in range.
    let unit: Vec<f64> = deviations.iter().map(|d| d / norm).collect();
    let penalty = match penalty {
        Penalty::Value(value) => value / norm / norm,
        Penalty::Modified => 3.0 * (n as f64).ln() * noise(&unit).powi(2),
    };
    let (mut sums, mut squares) = (vec![0.0], vec![0.0]);
    for (i, v) in unit.iter().enumerate() {
        sums.push(sums[i] + v);
        squares.push(squares[i] + v * v);
    }
    let cost = |start: usize, end: usize| {
        let sum = sums[end] - sums[start];
        (squares[end] - squares[start] - sum * sum / (end - start) as f64).max(0.0)
    };
    let mut best = vec![f64::INFINITY; n + 1];
    best[0] = -penalty;
    let mut previous = vec![0; n + 1];
    // Starts, and from which end on they need not be looked at: one that is beaten at some end by a break there stays
    // beaten as soon as that break leaves room for a stretch.
    let mut candidates: Vec<(usize, usize)> = Vec::new();
    for end in least..=n {
        let newest = end - least;
        if newest == 0 || newest >= least {
            candidates.push((newest, usize::MAX));
        }
        candidates.retain(|(_, until)| *until > end);
        for (start, _) in &candidates {
            let value = best[*start] + cost(*start, end) + penalty;
            if value < best[end] {
                (best[end], previous[end]) = (value, *start);
            }
        }
        for (start, until) in &mut candidates {
            if *until == usize::MAX && best[*start] + cost(*start, end) > best[end] {
                *until = end + least;
            }
        }
    }
    let mut ends = vec![n];
    while let Some(end) = ends.last().copied().filter(|end| *end > 0) {
        ends.push(previous[end]);
    }
    ends.reverse();
    Ok(ends.windows(2).map(|w| whole(w[0], w[1])).collect())
}
