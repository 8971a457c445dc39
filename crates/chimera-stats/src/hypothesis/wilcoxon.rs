//! Wilcoxon's signed-rank test that a population is symmetric about a value, or that differences of pairs are symmetric
//! about zero. Differences of zero say nothing about the sign and are left out (Wilcoxon's own rule), so n may shrink.

use super::mann_whitney::{SubsetSums, approximate, cubic};
use super::outcome::{Alternative, Null, RankNull, Test};
use super::t::differences;
use crate::error::check_finite;
use crate::rank::{doubled_ranks, tie_groups};
use crate::{Sample, StatsError};

/// Up to this many differences the exact law is the default.
const EXACT_UP_TO: usize = 50;
/// Beyond this the exact law is refused.
const EXACT_LIMIT: usize = 1_000;

/// Signed-rank test of `sample` against `against`; the statistic is the sum of the ranks of positive differences. The
/// exact law keeps ties exact.
///
/// # Errors
/// [`StatsError::NotFinite`] for `against`, [`StatsError::InvalidParameter`] if the exact law is asked of more than 1,000
/// differences, [`StatsError::Overflow`].
pub fn wilcoxon(
    sample: Sample<'_>,
    against: f64,
    alternative: Alternative,
    null: RankNull,
) -> Result<Test, StatsError> {
    check_finite("Wilcoxon signed rank", &[against])?;
    let shift = vec![against; sample.len()];
    wilcoxon_paired(sample, Sample::trusted(&shift, sample.unit()), alternative, null)
}

/// Signed-rank test of the differences a minus b.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`wilcoxon`].
pub fn wilcoxon_paired(
    a: Sample<'_>,
    b: Sample<'_>,
    alternative: Alternative,
    null: RankNull,
) -> Result<Test, StatsError> {
    const NAME: &str = "Wilcoxon signed rank";
    let mut d = differences(a, b, NAME)?;
    let given = d.len();
    d.retain(|d| *d != 0.0);
    let n = d.len();
    let exact = match null {
        RankNull::Auto => n <= EXACT_UP_TO,
        RankNull::Exact if n > EXACT_LIMIT => {
            return Err(StatsError::InvalidParameter {
                name: "differences",
                value: n as f64,
                expected: "at most 1000 for the exact law",
            });
        }
        RankNull::Exact => true,
        RankNull::Normal { .. } => false,
    };
    let law = if exact { Null::Exact } else { Null::Normal };
    if n == 0 {
        // Pairs that are all equal: enough of them is no lack of values, but there is nothing to rank.
        return Test::guarded(NAME, vec![given], alternative, law, None, |_| Ok((1.0, None)));
    }
    let sizes: Vec<f64> = d.iter().map(|d| d.abs()).collect();
    let ranks = doubled_ranks(&sizes);
    let positive: u64 = ranks.iter().zip(&d).filter(|(_, d)| **d > 0.0).map(|(r, _)| r).sum();
    Test::guarded(NAME, vec![n], alternative, law, Some(positive as f64 / 2.0), |statistic| {
        if exact {
            let law = SubsetSums::any_size(&ranks);
            return Ok((law.p(positive, alternative), Some(law.smallest_p(alternative))));
        }
        let n = n as f64;
        let ties: f64 = tie_groups(&sizes).map(|t| cubic(t as f64)).sum();
        let mean = n * (n + 1.0) / 4.0;
        let sd = ((n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0).sqrt();
        let continuity = !matches!(null, RankNull::Normal { continuity: false });
        let p = |value: f64| approximate(value - mean, sd, 0.5, continuity, alternative);
        Ok((p(statistic), Some(p(0.0).min(p(2.0 * mean)))))
    })
}
