//! Ratios of positive quantities, estimated on logarithms so that a/b and b/a say the same thing. Not a test: whether a
//! ratio differs from 1 is read from the interval.

use std::borrow::Cow;

use crate::error::{check_count, check_lengths};
use crate::intervals::{around, exponentiated, mean_t};
use crate::{Estimate, Sample, StatsError};

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
