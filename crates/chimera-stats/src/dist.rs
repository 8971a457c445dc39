//! The few distribution functions that the rest needs, in the form it needs them. Not a distribution library:
//! `statrs` is that.

use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::checked_gamma_ur;

use crate::StatsError;

fn student(dof: f64) -> Result<StudentsT, StatsError> {
    StudentsT::new(0.0, 1.0, dof).map_err(|_| StatsError::InvalidParameter {
        name: "degrees of freedom",
        value: dof,
        expected: "a positive number",
    })
}

/// P(T >= t).
pub(crate) fn t_sf(t: f64, dof: f64) -> Result<f64, StatsError> {
    // Of the short tail, so that it keeps its digits.
    let tail = t_two_sided_p(t, dof)? / 2.0;
    Ok(if t >= 0.0 { tail } else { 1.0 - tail })
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
    normal_sf(-z)
}

/// P(Z >= z), with the digits of a small tail.
pub(crate) fn normal_sf(z: f64) -> f64 {
    0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
}

/// P(X >= x) of chi-squared.
pub(crate) fn chi_squared_sf(x: f64, dof: f64) -> Result<f64, StatsError> {
    if x <= 0.0 {
        return Ok(1.0);
    }
    checked_gamma_ur(dof / 2.0, x / 2.0).map_err(|_| StatsError::InvalidParameter {
        name: "degrees of freedom",
        value: dof,
        expected: "a positive number",
    })
}

/// P(F >= f), with the digits of a small tail.
pub(crate) fn f_sf(f: f64, numerator: f64, denominator: f64) -> Result<f64, StatsError> {
    if f <= 0.0 {
        return Ok(1.0);
    }
    let x = denominator / (denominator + numerator * f);
    checked_beta_reg(denominator / 2.0, numerator / 2.0, x).map_err(|_| StatsError::InvalidParameter {
        name: "degrees of freedom",
        value: numerator.min(denominator),
        expected: "a positive number",
    })
}

pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_agrees_with_scipy_in_its_corners() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/stats/distributions.json");
        let cases: Vec<serde_json::Value> =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let dof = case["dof"].as_f64().unwrap();
            // The logarithm of a large gamma function keeps fewer digits behind the point.
            let tolerance = if dof > 1e4 { 1e-7 } else { 1e-10 };
            let pairs = |key: &str| -> Vec<(f64, f64)> { serde_json::from_value(case[key].clone()).unwrap() };
            for (level, expected) in pairs("critical") {
                let got = t_critical(level, dof).unwrap();
                assert!(
                    (got / expected - 1.0).abs() < tolerance,
                    "{dof}, level {level}: {got} not {expected}"
                );
            }
            for (t, expected) in pairs("p") {
                let got = t_two_sided_p(t, dof).unwrap();
                assert!((got - expected).abs() < 1e-8, "{dof}, t {t}: {got} not {expected}");
                if expected > 0.0 && t > 1e-6 {
                    assert!(
                        (got / expected - 1.0).abs() < 100.0 * tolerance,
                        "{dof}, t {t}: {got:e} not {expected:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn normal_is_the_standard_one() {
        assert!((normal_cdf(1.959_963_984_540_054) - 0.975).abs() < 1e-15);
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((normal_quantile(1e-10) + 6.361_340_902_404_056).abs() < 1e-9);
    }
}
