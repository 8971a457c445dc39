//! Where the noise comes from: variance components of nested measurements by the method of moments, and how many
//! repetitions each level deserves. The estimates are those of the analysis of variance, not of REML: unbiased, in closed
//! form, and possibly below zero, which is reported as it is beside the zero that stands for it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::dist::t_critical;
use crate::error::{check_count, check_level, check_positive, in_range};
use crate::intervals::MIN_BLOCKS;
use crate::summary::{mean, sum};
use crate::{Blocks, StatsError};

/// The noise of one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name: `run`, `block`, `request`.
    pub level: Cow<'static, str>,
    /// Units of this level in the data.
    pub units: usize,
    /// Degrees of freedom of its mean square.
    pub dof: usize,
    /// Its mean square.
    pub mean_square: f64,
    /// The moment estimate of its variance, below zero where the level adds less than chance.
    pub moment: f64,
    /// The variance: the moment estimate, or zero.
    pub variance: f64,
    /// Its share of the sum of all variances, 0 to 1; 0 where all are zero.
    pub share: f64,
}

/// Variances of every level, outermost first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Components {
    /// Mean of all values.
    pub mean: f64,
    /// The levels.
    pub levels: Vec<Component>,
}

impl Components {
    /// Correlation of two values of one outermost unit: the share of all variance above the innermost level. Near 1 the
    /// requests repeat one another and only more blocks help.
    #[must_use]
    pub fn intraclass(&self) -> f64 {
        let shares = &self.levels[..self.levels.len() - 1];
        shares.iter().map(|level| level.share).sum()
    }

    /// Variance of a mean over `repetitions` per level, outermost first: run units, blocks in each, requests in each.
    fn of_mean(&self, repetitions: &[f64]) -> f64 {
        let mut units = 1.0;
        sum(self.levels.iter().zip(repetitions).map(|(level, n)| {
            units *= n;
            level.variance / units
        }))
    }
}

/// Components of requests in blocks.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 blocks or without a second request in any, [`StatsError::Overflow`].
pub fn two_level(blocks: &Blocks) -> Result<Components, StatsError> {
    const WHAT: &str = "variance components";
    check_count(WHAT, 2, blocks.len())?;
    check_count(WHAT, blocks.len() + 1, blocks.replicates())?;
    let (values, sizes) = flat(blocks);
    let n = values.len() as f64;
    let centre = mean(&values);
    let means = blocks.means();
    let between = sum(means.iter().zip(&sizes).map(|(m, size)| size * (m - centre).powi(2)));
    let within = squares_within(blocks);
    let (dof_between, dof_within) = (blocks.len() - 1, values.len() - blocks.len());
    let (between, within) = (between / dof_between as f64, within / dof_within as f64);
    let squares = sum(sizes.iter().map(|size| size * size));
    let coefficient = (n - squares / n) / dof_between as f64;
    collect(
        centre,
        [
            ("block", blocks.len(), dof_between, between, (between - within) / coefficient),
            ("request", values.len(), dof_within, within, within),
        ],
    )
}

/// Components of requests in blocks in runs, which need not be balanced (Searle, Casella and McCulloch, *Variance
/// Components*, 3.6 and appendix F).
///
/// # Errors
/// [`StatsError::TooFew`] below 2 runs, without a second block in any run, or without a second request in any block;
/// [`StatsError::Overflow`].
pub fn three_level(runs: &[Blocks]) -> Result<Components, StatsError> {
    const WHAT: &str = "variance components";
    check_count(WHAT, 2, runs.len())?;
    let blocks: usize = runs.iter().map(Blocks::len).sum();
    let requests: usize = runs.iter().map(Blocks::replicates).sum();
    check_count(WHAT, runs.len() + 1, blocks)?;
    check_count(WHAT, blocks + 1, requests)?;
    let all: Vec<f64> = runs.iter().flat_map(|run| flat(run).0).collect();
    let centre = mean(&all);
    let n = all.len() as f64;
    let (mut by_run, mut by_block, mut within) = (0.0, 0.0, 0.0);
    // Sums of squared sizes: of runs, of blocks over their run's size, of blocks.
    let (mut run_squares, mut block_shares, mut block_squares) = (0.0, 0.0, 0.0);
    for run in runs {
        let (values, sizes) = flat(run);
        let (size, run_mean) = (values.len() as f64, mean(&values));
        by_run += size * (run_mean - centre).powi(2);
        by_block += sum(run.means().iter().zip(&sizes).map(|(m, size)| size * (m - run_mean).powi(2)));
        within += squares_within(run);
        let squares = sum(sizes.iter().map(|s| s * s));
        run_squares += size * size;
        block_shares += squares / size;
        block_squares += squares;
    }
    let (dof_run, dof_block, dof_request) = (runs.len() - 1, blocks - runs.len(), requests - blocks);
    let by_run = by_run / dof_run as f64;
    let by_block = by_block / dof_block as f64;
    let within = within / dof_request as f64;
    let block_in_block = (n - block_shares) / dof_block as f64;
    let block_in_run = (block_shares - block_squares / n) / dof_run as f64;
    let run_in_run = (n - run_squares / n) / dof_run as f64;
    let block = (by_block - within) / block_in_block;
    let run = (by_run - within - block_in_run * block) / run_in_run;
    collect(
        centre,
        [
            ("run", runs.len(), dof_run, by_run, run),
            ("block", blocks, dof_block, by_block, block),
            ("request", requests, dof_request, within, within),
        ],
    )
}

/// All values, and the size of each block.
fn flat(blocks: &Blocks) -> (Vec<f64>, Vec<f64>) {
    let values = blocks.iter().flat_map(|b| b.values().iter().copied()).collect();
    (values, blocks.iter().map(|b| b.len() as f64).collect())
}

fn squares_within(blocks: &Blocks) -> f64 {
    sum(blocks.iter().map(|block| crate::summary::centred(block.values()).2.powi(2)))
}

fn collect<const N: usize>(
    mean: f64,
    levels: [(&'static str, usize, usize, f64, f64); N],
) -> Result<Components, StatsError> {
    let total: f64 = levels.iter().map(|(.., moment)| moment.max(0.0)).sum();
    in_range("variance components", total)?;
    let levels = levels.map(|(level, units, dof, mean_square, moment)| {
        let variance = moment.max(0.0);
        let share = if total > 0.0 { variance / total } else { 0.0 };
        Component { level: Cow::Borrowed(level), units, dof, mean_square, moment, variance, share }
    });
    Ok(Components { mean, levels: levels.into() })
}

/// Repetitions per level for a wanted precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Repetitions per level, outermost first: so many runs, so many blocks in each, so many requests in each.
    pub repetitions: Vec<usize>,
    /// Half the width of the t interval that they promise, at most the one asked for.
    pub half_width: f64,
    /// What they cost, in the unit of the costs.
    pub cost: f64,
}

/// Most repetitions of an inner level that a plan proposes.
const MOST_INNER: usize = 10_000;
/// Most repetitions of the outermost level.
const MOST_OUTER: usize = 1_000_000;

/// The cheapest repetitions whose t interval over the outermost units is no wider than `half_width` on either side.
/// `costs` are those of one more unit of each level by itself: of starting a run, of starting a block, of one request.
/// An inner level is repeated sqrt(cost above / cost here times variance here / variance above) times (Kalibera and Jones
/// 2013, *ISMM*); both whole numbers around that are tried. Never fewer than five outermost units.
///
/// # Errors
/// [`StatsError::Mismatched`] unless there is a cost per level, [`StatsError::NotPositive`] costs or half width,
/// [`StatsError::InvalidParameter`] level, [`StatsError::Degenerate`] if a million outermost units do not suffice.
pub fn plan(components: &Components, costs: &[f64], half_width: f64, level: f64) -> Result<Plan, StatsError> {
    const WHAT: &str = "plan of repetitions";
    check_level(level)?;
    crate::error::check_lengths(WHAT, components.levels.len(), costs.len())?;
    check_positive("costs", costs)?;
    check_positive("half width", &[half_width])?;
    let candidates = components.levels.windows(2).zip(costs.windows(2)).map(|(levels, costs)| {
        let best = (costs[0] / costs[1] * levels[1].variance / levels[0].variance).sqrt();
        // No variance above: as many inner repetitions as one likes. Neither: one.
        let best = if best.is_nan() { 1.0 } else { best.clamp(1.0, MOST_INNER as f64) };
        [best.floor(), best.ceil()]
    });
    let mut inner: Vec<Vec<f64>> = vec![vec![]];
    for [low, high] in candidates {
        inner = inner.iter().flat_map(|p| [low, high].map(|n| [p.as_slice(), &[n]].concat())).collect();
    }
    let mut cheapest: Option<Plan> = None;
    for inner in inner {
        let with = |outer: usize| [&[outer as f64], inner.as_slice()].concat();
        let width = |outer: usize| -> Result<f64, StatsError> {
            Ok(t_critical(level, (outer - 1) as f64)? * components.of_mean(&with(outer)).sqrt())
        };
        let Some(outer) = smallest(MIN_BLOCKS, MOST_OUTER, |outer| Ok(width(outer)? <= half_width))? else {
            continue;
        };
        let repetitions = with(outer);
        let mut units = 1.0;
        let cost = sum(repetitions.iter().zip(costs).map(|(n, cost)| {
            units *= n;
            units * cost
        }));
        if cheapest.as_ref().is_none_or(|best| cost < best.cost) {
            let repetitions = repetitions.into_iter().map(|n| n as usize).collect();
            cheapest = Some(Plan { repetitions, half_width: width(outer)?, cost });
        }
    }
    cheapest.ok_or(StatsError::Degenerate { what: WHAT, reason: "a million outermost units do not suffice" })
}

/// Smallest n from `low` to `high` at which a condition holds that holds from there on.
pub(crate) fn smallest(
    low: usize,
    high: usize,
    holds: impl Fn(usize) -> Result<bool, StatsError>,
) -> Result<Option<usize>, StatsError> {
    let (mut fails, mut at) = (low - 1, low);
    while !holds(at)? {
        if at >= high {
            return Ok(None);
        }
        (fails, at) = (at, (2 * at).min(high));
    }
    while at - fails > 1 {
        let middle = fails + (at - fails) / 2;
        if holds(middle)? {
            at = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Some(at))
}

/// The standard deviation that so many degrees of freedom of normal noise could have hidden: the upper limit, at a
/// one-sided `confidence`, of the one that was seen (chi-squared law of the sum of squares). Five blocks that show 2 % may
/// come from 3.1 %, at 80 %.
///
/// # Errors
/// [`StatsError::TooFew`] without a degree of freedom, [`StatsError::InvalidParameter`] for a confidence outside (0, 1) or a
/// negative standard deviation, [`StatsError::NotFinite`], [`StatsError::Overflow`].
pub fn sd_upper(sd: f64, dof: usize, confidence: f64) -> Result<f64, StatsError> {
    const WHAT: &str = "upper limit of a standard deviation";
    crate::error::check_unit("confidence", confidence)?;
    check_count(WHAT, 1, dof)?;
    crate::error::check_finite(WHAT, &[sd])?;
    if sd < 0.0 {
        return Err(StatsError::InvalidParameter {
            name: "standard deviation",
            value: sd,
            expected: "zero or more",
        });
    }
    let dof = dof as f64;
    // The chi-squared value that a share `confidence` lies above: below the mean by bracket, then by halving.
    let (mut low, mut high) = (0.0, 2.0 * dof + 40.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if crate::dist::chi_squared_sf(middle, dof)? > confidence { low = middle } else { high = middle }
    }
    crate::error::in_range(WHAT, sd * (dof / (0.5 * (low + high))).sqrt())
}
