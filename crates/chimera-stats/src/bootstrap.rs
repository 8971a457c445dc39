//! Bootstrap intervals of any statistic of one sample: percentile, BCa, bootstrap-t. The values must be the replicates
//! themselves (blocks, not the trials within them). Resampling of pairs for a slope is in [`crate::regression`].

use std::borrow::Cow;

use crate::dist::{normal_cdf, normal_quantile};
use crate::error::{check_level, in_range};
use crate::quantile::Sorted;
use crate::random::Resampling;
use crate::summary::sum;
use crate::{Estimate, Interval, Sample, StatsError};

/// Percentile interval: the type-7 quantiles of the resampled statistic (Efron and Tibshirani 1993, chapter 13). The
/// standard error is the standard deviation of the resampled statistic.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::InvalidParameter`] for a level outside (0, 1) or fewer than 100
/// resamples, [`StatsError::NotFinite`] if `statistic` returns such a value.
pub fn percentile(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> f64,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let point = finite(statistic(sample.values()), 0)?;
    let replicates = replicate(sample, &statistic, resampling)?;
    let tail = (1.0 - level) / 2.0;
    estimate(sample, point, &replicates, (tail, 1.0 - tail), level, "bootstrap percentile")
}

/// Bias-corrected and accelerated interval (Efron and Tibshirani 1993, 14.3; the acceleration from the jackknife). Ties
/// between the resampled and the observed statistic count half.
///
/// # Errors
/// As [`percentile`]; [`StatsError::Degenerate`] if every resample lies on one side of the observed value.
pub fn bca(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> f64,
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    const METHOD: &str = "bootstrap BCa";
    check_level(level)?;
    let point = finite(statistic(sample.values()), 0)?;
    let replicates = replicate(sample, &statistic, resampling)?;

    // The same values drawn in another order give the same statistic up to rounding, and must count as a tie.
    let rounding = 1e-12 * crate::summary::max_abs(&replicates);
    let below = replicates.iter().filter(|r| **r < point - rounding).count();
    let at_most = replicates.iter().filter(|r| **r <= point + rounding).count();
    let share = (below + at_most) as f64 / (2 * replicates.len()) as f64;
    let bias = normal_quantile(share);
    if !bias.is_finite() {
        return Err(StatsError::Degenerate {
            what: METHOD,
            reason: "every resample lies on one side of the observed value",
        });
    }

    let acceleration = acceleration(sample, &statistic)?;
    let adjusted = |z: f64| {
        let shifted = bias + z;
        let left = 1.0 - acceleration * shifted;
        // At the pole of the formula the corrected percentile has reached its end; beyond it the sign would turn.
        if left > 0.0 { normal_cdf(bias + shifted / left) } else { f64::from(u8::from(shifted > 0.0)) }
    };
    let z = normal_quantile((1.0 - level) / 2.0);
    estimate(sample, point, &replicates, (adjusted(z), adjusted(-z)), level, METHOD)
}

/// Bootstrap-t interval (Efron and Tibshirani 1993, 12.5): quantiles of (resampled - observed) / resampled standard
/// error take the place of Student's t, so that skewness shows. `statistic` returns the value and its standard error.
/// Resamples without spread have no t and are left out; the method says how many.
///
/// # Errors
/// As [`percentile`]; [`StatsError::Degenerate`] if more than a tenth of the resamples have no spread.
pub fn bootstrap_t(
    sample: Sample<'_>,
    statistic: impl Fn(&[f64]) -> (f64, f64),
    resampling: Resampling,
    level: f64,
) -> Result<Estimate, StatsError> {
    const METHOD: &str = "bootstrap-t";
    check_level(level)?;
    sample.require(METHOD, 2)?;
    let (point, se) = statistic(sample.values());
    finite(point, 0)?;
    finite(se, 0)?;
    let mut indices = resampling.indices()?;
    let mut buffer = vec![0.0; sample.len()];
    let mut ts = Vec::with_capacity(resampling.resamples);
    for resample in 0..resampling.resamples {
        indices.resample(sample.values(), &mut buffer);
        let (value, se) = statistic(&buffer);
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

/// The statistic of each resample, in the order drawn.
fn replicate(
    sample: Sample<'_>,
    statistic: &impl Fn(&[f64]) -> f64,
    resampling: Resampling,
) -> Result<Vec<f64>, StatsError> {
    sample.require("a bootstrap", 2)?;
    let mut indices = resampling.indices()?;
    let mut buffer = vec![0.0; sample.len()];
    (0..resampling.resamples)
        .map(|resample| {
            indices.resample(sample.values(), &mut buffer);
            finite(statistic(&buffer), resample)
        })
        .collect()
}

/// Jackknife estimate of the acceleration; 0 where leaving a value out changes nothing.
fn acceleration(sample: Sample<'_>, statistic: &impl Fn(&[f64]) -> f64) -> Result<f64, StatsError> {
    let n = sample.len();
    let mut without = sample.values()[1..].to_vec();
    let mut jackknife = Vec::with_capacity(n);
    for left_out in 0..n {
        if left_out > 0 {
            without[left_out - 1] = sample.values()[left_out - 1];
        }
        jackknife.push(finite(statistic(&without), left_out)?);
    }
    let centre = crate::summary::mean(&jackknife);
    let scale = jackknife.iter().fold(0.0_f64, |m, v| m.max((centre - v).abs()));
    if scale == 0.0 {
        return Ok(0.0);
    }
    let power = |k: i32| sum(jackknife.iter().map(|v| ((centre - v) / scale).powi(k)));
    Ok(power(3) / (6.0 * power(2).powf(1.5)))
}

fn estimate(
    sample: Sample<'_>,
    point: f64,
    replicates: &[f64],
    (low, high): (f64, f64),
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    let replicates = Sample::trusted(replicates, "resample");
    let sorted = replicates.sorted();
    Ok(Estimate {
        point,
        standard_error: Some(replicates.sd()?),
        interval: Some(Interval { low: sorted.quantile(low)?, high: sorted.quantile(high)?, level }),
        method: Cow::Borrowed(method),
        unit: Cow::Borrowed(sample.unit()),
        n: sample.len(),
    })
}

fn finite(value: f64, resample: usize) -> Result<f64, StatsError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(StatsError::NotFinite { what: "statistic of a resample", index: resample })
    }
}
