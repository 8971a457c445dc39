//! How late this client is: for each read, the time from the arrival in the kernel to our stamp. It is a property of this
//! process on this machine, and part of the error of every time that is measured over a wire.

use std::sync::Mutex;

use chimera_core::{Clock, Stamp};
use serde::{Deserialize, Serialize};

/// Buckets per doubling: a quantile is right to about 4 %.
const STEPS: usize = 16;
const BUCKETS: usize = 64 * STEPS;

/// What a [`LagMeter`] has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lag {
    /// Reads with a stamp of the kernel.
    pub stamped: u64,
    /// Reads without one.
    pub unstamped: u64,
    /// Reads whose kernel stamp lies after ours by more than the offset's error: the wall clock was moved.
    pub impossible: u64,
    /// Median of the lag in nanoseconds; absent without a stamped read.
    pub p50_ns: Option<u64>,
    /// 99th percentile in nanoseconds; absent below 662 stamped reads, which is what it takes to certify one.
    pub p99_ns: Option<u64>,
    /// Largest lag in nanoseconds.
    pub max_ns: Option<u64>,
    /// Wall clock minus the monotonic clock, in nanoseconds.
    pub offset_ns: i64,
    /// How wrong that offset may be: half the width of the readings around it, in nanoseconds.
    pub offset_error_ns: u64,
}

/// Collects lags of all connections of one client.
#[derive(Debug)]
pub struct LagMeter {
    offset: Offset,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    counts: Box<[u64]>,
    stamped: u64,
    unstamped: u64,
    impossible: u64,
    max: u64,
}

/// Wall clock minus the process's clock.
#[derive(Debug, Clone, Copy)]
struct Offset {
    nanos: i128,
    error: u64,
}

impl Offset {
    /// The narrowest of some readings of the wall clock between two of the other.
    fn measure(clock: &dyn Clock) -> Self {
        let mut best = Self { nanos: 0, error: u64::MAX };
        for _ in 0..64 {
            let before = clock.now();
            let Ok(wall) = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) else {
                continue;
            };
            let after = clock.now();
            let width = after.0.saturating_sub(before.0);
            if width / 2 < best.error {
                let middle = i128::from(before.0) + i128::from(width / 2);
                let wall = i128::try_from(wall.as_nanos()).unwrap_or(i128::MAX);
                best = Self { nanos: wall - middle, error: width / 2 };
            }
        }
        best
    }

    fn to_stamp(self, unix_ns: u64) -> Option<Stamp> {
        u64::try_from(i128::from(unix_ns) - self.nanos).ok().map(Stamp)
    }
}

impl LagMeter {
    /// A meter that compares with stamps of `clock`.
    #[must_use]
    pub fn new(clock: &dyn Clock) -> Self {
        let seen = Seen {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            stamped: 0,
            unstamped: 0,
            impossible: 0,
            max: 0,
        };
        Self { offset: Offset::measure(clock), seen: Mutex::new(seen) }
    }

    /// Takes one read. Gives the kernel's stamp on our clock, no later than our own.
    pub(crate) fn take(&self, at: Stamp, kernel_unix_ns: Option<u64>) -> Option<Stamp> {
        let kernel = kernel_unix_ns.and_then(|unix| self.offset.to_stamp(unix));
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(kernel) = kernel else {
            seen.unstamped += 1;
            return None;
        };
        let lag = at - kernel;
        if lag < -i128::from(self.offset.error) - 1_000 {
            seen.impossible += 1;
            return None;
        }
        let lag = u64::try_from(lag).unwrap_or(0);
        seen.stamped += 1;
        seen.max = seen.max.max(lag);
        if let Some(count) = seen.counts.get_mut(bucket(lag)) {
            *count += 1;
        }
        Some(kernel.min(at))
    }

    /// What was seen so far.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let some = seen.stamped > 0;
        Lag {
            stamped: seen.stamped,
            unstamped: seen.unstamped,
            impossible: seen.impossible,
            p50_ns: some.then(|| seen.quantile(0.5)),
            p99_ns: (seen.stamped >= 662).then(|| seen.quantile(0.99)),
            max_ns: some.then_some(seen.max),
            offset_ns: i64::try_from(self.offset.nanos).unwrap_or(i64::MAX),
            offset_error_ns: self.offset.error,
        }
    }
}

impl Seen {
    /// Upper end of the bucket that holds the quantile: never flattering.
    fn quantile(&self, share: f64) -> u64 {
        let wanted = (share * self.stamped as f64).ceil() as u64;
        let mut sum = 0;
        for (index, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted.max(1) {
                return upper(index).min(self.max);
            }
        }
        self.max
    }
}

/// Buckets grow with their values: `STEPS` to a doubling, exact below `STEPS`.
fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let step = STEPS.trailing_zeros();
    if bits <= step {
        return value as usize;
    }
    let shift = bits - step - 1;
    (shift as usize + 1) * STEPS + ((value >> shift) as usize - STEPS)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (group, step) = (index / STEPS, (index % STEPS) as u64);
    match group.checked_sub(1) {
        None => step,
        Some(shift) => {
            ((STEPS as u64 + step + 1).checked_shl(shift as u32).unwrap_or(u64::MAX)).wrapping_sub(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use chimera_core::SystemClock;

    use super::*;

    #[test]
    fn buckets_hold_their_values_and_are_narrow() {
        let mut last = 0;
        for value in (0..2_000).chain((1..50).map(|i| i * 7_919_777)) {
            let index = bucket(value);
            assert!(index >= last, "{value}");
            last = index;
            let top = upper(index);
            assert!(
                top >= value && top as f64 <= value as f64 * 1.07 + 1.0,
                "{value} in a bucket up to {top}"
            );
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_and_counts_are_what_was_taken() {
        let clock = SystemClock::new();
        let meter = LagMeter::new(&clock);
        let base = clock.now();
        let unix = |stamp: Stamp| u64::try_from(i128::from(stamp.0) + meter.offset.nanos).unwrap();
        for lag in 1..=1000_u64 {
            let kernel = Stamp(base.0 + 10_000_000);
            let at = Stamp(kernel.0 + lag * 1_000);
            assert_eq!(meter.take(at, Some(unix(kernel))), Some(kernel));
        }
        assert_eq!(meter.take(base, None), None);
        assert_eq!(meter.take(base, Some(unix(Stamp(base.0 + 50_000_000)))), None);
        let lag = meter.lag();
        assert_eq!((lag.stamped, lag.unstamped, lag.impossible), (1000, 1, 1));
        assert_eq!(lag.max_ns, Some(1_000_000));
        let near = |found: Option<u64>, meant: f64| {
            let found = found.unwrap() as f64;
            assert!(found >= meant && found <= meant * 1.07, "{found} for {meant}");
        };
        near(lag.p50_ns, 500_000.0);
        near(lag.p99_ns, 990_000.0);
    }

    #[test]
    fn few_reads_certify_no_tail() {
        let clock = SystemClock::new();
        let meter = LagMeter::new(&clock);
        assert_eq!(meter.lag().p50_ns, None);
        let at = clock.now();
        meter.take(at, u64::try_from(i128::from(at.0) + meter.offset.nanos).ok());
        assert_eq!((meter.lag().stamped, meter.lag().p99_ns), (1, None));
        assert!(meter.lag().p50_ns.is_some());
    }
}
