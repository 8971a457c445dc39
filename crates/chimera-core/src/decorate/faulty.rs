//! Injects declared faults, for tests of whoever calls a backend. The same plan gives the same faults in each run.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use futures_core::stream::Stream;

use crate::{
    BackendError, BackendId, Batch, Event, EventStream, InferenceBackend, LoadOptions, Logits, ModelInfo,
    ModelRef, Probe, Result, Score, Session, StreamError,
};

/// Makes the error that is injected, in the name of the wrapped backend.
pub type MakeError = fn(&BackendId) -> BackendError;

/// What goes wrong in a stream. `at` counts items from 0 over all lanes; a stream that is shorter stays whole.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum StreamFault {
    /// An error stands in the place of an item, with its stamp, and ends all lanes.
    Error {
        /// Which item.
        at: u64,
        /// The error.
        error: MakeError,
    },
    /// The stream ends in the place of an item, without a terminal event.
    Truncate {
        /// Which item.
        at: u64,
    },
    /// Nothing comes in the place of an item or after it, and no end. What was begun stays begun.
    Stall {
        /// Which item.
        at: u64,
    },
}

/// Which loads and generations go wrong, each counted from 0 over the wrapped backend. An empty plan changes nothing.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    loads: Vec<(u64, MakeError)>,
    generations: Vec<(u64, StreamFault)>,
}

impl FaultPlan {
    /// A plan without faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same plan, and this load fails without reaching the backend.
    #[must_use]
    pub fn load(mut self, index: u64, error: MakeError) -> Self {
        self.loads.push((index, error));
        self
    }

    /// The same plan, and this generation goes wrong.
    #[must_use]
    pub fn generation(mut self, index: u64, fault: StreamFault) -> Self {
        self.generations.push((index, fault));
        self
    }
}

#[derive(Debug)]
struct Counted {
    plan: FaultPlan,
    loads: AtomicU64,
    generations: AtomicU64,
    backend: BackendId,
}

/// Injects the faults of a [`FaultPlan`].
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    counted: Arc<Counted>,
}

impl<B: InferenceBackend> Faulty<B> {
    /// Wraps a backend.
    pub fn new(inner: B, plan: FaultPlan) -> Self {
        let backend = inner.id().clone();
        let counted = Counted { plan, loads: AtomicU64::new(0), generations: AtomicU64::new(0), backend };
        Self { inner, counted: Arc::new(counted) }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: InferenceBackend> InferenceBackend for Faulty<B> {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    async fn probe(&self) -> Result<Probe> {
        self.inner.probe().await
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let index = self.counted.loads.fetch_add(1, Ordering::Relaxed);
        if let Some((_, error)) = self.counted.plan.loads.iter().find(|(n, _)| *n == index) {
            return Err(error(&self.counted.backend));
        }
        let inner = self.inner.load(model, options).await?;
        Ok(Arc::new(FaultySession { inner, counted: Arc::clone(&self.counted) }))
    }
}

#[derive(Debug)]
struct FaultySession {
    inner: Arc<dyn Session>,
    counted: Arc<Counted>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for FaultySession {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn generate(&self, batch: Batch) -> EventStream {
        let index = self.counted.generations.fetch_add(1, Ordering::Relaxed);
        let stream = self.inner.generate(batch);
        match self.counted.plan.generations.iter().find(|(n, _)| *n == index) {
            Some(&(_, fault)) => Box::pin(FaultyStream {
                inner: Some(stream),
                fault,
                next: 0,
                backend: self.counted.backend.clone(),
            }),
            None => stream,
        }
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

struct FaultyStream {
    /// `None` once the stream has ended.
    inner: Option<EventStream>,
    fault: StreamFault,
    next: u64,
    backend: BackendId,
}

impl Stream for FaultyStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.next;
        match self.fault {
            StreamFault::Stall { at } if at == next => return Poll::Pending,
            StreamFault::Truncate { at } if at == next => {
                self.inner = None;
                return Poll::Ready(None);
            }
            _ => {}
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let item = ready!(inner.as_mut().poll_next(cx));
        self.next += 1;
        let Some(item) = item else {
            self.inner = None;
            // A fault beyond the end must not turn the end into something else when it is polled again.
            self.next = u64::MAX;
            return Poll::Ready(None);
        };
        match self.fault {
            StreamFault::Error { at, error } if at == next => {
                self.inner = None;
                let stamp = item.map_or_else(|error| error.at, |event| event.at);
                Poll::Ready(Some(Err(StreamError::all(stamp, error(&self.backend)))))
            }
            _ => Poll::Ready(Some(item)),
        }
    }
}
