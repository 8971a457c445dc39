//! Friedman's test for paired designs with more than two arms, and Conover's comparison of the arms in pairs. Every arm
//! must have been measured in every block.

use serde::{Deserialize, Serialize};

use super::multiplicity::holm;
use super::outcome::{Alternative, Null, Test};
use crate::dist::chi_squared_sf;
use crate::error::{check_count, check_lengths};
use crate::rank::mid_ranks;
use crate::summary::sum;
use crate::{Sample, StatsError};

/// Two arms of a Friedman layout, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostHoc {
    /// Index of the first arm.
    pub first: usize,
    /// Index of the second arm.
    pub second: usize,
    /// Conover's t; positive where the first arm ranks higher, that is, has the larger values.
    pub test: Test,
    /// Its p after Holm's adjustment over all pairs; none where the test refuses one.
    pub holm: Option<f64>,
}

/// Ranks within blocks, summed per arm.
struct Layout {
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
        let mut sums = vec![0.0; arms.len()];
        let mut squares = 0.0;
        for block in 0..blocks {
            let row: Vec<f64> = arms.iter().map(|arm| arm.values()[block]).collect();
            for (total, rank) in sums.iter_mut().zip(mid_ranks(&row)) {
                *total += rank;
                squares += rank * rank;
            }
        }
        let b = blocks as f64;
        let centre = b * k * (k + 1.0).powi(2) / 4.0;
        let untied = b * k * (k * k - 1.0) / 12.0;
        Ok(Self { sums, squares, blocks: b, arms: k, correction: (squares - centre) / untied })
    }

    /// Friedman's statistic, corrected for ties; none if every block is tied throughout.
    fn statistic(&self) -> Option<f64> {
        let (b, k) = (self.blocks, self.arms);
        let centre = b * (k + 1.0) / 2.0;
        let between = sum(self.sums.iter().map(|s| (s - centre).powi(2)));
        (self.correction > 0.0).then(|| 12.0 * between / (b * k * (k + 1.0)) / self.correction)
    }
}

/// Friedman test over `arms`, each with one value per block in the order of the blocks. Its law is chi-squared, cautious
/// for few blocks.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 arms, [`StatsError::Mismatched`] if they differ in length.
pub fn friedman(arms: &[Sample<'_>]) -> Result<Test, StatsError> {
    const NAME: &str = "Friedman";
    let layout = Layout::new(arms, NAME)?;
    let dof = layout.arms - 1.0;
    let blocks = vec![arms[0].len()];
    let null = Null::ChiSquared { dof };
    Test::guarded(NAME, blocks, Alternative::TwoSided, null, layout.statistic(), |q| {
        // Blocks that agree throughout give b (k - 1), and no ties give more.
        Ok((chi_squared_sf(q, dof)?, Some(chi_squared_sf(layout.blocks * dof, dof)?)))
    })
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
            pairs.push(PostHoc { first, second, test, holm: None });
        }
    }
    let p: Vec<f64> = pairs.iter().filter_map(|pair| pair.test.p(1.0).ok()).collect();
    if p.len() == pairs.len() {
        for (pair, adjusted) in pairs.iter_mut().zip(holm(&p)?) {
            pair.holm = Some(adjusted);
        }
    }
    Ok(pairs)
}
