//! One estimate against one value: the t test from an estimate's standard error, and the difference that a design of this
//! size can detect. For the values themselves see [`super::one_sample_t`].

use crate::StatsError;
use crate::dist::{t_critical, t_two_sided_p};
use crate::error::check_unit;

/// Two-sided p of Student's t test that `difference` is zero, from its standard error and the number of replicates
/// (n - 1 degrees of freedom).
///
/// `None` where there is nothing to test against: fewer than 3 replicates, or no noise at all.
///
/// # Errors
/// [`StatsError::NotFinite`] for a difference or a standard error that is no number.
pub fn t_test_from(difference: f64, standard_error: f64, n: usize) -> Result<Option<f64>, StatsError> {
    crate::error::check_finite("t test", &[difference, standard_error])?;
    if n < 3 || standard_error <= 0.0 {
        return Ok(None);
    }
    t_two_sided_p(difference / standard_error, (n - 1) as f64).map(Some)
}

/// Smallest true difference from the tested value that a two-sided t test at `alpha` finds with probability `power`:
/// (t(1 - alpha/2) + t(power)) times the standard error, with n - 1 degrees of freedom. The usual approximation of the
/// non-central t; it is a little optimistic below 5 replicates.
///
/// `None` below 3 replicates.
///
/// # Errors
/// [`StatsError::InvalidParameter`] for alpha outside (0, 1) or power outside (0.5, 1), [`StatsError::NotFinite`] for a
/// standard error that is no number.
pub fn minimum_detectable(
    standard_error: f64,
    n: usize,
    alpha: f64,
    power: f64,
) -> Result<Option<f64>, StatsError> {
    check_unit("alpha", alpha)?;
    crate::error::check_finite("minimum detectable effect", &[standard_error])?;
    if !(power > 0.5 && power < 1.0) {
        return Err(StatsError::InvalidParameter {
            name: "power",
            value: power,
            expected: "a value in (0.5, 1)",
        });
    }
    if n < 3 {
        return Ok(None);
    }
    let dof = (n - 1) as f64;
    // P(|T| <= t) = level puts (1 - level) / 2 above t: the one-sided quantile of `power` has level 2 power - 1.
    Ok(Some((t_critical(1.0 - alpha, dof)? + t_critical(2.0 * power - 1.0, dof)?) * standard_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_test_by_hand() {
        // t = 2.776445 with 4 degrees of freedom is the 0.975 quantile.
        let p = t_test_from(2.776_445_105_198, 1.0, 5).unwrap().unwrap();
        assert!((p - 0.05).abs() < 1e-10, "{p}");
        assert_eq!(t_test_from(1.0, 1.0, 2).unwrap(), None, "two replicates decide nothing");
        assert_eq!(t_test_from(1.0, 0.0, 9).unwrap(), None, "no noise to test against");
        assert!(t_test_from(f64::NAN, 1.0, 9).is_err());
    }

    #[test]
    fn detectable_difference_by_hand() {
        // t(.975, 4) = 2.776445, t(.8, 4) = 0.940965.
        let d = minimum_detectable(2.0, 5, 0.05, 0.8).unwrap().unwrap();
        assert!((d - 2.0 * (2.776_445_105 + 0.940_964_577)).abs() < 1e-6, "{d}");
        assert!(minimum_detectable(1.0, 5, 0.05, 0.4).is_err());
    }
}
