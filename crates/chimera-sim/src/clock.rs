//! A clock that moves only when everybody sleeps. It is for simulations on one thread; it measures nothing.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use chimera_core::{Clock, Stamp};
use futures_core::future::BoxFuture;

/// Polls that a sleeper sees without any other use of the clock before it moves time: links that a chain of channels
/// may have at one instant.
const PATIENCE: u32 = 4;

/// Virtual time that starts at zero and costs no waiting. Clones share one time.
///
/// Who sleeps is entered in a list and asks to be polled again. A sleeper that has been polled four times while nobody
/// began or ended a sleep moves time to the earliest entry of the list. So time moves only when every task that can run
/// has run, on any executor that polls all ready tasks of one thread in turn (`futures_executor::block_on` with `join`,
/// `LocalPool`), and the same program sees the same times in each run. A chain of more than four hand-overs between
/// tasks at one instant, or tasks on several threads, can see time move earlier than that.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use chimera_core::{Clock, Stamp};
/// use chimera_sim::VirtualClock;
///
/// let clock = VirtualClock::new();
/// let nap = |ms| {
///     let clock = clock.clone();
///     async move {
///         clock.sleep_until(clock.now().after(Duration::from_millis(ms))).await;
///         clock.now()
///     }
/// };
/// let both = futures_executor::block_on(futures_util::future::join(nap(30), nap(10)));
/// assert_eq!(both, (Stamp(30_000_000), Stamp(10_000_000)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct VirtualClock {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    now: AtomicU64,
    /// Counts everything that happens to `sleepers`, so that quiet can be noticed.
    activity: AtomicU64,
    sleepers: Mutex<Sleepers>,
}

#[derive(Debug, Default)]
struct Sleepers {
    next: u64,
    waiting: BTreeSet<(u64, u64)>,
}

impl VirtualClock {
    /// A clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Stamp {
        Stamp(self.shared.now.load(Ordering::Acquire))
    }

    fn sleep_until(&self, at: Stamp) -> BoxFuture<'static, ()> {
        Box::pin(Sleep { shared: Arc::clone(&self.shared), at: at.0, ticket: None, seen: 0, quiet: 0 })
    }
}

impl Shared {
    fn sleepers(&self) -> std::sync::MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stir(&self) -> u64 {
        self.activity.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Moves time to the earliest sleeper and strikes it off: if its owner never polls it again, it holds up nobody.
    fn advance(&self) {
        let mut sleepers = self.sleepers();
        if let Some((at, _)) = sleepers.waiting.pop_first() {
            self.now.fetch_max(at, Ordering::AcqRel);
        }
        drop(sleepers);
        self.stir();
    }
}

struct Sleep {
    shared: Arc<Shared>,
    at: u64,
    ticket: Option<u64>,
    seen: u64,
    quiet: u32,
}

impl Sleep {
    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.sleepers().waiting.remove(&(self.at, ticket));
            self.shared.stir();
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.now.load(Ordering::Acquire) >= self.at {
            self.leave();
            return Poll::Ready(());
        }
        if self.ticket.is_none() {
            let shared = Arc::clone(&self.shared);
            let mut sleepers = shared.sleepers();
            let ticket = sleepers.next;
            sleepers.next += 1;
            sleepers.waiting.insert((self.at, ticket));
            drop(sleepers);
            self.ticket = Some(ticket);
            self.seen = shared.stir();
            self.quiet = 0;
        } else {
            let activity = self.shared.activity.load(Ordering::Acquire);
            if activity == self.seen {
                self.quiet += 1;
                if self.quiet >= PATIENCE {
                    self.shared.advance();
                    self.quiet = 0;
                    if self.shared.now.load(Ordering::Acquire) >= self.at {
                        self.leave();
                        return Poll::Ready(());
                    }
                    self.seen = self.shared.activity.load(Ordering::Acquire);
                }
            } else {
                self.seen = activity;
                self.quiet = 0;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.leave();
    }
}
