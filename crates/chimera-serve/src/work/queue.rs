//! Who may generate: a fixed number of slots, and a line of limited length before them, first come first served.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::fault::{Fault, Kind};

/// Slots and the line before them.
#[derive(Debug)]
pub(crate) struct Queue {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    most: usize,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(crate) fn new(slots: NonZeroUsize, most: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots.get())), waiting: AtomicUsize::new(0), most }
    }

    /// Waits for a slot; the permit is the slot. Who drops the future leaves the line.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Fault> {
        // A released permit goes to the first in line, so none is free while somebody waits.
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.most {
            return Err(Fault::new(
                Kind::QueueFull,
                format!("server busy: {before} requests wait already; ask again later"),
            ));
        }
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Fault::draining())
    }

    pub(crate) fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
