//! Straight lines, power laws and planes through data, with what it takes to doubt them: leverage, leave-one-out, a
//! robust twin; breaks in a line, where two lines cross, and where an advantage ends. Fits carry no opinion; which rival
//! describes the data is for [`crate::models`], where the fits with an offset are too: their search is over one or two
//! bounded numbers, which a grid and a golden section settle for good where a general optimiser would depend on its start.

mod advantage;
mod breaks;
mod crossover;
mod influence;
mod multiple;
mod pairs_bootstrap;
mod segmented;
mod simple;
mod theil_sen;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use advantage::{
    Advantage, Crossing, Rung, SpeedBy, Timed, advantage, crossing, crossing_of_drawn_points,
    crossing_without,
};
pub use breaks::{Break, Breaks, Mode, breaks_bootstrap};
pub use crossover::{
    Aggregator, Crossover, Level, Scale, Scheme, Sensitivity, crossover, crossover_sensitivity,
};
pub use influence::{Influence, LeaveOneOut, Without, influence, leave_one_out};
pub use multiple::{MultipleFit, multiple};
pub use pairs_bootstrap::{DegenerateResamples, PairsBootstrap, pairs_bootstrap_slope};
pub use segmented::{Segment, Segmented, segmented};
pub use simple::{LinearFit, PowerLaw, ols, power_law, slope, wls};
pub use theil_sen::{TheilSen, theil_sen};

use crate::dist::t_two_sided_p;
use crate::error::check_positive;
use crate::intervals::around;
use crate::{Estimate, Interval, StatsError};

/// One coefficient of a fit. What is absent the data cannot support: no degrees of freedom, or residuals that are
/// rounding only, against which nothing can be tested.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// The coefficient, in units of y per unit of x.
    pub value: f64,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// Its t interval.
    pub interval: Option<Interval>,
    /// value / standard error.
    pub t: Option<f64>,
    /// Two-sided p of the hypothesis that it is zero.
    pub p: Option<f64>,
}

impl Coefficient {
    /// The coefficient as an [`Estimate`]: `method` as in `log-log slope, t`, `unit` what a point was.
    #[must_use]
    pub fn estimate(
        &self,
        method: impl Into<Cow<'static, str>>,
        unit: impl Into<Cow<'static, str>>,
        n: usize,
    ) -> Estimate {
        Estimate {
            point: self.value,
            standard_error: self.standard_error,
            interval: self.interval,
            method: method.into(),
            unit: unit.into(),
            n,
        }
    }

    /// Value alone where `scale` (the residual sd) is unknown, with inference where it is; `factor` turns the residual
    /// sd into the standard error. `exact` means that the residuals are rounding.
    fn new(
        value: f64,
        factor: f64,
        residual_sd: Option<f64>,
        dof: usize,
        exact: bool,
        level: f64,
    ) -> Result<Self, StatsError> {
        let Some(sd) = residual_sd else {
            return Ok(Self { value, standard_error: None, interval: None, t: None, p: None });
        };
        let dof = dof as f64;
        let se = sd * factor;
        let t = (!exact && se > 0.0).then(|| value / se).filter(|t| t.is_finite());
        Ok(Self {
            value,
            standard_error: Some(se),
            interval: Some(around(value, se, dof, level)?),
            t,
            p: t.map(|t| t_two_sided_p(t, dof)).transpose()?,
        })
    }
}

/// Natural logarithms of positive values: the input of every log-log function here.
///
/// # Errors
/// [`StatsError::NotPositive`] or [`StatsError::NotFinite`].
pub fn logs(values: &[f64]) -> Result<Vec<f64>, StatsError> {
    check_positive("logarithm", values)?;
    Ok(values.iter().map(|v| v.ln()).collect())
}
