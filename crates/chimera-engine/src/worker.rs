//! The thread that owns a model. Tasks come through a queue and run one after the other; whatever happens to one, the
//! thread answers, and when nobody can send any more it frees the model and ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender},
    },
    thread::JoinHandle,
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
    tasks: Mutex<Option<Sender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        match lock(&self.tasks).as_ref() {
            Some(sender) => sender.send(task).map_err(|_| self.gone()),
            None => Err(self.closed()),
        }
    }

    /// Closes the queue: work under way stops at its next step, and later calls fail. Gives the receiver that resolves
    /// when the model is freed; `None` when another call has done this before.
    pub(crate) fn close(&self) -> Option<oneshot::Receiver<()>> {
        self.closed.store(true, Ordering::Release);
        let sender = lock(&self.tasks).take()?;
        let (freed, done) = oneshot::channel();
        // A worker that has ended has freed its model; the receiver then resolves at once.
        let _ = sender.send(Task::Unload(freed));
        Some(done)
    }

    pub(crate) fn take_thread(&self) -> Option<JoinHandle<()>> {
        lock(&self.thread).take()
    }
}

/// Starts the thread, loads the model in it and waits for either.
pub(crate) async fn start<F>(backend: BackendId, clock: Arc<dyn Clock>, load: F) -> Result<Arc<Shared>>
where
    F: FnOnce() -> Result<Box<dyn LanguageModel>> + Send + 'static,
{
    let (tasks, queue) = std::sync::mpsc::channel();
    let (loaded, outcome) = oneshot::channel();
    let closed = Arc::new(AtomicBool::new(false));
    let said = Arc::new(Mutex::new(None));
    let worker = Worker {
        backend: backend.clone(),
        clock: Arc::clone(&clock),
        closed: Arc::clone(&closed),
        broken: Arc::clone(&said),
    };
    let thread = std::thread::Builder::new()
        .name(format!("{backend}-engine"))
        .spawn(move || worker.live(load, loaded, &queue))
        .map_err(|error| BackendError::failed(&backend, error))?;
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
        tasks: Mutex::new(Some(tasks)),
        thread: Mutex::new(Some(thread)),
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
    fn live<F>(&self, load: F, loaded: oneshot::Sender<Result<Identity>>, queue: &Receiver<Task>)
    where
        F: FnOnce() -> Result<Box<dyn LanguageModel>>,
    {
        let model = catch_unwind(AssertUnwindSafe(load))
            .unwrap_or_else(|panic| Err(broken(&self.backend, &message(&*panic))));
        let mut model = match model {
            Ok(model) => model,
            Err(error) => {
                // A caller that has gone away needs no answer, here and below.
                let _ = loaded.send(Err(error));
                return;
            }
        };
        let tokenizer = model.tokenizer();
        let mut info = model.info().clone();
        info.chat = Some(tokenizer.is_ok() && model.chat_template().is_ok());
        if loaded.send(Ok((info, tokenizer.clone()))).is_err() {
            return;
        }
        while let Ok(task) = queue.recv() {
            let Some(alive) =
                self.perform(task, model, tokenizer.as_ref().map(AsRef::as_ref).map_err(String::as_str))
            else {
                break;
            };
            model = alive;
        }
        // What was queued behind the end is answered by the closing of its channel.
    }

    /// Does one task and gives the model back; `None` when it is freed.
    fn perform(
        &self,
        task: Task,
        mut model: Box<dyn LanguageModel>,
        tokenizer: std::result::Result<&Tokenizer, &str>,
    ) -> Option<Box<dyn LanguageModel>> {
        let around =
            Surroundings { backend: &self.backend, clock: &*self.clock, tokenizer, closed: &self.closed };
        match task {
            Task::Generate(job) => {
                let outcome = catch_unwind(AssertUnwindSafe(|| run(model.as_mut(), &job, &around)));
                if let Err(panic) = outcome {
                    let error = self.note(&*panic);
                    let _ = job.events.unbounded_send(Err(StreamError::all(self.clock.now(), error)));
                    return None;
                }
            }
            Task::Score { tokens, reply } => {
                let score = |stop: &Stop<'_>| reading::score(model.as_mut(), &self.backend, &tokens, stop);
                if !self.answer(reply, score) {
                    return None;
                }
            }
            Task::Logits { tokens, reply } => {
                let logits = |stop: &Stop<'_>| reading::logits(model.as_mut(), &self.backend, &tokens, stop);
                if !self.answer(reply, logits) {
                    return None;
                }
            }
            Task::Barrier(reply) => {
                let _ = reply.send(());
            }
            Task::Unload(reply) => {
                drop(model);
                let _ = reply.send(());
                return None;
            }
        }
        Some(model)
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
