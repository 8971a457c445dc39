//! Resamples over several threads, the same for any number of them. Chunks of resamples are handed out in order. Where a
//! chunk begins in numpy's stream follows from how many words the chunks before it used, which is known ahead but for
//! the words that they reject: a chunk is started from the presumed place, and again if a rejection before it moved it.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::words::{Halves, IndexStream, Words};
use crate::StatsError;
use crate::pcg64::Pcg64;
use crate::random::{Generator, Resampling};

/// Resamples that share one stream of xoshiro256++; also the most in a chunk of numpy's stream.
const STREAM: usize = 1_024;

/// Indices in a chunk of numpy's stream: enough to outweigh the lock, few enough to be drawn again.
const CHUNK: usize = 32_768;

/// What is computed of a resample.
pub(super) trait Kernel: Sync {
    /// The result.
    type Value: Copy + Default + Send;
    /// Memory that one thread uses again and again.
    type Scratch;

    fn scratch(&self) -> Self::Scratch;

    /// Takes as many indices as there are values.
    fn draw<W: Words>(&self, indices: &mut IndexStream<W>, scratch: &mut Self::Scratch) -> Self::Value;
}

/// Where generators begin.
trait Source: Sync {
    type Words: Words;

    fn at(&self, place: u64) -> Self::Words;

    /// The place behind a chunk that began at `place`.
    fn after(&self, place: u64, indices: usize, rejected: u64) -> u64;
}

/// numpy's one stream; a place is a number of 32-bit words.
struct Numpy(Pcg64);

impl Source for Numpy {
    type Words = Pcg64;

    fn at(&self, place: u64) -> Pcg64 {
        let mut rng = self.0.clone();
        rng.advance(u128::from(place / 2));
        if place % 2 == 1 {
            rng.next_u32();
        }
        rng
    }

    fn after(&self, place: u64, indices: usize, rejected: u64) -> u64 {
        place + indices as u64 + rejected
    }
}

/// A stream for each chunk, each one jump (2^128 steps) behind the last; a place is the number of a stream.
struct Streams(Vec<Xoshiro256PlusPlus>);

impl Streams {
    fn new(seed: u64, streams: usize) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let next = |_| {
            let own = rng.clone();
            rng.jump();
            own
        };
        Self((0..streams).map(next).collect())
    }
}

impl Source for Streams {
    type Words = Halves;

    fn at(&self, place: u64) -> Halves {
        Halves::new(self.0[place as usize].clone())
    }

    fn after(&self, place: u64, _: usize, _: u64) -> u64 {
        place + 1
    }
}

/// As many threads as there are processors. Asked once: the answer costs as much as a small bootstrap.
pub(super) fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// The kernel's value of every resample of `n` values, in order.
pub(super) fn replicates<K: Kernel>(
    kernel: &K,
    n: usize,
    resampling: Resampling,
    threads: usize,
) -> Result<Vec<K::Value>, StatsError> {
    resampling.check()?;
    let mut job = Job { kernel, n, resamples: resampling.resamples, chunk: STREAM };
    Ok(match resampling.generator {
        Generator::Xoshiro256PlusPlus => job.run(&Streams::new(resampling.seed, job.chunks()), threads),
        Generator::NumpyPcg64 => {
            job.chunk = (CHUNK / n).clamp(1, STREAM);
            job.run(&Numpy(Pcg64::new(resampling.seed)), threads)
        }
    })
}

struct Job<'a, K> {
    kernel: &'a K,
    n: usize,
    resamples: usize,
    /// Resamples in a chunk; the last may have fewer.
    chunk: usize,
}

impl<K: Kernel> Job<'_, K> {
    fn chunks(&self) -> usize {
        self.resamples.div_ceil(self.chunk)
    }

    fn run<S: Source>(&self, source: &S, threads: usize) -> Vec<K::Value> {
        let progress = Mutex::new(Progress {
            chunks: vec![None; self.chunks()],
            values: vec![K::Value::default(); self.resamples],
            settled: 0,
        });
        let work = || self.work(source, &progress);
        thread::scope(|scope| {
            for _ in 1..threads.min(self.chunks()) {
                // Where no thread can be had, those that are there do the work.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        progress.into_inner().unwrap_or_else(PoisonError::into_inner).values
    }

    fn work<S: Source>(&self, source: &S, progress: &Mutex<Progress<K::Value>>) {
        let indices_of = |chunk: usize| self.chunk.min(self.resamples - chunk * self.chunk) * self.n;
        let mut scratch = self.kernel.scratch();
        let mut values = Vec::with_capacity(self.chunk);
        loop {
            let next = lock(progress).next(|chunk, place| source.after(place, indices_of(chunk), 0));
            let Some((chunk, begin)) = next else { break };
            let mut indices = IndexStream::new(source.at(begin), self.n, indices_of(chunk));
            let resamples = indices_of(chunk) / self.n;
            values.clear();
            values.extend((0..resamples).map(|_| self.kernel.draw(&mut indices, &mut scratch)));
            let end = source.after(begin, indices_of(chunk), indices.rejected());
            lock(progress).put(chunk, Span { begin, end, done: true }, chunk * self.chunk, &values);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a chunk lies in the stream; the end of one that is being drawn is presumed.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: u64,
    end: u64,
    done: bool,
}

struct Progress<V> {
    chunks: Vec<Option<Span>>,
    values: Vec<V>,
    /// Chunks at the front that stay as they are.
    settled: usize,
}

impl<V: Copy> Progress<V> {
    /// The first chunk that nobody draws from where it is now presumed to begin, and that place. None are left only once
    /// whoever still draws will, on a rejection, come for those it moved.
    fn next(&mut self, presumed: impl Fn(usize, u64) -> u64) -> Option<(usize, u64)> {
        let mut begin = self.settled.checked_sub(1).and_then(|last| self.chunks[last]).map_or(0, |s| s.end);
        for chunk in self.settled..self.chunks.len() {
            match self.chunks[chunk] {
                Some(span) if span.begin == begin => {
                    if span.done && chunk == self.settled {
                        self.settled += 1;
                    }
                    begin = span.end;
                }
                _ => {
                    self.chunks[chunk] = Some(Span { begin, end: presumed(chunk, begin), done: false });
                    return Some((chunk, begin));
                }
            }
        }
        None
    }

    /// Keeps what was drawn, unless the chunk has been begun from another place since.
    fn put(&mut self, chunk: usize, span: Span, first: usize, values: &[V]) {
        if self.chunks[chunk].is_some_and(|now| now.begin == span.begin) {
            self.chunks[chunk] = Some(span);
            self.values[first..first + values.len()].copy_from_slice(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the indices themselves, mixed into one number that no other resample has.
    struct Trace(usize);

    impl Kernel for Trace {
        type Value = u64;
        type Scratch = ();

        fn scratch(&self) {}

        fn draw<W: Words>(&self, indices: &mut IndexStream<W>, (): &mut ()) -> u64 {
            let mut left = self.0;
            let mut trace = 0;
            while left > 0 {
                let found = indices.take(left);
                left -= found.len();
                trace = found.iter().fold(trace, |t: u64, i| mix(t, u64::from(*i)));
            }
            trace
        }
    }

    fn mix(trace: u64, index: u64) -> u64 {
        (trace ^ index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    /// A stream of which one word in `every` is 0, and so rejected unless n is a power of two.
    #[derive(Clone)]
    struct Holed {
        place: u64,
        every: u64,
    }

    impl Holed {
        fn word(&self) -> u32 {
            let word = mix(self.place, 0) >> 32;
            if word.is_multiple_of(self.every) { 0 } else { word as u32 | 1 << 12 }
        }
    }

    impl Words for Holed {
        fn fill(&mut self, to: &mut [u32]) {
            for slot in to {
                *slot = self.word();
                self.place += 1;
            }
        }
    }

    impl Source for Holed {
        type Words = Self;

        fn at(&self, place: u64) -> Self {
            Self { place, ..self.clone() }
        }

        fn after(&self, place: u64, indices: usize, rejected: u64) -> u64 {
            place + indices as u64 + rejected
        }
    }

    #[test]
    fn rejections_move_what_follows_on_any_number_of_threads() {
        for (every, n, chunk) in [(3, 7, 1), (50, 7, 4), (997, 11, 8), (20_000, 13, 64), (u64::MAX, 10, 16)] {
            let job = Job { kernel: &Trace(n), n, resamples: 3_001, chunk };
            let source = Holed { place: 0, every };
            let mut words = source.clone();
            let mut rejected = 0;
            let expected: Vec<u64> = (0..job.resamples)
                .map(|_| {
                    (0..n).fold(0, |trace, _| {
                        while words.word() == 0 {
                            words.place += 1;
                            rejected += 1;
                        }
                        let index = (u64::from(words.word()) * n as u64) >> 32;
                        words.place += 1;
                        mix(trace, index)
                    })
                })
                .collect();
            assert!(every == u64::MAX || rejected > 0, "one word in {every}");
            for threads in [1, 2, 5] {
                assert!(job.run(&source, threads) == expected, "one word in {every}, {threads} threads");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_resamples_on_any_number_of_threads() {
        for (n, resamples) in [(2, 5_000), (7, 2_500), (10, 3_000), (999, 200), (3_000, 150)] {
            for resampling in [Resampling::new(resamples, 5), Resampling::numpy(resamples, 5)] {
                let run = |threads| replicates(&Trace(n), n, resampling, threads).unwrap();
                let alone = run(1);
                assert!([2, 5].into_iter().all(|threads| run(threads) == alone), "{n} {resampling:?}");
            }
        }
    }

    #[test]
    fn the_resamples_are_numpys() {
        // At 90,000 values each resample rejects about one word.
        for (n, resamples) in [(7, 2_500), (10, 3_000), (999, 200), (90_000, 100)] {
            let mut rng = Pcg64::new(11);
            let one = |_| (0..n).fold(0, |trace, _| mix(trace, u64::from(rng.below(n as u32))));
            let expected: Vec<u64> = (0..resamples).map(one).collect();
            let found = replicates(&Trace(n), n, Resampling::numpy(resamples, 11), 3).unwrap();
            assert!(found == expected, "{n}");
        }
    }

    #[test]
    fn a_seed_gives_the_same_streams_for_ever() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
        let n = 5;
        let found = replicates(&Trace(n), n, Resampling::new(2_000, 42), 2).unwrap();
        for (chunk, part) in found.chunks(STREAM).enumerate() {
            let mut own = rng.clone();
            rng.jump();
            let mut half = None;
            let mut word = || match half.take() {
                Some(half) => half,
                None => {
                    let both = rand_xoshiro::rand_core::RngCore::next_u64(&mut own);
                    half = Some(both >> 32);
                    both & 0xffff_ffff
                }
            };
            // 2^32 = 1 below 5: only the word 0 would be rejected.
            let mut one = || (0..n).fold(0, |trace, _| mix(trace, (word() * n as u64) >> 32));
            assert!(part.iter().all(|trace| *trace == one()), "stream {chunk}");
        }
    }
}
