//! What a design can find: power, the smallest effect it detects, the blocks it needs, by simulating its t test on block
//! means under observed variance components. The noise is drawn normal; for rates and latencies give components of
//! logarithms and effects as ln(1 + share). It plans the next experiment: the power of one already run, at the effect it
//! found, says nothing that its p did not.

use serde::{Deserialize, Serialize};

use crate::dist::t_critical;
use crate::error::{check_count, check_finite, check_unit};
use crate::random::{Indices, Resampling};
use crate::variance::{Components, smallest};
use crate::{Estimate, StatsError};

/// Standard deviations of blocks, and of requests within a block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Between blocks. For a paired design that of the differences of the arms within a block.
    pub block_sd: f64,
    /// Between requests of one block and arm.
    pub request_sd: f64,
}

impl Noise {
    /// From the components of requests in blocks ([`crate::variance::two_level`]); of more levels the outer ones together
    /// count as the block.
    #[must_use]
    pub fn from_components(components: &Components) -> Self {
        let sd =
            |levels: &[crate::variance::Component]| levels.iter().map(|l| l.variance).sum::<f64>().sqrt();
        let inner = components.levels.len() - 1;
        Self { block_sd: sd(&components.levels[..inner]), request_sd: sd(&components.levels[inner..]) }
    }
}

/// A comparison of two arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Design {
    /// Blocks per arm, at least 3.
    pub blocks: usize,
    /// Requests per block and arm, at least 1.
    pub requests: usize,
    /// Whether both arms run in each block (paired t) or each in its own (Welch t).
    pub paired: bool,
}

/// Difference of the arms without an effect, its standard error, and the critical t.
struct Draw {
    difference: f64,
    se: f64,
    critical: f64,
}

/// Probability that the two-sided test at `alpha` finds a true difference of `effect`, with the Wilson interval of the
/// simulation itself.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 blocks or without requests, [`StatsError::InvalidParameter`] for an alpha outside (0, 1),
/// negative noise or fewer than 100 simulations, [`StatsError::NotFinite`], [`StatsError::Degenerate`] without any noise.
pub fn power(
    noise: Noise,
    design: Design,
    effect: f64,
    alpha: f64,
    simulations: Resampling,
) -> Result<Estimate, StatsError> {
    check_finite("effect", &[effect])?;
    let draws = simulate(noise, design, alpha, simulations)?;
    let found = draws.iter().filter(|d| (d.difference + effect).abs() >= d.critical * d.se).count();
    wilson(found, draws.len())
}

/// The smallest true difference that the test at `alpha` finds with probability `power`: the quantile, over the
/// simulations, of the difference that would have tipped each. The sign is the caller's to choose: it is the same.
///
/// # Errors
/// As [`power`]; [`StatsError::InvalidParameter`] for a power outside (0, 1), [`StatsError::Overflow`].
pub fn minimum_detectable(
    noise: Noise,
    design: Design,
    alpha: f64,
    power: f64,
    simulations: Resampling,
) -> Result<f64, StatsError> {
    check_unit("power", power)?;
    let draws = simulate(noise, design, alpha, simulations)?;
    let mut tipping: Vec<f64> = draws.iter().map(|d| d.critical * d.se - d.difference).collect();
    let at = ((power * tipping.len() as f64).ceil() as usize).clamp(1, tipping.len()) - 1;
    let (_, value, _) = tipping.select_nth_unstable_by(at, f64::total_cmp);
    crate::error::in_range("minimum detectable effect", value.max(0.0))
}

/// Most blocks that [`required_blocks`] tries.
pub const MOST_BLOCKS: usize = 4_096;

/// The fewest blocks per arm at which the simulated power reaches `power`; none up to [`MOST_BLOCKS`]. More requests per
/// block do not replace blocks once the block's own noise leads.
///
/// # Errors
/// As [`minimum_detectable`].
pub fn required_blocks(
    noise: Noise,
    requests: usize,
    paired: bool,
    effect: f64,
    alpha: f64,
    power: f64,
    simulations: Resampling,
) -> Result<Option<usize>, StatsError> {
    check_finite("effect", &[effect])?;
    smallest(3, MOST_BLOCKS, |blocks| {
        let design = Design { blocks, requests, paired };
        Ok(minimum_detectable(noise, design, alpha, power, simulations)? <= effect.abs())
    })
}

fn simulate(
    noise: Noise,
    design: Design,
    alpha: f64,
    simulations: Resampling,
) -> Result<Vec<Draw>, StatsError> {
    const WHAT: &str = "simulated power";
    check_unit("alpha", alpha)?;
    check_count(WHAT, 3, design.blocks)?;
    check_count("requests of a block", 1, design.requests)?;
    check_finite("noise", &[noise.block_sd, noise.request_sd])?;
    let requests = design.requests as f64;
    // Both arms of a pair bring requests of their own.
    let arms = if design.paired { 2.0_f64 } else { 1.0 };
    let sd = noise.block_sd.hypot(noise.request_sd * (arms / requests).sqrt());
    if noise.block_sd < 0.0 || noise.request_sd < 0.0 {
        return Err(StatsError::InvalidParameter {
            name: "noise",
            value: noise.block_sd.min(noise.request_sd),
            expected: "standard deviations of zero or more",
        });
    }
    if sd == 0.0 {
        return Err(StatsError::Degenerate { what: WHAT, reason: "there is no noise" });
    }
    let mut indices = simulations.indices()?;
    let n = design.blocks as f64;
    let critical = Critical::new(n - 1.0, alpha)?;
    let mut arm = || moments(design.blocks, sd, &mut indices);
    (0..simulations.resamples)
        .map(|_| {
            let (mean, se) = arm();
            if design.paired {
                return Ok(Draw { difference: mean, se, critical: critical.at(n - 1.0) });
            }
            let (other, other_se) = arm();
            let both = se.hypot(other_se);
            let dof = (n - 1.0) / ((se / both).powi(4) + (other_se / both).powi(4));
            Ok(Draw { difference: mean - other, se: both, critical: critical.at(dof) })
        })
        .collect()
}

/// Critical t at Welch's degrees of freedom, which lie between those of one arm and of both: tabled in their inverse, in
/// which it is nearly straight. Interpolation is right to 1e-4 of itself at 2 degrees of freedom, far better above.
struct Critical {
    least: f64,
    table: Vec<f64>,
}

impl Critical {
    const STEPS: usize = 64;

    fn new(least: f64, alpha: f64) -> Result<Self, StatsError> {
        let at = |i: usize| 1.0 / (1.0 / least - i as f64 / Self::STEPS as f64 / (2.0 * least));
        let table = (0..=Self::STEPS).map(|i| t_critical(1.0 - alpha, at(i))).collect::<Result<_, _>>()?;
        Ok(Self { least, table })
    }

    fn at(&self, dof: f64) -> f64 {
        let place = (1.0 / self.least - 1.0 / dof) * 2.0 * self.least * Self::STEPS as f64;
        let below = (place.max(0.0) as usize).min(Self::STEPS - 1);
        let (a, b) = (self.table[below], self.table[below + 1]);
        a + (place - below as f64).clamp(0.0, 1.0) * (b - a)
    }
}

/// Mean and standard error of so many drawn block means.
fn moments(blocks: usize, sd: f64, indices: &mut Indices) -> (f64, f64) {
    let n = blocks as f64;
    if blocks > DRAWN_SINGLY {
        // The mean and the sum of squares of normal values are independent: two draws have the law of all of them.
        let mean = sd * indices.normal() / n.sqrt();
        return (mean, sd * (chi_squared(n - 1.0, indices) / (n - 1.0) / n).sqrt());
    }
    let (mut mean, mut squares) = (0.0, 0.0);
    for k in 1..=blocks {
        let value = sd * indices.normal();
        let step = value - mean;
        mean += step / k as f64;
        squares += step * (value - mean);
    }
    (mean, (squares / (n - 1.0) / n).sqrt())
}

/// Up to so many blocks each is drawn.
const DRAWN_SINGLY: usize = 24;

/// A chi-squared value of 3 or more degrees of freedom: twice a gamma value by Marsaglia and Tsang (2000, *ACM Transactions
/// on Mathematical Software* 26).
fn chi_squared(dof: f64, indices: &mut Indices) -> f64 {
    let d = dof / 2.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = indices.normal();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && indices.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return 2.0 * d * v;
        }
    }
}

/// A share with Wilson's interval (1927, *JASA* 22) at 0.95.
fn wilson(found: usize, of: usize) -> Result<Estimate, StatsError> {
    let (n, share) = (of as f64, found as f64 / of as f64);
    Ok(Estimate {
        point: share,
        standard_error: Some((share * (1.0 - share) / n).sqrt()),
        interval: Some(crate::intervals::wilson(share, of, 0.95)?),
        method: "power, simulated, Wilson".into(),
        unit: "simulation".into(),
        n: of,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_drawn_at_once_have_the_law_of_those_drawn_singly() {
        let mut indices = Resampling::new(100, 3).indices().unwrap();
        let draws = 40_000;
        for blocks in [DRAWN_SINGLY, DRAWN_SINGLY + 1, 400] {
            let (n, dof) = (blocks as f64, blocks as f64 - 1.0);
            let drawn: Vec<(f64, f64)> = (0..draws).map(|_| moments(blocks, 2.0, &mut indices)).collect();
            let mean_of =
                |f: &dyn Fn(&(f64, f64)) -> f64| drawn.iter().map(f).sum::<f64>() / f64::from(draws);
            // Var of the mean is sd² / n; E and Var of s² are sd² and 2 sd⁴ / (n - 1).
            let spread = mean_of(&|(mean, _)| mean * mean) * n / 4.0;
            let square = mean_of(&|(_, se)| se * se * n) / 4.0;
            let of_square = mean_of(&|(_, se)| (se * se * n / 4.0 - 1.0).powi(2)) * dof / 2.0;
            for (what, ratio) in [("mean", spread), ("variance", square), ("its variance", of_square)] {
                assert!((ratio - 1.0).abs() < 0.04, "{what} of {blocks}: {ratio}");
            }
        }
    }
}
