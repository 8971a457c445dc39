//! Laws of token counts: how long prompts and answers are. Drawing is seeded; nothing is tokenized here.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::LoadError;

/// Most tokens that a length may be: a bound on memory, far above any context.
const MOST: u32 = 1 << 20;

/// How many tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Lengths {
    /// Always the same.
    Fixed {
        /// Tokens.
        tokens: u32,
    },
    /// Every count from `min` to `max`, both included, equally often.
    Uniform {
        /// Fewest tokens.
        min: u32,
        /// Most tokens.
        max: u32,
    },
    /// exp(ln(median) + sigma z) with z standard normal, rounded, values outside `min` to `max` set to the nearer end.
    Lognormal {
        /// Median in tokens.
        median: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Fewest tokens.
        min: u32,
        /// Most tokens.
        max: u32,
    },
    /// One of these, equally often: a list that repeats a value makes it more frequent.
    Empirical {
        /// Token counts, of a trace for instance.
        tokens: Vec<u32>,
    },
}

impl Lengths {
    /// Draws one.
    pub fn draw(&self, rng: &mut impl Rng) -> u32 {
        match self {
            Self::Fixed { tokens } => *tokens,
            Self::Uniform { min, max } => rng.random_range(*min..=*max),
            Self::Lognormal { median, sigma, min, max } => {
                // Box and Muller (1958): one of the two normals is enough here.
                let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
                let z = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
                // The cast saturates, and the bounds are whole.
                ((median.ln() + sigma * z).exp().round() as u32).clamp(*min, *max)
            }
            Self::Empirical { tokens } => {
                tokens.get(rng.random_range(0..tokens.len().max(1))).copied().unwrap_or(1)
            }
        }
    }

    /// The largest that can come.
    #[must_use]
    pub fn most(&self) -> u32 {
        match self {
            Self::Fixed { tokens } => *tokens,
            Self::Uniform { max, .. } | Self::Lognormal { max, .. } => *max,
            Self::Empirical { tokens } => tokens.iter().copied().max().unwrap_or(0),
        }
    }

    pub(crate) fn validate(&self, key: &str) -> Result<(), LoadError> {
        let range = |min: u32, max: u32| {
            if min == 0 || max > MOST || min > max {
                let reason = format!("{min} to {max} tokens; 1 to {MOST} are allowed, the smaller first");
                return Err(LoadError::config(key, reason));
            }
            Ok(())
        };
        match self {
            Self::Fixed { tokens } => range(*tokens, *tokens),
            Self::Uniform { min, max } => range(*min, *max),
            Self::Lognormal { median, sigma, min, max } => {
                let positive = |x: f64| x.is_finite() && x > 0.0;
                if !(positive(*median) && sigma.is_finite() && *sigma >= 0.0) {
                    return Err(LoadError::config(
                        key,
                        "a positive median and a sigma of at least 0 are needed",
                    ));
                }
                range(*min, *max)
            }
            Self::Empirical { tokens } => {
                if tokens.is_empty() {
                    return Err(LoadError::config(key, "the list of token counts is empty"));
                }
                tokens.iter().try_for_each(|tokens| range(*tokens, *tokens))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn draws_follow_their_laws() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let mut draw =
            |law: &Lengths| -> Vec<f64> { (0..40_000).map(|_| f64::from(law.draw(&mut rng))).collect() };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;

        let uniform = draw(&Lengths::Uniform { min: 10, max: 30 });
        assert!((mean(&uniform) - 20.0).abs() < 0.2, "{}", mean(&uniform));
        assert!(uniform.contains(&10.0) && uniform.contains(&30.0));
        assert!(uniform.iter().all(|x| (10.0..=30.0).contains(x)));

        let mut lognormal = draw(&Lengths::Lognormal { median: 200.0, sigma: 0.5, min: 1, max: 100_000 });
        // exp(sigma^2 / 2) times the median is the mean of a lognormal law.
        assert!((mean(&lognormal) / (200.0 * 0.125_f64.exp()) - 1.0).abs() < 0.02);
        lognormal.sort_by(f64::total_cmp);
        assert!((lognormal[20_000] - 200.0).abs() < 4.0, "{}", lognormal[20_000]);

        let empirical = draw(&Lengths::Empirical { tokens: vec![1, 1, 1, 9] });
        assert!((mean(&empirical) - 3.0).abs() < 0.1);
        assert_eq!(draw(&Lengths::Fixed { tokens: 7 })[0], 7.0);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for law in [
            Lengths::Fixed { tokens: 0 },
            Lengths::Uniform { min: 9, max: 3 },
            Lengths::Uniform { min: 1, max: u32::MAX },
            Lengths::Lognormal { median: -1.0, sigma: 1.0, min: 1, max: 2 },
            Lengths::Lognormal { median: 1.0, sigma: f64::NAN, min: 1, max: 2 },
            Lengths::Empirical { tokens: vec![] },
            Lengths::Empirical { tokens: vec![3, 0] },
        ] {
            assert!(law.validate("output").is_err(), "{law:?}");
        }
    }
}
