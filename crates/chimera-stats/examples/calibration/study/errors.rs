//! How often tests are wrong: differences found where there are none, effects missed, equivalence claimed in error.

use chimera_stats::hypothesis::{
    Alternative, Decision, Margin, RankNull, Test, equivalent_paired_ratio, equivalent_ratio, holm,
    mann_whitney, paired_t, welch_t, wilcoxon_paired,
};
use chimera_stats::random::Resampling;
use chimera_stats::{Blocks, Sample, StatsError, power, variance};

use super::noise::{Noise, ON_LOGS};
use super::{ALPHA, REQUESTS, repeat, share};

/// The tests that are tabulated.
pub(crate) const TESTS: [&str; 6] = [
    "Welch on block values",
    "Mann-Whitney on block values",
    "paired t on block values",
    "Wilcoxon on block values",
    "*Welch on all requests*",
    "*Mann-Whitney on all requests*",
];

fn rejects(test: Result<Test, StatsError>) -> bool {
    matches!(test.unwrap().decide(ALPHA), Decision::Rejected { .. })
}

fn sample(values: &[f64]) -> Sample<'_> {
    Sample::new(values, "block").unwrap()
}

/// Share of comparisons of an arm with itself that find a difference.
pub(crate) fn false_positives(
    cell: u64,
    noise: Noise,
    blocks: usize,
    repetitions: u64,
) -> [f64; TESTS.len()] {
    let both = Alternative::TwoSided;
    let found = repeat(cell, repetitions, |normals, _| {
        let (a, b) = (noise.arm(blocks, 1.0, normals), noise.arm(blocks, 1.0, normals));
        let values = |arm: &[Vec<f64>]| noise.analysed(&noise.block_values(arm));
        let (x, y) = (values(&a), values(&b));
        let (x, y) = (sample(&x), sample(&y));
        let (p, q) = noise.paired(blocks, 1.0, normals);
        let (p, q) = (values(&p), values(&q));
        let (p, q) = (sample(&p), sample(&q));
        let (a, b) = (noise.analysed(&a.concat()), noise.analysed(&b.concat()));
        let (a, b) = (sample(&a), sample(&b));
        [
            rejects(welch_t(x, y, both)),
            rejects(mann_whitney(x, y, both, RankNull::Auto)),
            rejects(paired_t(p, q, both)),
            rejects(wilcoxon_paired(p, q, both, RankNull::Auto)),
            rejects(welch_t(a, b, both)),
            rejects(mann_whitney(a, b, both, RankNull::Auto)),
        ]
    });
    std::array::from_fn(|test| share(&found.iter().map(|f| f[test]).collect::<Vec<_>>()))
}

/// Blocks per arm that the planner asks for, for an effect of this share at power 0.9.
pub(crate) fn planned(noise: power::Noise, effect: f64, simulations: Resampling) -> Option<usize> {
    power::required_blocks(noise, REQUESTS, false, effect, ALPHA, 0.9, simulations).unwrap()
}

/// Share of studies of so many blocks per arm in which Welch's test finds an effect of this share.
pub(crate) fn power_of(cell: u64, noise: Noise, effect: f64, blocks: usize, repetitions: u64) -> f64 {
    share(&repeat(cell, repetitions, |normals, _| finds(noise, effect, blocks, normals)))
}

fn finds(noise: Noise, effect: f64, blocks: usize, normals: &mut super::support::Normals) -> bool {
    let a = noise.analysed(&noise.block_values(&noise.arm(blocks, 1.0 + effect, normals)));
    let b = noise.analysed(&noise.block_values(&noise.arm(blocks, 1.0, normals)));
    rejects(welch_t(sample(&a), sample(&b), Alternative::TwoSided))
}

/// What planning from a pilot comes to.
#[derive(Debug)]
pub(crate) struct FromPilots {
    /// Share of planned studies that find the effect.
    pub(crate) power: f64,
    /// Planned blocks: 10th percentile, median, 90th percentile.
    pub(crate) blocks: [usize; 3],
}

/// Studies of logarithms planned from the components that a pilot of so many blocks shows.
pub(crate) fn from_pilots(cell: u64, effect: f64, pilot: usize, pilots: u64) -> FromPilots {
    let noise = ON_LOGS;
    let studies = repeat(cell, pilots, |normals, number| {
        let seen = noise.arm(pilot, 1.0, normals).iter().map(|block| noise.analysed(block)).collect();
        let components = variance::two_level(&Blocks::new(seen).unwrap()).unwrap();
        let seen = power::Noise::from_components(&components);
        let blocks = planned(seen, noise.effect(effect), Resampling::new(1_000, number)).unwrap();
        (blocks, finds(noise, effect, blocks, normals))
    });
    let mut blocks: Vec<usize> = studies.iter().map(|s| s.0).collect();
    blocks.sort_unstable();
    let at = |share: f64| blocks[(share * (blocks.len() - 1) as f64) as usize];
    FromPilots {
        power: share(&studies.iter().map(|s| s.1).collect::<Vec<_>>()),
        blocks: [at(0.1), at(0.5), at(0.9)],
    }
}

/// Shares of studies that show equivalence within the margin where the true ratio is `ratio`: independent arms, and arms
/// that ran in the same blocks.
pub(crate) fn equivalence(cell: u64, margin: f64, ratio: f64, blocks: usize, repetitions: u64) -> [f64; 2] {
    let noise = ON_LOGS;
    let margin = Margin::ratio(margin);
    let shown = repeat(cell, repetitions, |normals, _| {
        let (a, b) = (noise.arm(blocks, ratio, normals), noise.arm(blocks, 1.0, normals));
        let (a, b) = (noise.block_values(&a), noise.block_values(&b));
        let (p, q) = noise.paired(blocks, ratio, normals);
        let (p, q) = (noise.block_values(&p), noise.block_values(&q));
        [
            equivalent_ratio(sample(&a), sample(&b), margin, ALPHA).unwrap().is_shown(),
            equivalent_paired_ratio(sample(&p), sample(&q), margin, ALPHA).unwrap().is_shown(),
        ]
    });
    std::array::from_fn(|design| share(&shown.iter().map(|s| s[design]).collect::<Vec<_>>()))
}

/// Hypotheses of one table.
pub(crate) const HYPOTHESES: usize = 20;

/// Shares of tables with at least one difference found where there is none, without Holm's correction and with it; the
/// first `real` of the hypotheses have a true effect of 20 %.
pub(crate) fn familywise(cell: u64, blocks: usize, real: usize, repetitions: u64) -> [f64; 2] {
    let noise = ON_LOGS;
    let tables = repeat(cell, repetitions, |normals, _| {
        let p: Vec<f64> = (0..HYPOTHESES)
            .map(|hypothesis| {
                let factor = if hypothesis < real { 1.2 } else { 1.0 };
                let a = noise.analysed(&noise.block_values(&noise.arm(blocks, factor, normals)));
                let b = noise.analysed(&noise.block_values(&noise.arm(blocks, 1.0, normals)));
                welch_t(sample(&a), sample(&b), Alternative::TwoSided).unwrap().p(ALPHA).unwrap()
            })
            .collect();
        let wrong = |p: &[f64]| p[real..].iter().any(|p| *p <= ALPHA);
        [wrong(&p), wrong(&holm(&p).unwrap())]
    });
    std::array::from_fn(|which| share(&tables.iter().map(|t| t[which]).collect::<Vec<_>>()))
}
