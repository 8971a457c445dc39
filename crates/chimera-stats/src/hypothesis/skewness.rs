//! D'Agostino's test that a sample is no more skewed than a normal one would be. It is no test of normality: heavy tails on
//! both sides pass.

use super::outcome::{Alternative, Null, Test};
use crate::dist::normal_sf;
use crate::summary::{centred, is_rounding, max_abs, sum};
use crate::{Sample, StatsError};

/// The transformation to a normal law holds from this many values on.
const LEAST: usize = 8;

/// Skewness test (D'Agostino 1970, *Biometrika* 57); the statistic is normal under the hypothesis and positive for a long
/// upper tail. Below 8 values there is no p.
///
/// # Errors
/// [`StatsError::Overflow`] if the spread leaves the range of a float.
pub fn skewness(sample: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "skewness";
    let n = sample.len() as f64;
    let (deviations, _, norm) = centred(sample.values());
    crate::error::in_range(NAME, norm)?;
    let varies = !is_rounding(norm, sample.len(), max_abs(sample.values()));
    let statistic = (varies && sample.len() >= LEAST).then(|| {
        let g1 = sum(deviations.iter().map(|d| (d / norm).powi(3))) * n.sqrt();
        let y = g1 * ((n + 1.0) * (n + 3.0) / (6.0 * (n - 2.0))).sqrt();
        let kurtosis = 3.0 * (n * n + 27.0 * n - 70.0) * (n + 1.0) * (n + 3.0)
            / ((n - 2.0) * (n + 5.0) * (n + 7.0) * (n + 9.0));
        let w2 = (2.0 * (kurtosis - 1.0)).sqrt() - 1.0;
        (y / (2.0 / (w2 - 1.0)).sqrt()).asinh() / (0.5 * w2.ln()).sqrt()
    });
    Test::guarded_from(LEAST, NAME, vec![sample.len()], alternative, Null::Normal, statistic, |z| {
        Ok((alternative.p(normal_sf(-z), normal_sf(z)), None))
    })
}
