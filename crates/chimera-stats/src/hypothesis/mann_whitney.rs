//! The Mann-Whitney test that two independent samples come from one law. It sees that values of one arm tend to be
//! larger; it is a test of medians only where the two laws differ by a shift.

use super::outcome::{Alternative, Null, RankNull, Test};
use crate::rank::{doubled_ranks, tie_groups};
use crate::{Sample, StatsError};

/// Up to this many values in both arms together the exact law is the default.
const EXACT_UP_TO: usize = 60;
/// Beyond this the exact law is refused: its table grows with the third power of n.
const EXACT_LIMIT: usize = 400;

/// Mann-Whitney test; the statistic is U of `a`: how many pairs have a above b, equal pairs half. The exact law is that
/// of the mid-ranks as they are, so that ties stay exact (Streitberg and Röhmel 1986, *Statistical Software Newsletter*
/// 12); two-sided it is twice the smaller tail. The approximation has the usual tie correction.
///
/// # Errors
/// [`StatsError::InvalidParameter`] if the exact law is asked of more than 400 values.
pub fn mann_whitney(
    a: Sample<'_>,
    b: Sample<'_>,
    alternative: Alternative,
    null: RankNull,
) -> Result<Test, StatsError> {
    const NAME: &str = "Mann-Whitney U";
    let (n, m) = (a.len(), b.len());
    let all = [a.values(), b.values()].concat();
    let ranks = doubled_ranks(&all);
    let sum: u64 = ranks[..n].iter().sum();
    // Twice U, which may be a half.
    let doubled_u = sum - (n * (n + 1)) as u64;
    let u = doubled_u as f64 / 2.0;
    let constant = ranks.iter().all(|r| *r == ranks[0]);
    let statistic = (!constant).then_some(u);
    let sizes = vec![n, m];
    let exact = match null {
        RankNull::Auto => n + m <= EXACT_UP_TO,
        RankNull::Exact if n + m > EXACT_LIMIT => {
            return Err(StatsError::InvalidParameter {
                name: "values in both arms",
                value: (n + m) as f64,
                expected: "at most 400 for the exact law",
            });
        }
        RankNull::Exact => true,
        RankNull::Normal { .. } => false,
    };
    if exact {
        return Test::guarded(NAME, sizes, alternative, Null::Exact, statistic, |_| {
            let law = SubsetSums::new(&ranks, n);
            Ok((law.p(sum, alternative), Some(law.smallest_p(alternative))))
        });
    }
    let continuity = !matches!(null, RankNull::Normal { continuity: false });
    Test::guarded(NAME, sizes, alternative, Null::Normal, statistic, |u| {
        let total = (n + m) as f64;
        let ties: f64 = tie_groups(&all).map(|t| cubic(t as f64)).sum();
        let product = (n * m) as f64;
        let sd = (product / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)))).sqrt();
        let p = |u: f64| approximate(u - product / 2.0, sd, 0.5, continuity, alternative);
        let smallest = p(0.0).min(p(product));
        Ok((p(u), Some(smallest)))
    })
}

/// t^3 - t.
pub(super) fn cubic(t: f64) -> f64 {
    t * t * t - t
}

/// p of a deviation from the mean under the normal law, moved `step` towards the mean if asked.
pub(super) fn approximate(
    deviation: f64,
    sd: f64,
    step: f64,
    continuity: bool,
    alternative: Alternative,
) -> f64 {
    let step = if continuity { step } else { 0.0 };
    let tail = |deviation: f64| crate::dist::normal_sf((deviation - step) / sd);
    alternative.p(tail(-deviation), tail(deviation))
}

/// The law of the sum of a random subset of fixed size, by the shift algorithm: weights of every sum, largest total 1.
#[derive(Debug)]
pub(crate) struct SubsetSums {
    weights: Vec<f64>,
    total: f64,
    /// Sums are multiples of this above `offset`.
    divisor: u64,
}

impl SubsetSums {
    pub(crate) fn new(scores: &[u64], size: usize) -> Self {
        // Without ties all doubled ranks are even: half the table holds them.
        let divisor = scores.iter().copied().fold(0, gcd).max(1);
        let scores: Vec<usize> = scores.iter().map(|s| (s / divisor) as usize).collect();
        let mut largest: Vec<usize> = scores.clone();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let width = largest[..size].iter().sum::<usize>() + 1;
        let mut table = vec![0.0_f64; (size + 1) * width];
        table[0] = 1.0;
        for (seen, score) in scores.iter().enumerate() {
            for k in (1..=size.min(seen + 1)).rev() {
                let (fewer, more) = table.split_at_mut(k * width);
                let from = &fewer[(k - 1) * width..];
                for (to, from) in more[*score..width].iter_mut().zip(from) {
                    *to += from;
                }
            }
            // Counts of subsets pass the largest float near a thousand values; rescaling leaves their shares.
            if seen % 64 == 63 {
                let scale = table.iter().fold(0.0_f64, |m, v| m.max(*v));
                table.iter_mut().for_each(|v| *v /= scale);
            }
        }
        let weights = table.split_off(size * width);
        let total = weights.iter().sum();
        Self { weights, total, divisor }
    }

    /// The law of the sum of a random subset of any size.
    pub(crate) fn any_size(scores: &[u64]) -> Self {
        let divisor = scores.iter().copied().fold(0, gcd).max(1);
        let scores: Vec<usize> = scores.iter().map(|s| (s / divisor) as usize).collect();
        let mut weights = vec![0.0; scores.iter().sum::<usize>() + 1];
        weights[0] = 1.0;
        let mut reach = 0;
        for score in scores {
            reach += score;
            for to in (score..=reach).rev() {
                weights[to] = 0.5 * (weights[to] + weights[to - score]);
            }
            weights[..score].iter_mut().for_each(|w| *w *= 0.5);
        }
        let total = weights.iter().sum();
        Self { weights, total, divisor }
    }

    pub(super) fn p(&self, sum: u64, alternative: Alternative) -> f64 {
        let at = (sum / self.divisor) as usize;
        let share = |weights: &[f64]| weights.iter().sum::<f64>() / self.total;
        alternative.p(share(&self.weights[..=at]), share(&self.weights[at..]))
    }

    /// Largest k with P(sum - least sum <= k - 1) <= tail: how many order statistics lie beyond a limit.
    pub(crate) fn largest_below(&self, tail: f64, least: usize) -> usize {
        let least = least / self.divisor as usize;
        let mut below = 0.0;
        self.weights[least..]
            .iter()
            .take_while(|w| {
                below += **w / self.total;
                below <= tail
            })
            .count()
    }

    /// p of the most extreme sum that exists.
    pub(super) fn smallest_p(&self, alternative: Alternative) -> f64 {
        let share = |weight: Option<&f64>| weight.map_or(1.0, |w| w / self.total);
        let least = share(self.weights.iter().find(|w| **w > 0.0));
        let most = share(self.weights.iter().rev().find(|w| **w > 0.0));
        match alternative {
            Alternative::TwoSided => 2.0 * least.min(most),
            Alternative::Less => least,
            Alternative::Greater => most,
        }
        .min(1.0)
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
