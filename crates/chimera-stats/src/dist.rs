//! The few distribution functions that the rest needs, in the two-sided form it needs them. Not a distribution library:
//! `statrs` is that.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

use crate::StatsError;

fn student(dof: f64) -> Result<StudentsT, StatsError> {
    StudentsT::new(0.0, 1.0, dof).map_err(|_| StatsError::InvalidParameter {
        name: "degrees of freedom",
        value: dof,
        expected: "a positive number",
    })
}

/// P(|T| >= |t|).
pub(crate) fn t_two_sided_p(t: f64, dof: f64) -> Result<f64, StatsError> {
    Ok((2.0 * student(dof)?.sf(t.abs())).min(1.0))
}

/// The t with P(|T| <= t) = level.
pub(crate) fn t_critical(level: f64, dof: f64) -> Result<f64, StatsError> {
    let student = student(dof)?;
    let tail = (1.0 - level) / 2.0;
    let mut t = student.inverse_cdf(1.0 - tail);
    // The inverse of the beta function stops a few digits early; Newton on the tail itself gives the rest.
    for _ in 0..3 {
        let step = (student.sf(t) - tail) / student.pdf(t);
        if !step.is_finite() {
            break;
        }
        t += step;
    }
    Ok(t)
}

pub(crate) fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}
