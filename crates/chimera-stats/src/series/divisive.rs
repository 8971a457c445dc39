//! Changes of any kind in a series (level, spread, shape), each with a permutation test: E-divisive, by Matteson and James
//! (2014, *JASA* 109), without their search over the end of the second part. Quadratic in n for every permutation, so not
//! for many thousand values; for levels alone [`super::pelt()`] is quicker and exact.

use serde::{Deserialize, Serialize};

use super::pelt::Stretch;
use crate::error::check_unit;
use crate::random::{Indices, Resampling};
use crate::summary::{centred, is_rounding, max_abs, mean};
use crate::{Sample, StatsError};

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Index of the first value after it.
    pub at: usize,
    /// The energy statistic: m k / (m + k) times the energy distance of the two sides, in the unit of the data.
    pub statistic: f64,
    /// Share of permutations within the stretches found so far that split as strongly, the observed order among them.
    pub p: f64,
}

/// Changes in the order found, strongest first, and the stretches between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Those whose test rejected.
    pub changes: Vec<Change>,
    /// The split that the last test did not reject; none if no split was left to try.
    pub rejected: Option<Change>,
    /// Stretches between the changes, in time.
    pub stretches: Vec<Stretch>,
}

/// Most values.
const MOST: usize = 20_000;

/// Splits the series where its two sides differ most, again and again, until the split is no better than chance at
/// `alpha`: permutations are within the stretches already found. Sides have at least `least` values (2 or more).
///
/// # Errors
/// [`StatsError::TooFew`] below 2 `least` values, [`StatsError::InvalidParameter`] for an alpha outside (0, 1), `least`
/// below 2, fewer than 100 permutations or more than 20,000 values, [`StatsError::Overflow`].
pub fn e_divisive(
    series: Sample<'_>,
    least: usize,
    alpha: f64,
    permutations: Resampling,
) -> Result<Changes, StatsError> {
    const WHAT: &str = "E-divisive";
    check_unit("alpha", alpha)?;
    let n = series.len();
    for (name, value, holds, expected) in [
        ("values of a side", least, least >= 2, "at least 2"),
        ("values of the series", n, n <= MOST, "at most 20000"),
    ] {
        if !holds {
            return Err(StatsError::InvalidParameter { name, value: value as f64, expected });
        }
    }
    series.require(WHAT, 2 * least)?;
    let mut indices = permutations.indices()?;
    let (deviations, _, norm) = centred(series.values());
    crate::error::in_range(WHAT, norm)?;
    let mut ends = vec![0, n];
    let (mut changes, mut rejected) = (Vec::new(), None);
    if !is_rounding(norm, n, max_abs(series.values())) {
        let unit: Vec<f64> = deviations.iter().map(|d| d / norm).collect();
        while let Some((statistic, at)) = best(&unit, &ends, least) {
            let p = chance(&unit, &ends, least, statistic, permutations.resamples, &mut indices);
            let change = Change { at, statistic: statistic * norm, p };
            if p > alpha {
                rejected = Some(change);
                break;
            }
            changes.push(change);
            ends.push(at);
            ends.sort_unstable();
        }
    }
    let stretches = ends
        .windows(2)
        .map(|w| Stretch { start: w[0], end: w[1], mean: mean(&series.values()[w[0]..w[1]]) })
        .collect();
    Ok(Changes { changes, rejected, stretches })
}

/// Share of orders, permuted within stretches, whose best split is as strong.
fn chance(
    values: &[f64],
    ends: &[usize],
    least: usize,
    observed: f64,
    permutations: usize,
    indices: &mut Indices,
) -> f64 {
    let mut shuffled = values.to_vec();
    let mut as_strong = 1;
    for _ in 0..permutations {
        for stretch in ends.windows(2) {
            let part = &mut shuffled[stretch[0]..stretch[1]];
            for place in (1..part.len()).rev() {
                part.swap(place, indices.below(place + 1));
            }
        }
        // Rounding must not make an equal split weaker.
        let strongest = best(&shuffled, ends, least).map_or(0.0, |(statistic, _)| statistic);
        as_strong += usize::from(strongest >= observed * (1.0 - 1e-12));
    }
    as_strong as f64 / (permutations + 1) as f64
}

/// The strongest split of any stretch.
fn best(values: &[f64], ends: &[usize], least: usize) -> Option<(f64, usize)> {
    ends.windows(2)
        .filter_map(|w| split(&values[w[0]..w[1]], least).map(|(statistic, at)| (statistic, w[0] + at)))
        .reduce(|a, b| if b.0 > a.0 { b } else { a })
}

/// The strongest split of one stretch. Moving the border by one value changes the sums of distances by that value's own.
fn split(values: &[f64], least: usize) -> Option<(f64, usize)> {
    let n = values.len();
    if n < 2 * least {
        return None;
    }
    let distances = |v: f64, to: &[f64]| to.iter().map(|w| (v - w).abs()).sum::<f64>();
    let (mut left, mut across) = (0.0, 0.0);
    let mut right: f64 = (0..n).map(|i| distances(values[i], &values[i + 1..])).sum();
    let mut strongest: Option<(f64, usize)> = None;
    for at in 1..=n - least {
        let moved = values[at - 1];
        let to_left = distances(moved, &values[..at - 1]);
        let to_right = distances(moved, &values[at..]);
        left += to_left;
        right -= to_right;
        across += to_right - to_left;
        if at < least {
            continue;
        }
        let (m, k) = (at as f64, (n - at) as f64);
        let pairs = |size: f64| size * (size - 1.0) / 2.0;
        let energy = 2.0 * across / (m * k) - left / pairs(m) - right / pairs(k);
        let statistic = m * k / (m + k) * energy;
        if strongest.is_none_or(|(best, _)| statistic > best) {
            strongest = Some((statistic, at));
        }
    }
    strongest
}
