//! A resident model on a server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chimera_core::{
    BackendError, Batch, Clock, EventStream, Logits, ModelInfo, Phase, Result, Score, Session, StreamError,
};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};

use crate::{api::same_name, ask::Held, decode::Expected, generation::Generation, manage::Server};

/// How long it may take to unload a model that does not become free.
const MEND: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct OllamaSession {
    server: Arc<Server>,
    held: Held,
    info: ModelInfo,
    /// Tokens of context that the server really gives.
    window: u32,
    phases: Vec<Phase>,
    /// Whether the server may be working on something that nobody waits for.
    dropped: Arc<AtomicBool>,
    closed: AtomicBool,
}

impl OllamaSession {
    pub(crate) fn new(
        server: Arc<Server>,
        held: Held,
        info: ModelInfo,
        window: u32,
        phases: Vec<Phase>,
    ) -> Self {
        let dropped = Arc::new(AtomicBool::new(false));
        Self { server, held, info, window, phases, dropped, closed: AtomicBool::new(false) }
    }

    /// Whether something succeeds in time.
    async fn within<T>(&self, limit: Duration, what: impl Future<Output = Result<T>>) -> bool {
        let clock = &self.server.clock;
        let late = clock.sleep_until(clock.now().after(limit));
        matches!(select(std::pin::pin!(what), late).await, Either::Left((Ok(_), _)))
    }

    fn plan(&self, batch: &Batch) -> Result<Generation> {
        let backend = || self.server.teller.id().clone();
        if self.closed.load(Ordering::Acquire) {
            return Err(BackendError::Closed { backend: backend() });
        }
        let request = match batch.0.as_slice() {
            [request] => request,
            [] => return Err(self.server.teller.invalid("a batch without a lane")),
            lanes => {
                return Err(BackendError::Unsupported {
                    backend: backend(),
                    what: format!(
                        "batches ({} lanes): a server batches by itself what is asked at once",
                        lanes.len()
                    ),
                });
            }
        };
        let asked = self.held.generation(request, self.server.teller.id())?;
        let expected =
            Expected { budget: request.max_tokens, window: self.window, phases: self.phases.clone() };
        let server = Arc::clone(&self.server);
        Ok(Generation::new(server, self.held.model.clone(), asked, expected, Arc::clone(&self.dropped)))
    }

    /// A server makes room for one model by throwing out another, and loads it again when it is asked: inside the request,
    /// where it would be measured. What was thrown out is loaded here instead. A failure comes back with the next
    /// generation.
    async fn again_resident(&self) {
        let Ok(resident) = self.server.ps().await else { return };
        if resident.iter().any(|resident| same_name(&resident.name, &self.held.model)) {
            return;
        }
        let Ok(asked) = self.held.loading(self.server.teller.id()) else { return };
        let _ = self.server.once(asked.path, asked.json, &self.held.model).await;
    }
}

#[async_trait]
impl Session for OllamaSession {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn generate(&self, batch: Batch) -> EventStream {
        match self.plan(&batch) {
            Ok(generation) => generation.boxed(),
            Err(error) => {
                // Stamped when it is looked at, like everything else of a stream.
                let clock = Arc::clone(&self.server.clock);
                stream::once(async move { Err(StreamError::all(clock.now(), error)) }).boxed()
            }
        }
    }

    async fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
        let backend = self.server.teller.id().clone();
        Err(BackendError::Unsupported { backend, what: "tokenisation: Ollama has no call for it".to_owned() })
    }

    async fn score(&self, _: &[u32]) -> Result<Score> {
        let backend = self.server.teller.id().clone();
        Err(BackendError::Unsupported { backend, what: "scoring: Ollama has no call for it".to_owned() })
    }

    async fn logits(&self, _: &[u32]) -> Result<Logits> {
        let backend = self.server.teller.id().clone();
        Err(BackendError::Unsupported { backend, what: "logits: Ollama has no call for them".to_owned() })
    }

    /// After a generation was dropped a server works on until it notices, and nothing tells when. So one token is asked
    /// for and awaited: with one slot its answer means that the slot was free. Some servers' runners stand still for good after
    /// a dropped connection (seen with 0.11.4); one that does not answer in time is unloaded, which ends it, and
    /// the next request loads the model again.
    async fn idle(&self) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        if !self.dropped.swap(false, Ordering::AcqRel) {
            self.again_resident().await;
            return;
        }
        let Ok(asked) = self.held.nudge(self.server.teller.id()) else { return };
        let nudge = self.server.once(asked.path, asked.json, &self.held.model);
        if self.within(self.server.patience, nudge).await
            || self.within(MEND, self.server.unload(&self.held.model)).await
        {
            return;
        }
        // Still not known to be free: the next call asks again.
        self.dropped.store(true, Ordering::Release);
    }

    async fn unload(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.server.unload(&self.held.model).await
    }
}
