//! Which models are resident: loads one at a time, evictions of the least recently used idle one, expiry of what
//! nobody uses, reloads with another context. How long a request waits for a slot is `queue`'s.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use chimera_core::{InferenceBackend, LoadOptions, ModelInfo, Session};
use tokio::sync::{Mutex as Turn, Notify};

use super::{ask::Wanted, keep::Keep, metrics::Metrics};
use crate::http::fault::Fault;

/// The resident models of one server.
#[derive(Debug)]
pub(crate) struct Residents {
    backend: Arc<dyn InferenceBackend>,
    most: usize,
    keep: Keep,
    limit: Duration,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Something in `state` changed.
    changed: Notify,
    /// Whose turn it is to choose a model: first come first served, so that nobody who needs an eviction starves.
    turn: Turn<()>,
    loading: Turn<()>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// What was learnt of models that were resident once.
    known: HashMap<Arc<str>, ModelInfo>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    context: Option<u32>,
    /// `None` while it is being loaded.
    session: Option<Arc<dyn Session>>,
    users: usize,
    last_used: Instant,
    keep: Keep,
    broken: bool,
}

impl Entry {
    fn expires(&self) -> Option<Instant> {
        match self.keep {
            Keep::For(time) => self.last_used.checked_add(time),
            Keep::Ever => None,
        }
    }

    fn idle(&self) -> bool {
        self.users == 0 && self.session.is_some()
    }
}

/// What is known of a resident model.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    pub(crate) name: Arc<str>,
    pub(crate) info: ModelInfo,
    pub(crate) context: Option<u32>,
    /// `None`: never.
    pub(crate) expires: Option<SystemTime>,
}

/// The use of a resident model; dropping it gives the model back.
#[derive(Debug)]
pub(crate) struct Lease {
    residents: Arc<Residents>,
    pub(crate) session: Arc<dyn Session>,
    pub(crate) context: Option<u32>,
}

impl Lease {
    /// The session is of no use any more: the next request loads the model again.
    pub(crate) fn broken(&self) {
        if let Some(entry) = self.residents.state().entry(&self.session) {
            entry.broken = true;
        }
    }

    /// Whether nobody else uses the session.
    pub(crate) fn alone(&self) -> bool {
        self.residents.state().entry(&self.session).is_none_or(|entry| entry.users <= 1)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.residents.state();
        if let Some(entry) = state.entry(&self.session) {
            entry.users = entry.users.saturating_sub(1);
            entry.last_used = Instant::now();
            if entry.broken && entry.users == 0 {
                state.entries.retain(|e| !e.session.as_ref().is_some_and(|s| Arc::ptr_eq(s, &self.session)));
            }
        }
        drop(state);
        self.residents.changed.notify_waiters();
    }
}

impl State {
    fn entry(&mut self, session: &Arc<dyn Session>) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.session.as_ref().is_some_and(|s| Arc::ptr_eq(s, session)))
    }

    fn take(&mut self, index: usize) -> Option<Arc<dyn Session>> {
        self.entries.remove(index).session
    }
}

enum Step {
    Ready(Arc<dyn Session>),
    /// Unload this first; whether it makes room for another model.
    Unload(Option<Arc<dyn Session>>, bool),
    /// Somebody loads this model.
    Loading,
    /// All are in use.
    Busy,
    Load,
}

impl Residents {
    pub(crate) fn new(
        backend: Arc<dyn InferenceBackend>,
        most: NonZeroUsize,
        keep: Duration,
        limit: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            backend,
            most: most.get(),
            keep: Keep::For(keep),
            limit,
            metrics,
            state: Mutex::default(),
            changed: Notify::new(),
            turn: Turn::default(),
            loading: Turn::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease of the model with the context that is wanted, loaded if need be.
    pub(crate) async fn acquire(self: &Arc<Self>, wanted: &Wanted) -> Result<Lease, Fault> {
        let mut turn = self.turn.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.step(wanted) {
                Step::Ready(session) => return Ok(self.lease(wanted, session)),
                Step::Unload(session, evicts) => {
                    if evicts {
                        self.metrics.evictions.fetch_add(1, Ordering::Relaxed);
                    }
                    self.unload(session).await;
                }
                Step::Busy => changed.await,
                Step::Loading => {
                    drop(turn);
                    changed.await;
                    turn = self.turn.lock().await;
                }
                Step::Load => {
                    drop(turn);
                    return self.load(wanted).await;
                }
            }
        }
    }

    fn lease(self: &Arc<Self>, wanted: &Wanted, session: Arc<dyn Session>) -> Lease {
        Lease { residents: Arc::clone(self), session, context: wanted.context }
    }

    fn step(&self, wanted: &Wanted) -> Step {
        let mut state = self.state();
        if let Some(index) = state.entries.iter().position(|entry| entry.name == wanted.reference.name) {
            let Some(entry) = state.entries.get_mut(index) else { return Step::Busy };
            let Some(session) = &entry.session else { return Step::Loading };
            if entry.context == wanted.context && !entry.broken {
                entry.users += 1;
                entry.last_used = Instant::now();
                entry.keep = wanted.keep.unwrap_or(self.keep);
                return Step::Ready(Arc::clone(session));
            }
            if entry.users > 0 {
                return Step::Busy;
            }
            return Step::Unload(state.take(index), false);
        }
        if state.entries.len() < self.most {
            state.entries.push(Entry {
                name: Arc::clone(&wanted.reference.name),
                context: wanted.context,
                session: None,
                users: 0,
                last_used: Instant::now(),
                keep: wanted.keep.unwrap_or(self.keep),
                broken: false,
            });
            return Step::Load;
        }
        let idle = state.entries.iter().enumerate().filter(|(_, entry)| entry.idle());
        match idle.min_by_key(|(_, entry)| entry.last_used).map(|(index, _)| index) {
            Some(index) => Step::Unload(state.take(index), true),
            None => Step::Busy,
        }
    }

    /// Loads in a task of its own: a client that leaves meanwhile must not leave half a model behind.
    async fn load(self: &Arc<Self>, wanted: &Wanted) -> Result<Lease, Fault> {
        let this = Arc::clone(self);
        let wanted = wanted.clone();
        let task = tokio::spawn(async move {
            let reservation = Reservation(Arc::clone(&this), Arc::clone(&wanted.reference.name));
            let _loading = this.loading.lock().await;
            let started = Instant::now();
            let mut options = LoadOptions::default();
            options.context = wanted.context;
            let load = this.backend.load(&wanted.reference, &options);
            let session =
                tokio::time::timeout(this.limit, load).await.map_err(|_| Fault::timeout(this.limit))??;
            this.metrics.load.see(started.elapsed());
            let mut state = this.state();
            state.known.insert(Arc::clone(&wanted.reference.name), session.model().clone());
            if let Some(entry) =
                state.entries.iter_mut().find(|e| e.name == wanted.reference.name && e.session.is_none())
            {
                entry.session = Some(Arc::clone(&session));
                entry.users = 1;
                entry.last_used = Instant::now();
            }
            drop(state);
            drop(reservation);
            Ok(this.lease(&wanted, session))
        });
        task.await.unwrap_or_else(|error| {
            Err(Fault::new(crate::http::fault::Kind::Failed, format!("the load broke off: {error}")))
        })
    }

    /// Unloads in a task of its own, once nothing runs on the session any more.
    async fn unload(&self, session: Option<Arc<dyn Session>>) {
        let Some(session) = session else { return };
        let limit = self.limit;
        let task = tokio::spawn(async move {
            let _ = tokio::time::timeout(limit, session.idle()).await;
            // A backend that cannot unload has said all it can; the server forgets the session anyway.
            let _ = tokio::time::timeout(limit, session.unload()).await;
        });
        let _ = task.await;
        self.changed.notify_waiters();
    }

    /// Unloads a model now, or as soon as nobody uses it.
    pub(crate) async fn release(&self, name: &str) {
        let _turn = self.turn.lock().await;
        let session = {
            let mut state = self.state();
            let Some(index) = state.entries.iter().position(|entry| &*entry.name == name) else { return };
            match state.entries.get_mut(index) {
                Some(entry) if !entry.idle() => {
                    entry.keep = Keep::NOT_AT_ALL;
                    return;
                }
                _ => state.take(index),
            }
        };
        self.unload(session).await;
    }

    /// Unloads what nobody used for its time. It never ends.
    pub(crate) async fn reap(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = self.state().entries.iter().filter(|e| e.idle()).filter_map(Entry::expires).min();
            match next {
                None => changed.await,
                Some(at) => {
                    if tokio::time::timeout_at(at.into(), changed).await.is_ok() {
                        continue;
                    }
                    let _turn = self.turn.lock().await;
                    let now = Instant::now();
                    let session = {
                        let mut state = self.state();
                        let over = |e: &Entry| e.idle() && e.expires().is_some_and(|at| at <= now);
                        let index = state.entries.iter().position(over);
                        index.and_then(|index| state.take(index))
                    };
                    self.unload(session).await;
                }
            }
        }
    }

    /// Unloads everything, whoever uses it.
    pub(crate) async fn clear(&self) {
        let sessions: Vec<_> = self.state().entries.drain(..).filter_map(|entry| entry.session).collect();
        for session in sessions {
            self.unload(Some(session)).await;
        }
    }

    /// What is resident, in the order of loading.
    pub(crate) fn list(&self) -> Vec<Resident> {
        let (now, date) = (Instant::now(), SystemTime::now());
        let state = self.state();
        let of = |entry: &Entry| {
            let info = entry.session.as_ref()?.model().clone();
            let left = match entry.keep {
                // In use, the time has not begun.
                Keep::For(time) if entry.users > 0 => Some(time),
                Keep::For(_) => entry.expires().map(|at| at.saturating_duration_since(now)),
                Keep::Ever => None,
            };
            Some(Resident {
                name: Arc::clone(&entry.name),
                context: entry.context.or(info.context),
                info,
                expires: left.and_then(|left| date.checked_add(left)),
            })
        };
        state.entries.iter().filter_map(of).collect()
    }

    /// What is known of a model that is or was resident.
    pub(crate) fn known(&self, name: &str) -> Option<ModelInfo> {
        self.state().known.get(name).cloned()
    }
}

/// A place kept for a load; a load that fails gives it back.
struct Reservation(Arc<Residents>, Arc<str>);

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.state().entries.retain(|entry| entry.name != self.1 || entry.session.is_some());
        self.0.changed.notify_waiters();
    }
}
