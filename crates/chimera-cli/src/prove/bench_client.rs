//! The real client against a scripted server in this process: sessions of the adapters, as a run uses them, and what they
//! saw token by token.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use chimera_core::{
    Batch, Clock, EventKind, InferenceBackend, LoadOptions, ModelRef, Request, Session, Stamp,
};
use chimera_ollama::OllamaBackend;
use chimera_openai::{Flavour, OpenAiBackend};
use chimera_serve::{
    script::{Script, ScriptModel},
    truth::{Truth, TruthOptions, TruthServer},
};
use chimera_wire::{Endpoint, LagMeter};
use futures_util::StreamExt;

/// Context of scripted models in tokens.
const CONTEXT: u32 = 1 << 20;

/// An adapter under judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adapter {
    Ollama,
    OpenAi,
}

impl Adapter {
    pub(super) const ALL: [Self; 2] = [Self::Ollama, Self::OpenAi];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }

    /// A client of the server, and the meter of its lag.
    pub(super) fn client(
        self,
        url: &str,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Arc<dyn InferenceBackend>, Arc<LagMeter>)> {
        let endpoint = Endpoint::parse(url, 80)?;
        Ok(match self {
            Self::Ollama => {
                let backend = OllamaBackend::builder(endpoint, clock).context(CONTEXT).build()?;
                let meter = backend.lag_meter();
                (Arc::new(backend), meter)
            }
            Self::OpenAi => {
                let backend = OpenAiBackend::builder(endpoint, clock).flavour(Flavour::Plain).build()?;
                let meter = backend.lag_meter();
                (Arc::new(backend), meter)
            }
        })
    }
}

/// A server with these models.
pub(super) fn server(models: Vec<ScriptModel>, clock: &Arc<dyn Clock>) -> anyhow::Result<TruthServer> {
    // Answers longer than any real context.
    let models = models.into_iter().map(|model| ScriptModel { context: CONTEXT, ..model });
    let script = models.fold(Script::new(), Script::model);
    TruthServer::start(script, TruthOptions::loopback(Arc::clone(clock)))
        .context("the scripted server cannot start")
}

/// Ends a server and gives what it knows.
pub(super) fn truth(server: TruthServer) -> anyhow::Result<Truth> {
    server.stop().context("the scripted server could not tell the truth")
}

/// What one stream showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) model: String,
    pub(super) sent: Stamp,
    /// Stamps of chunks.
    pub(super) chunks: Vec<Stamp>,
    pub(super) text: String,
    pub(super) generated: Option<u32>,
}

/// Makes a model resident.
pub(super) async fn load(backend: &dyn InferenceBackend, model: &str) -> anyhow::Result<Arc<dyn Session>> {
    backend.load(&ModelRef::named(model), &LoadOptions::default()).await.with_context(|| model.to_owned())
}

/// Reads one answer of at most `budget` tokens, `wait` after now. Texts are kept where `keep` says so.
pub(super) async fn stream(
    session: Arc<dyn Session>,
    clock: Arc<dyn Clock>,
    wait: Duration,
    budget: u32,
    keep: bool,
) -> anyhow::Result<Seen> {
    if !wait.is_zero() {
        clock.sleep_until(clock.now().after(wait)).await;
    }
    let mut seen = Seen { model: session.model().name.clone(), ..Seen::default() };
    seen.chunks.reserve(budget.min(1 << 18) as usize);
    let mut events = session.generate(Batch::from(Request::text("x", budget)));
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| anyhow!("{}: {error}", seen.model))?;
        match event.kind {
            EventKind::Sent => seen.sent = event.at,
            EventKind::Chunk { text, .. } => {
                seen.chunks.push(event.at);
                if keep {
                    seen.text.push_str(&text);
                }
            }
            EventKind::Finished(end) => seen.generated = end.generated,
            _ => {}
        }
    }
    Ok(seen)
}
