//! Waiting for the next intended time.
//!
//! # Why there is one thread
//!
//! A timer of the operating system ends 50 to 100 us late (timer slack, and the way back onto a core), and more when the
//! core slept. So the issuer sleeps to a little before the time and then spins. A spinning loop of its own would keep
//! bytes that arrive meanwhile from being read, and stamps are made when bytes are read; an issuer on a thread of its own
//! would have to wake the thread with the connections, which costs what the spinning saved. So the issuer spins
//! *through the executor*: it asks to be polled again at once, and between two polls the executor looks for input without
//! waiting. Streams are then read sooner than by a sleeping executor, not later. The cost is one core while something is
//! due within the spinning time; where there is only one core, nobody spins.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Timer;
use chimera_core::{Clock, Stamp};
use futures_core::future::BoxFuture;

/// How long before the time the sleep ends and the spinning begins.
const SPIN: Duration = Duration::from_micros(200);

/// How intended times are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// By the clock's own sleep: the only way on a virtual clock.
    Clock,
    /// By a timer to this long before the time, then by spinning through the executor.
    Spin(Duration),
}

impl Pacing {
    /// For real time: spins for the last 200 us where another core is left for everything else, and not at all where none
    /// is. `busy` is the number of cores that an engine in this process keeps busy; 0 for a server elsewhere.
    #[must_use]
    pub fn real(busy: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::Spin(if cores > 1 + busy as usize { SPIN } else { Duration::ZERO })
    }
}

enum Sleep {
    Clock(BoxFuture<'static, ()>),
    Timer(Timer),
}

/// Waits for one time after the other.
pub(crate) struct Pacer {
    pacing: Pacing,
    waiting: Option<(Stamp, Sleep)>,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing) -> Self {
        Self { pacing, waiting: None }
    }

    /// Ready at `due`, and never before. Another time than at the last poll takes the place of the earlier one.
    pub(crate) fn poll(&mut self, due: Stamp, clock: &dyn Clock, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = clock.now();
            let Some(left) = due.since(now).filter(|left| !left.is_zero()) else {
                self.waiting = None;
                return Poll::Ready(());
            };
            if let Pacing::Spin(spin) = self.pacing
                && left <= spin
            {
                self.waiting = None;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let pacing = self.pacing;
            let begin = || match pacing {
                Pacing::Clock => Sleep::Clock(clock.sleep_until(due)),
                Pacing::Spin(spin) => Sleep::Timer(Timer::after(left.saturating_sub(spin))),
            };
            let (_, sleep) = match &mut self.waiting {
                Some(waiting) if waiting.0 == due => waiting,
                other => other.insert((due, begin())),
            };
            let ended = match sleep {
                Sleep::Clock(sleep) => sleep.as_mut().poll(cx).is_ready(),
                Sleep::Timer(timer) => Pin::new(timer).poll(cx).is_ready(),
            };
            if !ended {
                return Poll::Pending;
            }
            // A timer that ends early is begun again; one that ends on time leads to the spinning above.
            self.waiting = None;
        }
    }
}
