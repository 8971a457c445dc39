//! Bootstrap of values in blocks: blocks are drawn, then requests within each block drawn. It is for what block means
//! cannot give, a tail percentile above all; for a mean the t interval of block means ([`crate::intervals`]) is as good
//! and needs no draws. Below five blocks no bootstrap is to be trusted.
//!
//! # Draws
//! With xoshiro256++ resample r comes from stream r / 256, each stream one jump (2^128 steps) behind the last, so that the
//! result depends on the seed alone and not on how many threads shared the work. numpy's generator runs as one stream:
//! for each resample the blocks first, then the requests of each drawn block.

use std::borrow::Cow;
use std::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::dist::{normal_cdf, normal_quantile, t_critical};
use crate::error::{check_count, check_lengths, check_level, check_unit, in_range};
use crate::random::{Indices, Resampling};
use crate::summary::{centred, is_rounding, max_abs, norm, sum};
use crate::{Blocks, Estimate, Interval, Sample, StatsError};

/// Resamples that share one stream.
const STREAM: usize = 256;

/// How the percentiles of the resampled statistic become limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limits {
    /// Percentiles at the probability that Student's t with one degree of freedom less than blocks, and the factor
    /// sqrt(n / (n - 1)), put beyond a normal limit (Hesterberg 2015, *The American Statistician* 69): few blocks vary
    /// too little when drawn from themselves. At five blocks that is 0.1 %: draw 4,000 resamples or more. Where none
    /// lies beyond, the plain percentile is moved out along a normal tail.
    ///
    /// Means, ratios of sums and ratios of means count the noise of requests once: it is in the differences of blocks
    /// already and the second level would add it again, so the blocks' deviations shrink by what it adds, and the
    /// requests' where that is not enough (after Davison and Hinkley 1997, *Bootstrap Methods*, 3.8). 95 % limits of a
    /// mean over 5, 10 and 20 blocks hold 93 to 95 %, with 15 requests a block or 200, at a request's noise 2.5 times
    /// the block's or without noise of blocks.
    ///
    /// Quantiles have no such remedy: whole blocks, drawn without a second level, hold 88 to 95 % at 15 requests and
    /// less at a tail. With the second level they hold 97 to 99 % at 15 requests and 92 to 96 % at 200.
    #[default]
    Expanded,
    /// The percentiles of the level itself: 85, 91 and 93 % with 200 requests a block, 92, 95 and 95 % with 15.
    Plain,
}

impl Limits {
    /// The lower probability.
    fn tail(self, level: f64, blocks: usize) -> Result<f64, StatsError> {
        let n = blocks as f64;
        match self {
            Self::Plain => Ok((1.0 - level) / 2.0),
            Self::Expanded => Ok(normal_cdf(-(n / (n - 1.0)).sqrt() * t_critical(level, n - 1.0)?)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Expanded => "two-level bootstrap, expanded percentile",
            Self::Plain => "two-level bootstrap, percentile",
        }
    }
}

/// Mean of block means.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 blocks, [`StatsError::InvalidParameter`] for a level outside (0, 1) or fewer than 100
/// resamples, [`StatsError::Overflow`].
pub fn mean(
    blocks: &Blocks,
    resampling: Resampling,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    let point = crate::summary::mean(&blocks.means());
    let arm = MeanArm::new(blocks, "mean", limits)?;
    let values = draw(resampling, |indices| arm.draw(indices))?;
    estimate("mean of block means", point, &values, blocks, limits, level)
}

/// Type-7 quantile of all requests of all blocks together. Whether n certifies it is for [`crate::quantile`] to say.
///
/// # Errors
/// As [`mean`]; [`StatsError::InvalidParameter`] for a p outside (0, 1).
pub fn quantile(
    blocks: &Blocks,
    p: f64,
    resampling: Resampling,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_unit("p", p)?;
    let point = pooled_quantile(blocks, p);
    let source = source(blocks, "quantile")?;
    let values = draw(resampling, |indices| quantile_of(&source, p, indices))?;
    estimate(&format!("quantile {p} (type 7)"), point, &values, blocks, limits, level)
}

/// Sum of all numerators over sum of all denominators, request by request: tokens over seconds.
///
/// # Errors
/// As [`mean`]; [`StatsError::Mismatched`] if the two are not blocks of the same sizes, [`StatsError::Degenerate`] if the
/// denominators, observed or drawn, sum to zero.
pub fn ratio_of_sums(
    numerator: &Blocks,
    denominator: &Blocks,
    resampling: Resampling,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    const WHAT: &str = "ratio of sums";
    check_lengths(WHAT, numerator.len(), denominator.len())?;
    for (above, below) in numerator.iter().zip(denominator.iter()) {
        check_lengths(WHAT, above.len(), below.len())?;
    }
    let (above, below) = (source(numerator, WHAT)?, source(denominator, WHAT)?);
    let total = |blocks: &[&[f64]]| sum(blocks.iter().flat_map(|b| b.iter()).copied());
    let zero = StatsError::Degenerate { what: WHAT, reason: "the denominator sums to zero" };
    let divisor = total(&below);
    if divisor == 0.0 {
        return Err(zero);
    }
    let point = in_range(WHAT, total(&above) / divisor)?;
    let sums = |blocks: &[&[f64]]| blocks.iter().map(|b| sum(b.iter().copied())).collect::<Vec<f64>>();
    let (sums_above, sums_below) = (sums(&above), sums(&below));
    // What a ratio R varies by is a - R b, to first order: its noise decides how far both sums are moved.
    let residual = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - point * b).collect::<Vec<f64>>();
    let between = residual(&sums_above, &sums_below);
    let within: Vec<f64> = above.iter().zip(&below).map(|(a, b)| centred(&residual(a, b)).2).collect();
    let once = limits.once(norm(&between), norm(&within), between.len(), max_abs(&sums_above));
    let (above_shift, below_shift) = (once.shifts(&sums_above), once.shifts(&sums_below));
    let values = draw(resampling, |indices| {
        let (mut a, mut b) = (0.0, 0.0);
        for _ in 0..above.len() {
            let block = indices.below(above.len());
            let (mut drawn_a, mut drawn_b) = (0.0, 0.0);
            for _ in 0..above[block].len() {
                let request = indices.below(above[block].len());
                drawn_a += above[block][request];
                drawn_b += below[block][request];
            }
            a += once.scale * drawn_a + above_shift[block];
            b += once.scale * drawn_b + below_shift[block];
        }
        a / b
    })
    .map_err(|error| if matches!(error, StatsError::Overflow { .. }) { zero } else { error })?;
    estimate(WHAT, point, &values, numerator, limits, level)
}

/// Ratio of the means of block means of two arms that share no blocks, a over b; each arm is drawn on its own.
///
/// # Errors
/// As [`mean`], for either arm; [`StatsError::NotPositive`] if a request is not positive.
pub fn mean_ratio(
    a: &Blocks,
    b: &Blocks,
    resampling: Resampling,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    positive(a)?;
    positive(b)?;
    let (above, below) =
        (MeanArm::new(a, "ratio of means", limits)?, MeanArm::new(b, "ratio of means", limits)?);
    let point = crate::summary::mean(&a.means()) / crate::summary::mean(&b.means());
    let values = draw(resampling, |indices| {
        let above = above.draw(indices);
        above / below.draw(indices)
    })?;
    let smaller = if a.len() <= b.len() { a } else { b };
    estimate("ratio of means of block means", point, &values, smaller, limits, level)
}

/// Ratio of the same quantile of all requests of two arms that share no blocks, a over b.
///
/// # Errors
/// As [`quantile`], for either arm; [`StatsError::NotPositive`] if a request is not positive.
pub fn quantile_ratio(
    a: &Blocks,
    b: &Blocks,
    p: f64,
    resampling: Resampling,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_unit("p", p)?;
    positive(a)?;
    positive(b)?;
    let (sa, sb) = (source(a, "ratio of quantiles")?, source(b, "ratio of quantiles")?);
    let point = pooled_quantile(a, p) / pooled_quantile(b, p);
    let values = draw(resampling, |indices| {
        let above = quantile_of(&sa, p, indices);
        above / quantile_of(&sb, p, indices)
    })?;
    let smaller = if a.len() <= b.len() { a } else { b };
    estimate(&format!("ratio of quantiles {p} (type 7)"), point, &values, smaller, limits, level)
}

/// How far a drawn block value moves, so that the noise of requests counts once: value = scale * drawn + shift of its
/// block. It shrinks the blocks' deviations by `keep` and the requests' by `scale`.
#[derive(Debug, Clone, Copy)]
struct Once {
    scale: f64,
    keep: f64,
}

impl Once {
    fn shifts(&self, values: &[f64]) -> Vec<f64> {
        let centre = crate::summary::mean(values);
        let shift = |v: &f64| (1.0 - self.scale) * v + (self.keep - 1.0) * (v - centre);
        values.iter().map(shift).collect()
    }
}

impl Limits {
    /// From the norms of the deviations of the block values and of the noise that the second level gives them; `magnitude`
    /// is the size of the values themselves.
    fn once(self, between: f64, within: f64, blocks: usize, magnitude: f64) -> Once {
        let asis = Once { scale: 1.0, keep: 1.0 };
        let share = within / between;
        match self {
            Self::Plain => asis,
            // Block values that do not differ leave nothing to take the noise from.
            Self::Expanded if !share.is_finite() || is_rounding(between, blocks, magnitude) => asis,
            Self::Expanded if share > 1.0 => Once { scale: 1.0 / share, keep: 0.0 },
            Self::Expanded => Once { scale: 1.0, keep: ((1.0 - share) * (1.0 + share)).sqrt() },
        }
    }
}

/// Blocks whose means are drawn.
struct MeanArm<'a> {
    blocks: Vec<&'a [f64]>,
    once: Once,
    shifts: Vec<f64>,
}

impl<'a> MeanArm<'a> {
    fn new(blocks: &'a Blocks, what: &'static str, limits: Limits) -> Result<Self, StatsError> {
        let source = source(blocks, what)?;
        let means = blocks.means();
        let (_, _, between) = centred(&means);
        // Of the mean of as many draws as the block has requests.
        let within: Vec<f64> = source.iter().map(|block| centred(block).2 / block.len() as f64).collect();
        let once = limits.once(between, norm(&within), means.len(), max_abs(&means));
        let shifts = once.shifts(&means);
        Ok(Self { blocks: source, once, shifts })
    }

    fn draw(&self, indices: &mut Indices) -> f64 {
        let mut total = 0.0;
        for _ in 0..self.blocks.len() {
            let which = indices.below(self.blocks.len());
            let block = self.blocks[which];
            total += self.once.scale * (indices.sum(block) / block.len() as f64) + self.shifts[which];
        }
        total / self.blocks.len() as f64
    }
}

fn source<'a>(blocks: &'a Blocks, what: &'static str) -> Result<Vec<&'a [f64]>, StatsError> {
    check_count(what, 3, blocks.len())?;
    Ok(blocks.iter().map(|block| block.values()).collect())
}

fn positive(blocks: &Blocks) -> Result<(), StatsError> {
    blocks.iter().try_for_each(|block| crate::error::check_positive("ratio", block.values()))
}

fn pooled_quantile(blocks: &Blocks, p: f64) -> f64 {
    let all: Vec<f64> = blocks.iter().flat_map(|b| b.values().iter().copied()).collect();
    Sample::trusted(&all, "request").sorted().at(p)
}

/// Quantile of one resample, by selection: sorting all of it is not needed.
fn quantile_of(source: &[&[f64]], p: f64, indices: &mut Indices) -> f64 {
    let mut values = Vec::with_capacity(source.iter().map(|b| b.len()).sum());
    for _ in 0..source.len() {
        let block = source[indices.below(source.len())];
        values.extend((0..block.len()).map(|_| block[indices.below(block.len())]));
    }
    let last = values.len() - 1;
    let position = p * last as f64;
    let below = (position.floor() as usize).min(last);
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    if high.is_finite() { low + (position - below as f64) * (high - low) } else { low }
}

/// The statistic of every resample, in order, over as many threads as there are processors.
fn draw(
    resampling: Resampling,
    statistic: impl Fn(&mut Indices) -> f64 + Sync,
) -> Result<Vec<f64>, StatsError> {
    let mut indices = resampling.indices()?;
    let mut values = vec![0.0; resampling.resamples];
    if matches!(indices, Indices::Numpy(_)) {
        values.iter_mut().for_each(|v| *v = statistic(&mut indices));
    } else {
        let streams: Vec<(Indices, &mut [f64])> = values
            .chunks_mut(STREAM)
            .map(|chunk| {
                let own = indices.clone();
                indices.jump();
                (own, chunk)
            })
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = streams.len().div_ceil(threads);
        let mut streams = streams.into_iter();
        std::thread::scope(|scope| {
            loop {
                let part: Vec<_> = streams.by_ref().take(share).collect();
                if part.is_empty() {
                    break;
                }
                scope.spawn(|| {
                    for (mut indices, chunk) in part {
                        chunk.iter_mut().for_each(|v| *v = statistic(&mut indices));
                    }
                });
            }
        });
    }
    if values.iter().all(|v| v.is_finite()) {
        Ok(values)
    } else {
        Err(StatsError::Overflow { what: "two-level bootstrap" })
    }
}

fn estimate(
    what: &str,
    point: f64,
    values: &[f64],
    blocks: &Blocks,
    limits: Limits,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let tail = limits.tail(level, blocks.len())?;
    let drawn = Sample::trusted(values, "resample");
    let sorted = drawn.sorted();
    let plain = (1.0 - level) / 2.0;
    let limit = |upper: bool| {
        let at = |p: f64| sorted.at(if upper { 1.0 - p } else { p });
        // No resample lies that far out: the plain limit goes there along a normal tail.
        if tail * (values.len() as f64) < 1.0 {
            let centre = sorted.median();
            centre + (at(plain) - centre) * normal_quantile(tail) / normal_quantile(plain)
        } else {
            at(tail)
        }
    };
    const WHAT: &str = "two-level bootstrap";
    let interval = Interval { low: in_range(WHAT, limit(false))?, high: in_range(WHAT, limit(true))?, level };
    Ok(Estimate {
        point,
        standard_error: Some(drawn.sd()?),
        interval: Some(interval),
        method: Cow::Owned(format!("{what}, {}", limits.name())),
        unit: Cow::Borrowed("block"),
        n: blocks.len(),
    })
}
