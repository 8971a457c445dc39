//! How fast all cores together read memory: the roof of a decode step, which reads every weight once. A short
//! measurement at the start of a run, not a benchmark suite; writes, latency and caches are not measured.

use std::{
    hint::black_box,
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

/// Bytes per thread: far beyond the private caches, and together beyond most shared ones.
const BYTES_PER_THREAD: usize = 192 << 20;

/// Best reading rate in bytes per second over `passes` passes with `threads` threads, each over memory of its own; `None`
/// when no pass took a measurable time.
///
/// The best pass counts: everything that disturbs a pass makes it slower. It takes about 0.1 s per pass and 192 MiB per
/// thread.
#[must_use]
pub fn memory_read_rate(threads: NonZeroUsize, passes: usize) -> Option<f64> {
    let words = BYTES_PER_THREAD / size_of::<u64>();
    // Written once, so that every page exists; what is in it does not matter.
    let mut memory: Vec<Vec<u64>> =
        (0..threads.get()).map(|thread| (0..words as u64).map(|word| word ^ thread as u64).collect()).collect();
    let mut best: Option<Duration> = None;
    for _ in 0..passes {
        let start = Instant::now();
        thread::scope(|scope| {
            for part in &mut memory {
                scope.spawn(|| black_box(sum(black_box(part))));
            }
        });
        let took = start.elapsed();
        best = Some(best.map_or(took, |best| best.min(took)));
    }
    let seconds = best?.as_secs_f64();
    (seconds > 0.0).then(|| (threads.get() * BYTES_PER_THREAD) as f64 / seconds)
}

/// Sums in independent lanes, so that the additions do not wait for each other.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0_u64; 32];
    let (chunks, rest) = words.as_chunks::<32>();
    for chunk in chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_a_sum_and_the_rate_is_a_rate() {
        let words: Vec<u64> = (0..1000).collect();
        assert_eq!(sum(&words), 499_500);
        let rate = memory_read_rate(NonZeroUsize::MIN, 1).expect("a pass takes time");
        assert!(rate.is_finite() && rate > 0.0);
        assert_eq!(memory_read_rate(NonZeroUsize::MIN, 0), None);
    }
}
