//! The non-central t and F laws, and the non-centrality at which an observed statistic sits at a given quantile: what
//! intervals of standardised effects are made of. Not for tails beyond 1e-10.

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::{checked_gamma_ur, ln_gamma};

use crate::StatsError;
use crate::dist::normal_cdf;
use crate::error::in_range;

/// Positive nodes and weights of the Gauss-Legendre rule of 16 points.
const NODES: [(f64, f64); 8] = [
    (0.09501250983763744, 0.18945061045506864),
    (0.2816035507792589, 0.18260341504492364),
    (0.45801677765722737, 0.16915651939500265),
    (0.6178762444026438, 0.1495959888165767),
    (0.755404408355003, 0.12462897125553407),
    (0.8656312023878318, 0.0951585116824926),
    (0.9445750230732326, 0.062253523938647456),
    (0.9894009349916499, 0.027152459411754176),
];

/// Integral over [low, high] in equal panels, for functions that are smooth on the scale of one.
fn integral(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const PANELS: usize = 10;
    let half = (high - low) / (2 * PANELS) as f64;
    let panel = |centre: f64| -> f64 {
        NODES.iter().map(|(x, w)| w * (f(centre - half * x) + f(centre + half * x))).sum()
    };
    half * (0..PANELS).map(|i| panel(low + half * (2 * i + 1) as f64)).sum::<f64>()
}

/// Standard deviations beyond which a normal or chi variable has nothing left in double precision.
const REACH: f64 = 9.0;

/// P(T <= t) of the non-central t: T = (Z + shift) / (chi / sqrt(dof)).
pub(crate) fn t_cdf(t: f64, dof: f64, shift: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - t_cdf(-t, dof, -shift);
    }
    let slope = t / dof.sqrt();
    if slope > 1.0 {
        // Over Z: chi must exceed (Z + shift) / slope, which it always does below zero.
        let low = (-shift).max(-REACH);
        let tail = |z: f64| {
            let chi = (z + shift) / slope;
            let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
            density
                * checked_gamma_ur(dof / 2.0, chi * chi / 2.0).unwrap_or(if chi > 0.0 { 0.0 } else { 1.0 })
        };
        let sure = normal_cdf(-shift);
        return if low < REACH { sure + integral(low, REACH, tail) } else { sure };
    }
    // Over chi: Z must stay below slope chi - shift.
    let ln_constant = (1.0 - dof / 2.0) * std::f64::consts::LN_2 - ln_gamma(dof / 2.0);
    let mode = dof.sqrt();
    integral((mode - REACH).max(0.0), mode + REACH, |chi| {
        let ln_density = ln_constant + (dof - 1.0) * chi.ln() - chi * chi / 2.0;
        ln_density.exp() * normal_cdf(slope * chi - shift)
    })
}

/// P(F <= f) of the non-central F, a Poisson mixture of beta laws (Johnson, Kotz and Balakrishnan, *Continuous Univariate
/// Distributions* 2, chapter 30).
pub(crate) fn f_cdf(f: f64, numerator: f64, denominator: f64, noncentrality: f64) -> f64 {
    let x = numerator * f / (numerator * f + denominator);
    let mean = noncentrality / 2.0;
    let spread = 10.0 * (mean + 1.0).sqrt() + 10.0;
    let (low, high) = ((mean - spread).max(0.0) as u64, (mean + spread) as u64);
    (low..=high)
        .map(|k| {
            let k = k as f64;
            let ln_weight = if mean > 0.0 { k * mean.ln() - mean - ln_gamma(k + 1.0) } else { 0.0 };
            let weight = if mean > 0.0 { ln_weight.exp() } else { f64::from(u8::from(k == 0.0)) };
            weight * checked_beta_reg(numerator / 2.0 + k, denominator / 2.0, x).unwrap_or(1.0)
        })
        .sum()
}

/// The shift at which `t` is the `p` quantile; it falls as p rises.
pub(crate) fn t_shift(t: f64, dof: f64, p: f64) -> Result<f64, StatsError> {
    let reach = 2.0 + 2.0 * t.abs() / (2.0 * dof).sqrt();
    falling_root(t - reach, t + reach, p, |shift| t_cdf(t, dof, shift))
}

/// The non-centrality at which `f` is the `p` quantile; 0 where even the central law lies below.
pub(crate) fn f_noncentrality(f: f64, numerator: f64, denominator: f64, p: f64) -> Result<f64, StatsError> {
    if f_cdf(f, numerator, denominator, 0.0) <= p {
        return Ok(0.0);
    }
    let start = numerator * f + 10.0;
    falling_root(0.0, start, p, |noncentrality| f_cdf(f, numerator, denominator, noncentrality))
}

/// Where a falling function takes the value `p`: the bracket grows until it holds it, then false position closes it
/// (Illinois rule: an end that stays twice counts half).
fn falling_root(mut low: f64, mut high: f64, p: f64, f: impl Fn(f64) -> f64) -> Result<f64, StatsError> {
    const WHAT: &str = "non-centrality";
    let mut above = f(low) - p;
    while above < 0.0 {
        low = in_range(WHAT, low - 2.0 * (high - low))?;
        above = f(low) - p;
    }
    let mut below = f(high) - p;
    while below > 0.0 {
        high = in_range(WHAT, high + 2.0 * (high - low))?;
        below = f(high) - p;
    }
    for _ in 0..200 {
        if above == 0.0 || below == 0.0 || high - low <= 1e-13 * low.abs().max(high.abs()) {
            break;
        }
        let next = high - below * (high - low) / (below - above);
        let next = if next > low && next < high { next } else { 0.5 * (low + high) };
        if next <= low || next >= high {
            break;
        }
        let value = f(next) - p;
        if value > 0.0 {
            (low, above) = (next, value);
            below *= 0.5;
        } else {
            (high, below) = (next, value);
            above *= 0.5;
        }
        // Beyond this the law itself is rounding.
        if value.abs() < 1e-15 {
            return Ok(next);
        }
    }
    Ok(if above.abs() < below.abs() { low } else { high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_shift_they_are_the_central_laws() {
        for dof in [1.0, 2.0, 4.0, 30.0, 400.0] {
            for t in [-3.0, -0.5, 0.0, 0.7, 2.0, 8.0] {
                let central = 1.0 - crate::dist::t_sf(t, dof).unwrap();
                assert!(
                    (t_cdf(t, dof, 0.0) - central).abs() < 1e-12,
                    "{dof}, {t}: {} {central}",
                    t_cdf(t, dof, 0.0)
                );
            }
        }
        let central = 1.0 - crate::dist::f_sf(2.5, 3.0, 12.0).unwrap();
        assert!((f_cdf(2.5, 3.0, 12.0, 0.0) - central).abs() < 1e-13);
    }

    #[test]
    fn roots_are_roots() {
        for (t, dof, p) in [(2.0, 8.0, 0.975), (-1.0, 3.0, 0.025), (40.0, 5.0, 0.5), (0.0, 20.0, 0.9)] {
            let shift = t_shift(t, dof, p).unwrap();
            assert!((t_cdf(t, dof, shift) - p).abs() < 1e-11);
        }
        assert_eq!(f_noncentrality(0.1, 2.0, 12.0, 0.975).unwrap(), 0.0);
    }
}
