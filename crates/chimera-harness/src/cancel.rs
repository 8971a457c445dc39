//! One flag that stops a run, from any thread. It does not say why, and it cannot be taken back.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

/// A request to stop soon. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    set: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Cancel {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. May be called from any thread; in a signal handler, set something of your own and call this from a
    /// thread that watches it, since wakers take a lock.
    pub fn cancel(&self) {
        self.shared.set.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting());
        for waker in waiting {
            waker.wake();
        }
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.set.load(Ordering::Acquire)
    }

    /// Whether somebody asked to stop; if not, the task is woken when somebody does.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        if self.is_set() {
            return true;
        }
        let mut waiting = self.waiting();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        drop(waiting);
        self.is_set()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_task_is_woken_from_another_thread() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            other.cancel();
        });
        futures_executor::block_on(std::future::poll_fn(|cx| {
            if cancel.poll(cx) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
        assert!(cancel.is_set());
        thread.join().unwrap();
    }
}
