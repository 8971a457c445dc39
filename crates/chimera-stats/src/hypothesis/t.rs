//! Student's t in its four forms. Replicates must be independent: of values in blocks give the block means, or the test
//! rejects far too often.

use super::outcome::{Alternative, Null, Test};
use crate::error::{check_count, check_finite, check_lengths};
use crate::summary::{is_rounding, max_abs};
use crate::{Sample, StatsError};

/// A difference, its standard error and degrees of freedom: what t tests, equivalence and intervals share.
#[derive(Debug, Clone)]
pub(crate) struct Contrast {
    pub(crate) difference: f64,
    pub(crate) se: f64,
    pub(crate) dof: f64,
    /// Whether the spread is more than rounding.
    pub(crate) noise: bool,
    pub(crate) n: Vec<usize>,
}

/// Mean, standard error of the mean, and whether the values vary by more than rounding.
fn moments(sample: Sample<'_>, what: &'static str) -> Result<(f64, f64, bool), StatsError> {
    sample.require(what, 2)?;
    let se = sample.standard_error()?;
    let n = sample.len();
    let norm = se * ((n - 1) as f64).sqrt() * (n as f64).sqrt();
    Ok((sample.mean(), se, !is_rounding(norm, n, max_abs(sample.values()))))
}

impl Contrast {
    pub(crate) fn one(sample: Sample<'_>, against: f64, what: &'static str) -> Result<Self, StatsError> {
        check_finite(what, &[against])?;
        let (mean, se, noise) = moments(sample, what)?;
        let n = sample.len();
        Ok(Self { difference: mean - against, se, dof: (n - 1) as f64, noise, n: vec![n] })
    }

    pub(crate) fn welch(a: Sample<'_>, b: Sample<'_>, what: &'static str) -> Result<Self, StatsError> {
        let ((ma, sa, va), (mb, sb, vb)) = (moments(a, what)?, moments(b, what)?);
        let (na, nb) = (a.len() as f64, b.len() as f64);
        let se = sa.hypot(sb);
        // In shares of the standard error, so that nothing is squared out of range.
        let dof = if se == 0.0 {
            na + nb - 2.0
        } else {
            1.0 / ((sa / se).powi(4) / (na - 1.0) + (sb / se).powi(4) / (nb - 1.0))
        };
        Ok(Self { difference: ma - mb, se, dof, noise: va || vb, n: vec![a.len(), b.len()] })
    }

    pub(crate) fn student(a: Sample<'_>, b: Sample<'_>, what: &'static str) -> Result<Self, StatsError> {
        let ((ma, _, va), (mb, _, vb)) = (moments(a, what)?, moments(b, what)?);
        let (na, nb) = (a.len() as f64, b.len() as f64);
        let se = pooled_sd(a, b)? * (1.0 / na + 1.0 / nb).sqrt();
        Ok(Self { difference: ma - mb, se, dof: na + nb - 2.0, noise: va || vb, n: vec![a.len(), b.len()] })
    }

    pub(crate) fn paired(a: Sample<'_>, b: Sample<'_>, what: &'static str) -> Result<Self, StatsError> {
        let d = differences(a, b, what)?;
        let mut contrast = Self::one(Sample::trusted(&d, a.unit()), 0.0, what)?;
        // Differences of large values carry the rounding of those.
        let magnitude = max_abs(a.values()).max(max_abs(b.values()));
        let norm = contrast.se * contrast.dof.sqrt() * (d.len() as f64).sqrt();
        contrast.noise = !is_rounding(norm, d.len(), magnitude);
        Ok(contrast)
    }

    pub(crate) fn test(self, name: &'static str, alternative: Alternative) -> Result<Test, StatsError> {
        let dof = self.dof;
        let statistic = self.noise.then(|| self.difference / self.se);
        Test::guarded(name, self.n, alternative, Null::StudentT { dof }, statistic, |t| {
            Ok((alternative.t_p(t, dof)?, None))
        })
    }
}

/// Pooled standard deviation of two samples of two values or more.
pub(crate) fn pooled_sd(a: Sample<'_>, b: Sample<'_>) -> Result<f64, StatsError> {
    let (da, db) = ((a.len() - 1) as f64, (b.len() - 1) as f64);
    Ok((a.sd()? * (da / (da + db)).sqrt()).hypot(b.sd()? * (db / (da + db)).sqrt()))
}

/// a minus b, pair by pair.
pub(crate) fn differences(a: Sample<'_>, b: Sample<'_>, what: &'static str) -> Result<Vec<f64>, StatsError> {
    check_lengths(what, a.len(), b.len())?;
    let d: Vec<f64> = a.values().iter().zip(b.values()).map(|(a, b)| a - b).collect();
    if d.iter().all(|d| d.is_finite()) { Ok(d) } else { Err(StatsError::Overflow { what }) }
}

/// Student's t test that the mean of the population is `against`.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values (below 3 the result refuses a p), [`StatsError::NotFinite`] for `against`,
/// [`StatsError::Overflow`].
pub fn one_sample_t(sample: Sample<'_>, against: f64, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "one-sample t";
    Contrast::one(sample, against, NAME)?.test(NAME, alternative)
}

/// Welch's t test that two independent samples have one mean, their variances left apart (Welch 1947, *Biometrika* 34).
/// The default for two arms that share no blocks.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in an arm (below 3 the result refuses a p), [`StatsError::Overflow`].
pub fn welch_t(a: Sample<'_>, b: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "Welch t";
    Contrast::welch(a, b, NAME)?.test(NAME, alternative)
}

/// Student's t test with one pooled variance. Where variances and sizes both differ it is wrong; [`welch_t`] costs next to
/// nothing.
///
/// # Errors
/// As [`welch_t`].
pub fn student_t(a: Sample<'_>, b: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "Student t";
    Contrast::student(a, b, NAME)?.test(NAME, alternative)
}

/// Student's t test of the differences of pairs: for arms measured in the same blocks.
///
/// # Errors
/// [`StatsError::Mismatched`], otherwise as [`one_sample_t`].
pub fn paired_t(a: Sample<'_>, b: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "paired t";
    check_count(NAME, 2, a.len())?;
    Contrast::paired(a, b, NAME)?.test(NAME, alternative)
}
