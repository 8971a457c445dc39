//! One flag that stops a load run, from any thread. One task waits on it at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures_util::task::AtomicWaker;

/// A request to stop soon. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    set: AtomicBool,
    waiting: AtomicWaker,
}

impl Cancel {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. From a signal handler, set something of your own and call this from a thread that watches it.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Whether somebody asked to stop; if not, the task is woken when somebody does.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> bool {
        if self.is_set() {
            return true;
        }
        self.0.waiting.register(cx.waker());
        self.is_set()
    }
}
