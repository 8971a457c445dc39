//! Differences of means in the unit of the data, with t intervals. They are first minus second.

use crate::error::check_level;
use crate::hypothesis::Contrast;
use crate::intervals::around;
use crate::{Estimate, Sample, StatsError};

/// Mean of `a` minus mean of `b`, independent samples, with Welch's interval. The `n` is that of the smaller sample.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in a sample, [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn mean_difference_welch(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    estimate(Contrast::welch(a, b, "difference of means")?, a.unit(), level, "difference of means, Welch t")
}

/// The same with one pooled variance.
///
/// # Errors
/// As [`mean_difference_welch`].
pub fn mean_difference_student(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    estimate(
        Contrast::student(a, b, "difference of means")?,
        a.unit(),
        level,
        "difference of means, pooled t",
    )
}

/// Mean difference of pairs.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`mean_difference_welch`].
pub fn mean_difference_paired(a: Sample<'_>, b: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    estimate(Contrast::paired(a, b, "mean difference")?, a.unit(), level, "mean of paired differences, t")
}

fn estimate(
    contrast: Contrast,
    unit: &'static str,
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    Ok(Estimate {
        point: contrast.difference,
        standard_error: Some(contrast.se),
        interval: Some(around(contrast.difference, contrast.se, contrast.dof, level)?),
        method: method.into(),
        unit: unit.into(),
        n: contrast.n.iter().copied().min().unwrap_or(0),
    })
}
