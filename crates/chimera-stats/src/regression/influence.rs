//! How much a line owes to each of its points: leverage, Cook's distance, and the line without the point. It removes
//! nothing for good; that a point may be left out is the caller's argument to make.

use serde::{Deserialize, Serialize};

use super::simple::{self, check};
use super::{LinearFit, ols};
use crate::StatsError;
use crate::error::{check_count, check_level, check_unit};
use crate::summary::norm;

/// One point's hold on the line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Influence {
    /// Diagonal of the hat matrix, 1/n + (x - mean)^2 / Sxx: from 1/n to 1; the sum is 2.
    pub leverage: f64,
    /// y minus the line.
    pub residual: f64,
    /// Cook's distance, e^2 h / (2 s^2 (1 - h)^2) (Cook 1977, *Technometrics* 19). Absent with fewer than 3 points, with
    /// residuals that are rounding, or where the line must pass through the point (h = 1).
    pub cooks_distance: Option<f64>,
}

/// Leverage, residual and Cook's distance of every point of an ordinary least-squares line, in the order given.
///
/// # Errors
/// As [`ols`].
pub fn influence(x: &[f64], y: &[f64]) -> Result<Vec<Influence>, StatsError> {
    check("influence", x, y)?;
    let line = simple::line(x, y, None)?;
    let dof = (x.len() - 2) as f64;
    let residual_norm = norm(&line.residuals);
    let testable = dof > 0.0 && !line.exact && residual_norm > 0.0;
    Ok(x.iter()
        .zip(&line.residuals)
        .map(|(x, &residual)| {
            let leverage = (1.0 / line.weight + ((x - line.x_mean) / line.x_norm).powi(2)).min(1.0);
            let free = 1.0 - leverage;
            // A leverage of 1 up to rounding: the residual is zero whatever y is.
            let cooks_distance = (testable && free > 1e-12)
                .then(|| (residual / residual_norm).powi(2) * dof / 2.0 * leverage / (free * free));
            Influence { leverage, residual, cooks_distance }
        })
        .collect())
}

/// The line without one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Without {
    /// Position of the point left out.
    pub index: usize,
    /// The line through the others; none where they share one x, so that the point alone makes the slope.
    pub fit: Option<LinearFit>,
}

/// The line without each point in turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaveOneOut {
    /// One entry per point, in the order given.
    pub without: Vec<Without>,
}

impl LeaveOneOut {
    /// Smallest and largest slope when a point is left out; none if no line could be drawn.
    #[must_use]
    pub fn slope_range(&self) -> Option<(f64, f64)> {
        let slopes = || self.without.iter().filter_map(|w| Some(w.fit.as_ref()?.slope.value));
        let low = slopes().reduce(f64::min)?;
        Some((low, slopes().reduce(f64::max)?))
    }

    /// The points that alone decide the slope of `full`, the line through all: without such a point no line is left, the
    /// slope changes its sign, it leaves the full line's interval, or its p is no longer below `alpha` while the full
    /// line's is. A slope is a law only if this is empty.
    ///
    /// # Errors
    /// [`StatsError::InvalidParameter`] for an alpha outside (0, 1).
    pub fn deciding_points(&self, full: &LinearFit, alpha: f64) -> Result<Vec<usize>, StatsError> {
        check_unit("alpha", alpha)?;
        let significant = |fit: &LinearFit| fit.slope.p.map(|p| p < alpha);
        let decides = |fit: &LinearFit| {
            let slope = fit.slope.value;
            slope * full.slope.value < 0.0
                || full.slope.interval.is_some_and(|i| !i.contains(slope))
                || (significant(full) == Some(true) && significant(fit) != Some(true))
        };
        Ok(self.without.iter().filter(|w| w.fit.as_ref().is_none_or(decides)).map(|w| w.index).collect())
    }
}

/// [`ols`] without each point in turn. For a power law give logarithms ([`super::logs`]).
///
/// # Errors
/// As [`ols`], and [`StatsError::TooFew`] below 3 points.
pub fn leave_one_out(x: &[f64], y: &[f64], level: f64) -> Result<LeaveOneOut, StatsError> {
    check("leave-one-out", x, y)?;
    check_level(level)?;
    check_count("leave-one-out", 3, x.len())?;
    let all_but = |values: &[f64], index: usize| [&values[..index], &values[index + 1..]].concat();
    let without = (0..x.len())
        .map(|index| match ols(&all_but(x, index), &all_but(y, index), level) {
            Ok(fit) => Ok(Without { index, fit: Some(fit) }),
            Err(StatsError::Degenerate { .. }) => Ok(Without { index, fit: None }),
            Err(error) => Err(error),
        })
        .collect::<Result<_, _>>()?;
    Ok(LeaveOneOut { without })
}
