//! Virtual time moves only when everybody sleeps, on single-threaded executors.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chimera_core::{Clock, Stamp};
use chimera_sim::VirtualClock;
use futures_executor::{LocalPool, block_on};
use futures_util::{
    FutureExt, StreamExt,
    future::{Either, join, join_all, select},
    stream::FuturesUnordered,
    task::LocalSpawnExt,
};

fn nap(clock: &VirtualClock, nanos: u64) -> impl Future<Output = ()> + 'static {
    let clock = clock.clone();
    async move { clock.sleep_until(clock.now().after(Duration::from_nanos(nanos))).await }
}

/// Each of `periods` wakes on its own grid; the log holds who woke when.
async fn ticks(clock: VirtualClock, period: u64, log: Arc<Mutex<Vec<(u64, u64)>>>) {
    for _ in 0..20 {
        nap(&clock, period).await;
        log.lock().unwrap().push((clock.now().0, period));
    }
}

fn expected(periods: &[u64]) -> Vec<(u64, u64)> {
    let mut all: Vec<_> = periods.iter().flat_map(|&p| (1..=20).map(move |i| (i * p, p))).collect();
    all.sort_unstable();
    all
}

#[test]
fn sleepers_wake_in_the_order_of_time() {
    let periods = [7, 3, 11, 5, 2];
    for executor in ["join", "unordered", "pool"] {
        let clock = VirtualClock::new();
        let log = Arc::default();
        let all = periods.map(|period| ticks(clock.clone(), period, Arc::clone(&log)));
        match executor {
            "join" => {
                block_on(join_all(all));
            }
            "unordered" => {
                block_on(all.into_iter().collect::<FuturesUnordered<_>>().collect::<Vec<()>>());
            }
            _ => {
                let mut pool = LocalPool::new();
                for task in all {
                    pool.spawner().spawn_local(task).unwrap();
                }
                pool.run();
            }
        }
        let mut log = log.lock().unwrap().clone();
        assert!(log.is_sorted_by_key(|(at, _)| *at), "{executor}: {log:?}");
        log.sort_unstable();
        assert_eq!(log, expected(&periods), "{executor}");
        assert_eq!(clock.now(), Stamp(220));
    }
}

#[test]
fn a_task_that_can_run_runs_before_time_moves() {
    let clock = VirtualClock::new();
    let (sender, receiver) = flag();
    // The sleeper that would move time is polled before the one that is told to go.
    let late = nap(&clock, 100);
    let told = async {
        receiver.await;
        clock.now()
    };
    let teller = async {
        nap(&clock, 10).await;
        sender.set();
    };
    let (_, (when, ())) = block_on(join(late, join(told, teller)));
    assert_eq!(when, Stamp(10));
    assert_eq!(clock.now(), Stamp(100));
}

#[test]
fn a_sleeper_that_nobody_polls_holds_up_nobody() {
    let clock = VirtualClock::new();
    block_on(async {
        let mut kept = Box::pin(nap(&clock, 8));
        match select(&mut kept, Box::pin(nap(&clock, 5))).await {
            Either::Left(_) => panic!("eight is not before five"),
            Either::Right(_) => assert_eq!(clock.now(), Stamp(5)),
        }
        nap(&clock, 20).await;
        assert_eq!(clock.now(), Stamp(25));
        assert!(kept.now_or_never().is_some());
        // One that is dropped is forgotten.
        drop(select(Box::pin(nap(&clock, 1000)), Box::pin(nap(&clock, 5))).await);
        nap(&clock, 10).await;
        assert_eq!(clock.now(), Stamp(40));
        clock.sleep_until(Stamp(3)).await;
        assert_eq!(clock.now(), Stamp(40));
    });
}

/// A flag that can be awaited.
fn flag() -> (Setter, impl Future<Output = ()>) {
    let state = Arc::new(Mutex::new((false, None::<std::task::Waker>)));
    let seen = Arc::clone(&state);
    let waiting = std::future::poll_fn(move |cx| {
        let mut state = seen.lock().unwrap();
        if state.0 {
            return std::task::Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        std::task::Poll::Pending
    });
    (Setter(state), waiting)
}

struct Setter(Arc<Mutex<(bool, Option<std::task::Waker>)>>);

impl Setter {
    fn set(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}
