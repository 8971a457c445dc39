//! Time and names: the one monotonic clock of a process and the stamps it gives. Wall-clock dates are not here; they
//! belong to the records.

use std::{
    fmt,
    ops::Sub,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_core::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the origin of one process's monotonic clock. Stamps of different processes do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Time from `earlier` to `self`; `None` when `earlier` is later, which no honest pair of stamps shows.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// The stamp `by` later, saturating at the end of the clock (584 years).
    #[must_use]
    pub fn after(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Stamp {
    type Output = i128;
    /// Signed difference in nanoseconds.
    fn sub(self, other: Stamp) -> i128 {
        i128::from(self.0) - i128::from(other.0)
    }
}

/// The only source of time. It is handed to backends and to the harness, so that a simulation runs the same code on a
/// virtual clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Stamp;
    /// Resolves at or after `at`. On a virtual clock it moves time forward.
    fn sleep_until(&self, at: Stamp) -> BoxFuture<'static, ()>;
}

/// The machine's monotonic clock, with its origin at the creation of the value.
///
/// Sleeping uses a timer thread that belongs to no async runtime, so any executor can await it.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The smallest step that two consecutive readings show, over `readings` attempts; `None` if time never moved.
    #[must_use]
    pub fn resolution(&self, readings: usize) -> Option<Duration> {
        let mut last = self.now();
        let mut best = None::<u64>;
        for _ in 0..readings {
            let now = self.now();
            let step = now.0.saturating_sub(last.0);
            if step > 0 {
                best = Some(best.map_or(step, |b| b.min(step)));
            }
            last = now;
        }
        best.map(Duration::from_nanos)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, at: Stamp) -> BoxFuture<'static, ()> {
        let wait = at.since(self.now()).unwrap_or_default();
        Box::pin(futures_timer::Delay::new(wait))
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Stamp {
        (**self).now()
    }
    fn sleep_until(&self, at: Stamp) -> BoxFuture<'static, ()> {
        (**self).sleep_until(at)
    }
}

/// Name of one configured backend (`candle`, `ollama@127.0.0.1:11434`): two servers are two backends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendId(pub Arc<str>);

impl BackendId {
    /// A name for one configured backend.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_and_stamps_do_not_wrap() {
        let clock = SystemClock::new();
        let a = clock.now();
        let resolution = clock.resolution(100_000).expect("a monotonic clock moves");
        assert!(resolution > Duration::ZERO);
        let b = clock.now();
        assert!(b > a);
        assert!(b.since(a).is_some() && a.since(b).is_none());
        assert_eq!(Stamp(u64::MAX).after(Duration::from_secs(1)), Stamp(u64::MAX));
        assert_eq!(Stamp(3) - Stamp(5), -2);
    }

    #[test]
    fn sleeping_ends_no_earlier_than_asked() {
        let clock = SystemClock::new();
        let at = clock.now().after(Duration::from_millis(3));
        futures_executor::block_on(clock.sleep_until(at));
        assert!(clock.now() >= at);
        futures_executor::block_on(clock.sleep_until(Stamp(0))); // The past is now.
    }
}
