//! How often intervals hold the truth, and how wide they are.

use chimera_stats::random::Resampling;
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Estimate, Interval, Sample, bootstrap, intervals, ratio};

use super::noise::{Law, Noise};
use super::support::Normals;
use super::{LEVEL, Size, repeat};

/// The intervals that are tabulated.
pub(crate) const METHODS: [&str; 9] = [
    "mean of block means, t",
    "geometric mean of block values, t on logs",
    "mean of block values, BCa",
    "mean of block values, bootstrap-t",
    "mean, two-level bootstrap, expanded",
    "mean, two-level bootstrap, plain",
    "paired ratio, t on logs",
    "median of block values, order statistics",
    "*all requests pooled, t* (what peers do)",
];
/// Place of the t interval over block means.
pub(crate) const MEAN_T: usize = 0;
/// Place of the t interval on logarithms.
pub(crate) const LOG_T: usize = 1;
/// Places of the two-level bootstraps.
const TWO_LEVEL: [usize; 2] = [4, 5];
/// Place of the paired ratio.
pub(crate) const PAIRED: usize = 6;
/// Place of the order statistics.
pub(crate) const MEDIAN: usize = 7;

/// The true ratio of the paired arms.
const RATIO: f64 = 1.05;

/// What one method did in one cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Share of intervals that hold the truth.
    pub(crate) coverage: f64,
    /// Median width as a share of the truth; intervals of bootstrap-t have no mean width.
    pub(crate) width: f64,
}

/// Every method under one noise; none where the method gives no interval of so few blocks.
pub(crate) fn coverage(cell: u64, noise: Noise, blocks: usize, size: Size) -> [Option<Cell>; METHODS.len()] {
    let (geometric, median) = noise.block_value_centres(blocks);
    let mut truths = [noise.analysed_mean(); METHODS.len()];
    truths[MEAN_T] = noise.mean();
    truths[LOG_T] = geometric;
    truths[PAIRED] = RATIO;
    truths[MEDIAN] = median;
    let studies = repeat(cell, size.repetitions, |normals, number| {
        let resampling = Resampling::new(size.resamples, number);
        study(noise, blocks, resampling, number < size.two_levels, normals)
    });
    std::array::from_fn(|method| {
        let found: Vec<Interval> = studies.iter().filter_map(|study| study[method]).collect();
        let held = found.iter().filter(|i| i.contains(truths[method])).count();
        let mut widths: Vec<f64> = found.iter().map(|i| (i.high - i.low) / truths[method]).collect();
        widths.sort_unstable_by(f64::total_cmp);
        let width = widths.get(widths.len() / 2).copied();
        let made = if TWO_LEVEL.contains(&method) { size.two_levels } else { size.repetitions };
        // A refusal counts as a miss; only where no study had an interval there is nothing to count.
        width.map(|width| Cell { coverage: held as f64 / made.min(size.repetitions) as f64, width })
    })
}

/// The intervals of one study.
fn study(
    noise: Noise,
    blocks: usize,
    resampling: Resampling,
    two_levels: bool,
    normals: &mut Normals,
) -> [Option<Interval>; METHODS.len()] {
    let requests = noise.arm(blocks, 1.0, normals);
    let values = noise.block_values(&requests);
    let analysed = noise.analysed(&values);
    let by_block = Sample::new(&analysed, "block").unwrap();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let on_scale: Vec<Vec<f64>> = requests.iter().map(|block| noise.analysed(block)).collect();
    let pooled = on_scale.concat();
    let on_scale = Blocks::new(on_scale).unwrap();
    let (a, b) = noise.paired(blocks, RATIO, normals);
    let (a, b) = (noise.block_values(&a), noise.block_values(&b));
    let back = |estimate: Estimate| estimate.interval.map(|i| i.map(|v| noise.back(v)));
    let raw = if noise.law == Law::OnLogs { Blocks::new(requests).unwrap() } else { on_scale.clone() };
    let two_level = |limits| {
        two_levels
            .then(|| two_level::mean(&on_scale, resampling, limits, LEVEL).ok().and_then(back))
            .flatten()
    };
    [
        intervals::block_means(&raw, LEVEL).unwrap().interval,
        intervals::geometric_over_blocks(Sample::new(&values, "block").unwrap(), LEVEL).unwrap().interval,
        bootstrap::bca(by_block, mean, resampling, LEVEL).ok().and_then(back),
        bootstrap::mean_bootstrap_t(by_block, resampling, LEVEL).ok().and_then(back),
        two_level(Limits::Expanded),
        two_level(Limits::Plain),
        ratio::paired(Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap(), LEVEL)
            .unwrap()
            .interval,
        Sample::new(&values, "block").unwrap().sorted().quantile_with_interval(0.5, LEVEL).unwrap().interval,
        back(intervals::mean_t(Sample::new(&pooled, "request").unwrap(), LEVEL).unwrap()),
    ]
}

/// Requests per block, and tokens per request, of [`pooled_tokens`].
pub(crate) const TOKEN_DESIGN: (usize, usize) = (30, 64);

/// Coverage of the t interval that takes every token as independent: standard deviations of blocks, requests and tokens
/// 0.4, 1 and 4 around 20 ms.
pub(crate) fn pooled_tokens(cell: u64, blocks: usize, repetitions: u64) -> f64 {
    let (requests, tokens) = TOKEN_DESIGN;
    let held = repeat(cell, repetitions, |normals, _| {
        let mut all = Vec::with_capacity(blocks * requests * tokens);
        for _ in 0..blocks {
            let block = 20.0 + 0.4 * normals.next();
            for _ in 0..requests {
                let request = block + normals.next();
                all.extend((0..tokens).map(|_| request + 4.0 * normals.next()));
            }
        }
        let estimate = intervals::mean_t(Sample::new(&all, "token").unwrap(), LEVEL).unwrap();
        estimate.interval.unwrap().contains(20.0)
    });
    super::share(&held)
}
