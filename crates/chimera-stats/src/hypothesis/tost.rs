//! Equivalence by two one-sided tests (Schuirmann 1987, *Journal of Pharmacokinetics and Biopharmaceutics* 15): the only
//! way to say "no difference". The margin must be set before the data are seen; a large p of an ordinary t test is not it.

use serde::{Deserialize, Serialize};

use super::outcome::{Alternative, Refusal, Test};
use super::t::Contrast;
use crate::error::{check_positive, check_unit};
use crate::intervals::{around, exponentiated};
use crate::{Estimate, Sample, StatsError};

/// The differences, or ratios, that count as none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// The lower limit.
    pub low: f64,
    /// The upper limit.
    pub high: f64,
}

impl Margin {
    /// From -`delta` to `delta`, in the unit of the data.
    #[must_use]
    pub fn difference(delta: f64) -> Self {
        Self { low: -delta, high: delta }
    }

    /// From 1 / (1 + `share`) to 1 + `share`: 0.03 for "within three per cent", the same whichever arm is above.
    #[must_use]
    pub fn ratio(share: f64) -> Self {
        Self { low: 1.0 / (1.0 + share), high: 1.0 + share }
    }

    fn check(self) -> Result<Self, StatsError> {
        crate::error::check_finite("margin", &[self.low, self.high])?;
        if self.low < self.high {
            Ok(self)
        } else {
            Err(StatsError::InvalidParameter {
                name: "lower margin",
                value: self.low,
                expected: "a value below the upper margin",
            })
        }
    }
}

/// The result of two one-sided tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// The difference or ratio; its interval has the level 1 - 2 alpha, so that it lies within the margin exactly where
    /// equivalence is shown.
    pub estimate: Estimate,
    /// The margin.
    pub margin: Margin,
    /// The alpha of each test.
    pub alpha: f64,
    /// Test that the effect is above the lower limit.
    pub above_low: Test,
    /// Test that the effect is below the upper limit.
    pub below_high: Test,
}

impl Equivalence {
    /// The larger p of the two tests.
    ///
    /// # Errors
    /// The [`Refusal`] where there is none.
    pub fn p(&self) -> Result<f64, Refusal> {
        Ok(self.above_low.p(self.alpha)?.max(self.below_high.p(self.alpha)?))
    }

    /// Whether equivalence within the margin is shown at alpha. False means that it is not shown, not that there is a
    /// difference.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.p().is_ok_and(|p| p <= self.alpha)
    }
}

/// Whether the mean of one sample (of differences per block, say) lies within the margin.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values, [`StatsError::InvalidParameter`] for a margin that is none or an alpha outside
/// (0, 1), [`StatsError::Overflow`].
pub fn equivalent_mean(sample: Sample<'_>, margin: Margin, alpha: f64) -> Result<Equivalence, StatsError> {
    let contrast = Contrast::one(sample, 0.0, "equivalence")?;
    judge(&contrast, sample.unit(), margin.check()?, alpha, "mean, t")
}

/// Whether the mean difference of pairs, a minus b, lies within the margin.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`equivalent_mean`].
pub fn equivalent_paired(
    a: Sample<'_>,
    b: Sample<'_>,
    margin: Margin,
    alpha: f64,
) -> Result<Equivalence, StatsError> {
    let contrast = Contrast::paired(a, b, "equivalence")?;
    judge(&contrast, a.unit(), margin.check()?, alpha, "mean of paired differences, t")
}

/// Whether the difference of the means of independent samples, a minus b, lies within the margin; Welch's t.
///
/// # Errors
/// As [`equivalent_mean`].
pub fn equivalent_welch(
    a: Sample<'_>,
    b: Sample<'_>,
    margin: Margin,
    alpha: f64,
) -> Result<Equivalence, StatsError> {
    let contrast = Contrast::welch(a, b, "equivalence")?;
    judge(&contrast, a.unit(), margin.check()?, alpha, "difference of means, Welch t")
}

/// Whether the ratio of geometric means of independent samples lies within the margin; Welch's t on logarithms.
///
/// # Errors
/// [`StatsError::NotPositive`], otherwise as [`equivalent_mean`].
pub fn equivalent_ratio(
    numerator: Sample<'_>,
    denominator: Sample<'_>,
    margin: Margin,
    alpha: f64,
) -> Result<Equivalence, StatsError> {
    on_logs(
        numerator,
        denominator,
        margin,
        alpha,
        Contrast::welch,
        "ratio of geometric means, Welch t on logs",
    )
}

/// Whether the geometric mean of the ratios of pairs lies within the margin; t on paired logarithms.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotPositive`], otherwise as [`equivalent_mean`].
pub fn equivalent_paired_ratio(
    numerator: Sample<'_>,
    denominator: Sample<'_>,
    margin: Margin,
    alpha: f64,
) -> Result<Equivalence, StatsError> {
    on_logs(numerator, denominator, margin, alpha, Contrast::paired, "ratio, t on paired logs")
}

fn on_logs(
    numerator: Sample<'_>,
    denominator: Sample<'_>,
    margin: Margin,
    alpha: f64,
    contrast: impl Fn(Sample<'_>, Sample<'_>, &'static str) -> Result<Contrast, StatsError>,
    method: &'static str,
) -> Result<Equivalence, StatsError> {
    let margin = margin.check()?;
    check_positive("ratio margin", &[margin.low, margin.high])?;
    let (above, below) = (numerator.ln()?, denominator.ln()?);
    let contrast = contrast(
        Sample::trusted(&above, numerator.unit()),
        Sample::trusted(&below, denominator.unit()),
        "equivalence",
    )?;
    let logs = Margin { low: margin.low.ln(), high: margin.high.ln() };
    let result = judge(&contrast, numerator.unit(), logs, alpha, method)?;
    Ok(Equivalence { estimate: exponentiated(result.estimate, method)?, margin, ..result })
}

fn judge(
    contrast: &Contrast,
    unit: &'static str,
    margin: Margin,
    alpha: f64,
    method: &'static str,
) -> Result<Equivalence, StatsError> {
    check_unit("alpha", alpha)?;
    if alpha >= 0.5 {
        return Err(StatsError::InvalidParameter {
            name: "alpha",
            value: alpha,
            expected: "a value below 0.5",
        });
    }
    let beyond = |limit: f64, alternative| {
        let moved = Contrast { difference: contrast.difference - limit, ..contrast.clone() };
        moved.test("one-sided t against a margin", alternative)
    };
    let level = 1.0 - 2.0 * alpha;
    Ok(Equivalence {
        estimate: Estimate {
            point: contrast.difference,
            standard_error: Some(contrast.se),
            interval: Some(around(contrast.difference, contrast.se, contrast.dof, level)?),
            method: method.into(),
            unit: unit.into(),
            n: contrast.n.iter().copied().min().unwrap_or(0),
        },
        margin,
        alpha,
        above_low: beyond(margin.low, Alternative::Greater)?,
        below_high: beyond(margin.high, Alternative::Less)?,
    })
}
