//! A model on a server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chimera_core::{
    BackendError, Batch, Clock, EventStream, Logits, ModelInfo, Phase, Prompt, Result, Score, Session,
    StreamError,
};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};
use serde_json::{Value, json};

use crate::{
    ask::{Asked, Held},
    decode::Expected,
    flavour::Flavour,
    generation::{Generation, Shared},
    server::Server,
};

/// How long a server may take to become free after a generation was cancelled.
const FREE: Duration = Duration::from_secs(120);
/// How often llama.cpp is asked whether its slots are free.
const EVERY: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct OpenAiSession {
    server: Arc<Server>,
    held: Held,
    info: ModelInfo,
    phases: Vec<Phase>,
    shared: Arc<Shared>,
    closed: AtomicBool,
}

impl OpenAiSession {
    pub(crate) fn new(server: Arc<Server>, held: Held, info: ModelInfo, phases: Vec<Phase>) -> Self {
        let shared = Arc::default();
        Self { server, held, info, phases, shared, closed: AtomicBool::new(false) }
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(BackendError::Closed { backend: self.server.teller.id().clone() });
        }
        Ok(())
    }

    fn plan(&self, batch: &Batch) -> Result<Generation> {
        self.open()?;
        let teller = &self.server.teller;
        let request = match batch.0.as_slice() {
            [request] => request,
            [] => return Err(teller.invalid("a batch without a lane")),
            lanes => {
                return Err(teller.unsupported(format_args!(
                    "batches ({} lanes): a server batches by itself what is asked at once",
                    lanes.len()
                )));
            }
        };
        let asked = self.held.generation(request, teller.id())?;
        let expected = Expected {
            budget: request.max_tokens,
            counts: self.held.flavour.counts(),
            window: self.info.context,
            phases: self.phases.clone(),
        };
        Ok(Generation::new(
            Arc::clone(&self.server),
            self.held.model.clone(),
            asked,
            matches!(request.prompt, Prompt::Chat(_)),
            expected,
            Arc::clone(&self.shared),
        ))
    }

    /// Waits until no slot of a llama.cpp server works. `false` when it does not tell.
    async fn slots_are_free(&self) -> bool {
        let clock = &self.server.clock;
        loop {
            let Some(Value::Array(slots)) = self.server.look_json("/slots").await else { return false };
            let works = |slot: &Value| slot.get("is_processing").and_then(Value::as_bool);
            if slots.iter().any(|slot| works(slot).is_none()) {
                return false;
            }
            if !slots.iter().any(|slot| works(slot) == Some(true)) {
                return true;
            }
            clock.sleep_until(clock.now().after(EVERY)).await;
        }
    }

    /// Whether the server is known to be free of what was dropped.
    async fn freed(&self) -> bool {
        if self.held.flavour == Flavour::LlamaCpp && self.slots_are_free().await {
            return true;
        }
        match self.held.nudge(self.server.teller.id()) {
            Ok(asked) => self.server.once(asked, &self.held.model).await.is_ok(),
            Err(_) => true,
        }
    }
}

#[async_trait]
impl Session for OpenAiSession {
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

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.open()?;
        let body = match self.held.flavour {
            Flavour::LlamaCpp => json!({ "content": text, "add_special": false, "parse_special": false }),
            Flavour::Vllm => {
                json!({ "model": self.held.model, "prompt": text, "add_special_tokens": false })
            }
            other => {
                let what = format_args!("tokenisation (a server of the kind `{other}`)");
                return Err(self.server.teller.unsupported(what));
            }
        };
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Asked { path: "/tokenize", json: body.to_string().into_bytes() };
        let answer = self.server.once(asked, &self.held.model).await?;
        let ids = answer.get("tokens").cloned().unwrap_or_default();
        serde_json::from_value(ids).map_err(|error| {
            self.server.teller.protocol(format_args!("/tokenize tells no token ids: {error}"))
        })
    }

    async fn score(&self, _: &[u32]) -> Result<Score> {
        self.open()?;
        Err(self.server.teller.unsupported("scoring: the interface has no call for it"))
    }

    async fn logits(&self, _: &[u32]) -> Result<Logits> {
        self.open()?;
        Err(self.server.teller.unsupported("logits: the interface has no call for them"))
    }

    /// After a generation was dropped a server works on until it notices the closed connection. llama.cpp is asked for its
    /// slots until none works. Others tell nothing, so one token is asked for and awaited: with one slot its answer means
    /// that the slot was free, with several it only means that one was. It waits two minutes at most.
    async fn idle(&self) {
        if self.closed.load(Ordering::Acquire) || !self.shared.dropped.swap(false, Ordering::AcqRel) {
            return;
        }
        let clock = &self.server.clock;
        let late = clock.sleep_until(clock.now().after(FREE));
        match select(std::pin::pin!(self.freed()), late).await {
            Either::Left((true, _)) => {}
            // Still not known to be free: the next call asks again.
            _ => self.shared.dropped.store(true, Ordering::Release),
        }
    }

    /// Closes the session. The interface has no way to free a model: the server keeps it.
    async fn unload(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
