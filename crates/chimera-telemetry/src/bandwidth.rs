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
    let mut memory: Vec<Vec<u64>> = (0..threads.get())
        .map(|thread| (0..words as u64).map(|word| word ^ thread as u64).collect())
        .collect();
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

/// A plain reduction: the compiler turns it into wide loads and independent additions, which hand-made lanes prevented.
fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
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

    /// A roof that ordinary code exceeds is none: reading must be at least as fast as copying, which reads and writes.
    #[test]
    fn reading_keeps_up_with_copying() {
        let source: Vec<u64> = (0..(BYTES_PER_THREAD / size_of::<u64>()) as u64).collect();
        let mut target = vec![1_u64; source.len()];
        let mut best_copy = 0.0_f64;
        let mut best_read = 0.0_f64;
        for _ in 0..4 {
            let start = Instant::now();
            target.copy_from_slice(black_box(&source));
            black_box(&mut target);
            best_copy = best_copy.max(BYTES_PER_THREAD as f64 / start.elapsed().as_secs_f64());
            best_read = best_read.max(memory_read_rate(NonZeroUsize::MIN, 1).expect("a rate"));
        }
        assert!(best_read > 0.8 * best_copy, "read {best_read:.3e} B/s, copied {best_copy:.3e} B/s");
    }
}
