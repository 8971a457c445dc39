//! The range of several independent standard normal values: the studentized range with infinite degrees of freedom, for
//! comparisons of mean ranks. Not for ranges divided by an estimated deviation.

use crate::dist::normal_cdf;

/// Step of the trapezoidal rule. On this smooth integrand, which falls like a Gaussian on either side, it is exact to the
/// last digits from 1/4 downwards.
const STEP: f64 = 1.0 / 16.0;

/// P(range >= q) of `count` values, with the digits of a small tail; 1 for a q of 0 or below or a single value's 0.
pub(crate) fn sf(q: f64, count: usize) -> f64 {
    if count < 2 {
        return if q <= 0.0 { 1.0 } else { 0.0 };
    }
    // Beyond this the tail is below the smallest float.
    if q <= 0.0 || q > 80.0 {
        return if q <= 0.0 { 1.0 } else { 0.0 };
    }
    // With z the largest value the others lie below it, and not all within q of it:
    // k phi(z) (Phi(z)^m - (Phi(z) - Phi(z - q))^m), m = k - 1, whose difference of powers is a product.
    let m = (count - 1) as f64;
    let steps = ((q + 20.0) / STEP).ceil() as usize;
    let terms = (0..=steps).map(|i| {
        let z = i as f64 * STEP - 10.0;
        let (all, far) = (normal_cdf(z), normal_cdf(z - q));
        let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let share = if far < all { -(m * (-far / all).ln_1p()).exp_m1() } else { 1.0 };
        density * all.powf(m) * share
    });
    (count as f64 * STEP * crate::summary::sum(terms)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two values differ by a normal value of variance 2.
    #[test]
    fn two_values_are_one_normal() {
        for q in [0.01, 0.5, 1.0, 3.0, 8.0, 20.0, 40.0] {
            let expected = 2.0 * crate::dist::normal_sf(q / std::f64::consts::SQRT_2);
            assert!((sf(q, 2) / expected - 1.0).abs() < 1e-12, "{q}");
        }
        assert_eq!((sf(0.0, 5), sf(-1.0, 5), sf(100.0, 5)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn the_tail_falls_with_q_and_grows_with_the_count() {
        for count in 2..40 {
            let tails: Vec<f64> = (0..160).map(|i| sf(f64::from(i) / 4.0, count)).collect();
            assert!(tails.windows(2).all(|w| w[1] < w[0] || w[0] > 1.0 - 1e-12), "{count}");
            assert!(sf(3.0, count + 1) > sf(3.0, count));
        }
    }
}
