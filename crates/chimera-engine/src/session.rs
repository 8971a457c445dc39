//! A [`Session`] on a worker thread. What an adapter adds is the loading of a model.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use chimera_core::{
    BackendError, BackendId, Batch, Clock, EventStream, Logits, ModelInfo, Result, Score, Session,
};
use futures_channel::oneshot;

use crate::{
    LanguageModel,
    stream::EngineStream,
    worker::{self, EngineThread, Shared, Task},
};

/// A model that is resident in a thread of its own.
///
/// Generations, scores and readings of logits run one after the other in the order of their first poll; the wait is reported as
/// [`chimera_core::Phase::Queue`]. Dropping the session frees the model once its streams have gone too.
#[derive(Debug)]
pub struct EngineSession {
    shared: Arc<Shared>,
}

impl EngineSession {
    /// Starts a thread, loads the model in it and resolves when it is resident. The thread stamps events by `clock`.
    ///
    /// # Errors
    /// What `load` gives; [`BackendError::Failed`] if it panics.
    pub async fn start<F>(backend: BackendId, clock: Arc<dyn Clock>, load: F) -> Result<Self>
    where
        F: FnOnce() -> Result<Box<dyn LanguageModel>> + Send + 'static,
    {
        Ok(Self { shared: worker::start(backend, clock, None, load).await? })
    }

    /// The same in a thread that other sessions share, where a library's own threads belong to the thread that calls it. The
    /// models take turns: a request waits for those of the others too.
    ///
    /// # Errors
    /// As [`EngineSession::start`].
    pub async fn start_in<F>(
        thread: &EngineThread,
        backend: BackendId,
        clock: Arc<dyn Clock>,
        load: F,
    ) -> Result<Self>
    where
        F: FnOnce() -> Result<Box<dyn LanguageModel>> + Send + 'static,
    {
        Ok(Self { shared: worker::start(backend, clock, Some(thread), load).await? })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for EngineSession {
    fn model(&self) -> &ModelInfo {
        &self.shared.info
    }

    fn generate(&self, batch: Batch) -> EventStream {
        Box::pin(EngineStream::new(Arc::clone(&self.shared), batch))
    }

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(self.shared.closed());
        }
        match &self.shared.tokenizer {
            Ok(tokenizer) => {
                tokenizer.encode(text).map_err(|e| BackendError::failed(&self.shared.backend, e))
            }
            Err(why) => Err(BackendError::Unsupported {
                backend: self.shared.backend.clone(),
                what: format!("tokenizing for this model: {why}; raw token ids work"),
            }),
        }
    }

    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        let (reply, answer) = oneshot::channel();
        self.shared.submit(Task::Score { tokens: tokens.to_vec(), reply })?;
        answer.await.unwrap_or_else(|_| Err(self.shared.gone()))
    }

    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        let (reply, answer) = oneshot::channel();
        self.shared.submit(Task::Logits { tokens: tokens.to_vec(), reply })?;
        answer.await.unwrap_or_else(|_| Err(self.shared.gone()))
    }

    async fn idle(&self) {
        let (reply, answer) = oneshot::channel();
        // A worker that is gone, or goes away meanwhile, has no work left.
        if self.shared.submit(Task::Barrier(reply)).is_ok() {
            let _ = answer.await;
        }
    }

    async fn unload(&self) -> Result<()> {
        if let Some(freed) = self.shared.close() {
            // An error means that the worker ended by itself: the model is gone in either case.
            let _ = freed.await;
            if let Some(thread) = self.shared.take_thread() {
                // The model is freed and the thread about to end: joining waits for microseconds. A panic was reported
                // to whoever met it.
                let _ = thread.join();
            }
        }
        Ok(())
    }
}
