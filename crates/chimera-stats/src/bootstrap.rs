//! Bootstrap intervals of any statistic of one sample: percentile, BCa, bootstrap-t. The values must be the replicates
//! themselves (blocks, not the trials within them). Resampling of pairs for a slope is in [`crate::regression`].
//!
//! Resamples are drawn on all processors, and the result depends on the seed alone, not on how many those are. A mean or
//! a median is faster by its name ([`Centre`]) than as a function, and the same up to rounding.
//!
//! # Draws
//! Index after index by Lemire's method on 32-bit words, of each 64-bit draw the lower half first. numpy's generator runs
//! as one stream, whose resamples are those of `default_rng(seed).integers(0, n, (resamples, n))`. With xoshiro256++
//! resample r comes from stream r / 1,024, each stream one jump (2^128 steps) behind the last.

mod draws;
mod kernels;
mod words;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::dist::{normal_cdf, normal_quantile};
use crate::error::{check_level, in_range};
use crate::quantile::{Sorted, two_quantiles};
use crate::random::Resampling;
use crate::summary::{is_rounding, max_abs, sum};
use crate::{Estimate, Interval, Sample, StatsError};

use draws::{Kernel, processors};
use kernels::Function;

/// Indices that are drawn faster on one thread than others are started, where the statistic costs next to nothing.
const SMALL: usize = 1 << 16;

/// Resamples are values too: at this many the jackknife is worth several threads.
const LARGE: usize = 256;

/// Statistics that have a way of their own through a bootstrap, without the resamples being written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Centre {
    /// Arithmetic mean.
    Mean,
    /// Median: type-7 quantile at 0.5.
    Median,
}

/// Percentile interval: the type-7 quantiles of the resampled statistic (Efron and Tibshirani 1993, chapter 13). The
/// standard error is the standard deviation of the resampled statistic.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::InvalidParameter`] for a level outside (0, 1) or fewer than 100
/// resamples, [`StatsError::NotFinite`] if `statistic` returns such a value.
pub fn percentile(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let point = finite(statistic(sample.values()), 0)?;
    let drawn = by_function(sample, &statistic, resampling)?;
    percentile_from(sample, point, drawn, level)
}

/// [`percentile`] of a mean or a median.
///
/// # Errors
/// As [`percentile`].
pub fn percentile_of(
    sample: Sample<'_>,
    centre: Centre,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let known = Known::new(sample, centre);
    percentile_from(sample, known.point(sample), known.draw(sample, resampling)?, level)
}

/// Bias-corrected and accelerated interval (Efron and Tibshirani 1993, 14.3; the acceleration from the jackknife). Ties
/// between the resampled and the observed statistic count half.
///
/// # Errors
/// As [`percentile`]; [`StatsError::Degenerate`] if every resample lies on one side of the observed value.
pub fn bca(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> f64 + Sync,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let point = finite(statistic(sample.values()), 0)?;
    let drawn = by_function(sample, &statistic, resampling)?;
    bca_from(sample, point, drawn, level, || Ok(acceleration(&jackknife(sample.values(), &statistic)?)))
}

/// [`bca`] of a mean or a median.
///
/// # Errors
/// As [`bca`].
pub fn bca_of(
    sample: Sample<'_>,
    centre: Centre,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let known = Known::new(sample, centre);
    let drawn = known.draw(sample, resampling)?;
    bca_from(sample, known.point(sample), drawn, level, || match &known {
        // Leaving a value out moves the mean by its deviation, up to a factor that cancels.
        Known::Mean(mean) => Ok(acceleration_from(mean.influence().iter().copied())),
        Known::Median(median) => Ok(acceleration(&median.jackknife())),
        Known::WideMean => Ok(acceleration(&jackknife(sample.values(), &crate::summary::mean)?)),
    })
}

/// Bootstrap-t interval (Efron and Tibshirani 1993, 12.5): quantiles of (resampled - observed) / resampled standard
/// error take the place of Student's t, so that skewness shows. `statistic` returns the value and its standard error.
/// Resamples without spread have no t and are left out; the method says how many.
///
/// # Errors
/// As [`percentile`]; [`StatsError::Degenerate`] if more than a tenth of the resamples have no spread.
pub fn bootstrap_t(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> (f64, f64) + Sync,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    const METHOD: &str = "bootstrap-t";
    check_level(level)?;
    sample.require(METHOD, 2)?;
    let (point, se) = statistic(sample.values());
    finite(point, 0)?;
    finite(se, 0)?;
    let kernel = Function { values: sample.values(), function: &statistic };
    let mut ts = Vec::with_capacity(resampling.resamples);
    let drawn = draws::replicates(&kernel, sample.len(), resampling, processors())?;
    for (resample, (value, se)) in drawn.into_iter().enumerate() {
        finite(value, resample)?;
        finite(se, resample)?;
        if se > 0.0 {
            ts.push(finite((value - point) / se, resample)?);
        }
    }
    let left_out = resampling.resamples - ts.len();
    if left_out * 10 > resampling.resamples {
        return Err(StatsError::Degenerate {
            what: METHOD,
            reason: "more than a tenth of the resamples have no spread",
        });
    }
    let ts = Sorted::new(Sample::trusted(&ts, "resample"));
    let tail = (1.0 - level) / 2.0;
    // The upper quantile of t gives the lower limit.
    let interval = Interval {
        low: in_range(METHOD, point - ts.at(1.0 - tail) * se)?,
        high: in_range(METHOD, point - ts.at(tail) * se)?,
        level,
    };
    let method = if left_out == 0 {
        Cow::Borrowed(METHOD)
    } else {
        Cow::Owned(format!("{METHOD} ({left_out} of {} resamples without spread)", resampling.resamples))
    };
    Ok(Estimate {
        point,
        standard_error: Some(se),
        interval: Some(interval),
        method,
        unit: Cow::Borrowed(sample.unit()),
        n: sample.len(),
    })
}

/// [`bootstrap_t`] of the mean with its standard error sd / sqrt(n).
///
/// # Errors
/// As [`bootstrap_t`].
pub fn mean_bootstrap_t(
    sample: Sample<'_>,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    let mean = |values: &[f64]| {
        let sample = Sample::trusted(values, "value");
        (sample.mean(), sample.standard_error().unwrap_or(f64::NAN))
    };
    let mut estimate = bootstrap_t(sample, mean, resampling, level)?;
    estimate.method = Cow::Owned(format!("mean, {}", estimate.method));
    Ok(estimate)
}

/// A mean or a median, ready to be drawn.
enum Known {
    Mean(kernels::Mean),
    Median(kernels::Median),
    /// A mean of values so large that their plain sum may overflow.
    WideMean,
}

impl Known {
    fn new(sample: Sample<'_>, centre: Centre) -> Self {
        match centre {
            Centre::Mean => kernels::Mean::new(sample).map_or(Self::WideMean, Self::Mean),
            Centre::Median => Self::Median(kernels::Median::new(sample)),
        }
    }

    fn point(&self, sample: Sample<'_>) -> f64 {
        match self {
            Self::Mean(mean) => mean.point(),
            Self::Median(median) => median.point(),
            Self::WideMean => sample.mean(),
        }
    }

    fn draw(&self, sample: Sample<'_>, resampling: Resampling) -> Result<Vec<f64>, StatsError> {
        let indices = resampling.resamples.saturating_mul(sample.len());
        let threads = if indices < SMALL { 1 } else { processors() };
        match self {
            Self::Mean(mean) => replicates(mean, sample, resampling, threads),
            Self::Median(median) => replicates(median, sample, resampling, threads),
            Self::WideMean => by_function(sample, &crate::summary::mean, resampling),
        }
    }
}

fn by_function(
    sample: Sample<'_>,
    function: &(impl Fn(&[f64]) -> f64 + Sync),
    resampling: Resampling,
) -> Result<Vec<f64>, StatsError> {
    replicates(&Function { values: sample.values(), function }, sample, resampling, processors())
}

/// The statistic of each resample, in the order drawn.
fn replicates(
    kernel: &impl Kernel<Value = f64>,
    sample: Sample<'_>,
    resampling: Resampling,
    threads: usize,
) -> Result<Vec<f64>, StatsError> {
    sample.require("a bootstrap", 2)?;
    let drawn = draws::replicates(kernel, sample.len(), resampling, threads)?;
    all_finite(drawn)
}

/// The statistic without each value in turn.
fn jackknife(values: &[f64], statistic: &(impl Fn(&[f64]) -> f64 + Sync)) -> Result<Vec<f64>, StatsError> {
    let n = values.len();
    let mut found = vec![0.0; n];
    let threads = if n < LARGE { 1 } else { processors() };
    let part = n.div_ceil(threads);
    let fill = |first: usize, part: &mut [f64]| {
        let mut without = values.to_vec();
        without.remove(first);
        for (left_out, slot) in (first..).zip(part) {
            if left_out > first {
                without[left_out - 1] = values[left_out - 1];
            }
            *slot = statistic(&without);
        }
    };
    std::thread::scope(|scope| {
        let mut parts = found.chunks_mut(part).enumerate();
        let own = parts.next();
        for (number, slots) in parts {
            scope.spawn(move || fill(number * part, slots));
        }
        if let Some((_, slots)) = own {
            fill(0, slots);
        }
    });
    all_finite(found)
}

/// Estimate of the acceleration from the jackknife; 0 where leaving a value out changes nothing.
fn acceleration(jackknife: &[f64]) -> f64 {
    let centre = crate::summary::mean(jackknife);
    acceleration_from(jackknife.iter().map(|v| centre - v))
}

fn acceleration_from(influence: impl Iterator<Item = f64> + Clone) -> f64 {
    let scale = influence.clone().fold(0.0_f64, |m, v| m.max(v.abs()));
    if scale == 0.0 {
        return 0.0;
    }
    let power = |k: i32| sum(influence.clone().map(|v| (v / scale).powi(k)));
    power(3) / (6.0 * power(2).powf(1.5))
}

fn percentile_from(
    sample: Sample<'_>,
    point: f64,
    drawn: Vec<f64>,
    level: f64,
) -> Result<Estimate, StatsError> {
    let tail = (1.0 - level) / 2.0;
    estimate(sample, point, drawn, (tail, 1.0 - tail), level, "bootstrap percentile")
}

fn bca_from(
    sample: Sample<'_>,
    point: f64,
    drawn: Vec<f64>,
    level: f64,
    acceleration: impl FnOnce() -> Result<f64, StatsError>,
) -> Result<Estimate, StatsError> {
    const METHOD: &str = "bootstrap BCa";
    // The same values drawn in another order give the same statistic up to rounding, and must count as a tie.
    let rounding = 1e-12 * max_abs(&drawn);
    let below = drawn.iter().filter(|r| **r < point - rounding).count();
    let at_most = drawn.iter().filter(|r| **r <= point + rounding).count();
    let share = (below + at_most) as f64 / (2 * drawn.len()) as f64;
    let bias = normal_quantile(share);
    if !bias.is_finite() {
        return Err(StatsError::Degenerate {
            what: METHOD,
            reason: "every resample lies on one side of the observed value",
        });
    }
    let acceleration = acceleration()?;
    let adjusted = |z: f64| {
        let shifted = bias + z;
        let left = 1.0 - acceleration * shifted;
        // At the pole of the formula the corrected percentile has reached its end; beyond it the sign would turn.
        if left > 0.0 { normal_cdf(bias + shifted / left) } else { f64::from(u8::from(shifted > 0.0)) }
    };
    let z = normal_quantile((1.0 - level) / 2.0);
    estimate(sample, point, drawn, (adjusted(z), adjusted(-z)), level, METHOD)
}

fn estimate(
    sample: Sample<'_>,
    point: f64,
    mut drawn: Vec<f64>,
    (low, high): (f64, f64),
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    let standard_error = spread(&drawn)?;
    let (low, high) = two_quantiles(&mut drawn, low, high)?;
    Ok(Estimate {
        point,
        standard_error: Some(standard_error),
        interval: Some(Interval { low, high, level }),
        method: Cow::Borrowed(method),
        unit: Cow::Borrowed(sample.unit()),
        n: sample.len(),
    })
}

/// Standard deviation of many values in two quick passes; the careful way where those may have lost digits.
fn spread(values: &[f64]) -> Result<f64, StatsError> {
    let n = values.len() as f64;
    let centre = in_eights(values, |v| v) / n;
    let (squares, rest) = (in_eights(values, |v| (v - centre).powi(2)), in_eights(values, |v| v - centre));
    let squares = squares - rest * (rest / n);
    let norm = squares.sqrt();
    // Squares below this one have begun to underflow.
    let sound = squares.is_finite() && squares > 1e-280;
    if sound && !is_rounding(norm, values.len(), 1e3 * max_abs(values)) {
        Ok(norm / (n - 1.0).sqrt())
    } else {
        Sample::trusted(values, "resample").sd()
    }
}

/// A sum in eight sums, none of which waits for the one before.
fn in_eights(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, v)| *sum += of(*v));
    }
    sums.iter().sum::<f64>() + rest.iter().map(|v| of(*v)).sum::<f64>()
}

fn all_finite(values: Vec<f64>) -> Result<Vec<f64>, StatsError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => finite(values[index], index).map(|_| values),
        None => Ok(values),
    }
}

fn finite(value: f64, resample: usize) -> Result<f64, StatsError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::NotFinite { what: "statistic of a resample", index: resample })
    }
}
