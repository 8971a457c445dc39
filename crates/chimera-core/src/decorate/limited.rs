//! At most so many generations at once. It is not a rate limit, and it does not judge batches.

use std::{
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_lock::{Semaphore, SemaphoreGuardArc};
use async_trait::async_trait;
use futures_core::{future::BoxFuture, stream::Stream};

use crate::{
    BackendId, Batch, Event, EventStream, InferenceBackend, LoadOptions, Logits, ModelInfo, ModelRef, Probe,
    Result, Score, Session, StreamError,
};

/// Lets at most so many generations run at once, counted over all sessions of the wrapped backend.
///
/// Who comes later waits before its request is sent, so the wait lies before the `Sent` event. A place becomes free when
/// a stream has ended or is dropped.
#[derive(Debug)]
pub struct Limited<B> {
    inner: B,
    places: Arc<Semaphore>,
    limit: NonZeroUsize,
}

impl<B: InferenceBackend> Limited<B> {
    /// Wraps a backend.
    pub fn new(inner: B, limit: NonZeroUsize) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(limit.get())), limit }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: InferenceBackend> InferenceBackend for Limited<B> {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    async fn probe(&self) -> Result<Probe> {
        let mut probe = self.inner.probe().await?;
        let limit = u32::try_from(self.limit.get()).unwrap_or(u32::MAX);
        // Unknown stays unknown: then callers assume one, which is within every limit.
        probe.capabilities.max_in_flight = probe.capabilities.max_in_flight.map(|most| most.min(limit));
        Ok(probe)
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let inner = self.inner.load(model, options).await?;
        Ok(Arc::new(LimitedSession { inner, places: Arc::clone(&self.places) }))
    }
}

#[derive(Debug)]
struct LimitedSession {
    inner: Arc<dyn Session>,
    places: Arc<Semaphore>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for LimitedSession {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn generate(&self, batch: Batch) -> EventStream {
        Box::pin(LimitedStream {
            inner: Some(self.inner.generate(batch)),
            stage: Stage::Waiting(Box::pin(self.places.acquire_arc())),
        })
    }

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.inner.tokenize(text).await
    }

    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        self.inner.score(tokens).await
    }

    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        self.inner.logits(tokens).await
    }

    async fn idle(&self) {
        self.inner.idle().await;
    }

    async fn unload(&self) -> Result<()> {
        self.inner.unload().await
    }
}

struct LimitedStream {
    // Dropped before the place is given back: fields drop in the order of their declaration.
    inner: Option<EventStream>,
    stage: Stage,
}

enum Stage {
    Waiting(BoxFuture<'static, SemaphoreGuardArc>),
    Running(#[expect(dead_code, reason = "held for its drop")] SemaphoreGuardArc),
    Over,
}

impl Stream for LimitedStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Stage::Waiting(place) = &mut self.stage {
            let place = ready!(place.as_mut().poll(cx));
            self.stage = Stage::Running(place);
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let item = ready!(inner.as_mut().poll_next(cx));
        if item.is_none() {
            self.inner = None;
            self.stage = Stage::Over;
        }
        Poll::Ready(item)
    }
}
