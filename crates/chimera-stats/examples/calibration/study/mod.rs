//! Simulated studies with a known truth, for counting how often the statistics are right. Shared by the table
//! (`cargo xtask calibrate`) and by the test that runs a small size of it. Not part of the library.

pub(crate) mod coverage;
pub(crate) mod errors;
pub(crate) mod noise;
#[path = "../../../tests/support/mod.rs"]
#[expect(dead_code, reason = "counting is done here over threads")]
mod support;

use std::num::NonZero;

use support::Normals;

/// Blocks per arm that are tabulated.
pub(crate) const BLOCKS: [usize; 3] = [5, 10, 20];
/// Requests per block.
pub(crate) const REQUESTS: usize = 100;
/// Level of the intervals.
pub(crate) const LEVEL: f64 = 0.95;
/// Alpha of the tests.
pub(crate) const ALPHA: f64 = 0.05;

/// How much is simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Studies per cell.
    pub(crate) repetitions: u64,
    /// Studies per cell in which the two-level bootstraps are made as well.
    pub(crate) two_levels: u64,
    /// Resamples of each bootstrap.
    pub(crate) resamples: usize,
    /// Pilots from which a study is planned.
    pub(crate) pilots: u64,
}

/// The result of every repetition, in order. Each has a seed of its own made of `cell` and its number, so that the number
/// of threads changes nothing.
pub(crate) fn repeat<T: Send>(
    cell: u64,
    repetitions: u64,
    study: impl Fn(&mut Normals, u64) -> T + Sync,
) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let share = repetitions.div_ceil(threads).max(1);
    let part = |first: u64| -> Vec<T> {
        let last = (first + share).min(repetitions);
        (first..last).map(|number| study(&mut Normals::new((cell << 32) | number), number)).collect()
    };
    std::thread::scope(|scope| {
        let part = &part;
        let workers: Vec<_> =
            (0..threads).map(|t| scope.spawn(move || part((t * share).min(repetitions)))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// Share of repetitions that gave true.
pub(crate) fn share(found: &[bool]) -> f64 {
    found.iter().filter(|f| **f).count() as f64 / found.len() as f64
}
