//! How fast this machine reads memory on as many threads as an engine has: the ceiling of decoding, which reads every
//! weight for every token.

use std::{hint::black_box, time::Instant};

/// More than caches hold.
const BYTES: usize = 256 << 20;
const ROUNDS: usize = 5;

/// Bytes per second of the best of some rounds, all threads reading at once.
pub(crate) fn bandwidth(threads: usize) -> f64 {
    let values = vec![1_u64; BYTES / size_of::<u64>()];
    let part = values.len().div_ceil(threads);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for values in values.chunks(part) {
                // Several sums, so that the additions do not wait for each other.
                scope.spawn(move || {
                    let mut sums = [0_u64; 16];
                    for chunk in values.chunks_exact(16) {
                        for (sum, value) in sums.iter_mut().zip(chunk) {
                            *sum = sum.wrapping_add(*value);
                        }
                    }
                    black_box(sums)
                });
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    BYTES as f64 / best
}
