//! Where two arms change places: the x at which their lines cross, how sure that is, and whether it hangs on how the
//! replicates of a point were made into one number. A crossing outside the measured range is an extrapolation and is
//! reported as none.

use serde::{Deserialize, Serialize};

use super::simple::line;
use crate::error::{check_count, check_lengths, check_level, check_positive};
use crate::random::{Indices, Resampling};
use crate::{Blocks, Interval, Sample, StatsError, robust};

/// Both arms at one x. Block i of every level and arm is the same block.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Where.
    pub x: f64,
    /// Values of the first arm.
    pub a: Blocks,
    /// Values of the second arm.
    pub b: Blocks,
}

/// On which scale the arms are lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// As they are.
    Linear,
    /// Logarithms of x and y: power laws.
    LogLog,
}

/// How the values of one arm at one x become one: over the values of each block, then the mean over blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregator {
    /// Means.
    Mean,
    /// Medians.
    Median,
    /// Means without a fifth at either end.
    TrimmedMean,
    /// The largest value: the tail as a small block sees it.
    Maximum,
}

impl Aggregator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mean, Self::Median, Self::TrimmedMean, Self::Maximum];

    fn of(self, values: &[f64]) -> f64 {
        let sample = Sample::trusted(values, "request");
        match self {
            Self::Mean => sample.mean(),
            Self::Median => sample.median(),
            Self::TrimmedMean => robust::trimmed_mean(sample, 0.2, 0.95).map_or(f64::NAN, |e| e.point),
            Self::Maximum => sample.max(),
        }
    }
}

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Levels of x, as if they had been chosen at random.
    Case,
    /// Blocks, the same for all levels and arms, then requests within: the noise of measuring again.
    Hierarchical,
}

/// A crossing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crossover {
    /// The x at which the lines cross; none if that is not within the measured range.
    pub at: Option<f64>,
    /// Percentile interval over the resamples that cross within the range; none unless at least the level of them do.
    pub interval: Option<Interval>,
    /// Share of resamples that cross within the range.
    pub crossing: f64,
    /// Whether the first arm is the lower one before the crossing, at the smallest x.
    pub first_lower_before: bool,
    /// How values were aggregated.
    pub aggregator: Aggregator,
    /// What was drawn.
    pub scheme: Scheme,
    /// Number of levels.
    pub levels: usize,
    /// Number of blocks.
    pub blocks: usize,
}

/// The crossing under every aggregator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// One crossing per aggregator of [`Aggregator::ALL`].
    pub crossovers: Vec<Crossover>,
    /// Largest crossing over the smallest; none if some aggregator sees none.
    pub spread: Option<f64>,
    /// Whether the aggregators agree on which arm is lower before.
    pub one_direction: bool,
}

/// Where the arms cross, with a bootstrap interval.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 levels or 2 blocks, [`StatsError::Mismatched`] if levels or arms differ in their number
/// of blocks, [`StatsError::NotPositive`] on a log scale, [`StatsError::Degenerate`] if x is constant,
/// [`StatsError::InvalidParameter`] level or resamples.
pub fn crossover(
    levels: &[Level],
    scale: Scale,
    aggregator: Aggregator,
    scheme: Scheme,
    resampling: Resampling,
    level: f64,
) -> Result<Crossover, StatsError> {
    let blocks = check(levels, scale, level)?;
    let arms: Vec<(f64, f64, f64)> =
        levels.iter().map(|l| (l.x, over_blocks(&l.a, aggregator), over_blocks(&l.b, aggregator))).collect();
    let least = arms.iter().fold(f64::INFINITY, |m, (x, ..)| m.min(*x));
    let range = (least, arms.iter().fold(f64::NEG_INFINITY, |m, (x, ..)| m.max(*x)));
    let Some(observed) = Lines::through(&arms, scale) else {
        return Err(StatsError::Degenerate { what: "crossover", reason: "x is constant" });
    };
    let mut indices = resampling.indices()?;
    let mut found = Vec::new();
    for _ in 0..resampling.resamples {
        let drawn: Vec<(f64, f64, f64)> = match scheme {
            Scheme::Case => arms.iter().map(|_| arms[indices.below(arms.len())]).collect(),
            Scheme::Hierarchical => {
                let chosen: Vec<usize> = (0..blocks).map(|_| indices.below(blocks)).collect();
                let mut one = |arm: &Blocks| redrawn(arm, &chosen, aggregator, &mut indices);
                levels.iter().map(|l| (l.x, one(&l.a), one(&l.b))).collect()
            }
        };
        found.extend(Lines::through(&drawn, scale).and_then(|lines| lines.crossing(range)));
    }
    let crossing = found.len() as f64 / resampling.resamples as f64;
    let interval = (crossing >= level).then(|| {
        let sorted = Sample::trusted(&found, "resample").sorted();
        let tail = (1.0 - level) / 2.0;
        Interval { low: sorted.at(tail), high: sorted.at(1.0 - tail), level }
    });
    Ok(Crossover {
        at: observed.crossing(range),
        interval,
        crossing,
        first_lower_before: observed.gap(least) < 0.0,
        aggregator,
        scheme,
        levels: levels.len(),
        blocks,
    })
}

/// [`crossover`] under every aggregator, from the same draws.
///
/// # Errors
/// As [`crossover`].
pub fn crossover_sensitivity(
    levels: &[Level],
    scale: Scale,
    scheme: Scheme,
    resampling: Resampling,
    level: f64,
) -> Result<Sensitivity, StatsError> {
    let crossovers = Aggregator::ALL
        .into_iter()
        .map(|aggregator| crossover(levels, scale, aggregator, scheme, resampling, level))
        .collect::<Result<Vec<_>, _>>()?;
    let at: Option<Vec<f64>> = crossovers.iter().map(|c| c.at).collect();
    let spread = at.map(|at| {
        let (low, high) =
            at.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
        high / low
    });
    let one_direction = crossovers.windows(2).all(|c| c[0].first_lower_before == c[1].first_lower_before);
    Ok(Sensitivity { crossovers, spread, one_direction })
}

fn check(levels: &[Level], scale: Scale, level: f64) -> Result<usize, StatsError> {
    const WHAT: &str = "crossover";
    check_level(level)?;
    check_count(WHAT, 3, levels.len())?;
    let blocks = levels[0].a.len();
    check_count(WHAT, 2, blocks)?;
    let x: Vec<f64> = levels.iter().map(|l| l.x).collect();
    crate::error::check_finite("x", &x)?;
    if scale == Scale::LogLog {
        check_positive("x", &x)?;
    }
    for arm in levels.iter().flat_map(|l| [&l.a, &l.b]) {
        check_lengths(WHAT, blocks, arm.len())?;
        if scale == Scale::LogLog {
            arm.iter().try_for_each(|block| check_positive("values", block.values()))?;
        }
    }
    Ok(blocks)
}

fn over_blocks(blocks: &Blocks, aggregator: Aggregator) -> f64 {
    let values: Vec<f64> = blocks.iter().map(|block| aggregator.of(block.values())).collect();
    crate::summary::mean(&values)
}

fn redrawn(blocks: &Blocks, chosen: &[usize], aggregator: Aggregator, indices: &mut Indices) -> f64 {
    let all: Vec<Sample<'_>> = blocks.iter().collect();
    let values: Vec<f64> = chosen
        .iter()
        .map(|block| {
            let block = all[*block].values();
            let mut drawn = vec![0.0; block.len()];
            indices.resample(block, &mut drawn);
            aggregator.of(&drawn)
        })
        .collect();
    crate::summary::mean(&values)
}

/// The lines of both arms, as the line of their difference.
struct Lines {
    slope: f64,
    intercept: f64,
    scale: Scale,
}

impl Lines {
    fn through(arms: &[(f64, f64, f64)], scale: Scale) -> Option<Self> {
        let to = |v: f64| if scale == Scale::LogLog { v.ln() } else { v };
        let x: Vec<f64> = arms.iter().map(|(x, ..)| to(*x)).collect();
        // Both lines have the same x, so their difference is the line of the differences.
        let gaps: Vec<f64> = arms.iter().map(|(_, a, b)| to(*a) - to(*b)).collect();
        // Resamples of one x have no line.
        let line = line(&x, &gaps, None).ok()?;
        Some(Self { slope: line.slope, intercept: line.intercept, scale })
    }

    /// First arm minus second, on the scale.
    fn gap(&self, x: f64) -> f64 {
        self.intercept + self.slope * if self.scale == Scale::LogLog { x.ln() } else { x }
    }

    fn crossing(&self, (low, high): (f64, f64)) -> Option<f64> {
        let at = -self.intercept / self.slope;
        let at = if self.scale == Scale::LogLog { at.exp() } else { at };
        (at >= low && at <= high).then_some(at)
    }
}
