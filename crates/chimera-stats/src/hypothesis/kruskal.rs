//! The Kruskal-Wallis test that several independent groups come from one law, by ranks, and Dunn's comparison of the
//! groups in pairs.

use super::group_law::{self, EASY, HARD};
use super::mann_whitney::cubic;
use super::outcome::{Alternative, GroupNull, MIN_VALUES, Null, PostHoc, Test, holm_over};
use crate::dist::{chi_squared_sf, normal_sf};
use crate::error::check_count;
use crate::rank::{doubled_ranks, tie_groups};
use crate::summary::sum;
use crate::{Sample, StatsError};

/// Ranks over all groups together.
struct Ranked {
    doubled: Vec<u64>,
    sizes: Vec<usize>,
    n: f64,
    /// Mean rank of each group.
    means: Vec<f64>,
    /// Variance of the ranks relative to that without ties; 0 if all values are equal.
    correction: f64,
}

impl Ranked {
    fn new(groups: &[Sample<'_>], what: &'static str) -> Result<Self, StatsError> {
        check_count(what, 2, groups.len())?;
        let all: Vec<f64> = groups.iter().flat_map(|g| g.values()).copied().collect();
        let n = all.len() as f64;
        let doubled = doubled_ranks(&all);
        let mut start = 0;
        let means = groups
            .iter()
            .map(|group| {
                let own = &doubled[start..start + group.len()];
                start += group.len();
                own.iter().sum::<u64>() as f64 / (2 * group.len()) as f64
            })
            .collect();
        let ties: f64 = tie_groups(&all).map(|t| cubic(t as f64)).sum();
        let sizes = groups.iter().map(Sample::len).collect();
        Ok(Self { doubled, sizes, n, means, correction: 1.0 - ties / cubic(n) })
    }

    /// H; none if all values are equal.
    fn statistic(&self) -> Option<f64> {
        let centre = (self.n + 1.0) / 2.0;
        let between = sum(self
            .means
            .iter()
            .zip(&self.sizes)
            .map(|(mean, size)| *size as f64 * (mean - centre).powi(2)));
        (self.correction > 0.0).then(|| 12.0 / (self.n * (self.n + 1.0)) * between / self.correction)
    }

    fn smallest(&self) -> usize {
        self.sizes.iter().copied().min().unwrap_or(0)
    }
}

/// Kruskal-Wallis test; the statistic is H, corrected for ties. [`kruskal_wallis_by`] with [`GroupNull::Auto`].
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups.
pub fn kruskal_wallis(groups: &[Sample<'_>]) -> Result<Test, StatsError> {
    kruskal_wallis_by(groups, GroupNull::Auto)
}

/// Kruskal-Wallis test with the law named. The exact law is that of the mid-ranks as they are, ties included: every split
/// of them into groups of these sizes. By default it is taken while that costs some 20 ms: without ties two groups of 15,
/// three of 7, four of 4, with ties a little more. On request it goes as far as a second's work: three groups of 10, four
/// of 5, five of 3, and never beyond 31 values. Chi-squared has one degree of freedom less than there are groups: an
/// approximation that is cautious below five values in a group.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups, [`StatsError::InvalidParameter`] if the exact law is asked of too many values.
pub fn kruskal_wallis_by(groups: &[Sample<'_>], null: GroupNull) -> Result<Test, StatsError> {
    const NAME: &str = "Kruskal-Wallis";
    let ranked = Ranked::new(groups, NAME)?;
    let statistic = ranked.statistic();
    let testable = statistic.is_some() && ranked.smallest() >= MIN_VALUES;
    let law = |steps| group_law::splits(&ranked.doubled, &ranked.sizes, steps);
    let exact = match null {
        GroupNull::Auto if testable => law(EASY),
        GroupNull::Exact if testable => Some(law(HARD).ok_or(StatsError::InvalidParameter {
            name: "values in all groups",
            value: ranked.n,
            expected: "few enough for the exact law",
        })?),
        _ => None,
    };
    let sizes = ranked.sizes.clone();
    if let Some(tail) = exact {
        return Test::guarded(NAME, sizes, Alternative::TwoSided, Null::Exact, statistic, |_| {
            Ok((tail.p, Some(tail.smallest_p)))
        });
    }
    let (n, dof) = (ranked.n, (groups.len() - 1) as f64);
    Test::guarded(NAME, sizes, Alternative::TwoSided, Null::ChiSquared { dof }, statistic, |h| {
        // Groups that do not overlap at all have H at most (N^3 - N - sum of n_i^3 - n_i) / (N (N + 1)) with N - 1 as
        // the bound of any H.
        let within: f64 = groups.iter().map(|g| cubic(g.len() as f64)).sum();
        let most = ((cubic(n) - within) / (n * (n + 1.0)) / ranked.correction).min(n - 1.0);
        Ok((chi_squared_sf(h, dof)?, Some(chi_squared_sf(most.max(h), dof)?)))
    })
}

/// All pairs of groups after a Kruskal-Wallis test that rejected: Dunn's z on mean ranks with the correction for ties
/// (Dunn 1964, *Technometrics* 6), with Holm's adjustment over the pairs.
///
/// # Errors
/// As [`kruskal_wallis`].
pub fn kruskal_dunn(groups: &[Sample<'_>]) -> Result<Vec<PostHoc>, StatsError> {
    const NAME: &str = "Dunn after Kruskal-Wallis";
    let ranked = Ranked::new(groups, NAME)?;
    let variance = ranked.n * (ranked.n + 1.0) / 12.0 * ranked.correction;
    let mut pairs = Vec::new();
    for first in 0..groups.len() {
        for second in first + 1..groups.len() {
            let (a, b) = (ranked.sizes[first] as f64, ranked.sizes[second] as f64);
            let error = (variance * (1.0 / a + 1.0 / b)).sqrt();
            let statistic = (error > 0.0).then(|| (ranked.means[first] - ranked.means[second]) / error);
            let sizes = vec![ranked.sizes[first], ranked.sizes[second]];
            let test = Test::guarded(NAME, sizes, Alternative::TwoSided, Null::Normal, statistic, |z| {
                // No two groups lie further apart than at the two ends of the ranks.
                let most = (ranked.n - (a + b) / 2.0) / error;
                let p = |z: f64| (2.0 * normal_sf(z)).min(1.0);
                Ok((p(z.abs()), Some(p(most.max(z.abs())))))
            })?;
            pairs.push(PostHoc { first, second, test, adjusted: None });
        }
    }
    holm_over(pairs)
}
