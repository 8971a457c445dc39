//! The thread that owns a model, or several. Tasks come through a queue and run one after the other; whatever happens to one,
//! the thread answers. A model is freed when nobody can send tasks for it any more; a thread of one model ends then.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, Sender},
    },
    thread::{Builder, JoinHandle},
};

use chimera_core::{BackendError, BackendId, Clock, Logits, ModelInfo, Result, Score, StreamError};
use futures_channel::oneshot;

use crate::{
    LanguageModel, Tokenizer,
    generation::{Job, Surroundings, run},
    reading::{self, Stop},
};

/// Something for the worker to do.
pub(crate) enum Task {
    Generate(Job),
    Score {
        tokens: Vec<u32>,
        reply: oneshot::Sender<Result<Score>>,
    },
    Logits {
        tokens: Vec<u32>,
        reply: oneshot::Sender<Result<Logits>>,
    },
    /// Answers when every task before it is done.
    Barrier(oneshot::Sender<()>),
    /// Frees the model and answers.
    Unload(oneshot::Sender<()>),
}

/// What the session, its streams and the worker hold in common.
pub(crate) struct Shared {
    pub(crate) backend: BackendId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: std::result::Result<Arc<Tokenizer>, String>,
    pub(crate) closed: Arc<AtomicBool>,
    /// What a panic in the worker said; after one the model is not trusted any more.
    pub(crate) broken: Arc<Mutex<Option<String>>>,
    place: Mutex<Option<Place>>,
    /// The thread, unless others share it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a thread is told.
enum Order {
    /// Load a model and keep it.
    Load(Box<dyn FnOnce() -> Option<Resident> + Send>),
    /// Do something with a model.
    Task(u64, Task),
    /// Free a model of which nobody will ask for anything.
    Free(u64),
}

/// A model's place in a thread. Giving it up frees the model.
struct Place {
    id: u64,
    orders: Sender<Order>,
}

impl Place {
    fn send(&self, task: Task) -> std::result::Result<(), ()> {
        self.orders.send(Order::Task(self.id, task)).map_err(|_| ())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A thread that is gone has freed everything.
        let _ = self.orders.send(Order::Free(self.id));
    }
}

/// A thread for models that must not have one each: libraries whose own threads belong to the thread that calls them.
/// It lives as long as its process; models in it take turns.
pub struct EngineThread {
    orders: Mutex<Sender<Order>>,
}

impl std::fmt::Debug for EngineThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineThread").finish_non_exhaustive()
    }
}

impl EngineThread {
    /// Starts a thread.
    ///
    /// # Errors
    /// The system has none.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let (orders, queue) = std::sync::mpsc::channel();
        Builder::new().name(name.to_owned()).spawn(move || serve(&queue, true))?;
        Ok(Self { orders: Mutex::new(orders) })
    }
}

/// Follows orders. A thread of one model ends with it.
fn serve(orders: &Receiver<Order>, shared: bool) {
    let mut residents: Vec<Resident> = Vec::new();
    while let Ok(order) = orders.recv() {
        match order {
            Order::Load(load) => residents.extend(load()),
            Order::Task(id, task) => {
                // A task of a model that is gone is answered by the closing of its channel.
                if let Some(at) = residents.iter().position(|resident| resident.id == id) {
                    let alive = residents.swap_remove(at).perform(task);
                    residents.extend(alive);
                }
            }
            Order::Free(id) => residents.retain(|resident| resident.id != id),
        }
        if residents.is_empty() && !shared {
            break; // What was queued behind the end is answered by the closing of its channel.
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("backend", &self.backend)
            .field("model", &self.info.name)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.backend.clone() }
    }

    /// Why the worker does not answer.
    pub(crate) fn gone(&self) -> BackendError {
        match lock(&self.broken).as_ref() {
            Some(said) => broken(&self.backend, said),
            None => self.closed(),
        }
    }

    pub(crate) fn submit(&self, task: Task) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.closed());
        }
        match lock(&self.place).as_ref() {
            Some(place) => place.send(task).map_err(|()| self.gone()),
            None => Err(self.closed()),
        }
    }

    /// Closes the queue: work under way stops at its next step, and later calls fail. Gives the receiver that resolves
    /// when the model is freed; `None` when another call has done this before.
    pub(crate) fn close(&self) -> Option<oneshot::Receiver<()>> {
        self.closed.store(true, Ordering::Release);
        let place = lock(&self.place).take()?;
        let (freed, done) = oneshot::channel();
        // A worker that has ended has freed its model; the receiver then resolves at once.
        let _ = place.send(Task::Unload(freed));
        Some(done)
    }

    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        lock(&self.thread).take()
    }
}

/// Loads a model, in a thread of its own unless one to share is given, and waits for it.
pub(crate) async fn start<F>(
    backend: BackendId,
    clock: Arc<dyn Clock>,
    thread: Option<&EngineThread>,
    load: F,
) -> Result<Arc<Shared>>
where
    F: FnOnce() -> Result<Box<dyn LanguageModel>> + Send + 'static,
{
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let (loaded, outcome) = oneshot::channel();
    let closed = Arc::new(AtomicBool::new(false));
    let said = Arc::new(Mutex::new(None));
    let worker = Worker {
        backend: backend.clone(),
        clock: Arc::clone(&clock),
        closed: Arc::clone(&closed),
        broken: Arc::clone(&said),
    };
    let (orders, own) = match thread {
        Some(thread) => (lock(&thread.orders).clone(), None),
        None => {
            let (orders, queue) = std::sync::mpsc::channel();
            let own = Builder::new()
                .name(format!("{backend}-engine"))
                .spawn(move || serve(&queue, false))
                .map_err(|error| BackendError::failed(&backend, error))?;
            (orders, Some(own))
        }
    };
    // Held while the model is loaded: whoever gives up waiting frees it.
    let place = Place { id, orders };
    let load = Order::Load(Box::new(move || worker.load(id, load, loaded)));
    if place.orders.send(load).is_err() {
        return Err(broken(&backend, "its thread has ended"));
    }
    let (info, tokenizer) = match outcome.await {
        Ok(answer) => answer?,
        Err(_) => return Err(broken(&backend, "the thread ended while it loaded the model")),
    };
    Ok(Arc::new(Shared {
        backend,
        clock,
        info,
        tokenizer,
        closed,
        broken: said,
        place: Mutex::new(Some(place)),
        thread: Mutex::new(own),
    }))
}

type Identity = (ModelInfo, std::result::Result<Arc<Tokenizer>, String>);

struct Worker {
    backend: BackendId,
    clock: Arc<dyn Clock>,
    closed: Arc<AtomicBool>,
    broken: Arc<Mutex<Option<String>>>,
}

impl Worker {
    /// Loads a model and tells who waits for it; `None` where there is none, or nobody waits any more.
    fn load<F>(self, id: u64, load: F, loaded: oneshot::Sender<Result<Identity>>) -> Option<Resident>
    where
        F: FnOnce() -> Result<Box<dyn LanguageModel>>,
    {
        let model = catch_unwind(AssertUnwindSafe(load))
            .unwrap_or_else(|panic| Err(broken(&self.backend, &message(&*panic))));
        let model = match model {
            Ok(model) => model,
            Err(error) => {
                // A caller that has gone away needs no answer, here and below.
                let _ = loaded.send(Err(error));
                return None;
            }
        };
        let tokenizer = model.tokenizer();
        let mut info = model.info().clone();
        info.chat = Some(tokenizer.is_ok() && model.chat_template().is_ok());
        loaded.send(Ok((info, tokenizer.clone()))).ok()?;
        Some(Resident { id, worker: self, model, tokenizer })
    }

    fn note(&self, panic: &(dyn std::any::Any + Send)) -> BackendError {
        let said = message(panic);
        let error = broken(&self.backend, &said);
        *lock(&self.broken) = Some(said);
        error
    }

    /// Does work that answers once. False when it panicked: the model is not trusted any more.
    fn answer<T>(
        &self,
        reply: oneshot::Sender<Result<T>>,
        work: impl FnOnce(&Stop<'_>) -> Result<T>,
    ) -> bool {
        let stop = || self.closed.load(Ordering::Acquire) || reply.is_canceled();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&stop)));
        let (answer, alive) = match outcome {
            Ok(answer) => (answer, true),
            Err(panic) => (Err(self.note(&*panic)), false),
        };
        // A caller that has gone away needs no answer.
        let _ = reply.send(answer);
        alive
    }
}

/// A model in a thread.
struct Resident {
    id: u64,
    worker: Worker,
    model: Box<dyn LanguageModel>,
    tokenizer: std::result::Result<Arc<Tokenizer>, String>,
}

impl Resident {
    /// Does one task and gives the model back; `None` when it is freed.
    fn perform(mut self, task: Task) -> Option<Self> {
        let Self { worker, model, tokenizer, .. } = &mut self;
        let around = Surroundings {
            backend: &worker.backend,
            clock: &*worker.clock,
            tokenizer: tokenizer.as_ref().map(AsRef::as_ref).map_err(String::as_str),
            closed: &worker.closed,
        };
        match task {
            Task::Generate(job) => {
                let outcome = catch_unwind(AssertUnwindSafe(|| run(model.as_mut(), &job, &around)));
                if let Err(panic) = outcome {
                    let error = worker.note(&*panic);
                    let _ = job.events.unbounded_send(Err(StreamError::all(worker.clock.now(), error)));
                    return None;
                }
            }
            Task::Score { tokens, reply } => {
                let score = |stop: &Stop<'_>| reading::score(model.as_mut(), &worker.backend, &tokens, stop);
                if !worker.answer(reply, score) {
                    return None;
                }
            }
            Task::Logits { tokens, reply } => {
                let logits =
                    |stop: &Stop<'_>| reading::logits(model.as_mut(), &worker.backend, &tokens, stop);
                if !worker.answer(reply, logits) {
                    return None;
                }
            }
            Task::Barrier(reply) => {
                let _ = reply.send(());
            }
            Task::Unload(reply) => {
                drop(self);
                let _ = reply.send(());
                return None;
            }
        }
        Some(self)
    }
}

fn broken(backend: &BackendId, said: &str) -> BackendError {
    BackendError::failed(backend, format!("the engine panicked: {said}"))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}

/// A lock whose holder panicked holds plain values all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
