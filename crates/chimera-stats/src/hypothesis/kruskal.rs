//! The Kruskal-Wallis test that several independent groups come from one law, by ranks.

use super::mann_whitney::cubic;
use super::outcome::{Alternative, Null, Test};
use crate::dist::chi_squared_sf;
use crate::error::check_count;
use crate::rank::{doubled_ranks, tie_groups};
use crate::summary::sum;
use crate::{Sample, StatsError};

/// Kruskal-Wallis test; the statistic is H, corrected for ties, its law chi-squared with one degree of freedom less than
/// there are groups: an approximation that is cautious below five values in a group.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups.
pub fn kruskal_wallis(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    const NAME: &str = "Kruskal-Wallis";
    check_count(NAME, 2, groups.len())?;
    let all: Vec<f64> = groups.iter().flat_map(|g| g.values()).copied().collect();
    let n = all.len() as f64;
    let ranks = doubled_ranks(&all);
    let mut start = 0;
    let between = sum(groups.iter().map(|group| {
        let own = &ranks[start..start + group.len()];
        start += group.len();
        let mean = own.iter().sum::<u64>() as f64 / (2 * group.len()) as f64;
        group.len() as f64 * (mean - (n + 1.0) / 2.0).powi(2)
    }));
    let ties: f64 = tie_groups(&all).map(|t| cubic(t as f64)).sum();
    let correction = 1.0 - ties / cubic(n);
    let dof = (groups.len() - 1) as f64;
    let statistic = (correction > 0.0).then(|| 12.0 / (n * (n + 1.0)) * between / correction);
    let sizes = groups.iter().map(Sample::len).collect();
    Test::guarded(NAME, sizes, Alternative::TwoSided, Null::ChiSquared { dof }, statistic, |h| {
        // Groups that do not overlap at all have H at most (N^3 - N - sum of n_i^3 - n_i) / (N (N + 1)) with N - 1 as
        // the bound of any H.
        let within: f64 = groups.iter().map(|g| cubic(g.len() as f64)).sum();
        let most = ((cubic(n) - within) / (n * (n + 1.0)) / correction).min(n - 1.0);
        Ok((chi_squared_sf(h, dof)?, Some(chi_squared_sf(most.max(h), dof)?)))
    })
}
