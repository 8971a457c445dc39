//! Intervals that hold what they promise: seeded studies with a known truth, counted.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::random::Resampling;
use chimera_stats::regression::power_law;
use chimera_stats::{Blocks, Interval, Sample, bootstrap, intervals};
use support::{Normals, share};

/// Share of `studies` seeded studies whose interval holds the truth.
fn coverage(studies: u64, truth: f64, study: impl Fn(&mut Normals) -> Interval) -> f64 {
    share(studies, |normals| study(normals).contains(truth))
}

/// Five blocks of six replicates; blocks differ (sd 2) more than the replicates within (sd 1).
fn blocks(normals: &mut Normals, replicate: impl Fn(f64) -> f64) -> Blocks {
    let block = |normals: &mut Normals| {
        let shift = 2.0 * normals.next();
        (0..6).map(|_| replicate(50.0 + shift + normals.next())).collect()
    };
    Blocks::new((0..5).map(|_| block(normals)).collect()).unwrap()
}

#[test]
fn t_on_block_means_covers() {
    let share = coverage(4000, 50.0, |normals| {
        intervals::block_means(&blocks(normals, |v| v), 0.95).unwrap().interval.unwrap()
    });
    assert!((0.94..=0.96).contains(&share), "{share}");
}

/// What the rule is for: replicates taken as independent promise 95 % and hold far less.
#[test]
fn t_on_pooled_replicates_does_not_cover() {
    let share = coverage(1000, 50.0, |normals| {
        let blocks = blocks(normals, |v| v);
        let pooled: Vec<f64> = blocks.iter().flat_map(|block| block.values().to_vec()).collect();
        intervals::mean_t(Sample::new(&pooled, "replicate").unwrap(), 0.95).unwrap().interval.unwrap()
    });
    assert!(share < 0.7, "{share}");
}

#[test]
fn t_on_logs_covers_the_geometric_mean() {
    let truth = 20.0_f64;
    let share = coverage(2000, truth, |normals| {
        let values: Vec<f64> = (0..8).map(|_| truth * (0.5 * normals.next()).exp()).collect();
        intervals::geometric_mean_t(Sample::new(&values, "block").unwrap(), 0.95).unwrap().interval.unwrap()
    });
    assert!((0.94..=0.96).contains(&share), "{share}");
}

/// The estimand of a scaling study: a power law with an exponent of its own in every block.
#[test]
fn t_on_block_slopes_covers_the_exponent() {
    const EXPONENT: f64 = 0.3;
    let sizes = [0.1, 5.0, 25.0, 45.0, 51.0, 75.0, 96.0];
    let share = coverage(1500, EXPONENT, |normals| {
        let slopes: Vec<f64> = (0..5)
            .map(|_| {
                let block = 0.2 * normals.next();
                let tilt = 0.02 * normals.next();
                let times: Vec<f64> = sizes
                    .iter()
                    .map(|p: &f64| (block + (EXPONENT + tilt) * p.ln() + 0.05 * normals.next()).exp())
                    .collect();
                power_law(&sizes, &times, 0.95).unwrap().exponent().value
            })
            .collect();
        intervals::over_blocks(Sample::new(&slopes, "block").unwrap(), 0.95).unwrap().interval.unwrap()
    });
    assert!((0.93..=0.97).contains(&share), "{share}");
}

/// On a skewed sample bootstrap-t promises no more than it holds, where the percentile interval falls short.
#[test]
fn bootstrap_t_covers_a_skewed_mean_better_than_percentiles() {
    let truth = 0.32_f64.exp();
    let sample =
        |normals: &mut Normals| -> Vec<f64> { (0..12).map(|_| (0.8 * normals.next()).exp()).collect() };
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let studentised = coverage(400, truth, |normals| {
        let values = sample(normals);
        let sample = Sample::new(&values, "block").unwrap();
        bootstrap::mean_bootstrap_t(sample, Resampling::new(500, 1), 0.95).unwrap().interval.unwrap()
    });
    let plain = coverage(400, truth, |normals| {
        let values = sample(normals);
        let sample = Sample::new(&values, "block").unwrap();
        bootstrap::percentile(sample, mean, Resampling::new(500, 1), 0.95).unwrap().interval.unwrap()
    });
    assert!(studentised > 0.90, "{studentised}");
    assert!(plain < studentised - 0.05, "{plain} and {studentised}");
}
