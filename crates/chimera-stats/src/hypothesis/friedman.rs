//! Friedman's test for paired designs with more than two arms, and the comparison of the arms in pairs by Conover and by
//! Nemenyi. Every arm must have been measured in every block.

use super::group_law::{self, EASY, HARD};
use super::outcome::{Alternative, GroupNull, MIN_VALUES, Null, PostHoc, Test, holm_over};
use crate::dist::chi_squared_sf;
use crate::error::{check_count, check_lengths};
use crate::rank::doubled_ranks;
use crate::studentized_range;
use crate::summary::sum;
use crate::{Sample, StatsError};

/// Ranks within blocks, summed per arm.
struct Layout {
    /// Doubled ranks of each block.
    rows: Vec<Vec<u64>>,
    sums: Vec<f64>,
    squares: f64,
    blocks: f64,
    arms: f64,
    /// Least value of Friedman's denominator for these ties, relative to none.
    correction: f64,
}

impl Layout {
    fn new(arms: &[Sample<'_>], what: &'static str) -> Result<Self, StatsError> {
        check_count(what, 2, arms.len())?;
        let blocks = arms[0].len();
        for arm in arms {
            check_lengths(what, blocks, arm.len())?;
        }
        let k = arms.len() as f64;
        let rows: Vec<Vec<u64>> = (0..blocks)
            .map(|block| doubled_ranks(&arms.iter().map(|arm| arm.values()[block]).collect::<Vec<f64>>()))
            .collect();
        let mut sums = vec![0.0; arms.len()];
        let mut squares = 0.0;
        for row in &rows {
            for (total, rank) in sums.iter_mut().zip(row) {
                let rank = *rank as f64 / 2.0;
                *total += rank;
                squares += rank * rank;
            }
        }
        let b = blocks as f64;
        let centre = b * k * (k + 1.0).powi(2) / 4.0;
        let untied = b * k * (k * k - 1.0) / 12.0;
        Ok(Self { rows, sums, squares, blocks: b, arms: k, correction: (squares - centre) / untied })
    }

    /// Friedman's statistic, corrected for ties; none if every block is tied throughout.
    fn statistic(&self) -> Option<f64> {
        let (b, k) = (self.blocks, self.arms);
        let centre = b * (k + 1.0) / 2.0;
        let between = sum(self.sums.iter().map(|s| (s - centre).powi(2)));
        (self.correction > 0.0).then(|| 12.0 * between / (b * k * (k + 1.0)) / self.correction)
    }
}

/// Friedman test over `arms`, each with one value per block in the order of the blocks; the statistic is Q, corrected for
/// ties. [`friedman_by`] with [`GroupNull::Auto`].
///
/// # Errors
/// [`StatsError::TooFew`] below 2 arms, [`StatsError::Mismatched`] if they differ in length.
pub fn friedman(arms: &[Sample<'_>]) -> Result<Test, StatsError> {
    friedman_by(arms, GroupNull::Auto)
}

/// Friedman test with the law named. The exact law is that of the mid-ranks as they are, ties included: every order of
/// them in every block. By default it is taken while that costs some 20 ms: three arms in 60 blocks, four in 15, five in
/// 6, six in 3. On request it goes as far as a second's work: four arms in 30 blocks, five in 11, six in 5. Chi-squared is
/// cautious for few blocks.
///
/// # Errors
/// As [`friedman`]; [`StatsError::InvalidParameter`] if the exact law is asked of too many blocks.
pub fn friedman_by(arms: &[Sample<'_>], null: GroupNull) -> Result<Test, StatsError> {
    const NAME: &str = "Friedman";
    let layout = Layout::new(arms, NAME)?;
    let statistic = layout.statistic();
    let testable = statistic.is_some() && arms[0].len() >= MIN_VALUES;
    let exact = match null {
        GroupNull::Auto if testable => group_law::blocks(&layout.rows, EASY),
        GroupNull::Exact if testable => {
            Some(group_law::blocks(&layout.rows, HARD).ok_or(StatsError::InvalidParameter {
                name: "blocks",
                value: layout.blocks,
                expected: "few enough for the exact law",
            })?)
        }
        _ => None,
    };
    let dof = layout.arms - 1.0;
    let blocks = vec![arms[0].len()];
    if let Some(tail) = exact {
        return Test::guarded(NAME, blocks, Alternative::TwoSided, Null::Exact, statistic, |_| {
            Ok((tail.p, Some(tail.smallest_p)))
        });
    }
    let null = Null::ChiSquared { dof };
    Test::guarded(NAME, blocks, Alternative::TwoSided, null, statistic, |q| {
        // Blocks that agree throughout give b (k - 1), and no ties give more.
        Ok((chi_squared_sf(q, dof)?, Some(chi_squared_sf(layout.blocks * dof, dof)?)))
    })
}

/// All pairs of arms after a Friedman test that rejected: Nemenyi's q, the difference of mean ranks in units of
/// sqrt(k (k + 1) / 12 b), against the studentized range of k arms (Demsar 2006, *Journal of Machine Learning Research*
/// 7). Its p holds for all pairs together. It is cautious beside [`friedman_conover`], and takes no account of ties.
///
/// # Errors
/// As [`friedman`].
pub fn friedman_nemenyi(arms: &[Sample<'_>]) -> Result<Vec<PostHoc>, StatsError> {
    const NAME: &str = "Nemenyi after Friedman";
    let layout = Layout::new(arms, NAME)?;
    let (b, k) = (layout.blocks, layout.arms);
    let error = (k * (k + 1.0) / (12.0 * b)).sqrt();
    let mut pairs = Vec::new();
    for first in 0..arms.len() {
        for second in first + 1..arms.len() {
            let statistic =
                (layout.correction > 0.0).then(|| (layout.sums[first] - layout.sums[second]) / b / error);
            let null = Null::StudentizedRange { arms: arms.len() };
            let blocks = vec![arms[0].len()];
            let test = Test::guarded(NAME, blocks, Alternative::TwoSided, null, statistic, |q| {
                let p = |q: f64| studentized_range::sf(q.abs(), arms.len());
                Ok((p(q), Some(p((k - 1.0) / error))))
            })?;
            let adjusted = test.p(1.0).ok();
            pairs.push(PostHoc { first, second, test, adjusted });
        }
    }
    Ok(pairs)
}

/// All pairs of arms after a Friedman test that rejected: Conover's t on rank sums (Conover, *Practical Nonparametric
/// Statistics*, 5.8), with Holm's adjustment over the pairs.
///
/// # Errors
/// As [`friedman`].
pub fn friedman_conover(arms: &[Sample<'_>]) -> Result<Vec<PostHoc>, StatsError> {
    const NAME: &str = "Conover after Friedman";
    let layout = Layout::new(arms, NAME)?;
    let (b, k) = (layout.blocks, layout.arms);
    let dof = (b - 1.0) * (k - 1.0);
    let between = sum(layout.sums.iter().map(|s| s * s)) / b;
    let residual = layout.squares - between;
    // Ranks are halves: what is left of equal sums is rounding.
    let noise = dof > 0.0 && residual > 1e-9;
    let error = (2.0 * b * residual / dof).sqrt();
    let mut pairs = Vec::new();
    for first in 0..arms.len() {
        for second in first + 1..arms.len() {
            let statistic = noise.then(|| (layout.sums[first] - layout.sums[second]) / error);
            let null = Null::StudentT { dof: dof.max(1.0) };
            let blocks = vec![arms[0].len()];
            let test = Test::guarded(NAME, blocks, Alternative::TwoSided, null, statistic, |t| {
                Ok((Alternative::TwoSided.t_p(t, dof)?, None))
            })?;
            pairs.push(PostHoc { first, second, test, adjusted: None });
        }
    }
    holm_over(pairs)
}
