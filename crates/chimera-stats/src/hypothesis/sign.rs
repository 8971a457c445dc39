//! The sign test: how many values lie above a point, nothing else. The weakest of the tests and the one that assumes
//! least; values at the point itself are left out.

use statrs::function::factorial::ln_binomial;

use super::outcome::{Alternative, Null, Test};
use super::t::differences;
use crate::error::check_finite;
use crate::{Sample, StatsError};

/// Exact sign test that the median is `against`; the statistic is the number of values above it.
///
/// # Errors
/// [`StatsError::NotFinite`] for `against`.
pub fn sign(sample: Sample<'_>, against: f64, alternative: Alternative) -> Result<Test, StatsError> {
    check_finite("sign test", &[against])?;
    let above = sample.values().iter().filter(|v| **v > against).count();
    let below = sample.values().iter().filter(|v| **v < against).count();
    counted(above, below, sample.len(), alternative)
}

/// Exact sign test of pairs: a above b as often as below.
///
/// # Errors
/// [`StatsError::Mismatched`], [`StatsError::Overflow`].
pub fn sign_paired(a: Sample<'_>, b: Sample<'_>, alternative: Alternative) -> Result<Test, StatsError> {
    let d = differences(a, b, "sign test")?;
    sign(Sample::trusted(&d, a.unit()), 0.0, alternative)
}

fn counted(above: usize, below: usize, given: usize, alternative: Alternative) -> Result<Test, StatsError> {
    const NAME: &str = "sign test";
    let n = above + below;
    let (sizes, statistic) = if n == 0 { (vec![given], None) } else { (vec![n], Some(above as f64)) };
    Test::guarded(NAME, sizes, alternative, Null::Exact, statistic, |_| {
        let at_most = |k: usize| tail(n, k);
        let p = alternative.p(at_most(above), at_most(below));
        let end = (-(n as f64) * std::f64::consts::LN_2).exp();
        let sides = if alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
        Ok((p, Some(sides * end)))
    })
}

/// P(Bin(n, 1/2) <= k).
fn tail(n: usize, k: usize) -> f64 {
    if 2 * k >= n {
        // The long tail is one minus the short one beyond it.
        return if k >= n { 1.0 } else { 1.0 - tail(n, n - k - 1) };
    }
    // From the largest term downwards each is k / (n - k + 1) of the one before.
    let mut term = (ln_binomial(n as u64, k as u64) - n as f64 * std::f64::consts::LN_2).exp();
    let mut sum = 0.0;
    for j in (0..=k).rev() {
        sum += term;
        term *= j as f64 / (n - j + 1) as f64;
    }
    sum
}
