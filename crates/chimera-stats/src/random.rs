//! Seeded choice of indices for resampling. Not a general source of randomness: beside indices it gives
//! the crate's own simulations normal values.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::pcg64::Pcg64;

/// Which generator draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// xoshiro256++ seeded through splitmix64.
    #[default]
    Xoshiro256PlusPlus,
    /// numpy's `default_rng(seed).integers`, to recompute published intervals.
    NumpyPcg64,
}

/// How a bootstrap draws: how often, from which seed, with which generator. The same values give the same interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resampling {
    /// Number of resamples, at least 100.
    pub resamples: usize,
    /// Seed of the generator.
    pub seed: u64,
    /// The generator.
    #[serde(default)]
    pub generator: Generator,
}

impl Resampling {
    /// xoshiro256++ with this seed.
    #[must_use]
    pub fn new(resamples: usize, seed: u64) -> Self {
        Self { resamples, seed, generator: Generator::Xoshiro256PlusPlus }
    }

    /// numpy's generator with this seed.
    #[must_use]
    pub fn numpy(resamples: usize, seed: u64) -> Self {
        Self { resamples, seed, generator: Generator::NumpyPcg64 }
    }

    pub(crate) fn check(&self) -> Result<(), StatsError> {
        if self.resamples < 100 {
            return Err(StatsError::InvalidParameter {
                name: "resamples",
                value: self.resamples as f64,
                expected: "at least 100",
            });
        }
        Ok(())
    }

    pub(crate) fn indices(&self) -> Result<Indices, StatsError> {
        self.check()?;
        Ok(match self.generator {
            Generator::Xoshiro256PlusPlus => Indices::Xoshiro(Xoshiro256PlusPlus::seed_from_u64(self.seed)),
            Generator::NumpyPcg64 => Indices::Numpy(Pcg64::new(self.seed)),
        })
    }
}

/// A source of indices below n.
#[derive(Debug, Clone)]
pub(crate) enum Indices {
    Xoshiro(Xoshiro256PlusPlus),
    Numpy(Pcg64),
}

impl Indices {
    /// A uniform index below n; `n` is at least 1 and, like every slice here, well below 2^32.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        match self {
            Self::Numpy(rng) => rng.below(n as u32) as usize,
            Self::Xoshiro(rng) => below(rng, n),
        }
    }

    /// Sum of a resample of `from` as large as itself. Two indices come from each 64-bit draw, which makes this twice as
    /// fast as drawing them one by one.
    pub(crate) fn sum(&mut self, from: &[f64]) -> f64 {
        let n = from.len();
        let Self::Xoshiro(rng) = self else {
            return (0..n).map(|_| from[self.below(n)]).sum();
        };
        let threshold = (n as u32).wrapping_neg() % n as u32;
        // Lemire's method on 32 bits; the rejected draws are fewer than n in 2^32.
        let index = |half: u32| {
            let product = u64::from(half) * n as u64;
            (product as u32 >= threshold).then_some((product >> 32) as usize)
        };
        let (mut even, mut odd) = (0.0, 0.0);
        let mut left = n;
        while left >= 2 {
            let both = rng.next_u64();
            if let (Some(i), Some(j)) = (index(both as u32), index((both >> 32) as u32)) {
                even += from[i];
                odd += from[j];
                left -= 2;
            }
        }
        while left > 0 {
            if let Some(i) = index((rng.next_u64() >> 32) as u32) {
                even += from[i];
                left -= 1;
            }
        }
        even + odd
    }

    /// A uniform value strictly between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        let bits = match self {
            Self::Xoshiro(rng) => rng.next_u64(),
            Self::Numpy(rng) => rng.next_u64(),
        };
        ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A standard normal value (Box and Muller's cosine; the sine is let go).
    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// To a stream that no earlier one reaches; numpy's generator stays where it is.
    pub(crate) fn jump(&mut self) {
        if let Self::Xoshiro(rng) = self {
            rng.jump();
        }
    }

    /// Fills `to` with a resample of `from`, drawn with replacement.
    pub(crate) fn resample(&mut self, from: &[f64], to: &mut [f64]) {
        // The generator is chosen once, and a copy of it stays in registers.
        match self {
            Self::Xoshiro(rng) => {
                let mut own = rng.clone();
                to.iter_mut().for_each(|slot| *slot = from[below(&mut own, from.len())]);
                *rng = own;
            }
            Self::Numpy(rng) => {
                let mut own = rng.clone();
                to.iter_mut().for_each(|slot| *slot = from[own.below(from.len() as u32) as usize]);
                *rng = own;
            }
        }
    }
}

/// A uniform index below n by Lemire's method on 64 bits, without bias. The threshold is below n: its division is hardly
/// ever made.
fn below(rng: &mut Xoshiro256PlusPlus, n: usize) -> usize {
    let n = n as u64;
    let mut product = u128::from(rng.next_u64()) * u128::from(n);
    if (product as u64) < n {
        let threshold = n.wrapping_neg() % n;
        while (product as u64) < threshold {
            product = u128::from(rng.next_u64()) * u128::from(n);
        }
    }
    (product >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_indices_for_ever() {
        let mut indices = Resampling::new(100, 42).indices().unwrap();
        let drawn: Vec<usize> = (0..12).map(|_| indices.below(7)).collect();
        // splitmix64, xoshiro256++ and the high word of the product, worked out apart from this crate.
        assert_eq!(drawn, [5, 2, 6, 4, 5, 4, 0, 4, 1, 6, 3, 5]);
    }

    #[test]
    fn every_index_is_as_likely() {
        for resampling in [Resampling::new(100, 1), Resampling::numpy(100, 1)] {
            let mut indices = resampling.indices().unwrap();
            let mut counts = [0_u32; 6];
            for _ in 0..60_000 {
                counts[indices.below(6)] += 1;
            }
            // Six standard deviations of a binomial count around 10,000.
            assert!(counts.iter().all(|c| c.abs_diff(10_000) < 550), "{counts:?}");
        }
    }
}
