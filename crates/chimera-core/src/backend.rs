//! The two traits that adapters implement. They are small and have no default methods: a wrapper that forgets one does
//! not compile. Conveniences for callers are in [`crate::SessionExt`].
//!
//! `#[async_trait]` costs one boxed future per load or probe and nothing per token; it is there because backends are
//! chosen at run time and a trait with `-> impl Future` cannot be `dyn`.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;

use crate::{
    BackendId, Batch, Event, LoadOptions, Logits, ModelInfo, ModelRef, Probe, Result, Score, StreamError,
};

/// Events of one batch. It borrows nothing, so it can be moved to another task.
pub type EventStream = BoxStream<'static, std::result::Result<Event, StreamError>>;

/// A device or a server that can make models resident.
#[async_trait]
pub trait InferenceBackend: fmt::Debug + Send + Sync + 'static {
    /// Stable name used in designs and records. Does no I/O.
    fn id(&self) -> &BackendId;

    /// What works here now. A backend that cannot be used says so in [`Probe::availability`]; an error means that even
    /// that could not be found out.
    async fn probe(&self) -> Result<Probe>;

    /// Makes a model resident. The caller times this: it is a phase of its own.
    ///
    /// # Errors
    /// [`crate::BackendError::ModelNotFound`] for an unknown name, [`crate::BackendError::ModelInvalid`] for unusable
    /// files, [`crate::BackendError::Unavailable`] when the backend itself cannot be used.
    async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>>;
}

/// A resident model.
#[async_trait]
pub trait Session: fmt::Debug + Send + Sync + 'static {
    /// What is known of the model. Does no I/O.
    fn model(&self) -> &ModelInfo;

    /// Starts a generation when the stream is first polled. Dropping the stream cancels every lane.
    ///
    /// Per lane the events are: `Sent`, `Headers` at most once, `PromptProcessed` at most once and before any chunk,
    /// any number of `Chunk`s, and `Finished` exactly once, last; stamps never run back. A lane that fails has an
    /// [`StreamError`] instead of `Finished`.
    fn generate(&self, batch: Batch) -> EventStream;

    /// Token ids of a text by the model's own tokenizer, without special tokens.
    ///
    /// # Errors
    /// [`crate::BackendError::Unsupported`] unless [`crate::Capabilities::tokenize`] is declared.
    async fn tokenize(&self, text: &str) -> Result<Vec<u32>>;

    /// How well the model predicts a sequence of token ids.
    ///
    /// # Errors
    /// [`crate::BackendError::Unsupported`] unless [`crate::Capabilities::scoring`] is declared.
    async fn score(&self, tokens: &[u32]) -> Result<Score>;

    /// Raw logits after each position of a sequence of token ids, as many rows as tokens; special tokens are not added.
    /// What two backends make of the same weights is compared by them, never timed. They take four bytes times the
    /// vocabulary for each token, so callers ask for parts of a long text. Dropping the future cancels it within the
    /// bounds of a generation.
    ///
    /// # Errors
    /// [`crate::BackendError::Unsupported`] unless [`crate::Capabilities::logits`] is declared,
    /// [`crate::BackendError::InvalidRequest`] for an id outside the vocabulary or more tokens than the context.
    async fn logits(&self, tokens: &[u32]) -> Result<Logits>;

    /// Resolves when no work of this session is left on the device or server, cancelled work included. The harness
    /// awaits it between trials, so that a cancelled trial cannot disturb the next.
    async fn idle(&self);

    /// Frees the model. Later calls fail with [`crate::BackendError::Closed`]; a second unload succeeds.
    async fn unload(&self) -> Result<()>;
}

macro_rules! forward_backend {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: InferenceBackend + ?Sized> InferenceBackend for $pointer<T> {
            fn id(&self) -> &BackendId {
                (**self).id()
            }
            async fn probe(&self) -> Result<Probe> {
                (**self).probe().await
            }
            async fn load(&self, model: &ModelRef, options: &LoadOptions) -> Result<Arc<dyn Session>> {
                (**self).load(model, options).await
            }
        }
    };
}
forward_backend!(Arc);
forward_backend!(Box);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Session + ?Sized> Session for Arc<T> {
    fn model(&self) -> &ModelInfo {
        (**self).model()
    }
    fn generate(&self, batch: Batch) -> EventStream {
        (**self).generate(batch)
    }
    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        (**self).tokenize(text).await
    }
    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        (**self).score(tokens).await
    }
    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        (**self).logits(tokens).await
    }
    async fn idle(&self) {
        (**self).idle().await;
    }
    async fn unload(&self) -> Result<()> {
        (**self).unload().await
    }
}
