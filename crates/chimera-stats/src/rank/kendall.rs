//! Kendall's tau-b: agreement of pairs in order, exact where the arrangements can be counted. Quadratic in n.

use serde::{Deserialize, Serialize};

use super::{EXACT_UP_TO, fisher, tie_groups};
use crate::dist::normal_sf;
use crate::error::{check_count, check_finite, check_lengths};
use crate::{Estimate, StatsError};

/// Up to this many points without ties the law of the inversions is counted.
const COUNTED_UP_TO: usize = 100;

/// How the p of a tau came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KendallMethod {
    /// The exact law of inversions without ties.
    ExactInversions,
    /// Every permutation of the tied values, counted.
    ExactPermutation,
    /// The normal approximation with tie correction.
    NormalApproximation,
}

/// Kendall's rank correlation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kendall {
    /// tau-b, from -1 to 1.
    pub tau: f64,
    /// Two-sided p.
    pub p: f64,
    /// The smallest p that any order of these values could give.
    pub smallest_p: f64,
    /// How p came about.
    pub method: KendallMethod,
    /// Number of points.
    pub n: usize,
}

impl Kendall {
    /// Whether the test could have reached `alpha` at all.
    #[must_use]
    pub fn can_reach(&self, alpha: f64) -> bool {
        self.smallest_p <= alpha
    }

    /// tau with its interval through Fisher's z, whose variance is 0.437 / (n - 4) (Fieller, Hartley and Pearson 1957,
    /// *Biometrika* 44; Bonett and Wright 2000, *Psychometrika* 65). It holds its level for |tau| below 0.8 and from ten
    /// points on; below it is coarse. Ties make it too narrow. The standard error is first-order, (1 - tau^2) times
    /// that of z. No interval below [`super::INTERVAL_FROM`] points or at a tau of -1 or 1.
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] for a level outside (0, 1).
    pub fn estimate(&self, level: f64) -> Result<Estimate, StatsError> {
        let se = (0.437 / (self.n as f64 - 4.0)).sqrt();
        fisher::estimate(self.tau, se, self.n, level, "Kendall's tau, Fisher z (Bonett-Wright)")
    }
}

/// Kendall's tau-b of x and y: exact to 100 points without ties and to 9 with them, normal approximation above.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotFinite`], [`StatsError::TooFew`] below 3 points,
/// [`StatsError::Degenerate`] if x or y is constant.
pub fn kendall(x: &[f64], y: &[f64]) -> Result<Kendall, StatsError> {
    const WHAT: &str = "Kendall's tau";
    check_lengths(WHAT, x.len(), y.len())?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    check_count(WHAT, 3, x.len())?;
    let n = x.len();
    let (sx, sy) = (signs(x), signs(y));
    let score = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| i64::from(a * b)).sum::<i64>();
    let s = score(&sx, &sy);
    let untied = |signs: &[i8]| signs.iter().filter(|s| **s != 0).count();
    let (ux, uy) = (untied(&sx), untied(&sy));
    if ux == 0 || uy == 0 {
        return Err(StatsError::Degenerate { what: WHAT, reason: "all values are equal" });
    }
    let tau = (s as f64 / (ux as f64).sqrt() / (uy as f64).sqrt()).clamp(-1.0, 1.0);
    let pairs = sx.len();
    let tied = ux < pairs || uy < pairs;
    if !tied && n <= COUNTED_UP_TO {
        let law = inversions(n);
        let tail = |few: usize| 2.0 * law[..=few].iter().sum::<f64>();
        let few = (pairs - s.unsigned_abs() as usize) / 2;
        let method = KendallMethod::ExactInversions;
        return Ok(Kendall { tau, p: tail(few).min(1.0), smallest_p: tail(0), method, n });
    }
    if n <= EXACT_UP_TO {
        let (p, smallest_p) = permuted(&sx, y, s);
        return Ok(Kendall { tau, p, smallest_p, method: KendallMethod::ExactPermutation, n });
    }
    let variance = variance(x, y);
    let p = |s: f64| 2.0 * normal_sf(s / variance.sqrt());
    // No order scores more than the pairs that both leave untied.
    let smallest_p = p(ux.min(uy) as f64);
    let p = p(s.abs() as f64).min(1.0);
    Ok(Kendall { tau, p, smallest_p, method: KendallMethod::NormalApproximation, n })
}

/// Sign of the difference of each pair, in a fixed order.
fn signs(values: &[f64]) -> Vec<i8> {
    let mut signs = Vec::with_capacity(values.len() * (values.len() - 1) / 2);
    for (i, a) in values.iter().enumerate() {
        signs.extend(values[..i].iter().map(|b| if a > b { 1 } else { -i8::from(a < b) }));
    }
    signs
}

/// Shares of the permutations of n by their number of inversions.
fn inversions(n: usize) -> Vec<f64> {
    let mut law = vec![1.0];
    for size in 2..=n {
        // A new largest element adds 0 to size - 1 inversions, each as likely.
        let mut next = vec![0.0; law.len() + size - 1];
        for (count, share) in law.iter().enumerate() {
            for more in 0..size {
                next[count + more] += share / size as f64;
            }
        }
        law = next;
    }
    law
}

/// Share of permutations of y that score as strongly, and of those that score most.
fn permuted(sx: &[i8], y: &[f64], observed: i64) -> (f64, f64) {
    let n = y.len();
    let sign: Vec<Vec<i64>> =
        y.iter().map(|a| y.iter().map(|b| if a > b { 1 } else { -i64::from(a < b) }).collect()).collect();
    let mut order: Vec<usize> = (0..n).collect();
    let (mut total, mut as_strong, mut most, mut at_most) = (0_u64, 0_u64, -1, 0_u64);
    let mut count = |order: &[usize]| {
        let mut pair = 0;
        let mut score = 0;
        for i in 0..n {
            for j in 0..i {
                score += i64::from(sx[pair]) * sign[order[i]][order[j]];
                pair += 1;
            }
        }
        let strength = score.abs();
        total += 1;
        as_strong += u64::from(strength >= observed.abs());
        if strength > most {
            (most, at_most) = (strength, 0);
        }
        at_most += u64::from(strength == most);
    };
    count(&order);
    // Heap's algorithm.
    let mut counters = vec![0; n];
    let mut i = 1;
    while i < n {
        if counters[i] < i {
            order.swap(i, if i % 2 == 0 { 0 } else { counters[i] });
            count(&order);
            counters[i] += 1;
            i = 1;
        } else {
            counters[i] = 0;
            i += 1;
        }
    }
    (as_strong as f64 / total as f64, at_most as f64 / total as f64)
}

/// Variance of the score with ties (Kendall, *Rank Correlation Methods*, 4.4).
fn variance(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let m = n * (n - 1.0);
    let sums = |values: &[f64]| {
        tie_groups(values).map(|t| t as f64).fold((0.0, 0.0, 0.0), |(pairs, threes, spread), t| {
            let two = t * (t - 1.0);
            (pairs + two / 2.0, threes + two * (t - 2.0), spread + two * (2.0 * t + 5.0))
        })
    };
    let ((px, tx, vx), (py, ty, vy)) = (sums(x), sums(y));
    (m * (2.0 * n + 5.0) - vx - vy) / 18.0 + 2.0 * px * py / m + tx * ty / (9.0 * m * (n - 2.0))
}
