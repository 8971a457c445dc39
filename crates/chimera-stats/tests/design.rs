//! Values in blocks: coverage of the two-level bootstrap and of ratio intervals under nested noise, plans that keep what
//! they promise, power at the planned n, and what is refused.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::power::{self, Design, Noise};
use chimera_stats::random::Resampling;
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Interval, Sample, StatsError, hypothesis, intervals, ratio, variance};
use support::{Normals, share};

/// Run sd 0.4 and request sd 1 around 20.
fn nested(normals: &mut Normals, blocks: usize, requests: usize) -> Blocks {
    let block = |normals: &mut Normals| {
        let shift = 0.4 * normals.next();
        (0..requests).map(|_| 20.0 + shift + normals.next()).collect()
    };
    Blocks::new((0..blocks).map(|_| block(normals)).collect()).unwrap()
}

fn covered(studies: u64, truth: f64, study: impl Fn(&mut Normals) -> Option<Interval>) -> f64 {
    share(studies, |normals| study(normals).is_some_and(|i| i.contains(truth)))
}

/// The default limits of means, ratios of sums and ratios of means hold their level from five blocks on, whether the noise
/// is that of blocks or of their few requests; plain percentiles of five blocks do not.
#[test]
fn the_two_level_bootstrap_covers() {
    let mean = |blocks, limits, resamples| {
        covered(1_000, 20.0, |normals| {
            let drawn = Resampling::new(resamples, 1);
            two_level::mean(&nested(normals, blocks, 15), drawn, limits, 0.95).unwrap().interval
        })
    };
    for (blocks, resamples) in [(5, 400), (5, 4_000), (10, 1_000), (20, 400)] {
        let share = mean(blocks, Limits::Expanded, resamples);
        assert!((0.93..=0.97).contains(&share), "{blocks} blocks: {share}");
    }
    let plain = mean(5, Limits::Plain, 400);
    assert!(plain < 0.93, "{plain}");
    // No noise of blocks at all: their means differ by the requests alone.
    for blocks in [5, 10, 20] {
        let share = covered(1_000, 20.0, |normals| {
            let block = |normals: &mut Normals| (0..8).map(|_| 20.0 + normals.next()).collect();
            let blocks = Blocks::new((0..blocks).map(|_| block(normals)).collect()).unwrap();
            two_level::mean(&blocks, Resampling::new(400, 1), Limits::Expanded, 0.95).unwrap().interval
        });
        assert!((0.93..=0.97).contains(&share), "{blocks} blocks of requests alone: {share}");
    }
}

#[test]
fn two_level_ratios_cover() {
    for blocks in [5, 10, 20] {
        let drawn = Resampling::new(if blocks == 5 { 2_000 } else { 400 }, 1);
        let arms = |normals: &mut Normals| {
            let (mut tokens, mut seconds) = (Vec::new(), Vec::new());
            for _ in 0..blocks {
                let rate = 20.0 + 0.4 * normals.next();
                let own: Vec<f64> = (0..15).map(|_| (0.3 * normals.next()).exp()).collect();
                tokens.push(own.iter().map(|s| rate * s + normals.next()).collect());
                seconds.push(own);
            }
            (Blocks::new(tokens).unwrap(), Blocks::new(seconds).unwrap())
        };
        let of_sums = covered(800, 20.0, |normals| {
            let (tokens, seconds) = arms(normals);
            two_level::ratio_of_sums(&tokens, &seconds, drawn, Limits::Expanded, 0.95).unwrap().interval
        });
        let of_means = covered(800, 1.0, |normals| {
            let (a, b) = (nested(normals, blocks, 15), nested(normals, blocks, 15));
            two_level::mean_ratio(&a, &b, drawn, Limits::Expanded, 0.95).unwrap().interval
        });
        assert!((0.925..=0.97).contains(&of_sums), "{blocks} blocks, of sums: {of_sums}");
        // Two arms are as sure as the smaller one alone is taken to be.
        assert!((0.93..=0.985).contains(&of_means), "{blocks} blocks, of means: {of_means}");
    }
}

/// The median of requests, and the ratio of medians of two equal arms.
#[test]
fn quantiles_of_requests_cover() {
    let drawn = Resampling::new(400, 1);
    let median = covered(400, 20.0, |normals| {
        two_level::quantile(&nested(normals, 8, 15), 0.5, drawn, Limits::Expanded, 0.95).unwrap().interval
    });
    assert!((0.93..=0.99).contains(&median), "{median}");
    let equal = covered(400, 1.0, |normals| {
        let (a, b) = (nested(normals, 8, 15), nested(normals, 8, 15));
        two_level::quantile_ratio(&a, &b, 0.5, drawn, Limits::Expanded, 0.95).unwrap().interval
    });
    assert!((0.93..=0.995).contains(&equal), "{equal}");
}

#[test]
fn ratios_of_block_sums_cover() {
    let arms = |normals: &mut Normals| {
        let seconds: Vec<f64> = (0..8).map(|_| 30.0 * (0.1 * normals.next()).exp()).collect();
        let tokens: Vec<f64> = seconds.iter().map(|s| s * (50.0 + 2.0 * normals.next())).collect();
        (tokens, seconds)
    };
    type Ratio = fn(Sample<'_>, Sample<'_>, f64) -> Result<chimera_stats::Estimate, StatsError>;
    let of: [(&str, Ratio); 2] = [("of sums", ratio::of_sums), ("Fieller", ratio::fieller_paired)];
    for (name, ratio) in of {
        let share = covered(2_000, 50.0, |normals| {
            let (tokens, seconds) = arms(normals);
            let (a, b) = (Sample::new(&tokens, "block").unwrap(), Sample::new(&seconds, "block").unwrap());
            ratio(a, b, 0.95).unwrap().interval
        });
        assert!((0.93..=0.97).contains(&share), "{name}: {share}");
    }
    let share = covered(2_000, 2.0, |normals| {
        let a: Vec<f64> = (0..6).map(|_| 20.0 + normals.next()).collect();
        let b: Vec<f64> = (0..10).map(|_| 10.0 + normals.next()).collect();
        ratio::fieller(Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap(), 0.95)
            .unwrap()
            .interval
    });
    assert!((0.93..=0.97).contains(&share), "unpaired Fieller: {share}");
}

/// 95 % intervals on the default scales: normal values, and lognormal values through their logarithms.
#[test]
fn default_intervals_cover_at_five_ten_and_twenty_blocks() {
    for blocks in [5, 10, 20] {
        let normal = covered(3_000, 20.0, |normals| {
            intervals::block_means(&nested(normals, blocks, 6), 0.95).unwrap().interval
        });
        let lognormal = covered(3_000, 20.0, |normals| {
            let means: Vec<f64> =
                nested(normals, blocks, 6).means().iter().map(|m| 20.0 * (m - 20.0).exp()).collect();
            intervals::geometric_over_blocks(Sample::new(&means, "block").unwrap(), 0.95).unwrap().interval
        });
        for share in [normal, lognormal] {
            assert!((0.93..=0.97).contains(&share), "{blocks} blocks: {normal}, {lognormal}");
        }
    }
}

/// A seed gives one answer, however the work was shared; two seeds differ.
#[test]
fn draws_depend_on_the_seed_alone() {
    let blocks = nested(&mut Normals::new(1), 6, 10);
    let at = |seed| two_level::mean(&blocks, Resampling::new(1_000, seed), Limits::Plain, 0.9).unwrap();
    assert_eq!(at(5), at(5));
    assert_ne!(at(5).interval, at(6).interval);
    // And the streams do not repeat one another: 1,000 draws spread as much as 250 do.
    let few = two_level::mean(&blocks, Resampling::new(250, 5), Limits::Plain, 0.9).unwrap();
    let quotient = few.standard_error.unwrap() / at(5).standard_error.unwrap();
    assert!((0.8..1.25).contains(&quotient), "{quotient}");
}

/// Two seeded components come out of many studies on average, and a plan from the true ones keeps its width.
#[test]
fn components_are_unbiased_and_plans_hold() {
    let (mut between, mut within) = (0.0, 0.0);
    for seed in 0..500 {
        let found = variance::two_level(&nested(&mut Normals::new(seed), 8, 5)).unwrap();
        between += found.levels[0].moment / 500.0;
        within += found.levels[1].moment / 500.0;
    }
    assert!((between - 0.16).abs() < 0.03 && (within - 1.0).abs() < 0.03, "{between}, {within}");

    let found = variance::two_level(&nested(&mut Normals::new(1), 400, 10)).unwrap();
    let plan = variance::plan(&found, &[30.0, 1.0], 0.2, 0.95).unwrap();
    // sqrt(30 * 1 / 0.16) is 13.7.
    assert!((12..=16).contains(&plan.repetitions[1]), "{plan:?}");
    assert!(plan.half_width <= 0.2);
    let cost = (plan.repetitions[0] * (30 + plan.repetitions[1])) as f64;
    assert!((plan.cost - cost).abs() < 1e-9);
    // No cheaper split reaches the width: one request fewer or more per block.
    let mut widths = 0.0;
    for seed in 0..200 {
        let blocks = nested(&mut Normals::new(seed), plan.repetitions[0], plan.repetitions[1]);
        let interval = intervals::block_means(&blocks, 0.95).unwrap().interval.unwrap();
        widths += (interval.high - interval.low) / 2.0 / 200.0;
    }
    assert!((widths / 0.2 - 1.0).abs() < 0.08, "{widths}");
}

/// Blocks from the planner find the effect as often as asked, on fresh data and by the test itself.
#[test]
fn power_at_the_planned_n_is_reached() {
    let noise = Noise { block_sd: 0.4, request_sd: 1.0 };
    let drawn = Resampling::new(4_000, 1);
    let blocks = power::required_blocks(noise, 15, false, 0.6, 0.05, 0.9, drawn).unwrap().unwrap();
    let found = share(1_500, |normals| {
        let a = nested(normals, blocks, 15).means();
        let b: Vec<f64> = nested(normals, blocks, 15).means().iter().map(|m| m + 0.6).collect();
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        hypothesis::welch_t(a, b, hypothesis::Alternative::TwoSided).unwrap().p(0.05).unwrap() <= 0.05
    });
    assert!(found >= 0.88, "{blocks} blocks: {found}");
    // More noise between blocks asks for more blocks, more requests for fewer.
    let with = |block_sd, requests| {
        let noise = Noise { block_sd, request_sd: 1.0 };
        power::required_blocks(noise, requests, false, 0.6, 0.05, 0.9, drawn).unwrap().unwrap()
    };
    assert!(with(0.8, 15) > blocks && with(0.4, 60) <= blocks);
    let components = variance::two_level(&nested(&mut Normals::new(2), 200, 20)).unwrap();
    let from = Noise::from_components(&components);
    assert!((from.block_sd - 0.4).abs() < 0.08 && (from.request_sd - 1.0).abs() < 0.05);
}

/// Two arms of one law, under nested noise: block means are rejected at alpha, requests taken as replicates far above it.
#[test]
fn a_a_comparisons_of_blocks_are_rejected_at_alpha_and_of_requests_are_not() {
    let rejected = |values: fn(&Blocks) -> Vec<f64>| {
        share(1_500, |normals| {
            let (a, b) = (values(&nested(normals, 6, 30)), values(&nested(normals, 6, 30)));
            let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
            hypothesis::welch_t(a, b, hypothesis::Alternative::TwoSided).unwrap().p(0.05).unwrap() <= 0.05
        })
    };
    let blocks = rejected(Blocks::means);
    assert!(blocks <= 0.06 + 0.017, "{blocks}");
    let requests = rejected(|blocks| blocks.iter().flat_map(|b| b.values().to_vec()).collect());
    assert!(requests > 0.25, "{requests}");
}

#[test]
fn designs_that_say_nothing_are_refused() {
    let drawn = Resampling::new(100, 1);
    let two = Blocks::new(vec![vec![1.0, 2.0], vec![2.0, 3.0]]).unwrap();
    assert!(matches!(
        two_level::mean(&two, drawn, Limits::Plain, 0.95),
        Err(StatsError::TooFew { needed: 3, got: 2, .. })
    ));
    let ones = Blocks::new(vec![vec![1.0], vec![2.0], vec![4.0]]).unwrap();
    assert!(matches!(variance::two_level(&ones), Err(StatsError::TooFew { .. })));
    assert!(matches!(variance::three_level(std::slice::from_ref(&two)), Err(StatsError::TooFew { .. })));
    let zeros = Blocks::new(vec![vec![0.0], vec![0.0], vec![0.0]]).unwrap();
    assert!(matches!(
        two_level::ratio_of_sums(&ones, &zeros, drawn, Limits::Plain, 0.95),
        Err(StatsError::Degenerate { .. })
    ));
    assert!(matches!(
        two_level::ratio_of_sums(&ones, &two, drawn, Limits::Plain, 0.95),
        Err(StatsError::Mismatched { .. })
    ));
    assert!(matches!(
        two_level::mean_ratio(&ones, &zeros, drawn, Limits::Plain, 0.95),
        Err(StatsError::NotPositive { .. })
    ));
    let components = variance::two_level(&two).unwrap();
    assert!(variance::plan(&components, &[1.0], 1.0, 0.95).is_err());
    assert!(variance::plan(&components, &[1.0, 0.0], 1.0, 0.95).is_err());
    let constant = variance::two_level(&Blocks::new(vec![vec![1.0; 3]; 3]).unwrap()).unwrap();
    assert_eq!(variance::plan(&constant, &[5.0, 1.0], 0.1, 0.95).unwrap().repetitions, [5, 1]);
    let design = Design { blocks: 5, requests: 3, paired: false };
    let power = |noise, design| power::power(noise, design, 1.0, 0.05, drawn);
    let quiet = Noise { block_sd: 0.0, request_sd: 0.0 };
    assert!(matches!(power(quiet, design), Err(StatsError::Degenerate { .. })));
    let negative = Noise { block_sd: -1.0, request_sd: 0.0 };
    assert!(matches!(power(negative, design), Err(StatsError::InvalidParameter { .. })));
    let noise = Noise { block_sd: 1.0, request_sd: 0.0 };
    assert!(matches!(power(noise, Design { blocks: 2, ..design }), Err(StatsError::TooFew { .. })));
    let hopeless = power::required_blocks(noise, 1, false, 1e-6, 0.05, 0.9, drawn).unwrap();
    assert_eq!(hopeless, None);
}
