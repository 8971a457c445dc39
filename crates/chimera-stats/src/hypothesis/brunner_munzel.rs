//! Brunner and Munzel's test of P(a < b) + P(a = b) / 2 = 1/2: the rank test that needs neither equal variances nor equal
//! shapes. It measures its noise by how the arms overlap; arms that do not overlap at all have none, and the
//! Mann-Whitney test speaks there.

use statrs::function::factorial::ln_binomial;

use super::outcome::{Alternative, Null, Test};
use crate::rank::mid_ranks;
use crate::summary::{mean, sum};
use crate::{Sample, StatsError};

/// Brunner-Munzel test with Student's t and the Satterthwaite degrees of freedom (Brunner and Munzel 2000, *Biometrical
/// Journal* 42). The statistic is positive where `b` tends to be larger, and the alternative is about the arms as
/// elsewhere: `Less` says that `a` tends to be smaller.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 values in an arm (below 3 the result refuses a p).
pub fn brunner_munzel(a: Sample<'_>, b: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "Brunner-Munzel";
    a.require(NAME, 2)?;
    b.require(NAME, 2)?;
    let (n, m) = (a.len(), b.len());
    let all = mid_ranks(&[a.values(), b.values()].concat());
    let spread = |among: &[f64], within: &[f64]| {
        let placements: Vec<f64> = among.iter().zip(within).map(|(r, w)| r - w).collect();
        let centre = mean(&placements);
        sum(placements.iter().map(|p| (p - centre).powi(2))) / (placements.len() - 1) as f64
    };
    let sa = spread(&all[..n], &mid_ranks(a.values()));
    let sb = spread(&all[n..], &mid_ranks(b.values()));
    let (fa, fb) = (n as f64, m as f64);
    let noise = fa * sa + fb * sb;
    let statistic =
        (noise > 0.0).then(|| fa * fb * (mean(&all[n..]) - mean(&all[..n])) / ((fa + fb) * noise.sqrt()));
    let dof = if noise > 0.0 {
        noise.powi(2) / ((fa * sa).powi(2) / (fa - 1.0) + (fb * sb).powi(2) / (fb - 1.0))
    } else {
        fa + fb - 2.0
    };
    Test::guarded(NAME, vec![n, m], alternative, Null::StudentT { dof }, statistic, |t| {
        // No test of ranks is sharper than their permutations; t may pretend to be.
        let sides = if alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
        let floor = sides * (-ln_binomial((n + m) as u64, n as u64)).exp();
        // A positive statistic says that a is smaller.
        Ok((alternative.t_p(-t, dof)?, Some(floor)))
    })
}
