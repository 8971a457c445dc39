//! Shows everything that crosses the contract to a sink, undisturbed. What the sink does with it is not known here.

use std::{
    fmt,
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

/// Something that crossed the contract.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// A load has ended.
    Loaded {
        /// What was asked for.
        model: &'a ModelRef,
        /// What came.
        outcome: Result<&'a ModelInfo, &'a BackendError>,
    },
    /// A batch was handed over; its stream may never be polled.
    Asked {
        /// Number of the generation, counted from 0 over all sessions of the wrapped backend.
        generation: u64,
        /// What was asked.
        batch: &'a Batch,
    },
    /// An event or an error of a stream, in the order of the stream.
    Item {
        /// Number of the generation.
        generation: u64,
        /// What the caller is about to see.
        item: Result<&'a Event, &'a StreamError>,
    },
    /// A stream has ended or was dropped.
    Ended {
        /// Number of the generation.
        generation: u64,
        /// Whether it was read to its end; `false` when it was dropped before, be it only after its last event.
        drained: bool,
    },
    /// An unload has ended.
    Unloaded {
        /// Whether it succeeded.
        outcome: Result<(), &'a BackendError>,
    },
}

/// Takes notice. It is called where the caller waits, so it should be quick, and it cannot fail: a sink that can must
/// keep its errors.
pub trait Sink: Send + Sync + 'static {
    /// Takes one notice.
    fn take(&self, notice: Notice<'_>);
}

impl<F: Fn(Notice<'_>) + Send + Sync + 'static> Sink for F {
    fn take(&self, notice: Notice<'_>) {
        self(notice);
    }
}

#[derive(Clone)]
struct Tap {
    sink: Arc<dyn Sink>,
    generations: Arc<AtomicU64>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("generations", &self.generations).finish_non_exhaustive()
    }
}

/// Hands every load, batch, event, error and unload to a [`Sink`].
#[derive(Debug)]
pub struct Recorded<B> {
    inner: B,
    tap: Tap,
}

impl<B: InferenceBackend> Recorded<B> {
    /// Wraps a backend.
    pub fn new(inner: B, sink: Arc<dyn Sink>) -> Self {
        Self { inner, tap: Tap { sink, generations: Arc::default() } }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<B: InferenceBackend> InferenceBackend for Recorded<B> {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    async fn probe(&self) -> Result<Probe> {
        self.inner.probe().await
    }

    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
        let loaded = self.inner.load(model, options).await;
        let outcome = loaded.as_ref().map(|session| session.model());
        self.tap.sink.take(Notice::Loaded { model, outcome });
        Ok(Arc::new(RecordedSession { inner: loaded?, tap: self.tap.clone() }))
    }
}

#[derive(Debug)]
struct RecordedSession {
    inner: Arc<dyn Session>,
    tap: Tap,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for RecordedSession {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn generate(&self, batch: Batch) -> EventStream {
        let generation = self.tap.generations.fetch_add(1, Ordering::Relaxed);
        self.tap.sink.take(Notice::Asked { generation, batch: &batch });
        Box::pin(RecordedStream {
            inner: self.inner.generate(batch),
            sink: Arc::clone(&self.tap.sink),
            generation,
            ended: false,
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
        let outcome = self.inner.unload().await;
        self.tap.sink.take(Notice::Unloaded { outcome: outcome.as_ref().copied() });
        outcome
    }
}

struct RecordedStream {
    inner: EventStream,
    sink: Arc<dyn Sink>,
    generation: u64,
    ended: bool,
}

impl Stream for RecordedStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.inner.as_mut().poll_next(cx));
        let generation = self.generation;
        match &item {
            Some(item) => self.sink.take(Notice::Item { generation, item: item.as_ref() }),
            None if !std::mem::replace(&mut self.ended, true) => {
                self.sink.take(Notice::Ended { generation, drained: true });
            }
            None => {}
        }
        Poll::Ready(item)
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        if !self.ended {
            self.sink.take(Notice::Ended { generation: self.generation, drained: false });
        }
    }
}
