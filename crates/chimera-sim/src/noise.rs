//! Multiplicative log-normal noise with named levels, drawn from a seed. The laws themselves know no noise.

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{RngCore, SeedableRng},
};

/// Standard deviations of the logarithm of the factors that multiply a law's duration. A factor is `exp(sigma * z)` with
/// `z` standard normal: its median is 1, its mean `exp(sigma^2 / 2)`.
///
/// Prefill and decode of one model have their own draws, loads too. Zero switches a level off exactly.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// One factor for everything a backend value does: a slow or a fast process.
    pub block: f64,
    /// One factor for each model and phase within a block: what scatters the points of a scaling law.
    pub model: f64,
    /// One factor for each prefill and each decode step.
    pub step: f64,
}

impl Noise {
    /// Noise on all three levels, as standard deviations of the logarithm.
    #[must_use]
    pub fn new(block: f64, model: f64, step: f64) -> Self {
        Self { block, model, step }
    }

    /// The factor of block and model for one phase.
    pub(crate) fn level(&self, seed: u64, block: u64, model: &str, phase: Purpose) -> f64 {
        let of_block = factor(&mut generator(&[seed, block]), self.block);
        let of_model = factor(&mut generator(&[seed, block, name_hash(model), phase as u64]), self.model);
        of_block * of_model
    }
}

/// What a draw is for, so that draws of different uses are independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Load = 1,
    Prefill = 2,
    Decode = 3,
    Step = 4,
    Text = 5,
}

/// `exp(sigma * z)`; exactly 1 and no draw for a sigma of zero.
pub(crate) fn factor(rng: &mut Xoshiro256PlusPlus, sigma: f64) -> f64 {
    if sigma == 0.0 { 1.0 } else { (sigma * normal(rng)).exp() }
}

/// A standard normal draw by the Box-Muller transform (Box and Muller 1958).
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    // Both are in (0, 1]: the logarithm of zero is no number.
    let u = uniform(rng);
    let v = uniform(rng);
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn uniform(rng: &mut Xoshiro256PlusPlus) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// A generator for a path of numbers; other paths give independent streams.
pub(crate) fn generator(path: &[u64]) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(path.iter().fold(0, |hash, &part| mix(hash ^ part)))
}

/// The finaliser of splitmix64 (Steele, Lea and Flood 2014), one step on.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a of a name.
pub(crate) fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_have_the_moments_of_the_lognormal() {
        let sigma = 0.3;
        let mut rng = generator(&[7]);
        let logs: Vec<f64> = (0..200_000).map(|_| factor(&mut rng, sigma).ln()).collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let skew = logs.iter().map(|x| (x - mean).powi(3)).sum::<f64>() / n / variance.powf(1.5);
        let kurtosis = logs.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / n / variance.powi(2);
        // Four standard errors each.
        assert!(mean.abs() < 4.0 * sigma / n.sqrt(), "mean of logs {mean}");
        assert!((variance.sqrt() - sigma).abs() < 4.0 * sigma / (2.0 * n).sqrt(), "deviation {variance}");
        assert!(skew.abs() < 4.0 * (6.0 / n).sqrt(), "skewness {skew}");
        assert!((kurtosis - 3.0).abs() < 4.0 * (24.0 / n).sqrt(), "kurtosis {kurtosis}");
        let mean_factor = logs.iter().map(|x| x.exp()).sum::<f64>() / n;
        assert!((mean_factor - (sigma * sigma / 2.0).exp()).abs() < 0.004, "mean factor {mean_factor}");
    }

    #[test]
    fn levels_depend_on_what_they_name_and_on_nothing_else() {
        let noise = Noise::new(0.1, 0.1, 0.0);
        let of = |seed, block, model, phase| noise.level(seed, block, model, phase);
        let base = of(1, 2, "m", Purpose::Decode);
        assert_eq!(base, of(1, 2, "m", Purpose::Decode));
        for other in [
            of(2, 2, "m", Purpose::Decode),
            of(1, 3, "m", Purpose::Decode),
            of(1, 2, "n", Purpose::Decode),
            of(1, 2, "m", Purpose::Prefill),
        ] {
            assert_ne!(base, other);
        }
        let block_only = Noise::new(0.1, 0.0, 0.0);
        assert_eq!(
            block_only.level(1, 2, "m", Purpose::Decode),
            block_only.level(1, 2, "other", Purpose::Prefill)
        );
        assert_eq!(Noise::default().level(1, 2, "m", Purpose::Load), 1.0);
    }
}
