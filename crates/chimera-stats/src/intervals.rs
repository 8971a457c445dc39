//! Intervals of a mean by Student's t, on values, on logarithms and on blocks. For skewed samples, or statistics that
//! are not means, see [`crate::bootstrap`]; for ratios [`crate::ratio`].

use std::borrow::Cow;

use crate::dist::{normal_quantile, t_critical};
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

/// Wilson's interval of a share that was seen in `n` independent cases (1927, *Journal of the American Statistical
/// Association* 22). The share need not be a whole number of cases: where cases are not independent, `n` is what they are
/// worth.
///
/// # Errors
/// [`StatsError::TooFew`] without a case, [`StatsError::InvalidParameter`] for a share outside 0 to 1 or a level outside
/// (0, 1).
pub fn wilson(share: f64, n: usize, level: f64) -> Result<Interval, StatsError> {
    check_level(level)?;
    crate::error::check_count("Wilson's interval", 1, n)?;
    if !(0.0..=1.0).contains(&share) {
        return Err(StatsError::InvalidParameter { name: "share", value: share, expected: "0 to 1" });
    }
    let (n, z) = (n as f64, normal_quantile(0.5 + level / 2.0));
    let below = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / below;
    let half = z / below * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    Ok(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0), level })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_the_tables_and_refuses_what_is_no_share() {
        // statsmodels 0.15, proportion_confint(2, 10, method="wilson").
        let interval = wilson(0.2, 10, 0.95).unwrap();
        assert!(
            (interval.low - 0.056_682_151_454_5).abs() < 1e-9
                && (interval.high - 0.509_837_528_463_4).abs() < 1e-9
        );
        assert!(wilson(0.0, 5, 0.95).unwrap().low.abs() < 1e-15 && wilson(1.0, 5, 0.95).unwrap().high <= 1.0);
        assert!(
            wilson(1.1, 5, 0.95).is_err() && wilson(0.5, 0, 0.95).is_err() && wilson(0.5, 5, 1.0).is_err()
        );
    }
}
