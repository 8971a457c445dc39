//! Ratios: of positive quantities on logarithms, so that a/b and b/a say the same thing; of sums; of means by Fieller. Not
//! a test: whether a ratio differs from 1 is read from the interval.

use std::borrow::Cow;

use crate::dist::t_critical;
use crate::error::{check_count, check_finite, check_lengths, check_level, in_range};
use crate::intervals::{around, exponentiated, mean_t};
use crate::summary::{centred, norm, sum};
use crate::{Estimate, Interval, Sample, StatsError};

/// Geometric mean of numerator / denominator, pair by pair, with the t interval of the log ratios. For arms that were
/// measured in the same blocks. The unit is the numerator's.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotPositive`], [`StatsError::InvalidParameter`] level,
/// [`StatsError::Overflow`].
pub fn paired(numerator: Sample<'_>, denominator: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    check_lengths("paired ratio", numerator.len(), denominator.len())?;
    let (above, below) = (numerator.ln()?, denominator.ln()?);
    let logs: Vec<f64> = above.iter().zip(&below).map(|(a, b)| a - b).collect();
    let log = mean_t(Sample::trusted(&logs, numerator.unit()), level)?;
    exponentiated(log, "ratio, t on paired logs")
}

/// Ratio of geometric means with the Welch interval of the difference of mean logarithms (Welch-Satterthwaite degrees of
/// freedom). For arms that share no blocks. The `n` is that of the smaller arm.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in an arm, [`StatsError::NotPositive`], [`StatsError::InvalidParameter`] level,
/// [`StatsError::Overflow`].
pub fn unpaired(numerator: Sample<'_>, denominator: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    crate::error::check_level(level)?;
    let n = numerator.len().min(denominator.len());
    check_count("unpaired ratio", 2, n)?;
    let (above, below) = (numerator.ln()?, denominator.ln()?);
    let (above, below) = (Sample::trusted(&above, ""), Sample::trusted(&below, ""));
    let (va, vb) = (above.standard_error()?.powi(2), below.standard_error()?.powi(2));
    let (na, nb) = (above.len() as f64, below.len() as f64);
    let difference = above.mean() - below.mean();
    let se = (va + vb).sqrt();
    // Two constant arms leave no variance to share out; any degrees of freedom give the same zero width.
    let dof = if se == 0.0 {
        na + nb - 2.0
    } else {
        (va + vb).powi(2) / (va.powi(2) / (na - 1.0) + vb.powi(2) / (nb - 1.0))
    };
    let log = Estimate {
        point: difference,
        standard_error: Some(se),
        interval: Some(around(difference, se, dof, level)?),
        method: Cow::Borrowed(""),
        unit: Cow::Borrowed(numerator.unit()),
        n,
    };
    exponentiated(log, "ratio of geometric means, Welch t on logs")
}

/// Sum of the numerators over sum of the denominators, one pair per replicate, with the t interval of the linearised
/// ratio: residuals numerator - ratio denominator, n - 1 degrees of freedom (Cochran, *Sampling Techniques*, 6.3). The
/// default for a throughput: give each block's tokens and seconds.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::TooFew`] below 2 pairs, [`StatsError::Degenerate`] if the denominators sum to
/// zero, [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn of_sums(numerator: Sample<'_>, denominator: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    const METHOD: &str = "ratio of sums, linearised t";
    check_level(level)?;
    check_count(METHOD, 2, numerator.len())?;
    let ratio = crate::ratio_of_sums(numerator.values(), denominator.values())?;
    let residuals: Vec<f64> =
        numerator.values().iter().zip(denominator.values()).map(|(a, b)| a - ratio * b).collect();
    check_finite(METHOD, &residuals).map_err(|_| StatsError::Overflow { what: METHOD })?;
    let residuals = Sample::trusted(&residuals, numerator.unit());
    let se = in_range(METHOD, (residuals.standard_error()? / denominator.mean()).abs())?;
    Ok(Estimate {
        point: ratio,
        standard_error: Some(se),
        interval: Some(around(ratio, se, (numerator.len() - 1) as f64, level)?),
        method: Cow::Borrowed(METHOD),
        unit: Cow::Borrowed(numerator.unit()),
        n: numerator.len(),
    })
}

/// Ratio of the means of pairs with Fieller's interval (1954, *Journal of the Royal Statistical Society B* 16), which is
/// exact for normal pairs. No interval where the denominator's mean is not told from zero at this level: the set is then
/// unbounded, and the method says so.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::TooFew`] below 2 pairs, [`StatsError::Degenerate`] if the denominator's mean
/// is zero, [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn fieller_paired(
    numerator: Sample<'_>,
    denominator: Sample<'_>,
    level: f64,
) -> Result<Estimate, StatsError> {
    check_lengths("Fieller's ratio", numerator.len(), denominator.len())?;
    let n = numerator.len();
    check_count("Fieller's ratio", 2, n)?;
    let below = denominator.mean();
    if below == 0.0 {
        return Err(zero_mean());
    }
    let ratio = numerator.mean() / below;
    let (a, _, norm_a) = centred(numerator.values());
    let (b, _, norm_b) = centred(denominator.values());
    // Residuals of the ratio, and of the regression of one deviation on the other, in units of the denominator's mean:
    // formed before they are squared, so that proportional pairs keep their digits.
    let slope =
        if norm_b == 0.0 { 0.0 } else { sum(a.iter().zip(&b).map(|(x, y)| x / norm_b * (y / norm_b))) };
    let root = (n as f64 * (n - 1) as f64).sqrt() * below.abs();
    let about = |r: f64| {
        let residuals: Vec<f64> = a.iter().zip(&b).map(|(x, y)| (x - r * y) / root).collect();
        norm(&residuals)
    };
    // One of rounding only, against numerators as large as these, is none.
    let of = |residual: f64| if residual * root <= 8.0 * f64::EPSILON * norm_a { 0.0 } else { residual };
    let spread = Spread {
        se: of(about(ratio)),
        unexplained: of(about(slope)),
        covariance: slope * (norm_b / root).powi(2),
    };
    let dof = (n - 1) as f64;
    limits(numerator, denominator, spread, dof, level, "ratio of means of pairs, Fieller")
}

/// Ratio of the means of independent samples with Fieller's interval, at Welch-Satterthwaite degrees of freedom for the
/// linear combination at the observed ratio. The `n` is that of the smaller sample.
///
/// # Errors
/// As [`fieller_paired`], without [`StatsError::Mismatched`].
pub fn fieller(numerator: Sample<'_>, denominator: Sample<'_>, level: f64) -> Result<Estimate, StatsError> {
    const WHAT: &str = "Fieller's ratio";
    check_count(WHAT, 2, numerator.len().min(denominator.len()))?;
    let mean = denominator.mean();
    if mean == 0.0 {
        return Err(zero_mean());
    }
    let ratio = numerator.mean() / mean;
    let (above, below) = (numerator.standard_error()?, ratio * denominator.standard_error()?);
    let se = above.hypot(below);
    let (na, nb) = (numerator.len() as f64, denominator.len() as f64);
    let dof = if se == 0.0 {
        na + nb - 2.0
    } else {
        1.0 / ((above / se).powi(4) / (na - 1.0) + (below / se).powi(4) / (nb - 1.0))
    };
    let spread = Spread { se: (se / mean).abs(), unexplained: (above / mean).abs(), covariance: 0.0 };
    limits(numerator, denominator, spread, dof, level, "ratio of means, Fieller")
}

fn zero_mean() -> StatsError {
    StatsError::Degenerate { what: "Fieller's ratio", reason: "the mean of the denominator is zero" }
}

/// How the means vary, in units of the denominator's mean.
struct Spread {
    /// Standard error of numerator - ratio denominator.
    se: f64,
    /// Standard error that the regression on the denominator leaves to the numerator; never larger.
    unexplained: f64,
    /// Covariance of numerator and denominator.
    covariance: f64,
}

/// The roots of (mean_a - r mean_b)^2 = t^2 var(mean_a - r mean_b).
fn limits(
    numerator: Sample<'_>,
    denominator: Sample<'_>,
    spread: Spread,
    dof: f64,
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    let below = denominator.mean();
    let ratio = in_range(method, numerator.mean() / below)?;
    let t = t_critical(level, dof)?;
    let g = (t * (denominator.standard_error()? / below)).powi(2);
    let (interval, method) = if g < 1.0 {
        let centre = ratio - t * t * spread.covariance;
        let left = if spread.se > 0.0 { (spread.unexplained / spread.se).powi(2) } else { 0.0 };
        let half = t * spread.se * (1.0 - g * left).max(0.0).sqrt();
        let low = in_range(method, (centre - half) / (1.0 - g))?;
        let high = in_range(method, (centre + half) / (1.0 - g))?;
        (Some(Interval { low, high, level }), Cow::Borrowed(method))
    } else {
        (None, Cow::Owned(format!("{method} (unbounded: the denominator may be zero)")))
    };
    Ok(Estimate {
        point: ratio,
        standard_error: Some(in_range("Fieller's ratio", spread.se)?),
        interval,
        method,
        unit: Cow::Borrowed(numerator.unit()),
        n: numerator.len().min(denominator.len()),
    })
}
