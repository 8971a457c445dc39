//! Intervals of a mean by Student's t, on values, on logarithms and on blocks. For skewed samples, or statistics that
//! are not means, see [`crate::bootstrap`]; for ratios [`crate::ratio`].

use std::borrow::Cow;

use crate::dist::t_critical;
use crate::error::{check_level, in_range};
use crate::{Blocks, Estimate, Interval, Sample, StatsError};

/// Fewer blocks than this get no interval: a t interval of four or fewer rests on its normality alone.
pub const MIN_BLOCKS: usize = 5;

/// Mean, its standard error sd / sqrt(n) and its t interval with n - 1 degrees of freedom. One value has neither.
/// Constant values give an interval of zero width.
///
/// # Errors
/// [`StatsError::InvalidParameter`] for a level outside (0, 1), [`StatsError::Overflow`].
pub fn mean_t(sample: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let point = sample.mean();
    let (standard_error, interval) = if sample.len() < 2 {
        (None, None)
    } else {
        let se = sample.standard_error()?;
        (Some(se), Some(around(point, se, (sample.len() - 1) as f64, level)?))
    };
    Ok(Estimate {
        point,
        standard_error,
        interval,
        method: Cow::Borrowed("mean, t"),
        unit: Cow::Borrowed(sample.unit()),
        n: sample.len(),
    })
}

/// Geometric mean with the t interval of the logarithms, back-transformed: it is not symmetric and never below zero. The
/// standard error is first-order, geometric mean times the standard error of the mean logarithm.
///
/// # Errors
/// [`StatsError::NotPositive`], otherwise as [`mean_t`].
pub fn geometric_mean_t(sample: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    let logs = sample.ln()?;
    let log = mean_t(Sample::trusted(&logs, sample.unit()), level)?;
    exponentiated(log, "geometric mean, t on logs")
}

/// Mean over values that are one per block, with its t interval only from [`MIN_BLOCKS`] blocks on.
///
/// # Errors
/// As [`mean_t`].
pub fn over_blocks(one_per_block: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    enough_blocks(mean_t(one_per_block, level)?)
}

/// [`geometric_mean_t`] over values that are one per block, under the same rule.
///
/// # Errors
/// As [`geometric_mean_t`].
pub fn geometric_over_blocks(one_per_block: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    enough_blocks(geometric_mean_t(one_per_block, level)?)
}

/// Mean of block means with its t interval over blocks: replicates within a block sharpen a block's mean, they do not
/// multiply the evidence.
///
/// # Errors
/// As [`mean_t`].
pub fn block_means(blocks: &Blocks, level: f64) -> Result<Estimate, StatsError> {
    over_blocks(Sample::trusted(&blocks.means(), "block"), level)
}

/// Mean of block medians with its t interval over blocks.
///
/// # Errors
/// As [`mean_t`].
pub fn block_medians(blocks: &Blocks, level: f64) -> Result<Estimate, StatsError> {
    let mut estimate = over_blocks(Sample::trusted(&blocks.medians(), "block"), level)?;
    estimate.method = Cow::Borrowed("mean of medians, t");
    Ok(estimate)
}

fn enough_blocks(mut estimate: Estimate) -> Result<Estimate, StatsError> {
    if estimate.n < MIN_BLOCKS {
        estimate.interval = None;
        estimate.method = Cow::Owned(format!("{} (no interval below {MIN_BLOCKS} blocks)", estimate.method));
    }
    Ok(estimate)
}

/// Centre plus and minus t standard errors.
pub(crate) fn around(centre: f64, se: f64, dof: f64, level: f64) -> Result<Interval, StatsError> {
    let half = t_critical(level, dof)? * se;
    Ok(Interval {
        low: in_range("interval", centre - half)?,
        high: in_range("interval", centre + half)?,
        level,
    })
}

/// An estimate of a logarithm as one of the value itself.
pub(crate) fn exponentiated(log: Estimate, method: &'static str) -> Result<Estimate, StatsError> {
    let point = in_range(method, log.point.exp())?;
    let interval = log.interval.map(|i| i.map(f64::exp));
    if let Some(i) = interval {
        in_range(method, i.high)?;
    }
    Ok(Estimate {
        point,
        standard_error: log.standard_error.map(|se| point * se),
        interval,
        method: Cow::Borrowed(method),
        ..log
    })
}
