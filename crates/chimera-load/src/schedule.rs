//! An absolute schedule of arrivals: when each request is intended, from the start of its level, and whether it is
//! warm-up. It is made of the level and a seed alone and never learns what the server does.

use std::sync::Arc;

use chimera_records::TrialRole;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Length, Level};

/// One arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds from the start of the level.
    pub offset: u64,
    /// Warm-up or measured.
    pub role: TrialRole,
}

/// Arrivals of one level of one block, in order. It ends when what is to be measured has come; a closed loop has no
/// schedule and gives an empty one.
#[derive(Debug, Clone)]
pub struct Schedule {
    law: Law,
    phases: Phases,
}

#[derive(Debug, Clone)]
enum Law {
    Constant {
        rate: f64,
        next: u64,
    },
    /// `unit` is the time of the last arrival at a rate of 1: all levels of a block share it, stretched.
    Poisson {
        rate: f64,
        unit: f64,
        rng: Xoshiro256PlusPlus,
    },
    Replay {
        times: Arc<[f64]>,
        speed: f64,
        next: usize,
    },
}

impl Schedule {
    /// The schedule of a level. `times` is the trace of a replay in seconds; other laws do not look at it.
    #[must_use]
    pub fn new(
        level: Level,
        warmup: Length,
        length: Option<Length>,
        times: &Arc<[f64]>,
        rng: Xoshiro256PlusPlus,
    ) -> Self {
        let law = match level {
            Level::Constant(rate) => Law::Constant { rate, next: 0 },
            Level::Poisson(rate) => Law::Poisson { rate, unit: 0.0, rng },
            Level::Replay(speed) => Law::Replay { times: Arc::clone(times), speed, next: 0 },
            Level::Closed(_) => Law::Replay { times: Arc::from([]), speed: 1.0, next: 0 },
        };
        Self { law, phases: Phases::new(warmup, length) }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let seconds = match &mut self.law {
            Law::Constant { rate, next } => {
                // From the number, not from the last arrival: rounding must not add up.
                let seconds = *next as f64 / *rate;
                *next += 1;
                seconds
            }
            Law::Poisson { rate, unit, rng } => {
                // Inverse of the exponential distribution function; the argument lies in (0, 1].
                *unit -= (1.0 - rng.random::<f64>()).ln();
                *unit / *rate
            }
            Law::Replay { times, speed, next } => {
                let time = *times.get(*next)?;
                *next += 1;
                time / *speed
            }
        };
        // The cast saturates; a schedule of 584 years is not run.
        let offset = (seconds * 1e9).round() as u64;
        Some(Arrival { offset, role: self.phases.role(offset)? })
    }
}

/// Where a level stands between its warm-up and its end. Both loops use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    warmup: Length,
    length: Option<Length>,
    seen: u32,
    measured: u32,
    /// When what is measured begins, once that is known.
    since: Option<u64>,
}

impl Phases {
    pub(crate) fn new(warmup: Length, length: Option<Length>) -> Self {
        Self { warmup, length, seen: 0, measured: 0, since: None }
    }

    /// Role of a request at `offset` nanoseconds; `None` once enough was measured. Offsets do not run back.
    pub(crate) fn role(&mut self, offset: u64) -> Option<TrialRole> {
        let warm = match self.warmup {
            Length::Requests(n) => self.seen < n,
            Length::Seconds(seconds) => offset < nanos(seconds),
        };
        self.seen = self.seen.saturating_add(1);
        if warm {
            return Some(TrialRole::FirstUse);
        }
        let since = *self.since.get_or_insert(match self.warmup {
            Length::Requests(0) => 0,
            Length::Requests(_) => offset,
            Length::Seconds(seconds) => nanos(seconds),
        });
        let over = match self.length {
            None => false,
            Some(Length::Requests(n)) => self.measured >= n,
            Some(Length::Seconds(seconds)) => offset >= since.saturating_add(nanos(seconds)),
        };
        if over {
            return None;
        }
        self.measured = self.measured.saturating_add(1);
        Some(TrialRole::Measured)
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn schedule(level: Level, warmup: Length, length: Length, seed: u64) -> Vec<Arrival> {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Schedule::new(level, warmup, Some(length), &Arc::from([]), rng).collect()
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_variance_of_their_law() {
        let rate = 40.0;
        let n = 200_000_u32;
        let all = schedule(Level::Poisson(rate), Length::Requests(0), Length::Requests(n), 11);
        let gaps: Vec<f64> = all.array_windows().map(|[a, b]| (b.offset - a.offset) as f64 / 1e9).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Standard errors: 1/sqrt(n) = 0.22 % of the mean, sqrt(8/n) = 0.63 % of the variance.
        assert!((mean * rate - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance * rate * rate - 1.0).abs() < 0.03, "variance {variance}");
        // Counts per second are Poisson too: their variance is their mean.
        let seconds = all.last().map_or(0, |last| last.offset / 1_000_000_000) as usize;
        let mut counts = vec![0.0_f64; seconds];
        for arrival in &all {
            if let Some(count) = counts.get_mut((arrival.offset / 1_000_000_000) as usize) {
                *count += 1.0;
            }
        }
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let variance = counts.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((variance / mean - 1.0).abs() < 0.08, "index of dispersion {}", variance / mean);
    }

    #[test]
    fn levels_of_a_block_share_their_randomness() {
        let at = |rate| schedule(Level::Poisson(rate), Length::Requests(0), Length::Requests(50), 3);
        for (slow, fast) in at(1.0).iter().zip(at(10.0)) {
            assert!((slow.offset as f64 / 10.0 - fast.offset as f64).abs() <= 1.0);
        }
    }

    #[test]
    fn a_trace_is_kept_exactly() {
        let times: Arc<[f64]> = Arc::from([0.5, 0.5, 0.75, 3.0]);
        let rng = Xoshiro256PlusPlus::seed_from_u64(0);
        let of = |speed, length| -> Vec<u64> {
            let all = Schedule::new(Level::Replay(speed), Length::Requests(1), length, &times, rng.clone());
            all.map(|arrival| arrival.offset).collect()
        };
        assert_eq!(of(1.0, None), [500_000_000, 500_000_000, 750_000_000, 3_000_000_000]);
        assert_eq!(of(2.0, None), [250_000_000, 250_000_000, 375_000_000, 1_500_000_000]);
        assert_eq!(of(1.0, Some(Length::Requests(2))).len(), 3, "one of warm-up, two measured");
        assert_eq!(of(1.0, Some(Length::Seconds(1.0))).len(), 3, "a second from the first measured one");
    }

    fn lengths() -> impl Strategy<Value = Length> {
        prop_oneof![(1_u32..200).prop_map(Length::Requests), (0.1_f64..5.0).prop_map(Length::Seconds)]
    }

    proptest! {
        #[test]
        fn offsets_never_run_back_and_warmup_comes_first(
            open in any::<bool>(), rate in 0.5_f64..500.0, warmup in lengths(), length in lengths(), seed in any::<u64>(),
        ) {
            let level = if open { Level::Poisson(rate) } else { Level::Constant(rate) };
            let all = schedule(level, warmup, length, seed);
            prop_assert!(all.array_windows().all(|[a, b]| a.offset <= b.offset));
            let warm = all.iter().filter(|a| a.role == TrialRole::FirstUse).count();
            prop_assert!(all[warm..].iter().all(|a| a.role == TrialRole::Measured));
            let measured = &all[warm..];
            match warmup {
                Length::Requests(n) => prop_assert_eq!(warm, n as usize),
                Length::Seconds(s) => prop_assert!(measured.iter().all(|a| a.offset >= nanos(s))),
            }
            match length {
                Length::Requests(n) => prop_assert_eq!(measured.len(), n as usize),
                Length::Seconds(s) => if let (Some(first), Some(last)) = (measured.first(), measured.last()) {
                    prop_assert!(last.offset - first.offset < nanos(s));
                },
            }
            prop_assert_eq!(&all, &schedule(level, warmup, length, seed), "the seed alone decides");
        }

        #[test]
        fn a_constant_rate_does_not_drift(rate in 0.5_f64..5_000.0, n in 2_u32..2_000) {
            let all = schedule(Level::Constant(rate), Length::Requests(0), Length::Requests(n), 0);
            for (index, arrival) in all.iter().enumerate() {
                prop_assert!((arrival.offset as f64 - index as f64 / rate * 1e9).abs() <= 1.0);
            }
        }
    }
}
