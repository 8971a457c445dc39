//! Hodges and Lehmann's shift: the median of all differences between two arms, or of all pairwise means of one sample,
//! with the interval that the rank test inverts to (1963, *Annals of Mathematical Statistics* 34). The robust twin of a
//! difference of means. Quadratic in memory, so not for many thousand values.

use crate::dist::normal_quantile;
use crate::error::{check_level, in_range};
use crate::hypothesis::{SubsetSums, differences};
use crate::{Estimate, Interval, Sample, StatsError};

/// Most differences that are held in memory.
const MOST: usize = 1 << 25;
/// Up to this many values in both arms, or in one sample, the limits come from the exact law without ties.
const EXACT_UP_TO: usize = 60;

/// Median of all differences a minus b. The interval has at least the level; there is none where even the extreme
/// differences would not reach it (3 against 3 at 0.95).
///
/// # Errors
/// [`StatsError::InvalidParameter`] level, or beyond 2^25 differences; [`StatsError::Overflow`].
pub fn hodges_lehmann(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    const METHOD: &str = "Hodges-Lehmann, Mann-Whitney limits";
    check_level(level)?;
    let (n, m) = (a.len(), b.len());
    affordable(n.saturating_mul(m))?;
    let mut all = Vec::with_capacity(n * m);
    for x in a.values() {
        for y in b.values() {
            all.push(in_range(METHOD, x - y)?);
        }
    }
    let tail = (1.0 - level) / 2.0;
    let beyond = if n + m <= EXACT_UP_TO {
        let ranks: Vec<u64> = (1..=(n + m) as u64).collect();
        // The smallest rank sum is that of the first n places.
        SubsetSums::new(&ranks, n).largest_below(tail, n * (n + 1) / 2)
    } else {
        let (nf, mf) = (n as f64, m as f64);
        limit(nf * mf / 2.0, (nf * mf * (nf + mf + 1.0) / 12.0).sqrt(), tail)
    };
    Ok(estimate(&all, beyond, a, n.min(m), level, METHOD))
}

/// Median of the means of all pairs of values, each value with itself included; under symmetry an estimate of the centre.
///
/// # Errors
/// As [`hodges_lehmann`].
pub fn hodges_lehmann_one(sample: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    const METHOD: &str = "Hodges-Lehmann, signed-rank limits";
    check_level(level)?;
    let n = sample.len();
    affordable(n.saturating_mul(n + 1) / 2)?;
    let mut all = Vec::with_capacity(n * (n + 1) / 2);
    for (i, x) in sample.values().iter().enumerate() {
        for y in &sample.values()[i..] {
            all.push(0.5 * x + 0.5 * y);
        }
    }
    let tail = (1.0 - level) / 2.0;
    let beyond = if n <= EXACT_UP_TO {
        let ranks: Vec<u64> = (1..=n as u64).collect();
        SubsetSums::any_size(&ranks).largest_below(tail, 0)
    } else {
        let nf = n as f64;
        limit(nf * (nf + 1.0) / 4.0, (nf * (nf + 1.0) * (2.0 * nf + 1.0) / 24.0).sqrt(), tail)
    };
    Ok(estimate(&all, beyond, sample, n, level, METHOD))
}

/// [`hodges_lehmann_one`] of the differences of pairs, a minus b.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`hodges_lehmann`].
pub fn hodges_lehmann_paired(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    let d = differences(a, b, "Hodges-Lehmann")?;
    hodges_lehmann_one(Sample::trusted(&d, a.unit()), level)
}

fn affordable(pairs: usize) -> Result<(), StatsError> {
    if pairs <= MOST {
        return Ok(());
    }
    Err(StatsError::InvalidParameter {
        name: "pairs of values",
        value: pairs as f64,
        expected: "at most 33554432",
    })
}

/// How many of the ordered values lie outside the interval on either side, by the normal approximation.
fn limit(mean: f64, sd: f64, tail: f64) -> usize {
    (mean + normal_quantile(tail) * sd).floor().max(0.0) as usize
}

/// `beyond` counts the limit itself: the interval runs from the `beyond`-th smallest to the `beyond`-th largest.
fn estimate(
    all: &[f64],
    beyond: usize,
    sample: Sample<'_>,
    n: usize,
    level: f64,
    method: &'static str,
) -> Estimate {
    let sorted = Sample::trusted(all, sample.unit()).sorted();
    let values = sorted.values();
    let interval = (beyond > 0 && beyond <= values.len()).then(|| Interval {
        low: values[beyond - 1],
        high: values[values.len() - beyond],
        level,
    });
    Estimate {
        point: sorted.median(),
        standard_error: None,
        interval,
        method: method.into(),
        unit: sample.unit().into(),
        n,
    }
}
