//! Quantiles: type 7, whether n certifies them, and a distribution-free interval. Not a sketch for streams: the values
//! are sorted in memory.

use std::borrow::Cow;

use crate::error::{check_level, check_unit, in_range};
use crate::{Estimate, Interval, Sample, StatsError};

/// Confidence that a published percentile carries: the 0.99 of MLPerf's early-stopping rule.
pub const CERTIFICATION_CONFIDENCE: f64 = 0.99;

/// Values beyond the percentile that the rule tolerates when it sets the smallest n. One must lie beyond, or the
/// percentile would be the maximum.
pub const CERTIFICATION_MISSES: u32 = 1;

/// A sample in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sorted {
    values: Vec<f64>,
    unit: &'static str,
}

impl Sorted {
    pub(crate) fn new(sample: Sample<'_>) -> Self {
        let mut values = sample.values().to_vec();
        values.sort_unstable_by(f64::total_cmp);
        Self { values, unit: sample.unit() }
    }

    /// The values, ascending.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Median absolute deviation from the median. The smallest deviations are those of neighbours in order, so that they
    /// are found by halving and not by sorting again.
    pub(crate) fn mad(&self) -> Result<f64, StatsError> {
        let (values, median, n) = (&self.values, self.median(), self.values.len());
        in_range("MAD", (values[n - 1] - median).max(median - values[0]))?;
        // The k-th smallest deviation: of all runs of k values that with the smallest largest deviation.
        let smallest = |k: usize| {
            let (mut low, mut high) = (0, n - k);
            while low < high {
                let middle = low + (high - low) / 2;
                if median - values[middle] > values[middle + k] - median {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            (median - values[low]).max(values[low + k - 1] - median)
        };
        let middle = vec![smallest(n.div_ceil(2)), smallest(n / 2 + 1)];
        Ok(Self { values: middle, unit: self.unit }.median())
    }

    /// Type-7 quantile (Hyndman and Fan 1996, *The American Statistician* 50; numpy's `linear`).
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] unless 0 <= p <= 1.
    pub fn quantile(&self, p: f64) -> Result<f64, StatsError> {
        if (0.0..=1.0).contains(&p) {
            Ok(self.at(p))
        } else {
            Err(StatsError::InvalidParameter { name: "p", value: p, expected: "a value from 0 to 1" })
        }
    }

    /// The same for a p that is known to be in range.
    pub(crate) fn at(&self, p: f64) -> f64 {
        let last = self.values.len() - 1;
        let position = p * last as f64;
        let below = (position.floor() as usize).min(last);
        let (a, b) = (self.values[below], self.values[(below + 1).min(last)]);
        between(a, b, position - below as f64)
    }

    /// The type-7 quantile if n certifies it under [`certifying_n`] (64 values for p90, 130 for p95, 662 for p99, 6,636
    /// for p99.9), else nothing: a percentile of too few values is the maximum in disguise.
    #[must_use]
    pub fn certified(&self, p: f64) -> Option<f64> {
        let needed = certifying_n(p, CERTIFICATION_CONFIDENCE, CERTIFICATION_MISSES).ok()?;
        (self.values.len() >= needed).then(|| self.at(p))
    }

    /// Quantile with its distribution-free interval: order statistics l and u with at most (1 - level) / 2 of
    /// probability outside on either side (Conover, *Practical Nonparametric Statistics*, 3.2). The level is a floor. No
    /// interval where n is too small for both limits to exist (5 values for a median at 0.95).
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] unless p and level lie strictly between 0 and 1.
    pub fn quantile_with_interval(&self, p: f64, level: f64) -> Result<Estimate, StatsError> {
        check_unit("p", p)?;
        check_level(level)?;
        let n = self.values.len();
        let tail = (1.0 - level) / 2.0;
        let from_below = order_statistic(n, p, tail);
        let from_above = order_statistic(n, 1.0 - p, tail);
        let interval = (from_below > 0 && from_above > 0).then(|| Interval {
            low: self.values[from_below - 1],
            high: self.values[n - from_above],
            level,
        });
        Ok(Estimate {
            point: self.at(p),
            standard_error: None,
            interval,
            method: Cow::Borrowed(if p == 0.5 {
                "median, order statistics"
            } else {
                "quantile (type 7), order statistics"
            }),
            unit: Cow::Borrowed(self.unit),
            n,
        })
    }
}

/// Largest l, counted from 1, with P(Bin(n, p) <= l - 1) <= tail; 0 if there is none.
fn order_statistic(n: usize, p: f64, tail: f64) -> usize {
    let mut l = 0;
    let mut cumulative = 0.0;
    for pmf in BinomialPmf::new(n, p) {
        cumulative += pmf;
        if cumulative > tail || l == n {
            break;
        }
        l += 1;
    }
    l
}

/// Probabilities of 0, 1, 2, ... successes in n trials, each from the one before, in logarithms: (1 - p)^n of a large n
/// is below the smallest float while the sum is not.
struct BinomialPmf {
    n: usize,
    k: usize,
    ln_pmf: f64,
    ln_odds: f64,
}

impl BinomialPmf {
    fn new(n: usize, p: f64) -> Self {
        Self { n, k: 0, ln_pmf: n as f64 * (-p).ln_1p(), ln_odds: p.ln() - (-p).ln_1p() }
    }
}

impl Iterator for BinomialPmf {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if self.k > self.n {
            return None;
        }
        let pmf = self.ln_pmf.exp();
        self.ln_pmf += ((self.n - self.k) as f64 / (self.k + 1) as f64).ln() + self.ln_odds;
        self.k += 1;
        Some(pmf)
    }
}

/// Smallest n at which `misses` values beyond the percentile `p` still show, at `confidence`, that the true percentile is
/// no larger: P(Bin(n, 1 - p) <= misses) <= 1 - confidence. This is MLPerf Inference's early-stopping rule at tolerance 0.
/// Below the median the lower tail counts.
///
/// # Errors
/// [`StatsError::InvalidParameter`] unless `p` and `confidence` lie strictly between 0 and 1, or where n would pass 2^48.
pub fn certifying_n(p: f64, confidence: f64, misses: u32) -> Result<usize, StatsError> {
    check_unit("p", p)?;
    check_unit("confidence", confidence)?;
    let beyond = if p < 0.5 { p } else { 1.0 - p };
    let misses = misses as usize;
    let enough = |n: usize| BinomialPmf::new(n, beyond).take(misses + 1).sum::<f64>() <= 1.0 - confidence;
    let mut high = misses + 1;
    while !enough(high) {
        if high > 1 << 48 {
            return Err(StatsError::InvalidParameter {
                name: "p",
                value: p,
                expected: "a percentile that some sample can certify",
            });
        }
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The point a share `t` of the way from a to b.
pub(crate) fn between(a: f64, b: f64, t: f64) -> f64 {
    let step = b - a;
    if !step.is_finite() {
        return a * (1.0 - t) + b * t;
    }
    // From the nearer end, as numpy does, so that t = 1 gives b exactly.
    if t < 0.5 { a + step * t } else { b - step * (1.0 - t) }
}

/// Type-7 quantiles at two probabilities, by selection: sorting everything is not needed. The values are reordered.
pub(crate) fn two_quantiles(values: &mut [f64], low: f64, high: f64) -> Result<(f64, f64), StatsError> {
    let last = values.len() - 1;
    let place = |p: f64| {
        if (0.0..=1.0).contains(&p) {
            let position = p * last as f64;
            let below = (position.floor() as usize).min(last);
            Ok((below, position - below as f64))
        } else {
            Err(StatsError::InvalidParameter { name: "p", value: p, expected: "a value from 0 to 1" })
        }
    };
    let (low, high) = (place(low)?, place(high)?);
    let first = select(values, low);
    // What lies below the first place is of no use to a later one.
    let skipped = if high.0 > low.0 { low.0 + 1 } else { 0 };
    Ok((first, select(&mut values[skipped..], (high.0 - skipped, high.1))))
}

/// The value a share `t` of the way from the order statistic `below` to the next.
fn select(values: &mut [f64], (below, t): (usize, f64)) -> f64 {
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().reduce(f64::min).unwrap_or(low);
    between(low, high, t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certification_gives_the_published_constants() {
        let n = |p| certifying_n(p, CERTIFICATION_CONFIDENCE, CERTIFICATION_MISSES).unwrap();
        assert_eq!([n(0.9), n(0.95), n(0.99), n(0.999)], [64, 130, 662, 6636]);
        assert_eq!(n(0.1), n(0.9), "the lower tail mirrors the upper");
        // No miss at all: (1 - p)^n <= 0.01.
        assert_eq!(certifying_n(0.9, 0.99, 0).unwrap(), 44);
        assert!(certifying_n(1.0, 0.99, 1).is_err());
    }

    #[test]
    fn percentiles_appear_at_their_n_and_not_before() {
        let values: Vec<f64> = (0..64).map(f64::from).collect();
        let all = Sample::new(&values, "trial").unwrap().sorted();
        let fewer = Sample::new(&values[..63], "trial").unwrap().sorted();
        assert_eq!(all.certified(0.9), Some(all.quantile(0.9).unwrap()));
        assert_eq!(all.certified(0.95), None);
        assert_eq!(fewer.certified(0.9), None);
    }

    #[test]
    fn mad_is_the_median_of_the_deviations() {
        let mut generator = crate::pcg64::Pcg64::new(3);
        for n in 1..200 {
            // Few different values among the first, so that there are ties.
            let values: Vec<f64> = (0..n).map(|_| f64::from(generator.below(5 + 10 * n)).sqrt()).collect();
            let sample = Sample::new(&values, "value").unwrap();
            let median = sample.median();
            let deviations: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
            assert_eq!(
                sample.mad().unwrap(),
                Sample::new(&deviations, "value").unwrap().median(),
                "{values:?}"
            );
        }
    }

    #[test]
    fn median_interval_needs_six_values_at_95_percent() {
        let values = [3.0, 1.0, 2.0, 6.0, 5.0, 4.0];
        let six = Sample::new(&values, "block").unwrap().sorted();
        let interval = six.quantile_with_interval(0.5, 0.95).unwrap().interval.unwrap();
        // P(all six on one side) = 2 / 64 = 0.03125 <= 0.05.
        assert_eq!((interval.low, interval.high), (1.0, 6.0));
        let five = Sample::new(&values[..5], "block").unwrap().sorted();
        assert_eq!(five.quantile_with_interval(0.5, 0.95).unwrap().interval, None);
    }

    #[test]
    fn quantile_of_extreme_values_does_not_overflow() {
        let values = [-f64::MAX, f64::MAX];
        let sorted = Sample::new(&values, "value").unwrap().sorted();
        assert_eq!(sorted.median(), 0.0);
        assert!(sorted.quantile(1.5).is_err());
    }

    #[test]
    fn selection_finds_what_sorting_finds() {
        let mut generator = crate::pcg64::Pcg64::new(5);
        for n in 1..60 {
            let values: Vec<f64> = (0..n).map(|_| f64::from(generator.below(n)).sqrt()).collect();
            let sorted = Sample::new(&values, "value").unwrap().sorted();
            for (low, high) in [(0.025, 0.975), (0.0, 1.0), (0.5, 0.5), (0.9, 0.1), (1.0, 1.0)] {
                let found = two_quantiles(&mut values.clone(), low, high).unwrap();
                assert_eq!(found, (sorted.at(low), sorted.at(high)), "{values:?} {low} {high}");
            }
        }
        assert!(two_quantiles(&mut [1.0], f64::NAN, 0.5).is_err());
    }
}
