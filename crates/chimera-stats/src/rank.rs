//! Rank correlation with an exact permutation p where n is small enough to enumerate. Not for ordered categories with
//! heavy ties beyond nine points: the t approximation says nothing reliable there.

mod fisher;
mod kendall;

use serde::{Deserialize, Serialize};

pub use fisher::INTERVAL_FROM;
pub use kendall::{Kendall, KendallMethod, kendall};

use crate::dist::t_two_sided_p;
use crate::error::{check_count, check_finite, check_lengths};
use crate::{Estimate, StatsError};

/// Up to this many points every permutation is counted (9! = 362,880).
pub const EXACT_UP_TO: usize = 9;

/// How a p-value came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankMethod {
    /// Share of all permutations of the mid-ranks with a correlation at least as strong, of either sign.
    ExactPermutation,
    /// Student's t with n - 2 degrees of freedom, but never below the smallest p that permutations could give.
    TApproximation,
}

/// Spearman's rank correlation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankCorrelation {
    /// Pearson correlation of the mid-ranks.
    pub rho: f64,
    /// Two-sided p.
    pub p: f64,
    /// The smallest p that these ties and this n allow, whatever the order. A test at an alpha below it cannot succeed.
    /// Beyond [`EXACT_UP_TO`] points it is the bound from the ties alone.
    pub smallest_p: f64,
    /// How p came about.
    pub method: RankMethod,
    /// Number of points.
    pub n: usize,
}

impl RankCorrelation {
    /// Whether the test could have reached `alpha` at all. Where it could not, a large p is no evidence.
    #[must_use]
    pub fn can_reach(&self, alpha: f64) -> bool {
        self.smallest_p <= alpha
    }

    /// rho with its interval through Fisher's z, whose variance is (1 + rho^2 / 2) / (n - 3) (Bonett and Wright 2000,
    /// *Psychometrika* 65). For normal pairs it holds its level to |rho| = 0.95 from ten points on; below it is coarse.
    /// Ties make it too narrow. The standard error is first-order, (1 - rho^2) times that of z. No interval below
    /// [`INTERVAL_FROM`] points or at a rho of -1 or 1.
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] for a level outside (0, 1).
    pub fn estimate(&self, level: f64) -> Result<Estimate, StatsError> {
        let variance = (1.0 + self.rho * self.rho / 2.0) / (self.n as f64 - 3.0);
        fisher::estimate(self.rho, variance.sqrt(), self.n, level, "Spearman's rho, Fisher z (Bonett-Wright)")
    }
}

/// Spearman's rho of x and y: exact to n = 9, t approximation above.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotFinite`], [`StatsError::TooFew`] below 3 points,
/// [`StatsError::Degenerate`] if x or y is constant.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<RankCorrelation, StatsError> {
    const WHAT: &str = "rank correlation";
    check_lengths(WHAT, x.len(), y.len())?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    check_count(WHAT, 3, x.len())?;
    let n = x.len();
    let (rx, ry) = (centred_ranks(x), centred_ranks(y));
    let dot = |a: &[i64], b: &[i64]| a.iter().zip(b).map(|(a, b)| i128::from(a * b)).sum::<i128>();
    let (xx, yy, xy) = (dot(&rx, &rx), dot(&ry, &ry), dot(&rx, &ry));
    if xx == 0 || yy == 0 {
        return Err(StatsError::Degenerate { what: WHAT, reason: "all values are equal" });
    }
    let rho = (xy as f64 / (xx as f64).sqrt() / (yy as f64).sqrt()).clamp(-1.0, 1.0);
    if n <= EXACT_UP_TO {
        let (p, smallest_p) = exact(&rx, ry, xy as i64);
        return Ok(RankCorrelation { rho, p, smallest_p, method: RankMethod::ExactPermutation, n });
    }
    let smallest_p = attainable(x, y, n);
    let dof = (n - 2) as f64;
    let t = rho * (dof / ((1.0 - rho) * (1.0 + rho))).sqrt();
    let p = t_two_sided_p(t, dof)?.max(smallest_p);
    Ok(RankCorrelation { rho, p, smallest_p, method: RankMethod::TApproximation, n })
}

/// Mid-ranks, counted from 1: equal values share the mean of their places.
#[must_use]
pub fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let centre = values.len() as f64 + 1.0;
    centred_ranks(values).into_iter().map(|r| (r as f64 + centre) / 2.0).collect()
}

/// Twice the mid-ranks: whole numbers, so that sums of ranks compare exactly.
pub(crate) fn doubled_ranks(values: &[f64]) -> Vec<u64> {
    let centre = values.len() as i64 + 1;
    centred_ranks(values).into_iter().map(|r| (r + centre) as u64).collect()
}

/// Twice the mid-rank minus its mean, n + 1: whole numbers that sum to zero, so that permutations compare exactly.
fn centred_ranks(values: &[f64]) -> Vec<i64> {
    let n = values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; n];
    let mut start = 0;
    while start < n {
        let mut end = start + 1;
        while end < n && values[order[end]] == values[order[start]] {
            end += 1;
        }
        // Places start + 1 to end have the mean (start + 1 + end) / 2.
        for place in &order[start..end] {
            ranks[*place] = (start + 1 + end) as i64 - (n as i64 + 1);
        }
        start = end;
    }
    ranks
}

/// Sizes of the groups of equal values, those of one value included.
pub(crate) fn tie_groups(values: &[f64]) -> impl Iterator<Item = usize> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).collect::<Vec<_>>().into_iter()
}

/// Share of permutations at least as extreme as `observed`, and share of the most extreme ones. Heap's algorithm: each
/// permutation differs from the last by one swap, so its sum is found in constant time.
fn exact(x: &[i64], mut y: Vec<i64>, observed: i64) -> (f64, f64) {
    let n = x.len();
    let observed = observed.abs();
    let mut sum: i64 = x.iter().zip(&y).map(|(a, b)| a * b).sum();
    let (mut total, mut as_extreme, mut most, mut at_most) = (0_u64, 0_u64, -1, 0_u64);
    let mut count = |sum: i64| {
        let strength = sum.abs();
        total += 1;
        as_extreme += u64::from(strength >= observed);
        if strength > most {
            (most, at_most) = (strength, 0);
        }
        at_most += u64::from(strength == most);
    };
    count(sum);
    let mut counters = vec![0; n];
    let mut i = 1;
    while i < n {
        if counters[i] < i {
            let j = if i % 2 == 0 { 0 } else { counters[i] };
            sum += (x[i] - x[j]) * (y[j] - y[i]);
            y.swap(i, j);
            count(sum);
            counters[i] += 1;
            i = 1;
        } else {
            counters[i] = 0;
            i += 1;
        }
    }
    (as_extreme as f64 / total as f64, at_most as f64 / total as f64)
}

/// Lower bound of the p-values that permutations of tied ranks can give: the arrangements that cannot be told from the
/// sorted one. Without ties both ends of the scale exist, hence 2 / n!.
fn attainable(x: &[f64], y: &[f64], n: usize) -> f64 {
    use statrs::function::factorial::ln_factorial;
    let ln_same = |values: &[f64]| tie_groups(values).map(|k| ln_factorial(k as u64)).sum::<f64>();
    let (tx, ty) = (ln_same(x), ln_same(y));
    // Permuting y, the strongest sum is kept by at least the swaps within the ties of x and within those of y; the
    // larger of the two counts is a floor for both, and a two-sided p without ties has two such ends.
    let ends = if tx == 0.0 && ty == 0.0 { 2.0 } else { 1.0 };
    (ends * (tx.max(ty) - ln_factorial(n as u64)).exp()).min(1.0)
}
