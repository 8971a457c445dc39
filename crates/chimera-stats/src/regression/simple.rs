//! One regressor: ordinary and weighted least squares with full inference, and the power law as a line through
//! logarithms. No robustness: see [`super::theil_sen()`] and [`super::leave_one_out`].

use serde::{Deserialize, Serialize};

use super::{Coefficient, logs};
use crate::dist::t_critical;
use crate::error::{check_count, check_finite, check_lengths, check_level, check_positive, in_range};
use crate::summary::{is_rounding, max_abs, norm, sum};
use crate::{Interval, StatsError};

/// A line y = intercept + slope x. Two points give the line and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearFit {
    /// Number of points.
    pub n: usize,
    /// Residual degrees of freedom, n - 2.
    pub dof: usize,
    /// Confidence level of the intervals.
    pub level: f64,
    /// Slope, y per x.
    pub slope: Coefficient,
    /// Intercept, y at x = 0.
    pub intercept: Coefficient,
    /// 1 - SSE / SST, weighted if the fit is; absent where y is constant.
    pub r_squared: Option<f64>,
    /// Residual standard deviation with divisor n - 2: in the unit of y, or of y sqrt(weight) for a weighted fit.
    pub residual_sd: Option<f64>,
    /// Mean of x, weighted if the fit is.
    pub x_mean: f64,
    /// Root of the sum of squared deviations of x from that mean, weighted likewise.
    pub x_norm: f64,
    /// Sum of the weights: n without weights.
    pub weight: f64,
}

impl LinearFit {
    /// The line at x.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept.value + self.slope.value * x
    }

    /// Interval of the mean of y at x. None without degrees of freedom.
    #[must_use]
    pub fn mean_at(&self, x: f64) -> Option<Interval> {
        self.band(x, 0.0)
    }

    /// Interval of one new y at x, of weight 1. None without degrees of freedom.
    #[must_use]
    pub fn prediction_at(&self, x: f64) -> Option<Interval> {
        self.band(x, 1.0)
    }

    fn band(&self, x: f64, own_variance: f64) -> Option<Interval> {
        let sd = self.residual_sd?;
        let t = t_critical(self.level, self.dof as f64).ok()?;
        let variance = own_variance + 1.0 / self.weight + ((x - self.x_mean) / self.x_norm).powi(2);
        let (centre, half) = (self.at(x), t * sd * variance.sqrt());
        Some(Interval { low: centre - half, high: centre + half, level: self.level })
    }
}

/// A power law y = prefactor x^exponent with multiplicative errors, fitted as a line through natural logarithms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The line ln y = intercept + slope ln x. Its R2 and residual sd are those of the logarithms.
    pub log_fit: LinearFit,
}

impl PowerLaw {
    /// The exponent: the slope of the log-log line, the same in any base.
    #[must_use]
    pub fn exponent(&self) -> &Coefficient {
        &self.log_fit.slope
    }

    /// y at x = 1.
    #[must_use]
    pub fn prefactor(&self) -> f64 {
        self.log_fit.intercept.value.exp()
    }

    /// The law at x > 0: the geometric mean, or median, of y there.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.log_fit.at(x.ln()).exp()
    }

    /// Interval of the geometric mean of y at x > 0.
    #[must_use]
    pub fn mean_at(&self, x: f64) -> Option<Interval> {
        Some(self.log_fit.mean_at(x.ln())?.map(f64::exp))
    }

    /// Interval of one new y at x > 0.
    #[must_use]
    pub fn prediction_at(&self, x: f64) -> Option<Interval> {
        Some(self.log_fit.prediction_at(x.ln())?.map(f64::exp))
    }
}

/// Ordinary least squares of y on x, with t intervals at `level`.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::NotFinite`], [`StatsError::TooFew`] below 2 points,
/// [`StatsError::Degenerate`] if x is constant, [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn ols(x: &[f64], y: &[f64], level: f64) -> Result<LinearFit, StatsError> {
    fit(x, y, None, level)
}

/// The slope of [`ols`] alone, without inference: for resampling, and for one slope per block where the blocks carry the
/// inference.
///
/// # Errors
/// As [`ols`].
pub fn slope(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    const WHAT: &str = "least squares";
    check(WHAT, x, y)?;
    in_range(WHAT, line(x, y, None)?.slope)
}

/// Weighted least squares: each point counts in proportion to its weight, which stands for 1 / variance up to a factor
/// that the residuals settle.
///
/// # Errors
/// As [`ols`]; [`StatsError::NotPositive`] weights.
pub fn wls(x: &[f64], y: &[f64], weights: &[f64], level: f64) -> Result<LinearFit, StatsError> {
    check_lengths("weighted least squares", x.len(), weights.len())?;
    check_positive("weights", weights)?;
    fit(x, y, Some(weights), level)
}

/// [`ols`] on natural logarithms.
///
/// # Errors
/// As [`ols`]; [`StatsError::NotPositive`].
pub fn power_law(x: &[f64], y: &[f64], level: f64) -> Result<PowerLaw, StatsError> {
    Ok(PowerLaw { log_fit: ols(&logs(x)?, &logs(y)?, level)? })
}

/// The numbers of a line without inference. What resampling and leave-one-out need many times.
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) intercept: f64,
    pub(super) x_mean: f64,
    pub(super) x_norm: f64,
    pub(super) weight: f64,
    pub(super) y_norm: f64,
    pub(super) residuals: Vec<f64>,
    /// Whether the residuals are nothing but the rounding of y.
    pub(super) exact: bool,
}

/// Finite inputs of one length, at least 2.
pub(super) fn check(what: &'static str, x: &[f64], y: &[f64]) -> Result<(), StatsError> {
    check_lengths(what, x.len(), y.len())?;
    check_finite("x", x)?;
    check_finite("y", y)?;
    check_count(what, 2, x.len())
}

/// Line through checked points; weights of one where none are given.
pub(super) fn line(x: &[f64], y: &[f64], weights: Option<&[f64]>) -> Result<Line, StatsError> {
    const WHAT: &str = "a line";
    let n = x.len();
    let w = |i: usize| weights.map_or(1.0, |w| w[i]);
    let weight = in_range(WHAT, sum((0..n).map(w)))?;
    let centre = |values: &[f64]| {
        let rough = sum((0..n).map(|i| w(i) / weight * values[i]));
        let deviations: Vec<f64> = values.iter().map(|v| v - rough).collect();
        // As in `summary::centred`: the mean of the deviations is the rounding error of the mean.
        let rest = sum((0..n).map(|i| w(i) / weight * deviations[i]));
        (deviations.iter().map(|d| d - rest).collect::<Vec<f64>>(), rough + rest)
    };
    let (dx, x_mean) = centre(x);
    let (dy, y_mean) = centre(y);
    if is_rounding(norm(&dx), n, max_abs(x)) {
        return Err(StatsError::Degenerate { what: WHAT, reason: "x is constant" });
    }
    // Roots of sums of squares, scaled inside `norm`: squares of huge or tiny values stay in range.
    let root = |values: &[f64]| match weights {
        Some(w) => norm(&values.iter().zip(w).map(|(v, w)| v * w.sqrt()).collect::<Vec<_>>()),
        None => norm(values),
    };
    let x_norm = in_range(WHAT, root(&dx))?;
    let y_norm = in_range(WHAT, root(&dy))?;
    let slope = sum((0..n).map(|i| w(i) * (dx[i] / x_norm) * dy[i])) / x_norm;
    let slope = in_range(WHAT, slope)?;
    let residuals: Vec<f64> = dx.iter().zip(&dy).map(|(dx, dy)| dy - slope * dx).collect();
    let exact = is_rounding(norm(&residuals), n, max_abs(y));
    Ok(Line {
        slope,
        intercept: in_range(WHAT, y_mean - slope * x_mean)?,
        x_mean,
        x_norm,
        weight,
        y_norm,
        residuals,
        exact,
    })
}

fn fit(x: &[f64], y: &[f64], weights: Option<&[f64]>, level: f64) -> Result<LinearFit, StatsError> {
    const WHAT: &str = "a line";
    check_level(level)?;
    check(WHAT, x, y)?;
    let line = line(x, y, weights)?;
    let n = x.len();
    let dof = n - 2;
    let weighted: Vec<f64> = match weights {
        Some(w) => line.residuals.iter().zip(w).map(|(e, w)| e * w.sqrt()).collect(),
        None => line.residuals.clone(),
    };
    let residual_norm = norm(&weighted);
    let residual_sd =
        if dof == 0 { None } else { Some(in_range(WHAT, residual_norm / (dof as f64).sqrt())?) };
    let constant = is_rounding(line.y_norm, n, max_abs(y) * (line.weight / n as f64).sqrt());
    let coefficient = |value, factor| Coefficient::new(value, factor, residual_sd, dof, line.exact, level);
    Ok(LinearFit {
        n,
        dof,
        level,
        slope: coefficient(line.slope, 1.0 / line.x_norm)?,
        intercept: coefficient(line.intercept, (1.0 / line.weight).sqrt().hypot(line.x_mean / line.x_norm))?,
        r_squared: (!constant).then(|| (1.0 - (residual_norm / line.y_norm).powi(2)).clamp(0.0, 1.0)),
        residual_sd,
        x_mean: line.x_mean,
        x_norm: line.x_norm,
        weight: line.weight,
    })
}
