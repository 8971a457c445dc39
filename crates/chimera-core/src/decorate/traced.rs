//! Spans and events for `tracing`. Nothing is measured with them: stamps are the backend's, and a subscriber costs time.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use futures_core::stream::Stream;
use tracing::{Instrument, Span, debug, debug_span, trace, warn};

use crate::{
    BackendId, Batch, Event, EventKind, EventStream, InferenceBackend, LoadOptions, Logits, ModelInfo,
    ModelRef, Probe, Result, Score, Session, StreamError,
};

/// Opens a span (level debug) for each probe, load, generation, tokenisation, score, reading of logits and unload, and emits an event for
/// each item of a stream: trace for events, debug for ends, warn for errors. Without a subscriber it costs a check per
/// item.
#[derive(Debug)]
pub struct Traced<B> {
    inner: B,
}

impl<B: InferenceBackend> Traced<B> {
    /// Wraps a backend.
    pub fn new(inner: B) -> Self {
        Self { inner }
    }
}

fn told<T>(outcome: Result<T>) -> Result<T> {
    if let Err(error) = &outcome {
        warn!(code = error.code(), %error, "failed");
    }
    outcome
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: InferenceBackend> InferenceBackend for Traced<B> {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    async fn probe(&self) -> Result<Probe> {
        let span = debug_span!("probe", backend = %self.inner.id());
        async { told(self.inner.probe().await) }.instrument(span).await
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let backend = self.inner.id();
        let span = debug_span!("load", %backend, %model);
        let inner = async { told(self.inner.load(model, options).await) }.instrument(span).await?;
        Ok(Arc::new(TracedSession { inner, backend: backend.clone() }))
    }
}

#[derive(Debug)]
struct TracedSession {
    inner: Arc<dyn Session>,
    backend: BackendId,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for TracedSession {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn generate(&self, batch: Batch) -> EventStream {
        let span = debug_span!(
            "generate",
            backend = %self.backend,
            model = %self.inner.model().name,
            lanes = batch.0.len(),
        );
        let left = batch.0.len();
        Box::pin(TracedStream { inner: span.in_scope(|| self.inner.generate(batch)), span, left })
    }

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let span = debug_span!("tokenize", backend = %self.backend, bytes = text.len());
        async { told(self.inner.tokenize(text).await) }.instrument(span).await
    }

    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        let span = debug_span!("score", backend = %self.backend, tokens = tokens.len());
        async { told(self.inner.score(tokens).await) }.instrument(span).await
    }

    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        let span = debug_span!("logits", backend = %self.backend, tokens = tokens.len());
        async { told(self.inner.logits(tokens).await) }.instrument(span).await
    }

    async fn idle(&self) {
        let span = debug_span!("idle", backend = %self.backend);
        self.inner.idle().instrument(span).await;
    }

    async fn unload(&self) -> Result<()> {
        let span = debug_span!("unload", backend = %self.backend, model = %self.inner.model().name);
        async { told(self.inner.unload().await) }.instrument(span).await
    }
}

struct TracedStream {
    inner: EventStream,
    span: Span,
    /// Lanes without an end.
    left: usize,
}

impl Stream for TracedStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let _entered = this.span.enter();
        let item = ready!(this.inner.as_mut().poll_next(cx));
        match &item {
            Some(Ok(Event { at, lane, kind })) => match kind {
                EventKind::Sent => trace!(at = at.0, lane, "sent"),
                EventKind::Headers => trace!(at = at.0, lane, "headers"),
                EventKind::PromptProcessed { tokens, cached } => {
                    trace!(at = at.0, lane, tokens, cached, "prompt processed");
                }
                EventKind::Chunk { text, tokens, .. } => {
                    trace!(at = at.0, lane, tokens, bytes = text.len(), "chunk");
                }
                EventKind::Finished(end) => {
                    this.left = this.left.saturating_sub(1);
                    debug!(at = at.0, lane, generated = end.generated, reason = ?end.reason, "finished");
                }
            },
            Some(Err(error)) => {
                this.left = if error.lane.is_some() { this.left.saturating_sub(1) } else { 0 };
                warn!(at = error.at.0, lane = error.lane, code = error.error.code(), %error, "failed");
            }
            None => {
                if std::mem::take(&mut this.left) > 0 {
                    warn!("ended without a terminal event");
                }
            }
        }
        Poll::Ready(item)
    }
}

impl Drop for TracedStream {
    fn drop(&mut self) {
        if self.left > 0 {
            let _entered = self.span.enter();
            debug!("dropped");
        }
    }
}
