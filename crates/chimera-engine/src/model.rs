//! The blocking interface of an engine: a resident model that turns token ids into logits. Threads, stamps, sampling and
//! text are not its business.

use std::{any::Any, sync::Arc};

use chimera_core::{BackendError, BackendId, ModelInfo};

use crate::{ChatTemplate, Tokenizer};

/// What can go wrong inside an engine once a model is resident.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The device has no room for this batch or context: ask for less.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The engine does not take such a pass: change the request.
    #[error("{0}")]
    Refused(String),
    /// The engine's own error.
    #[error(transparent)]
    Failed(#[from] Box<dyn std::error::Error + Send + Sync + 'static>),
}

impl EngineError {
    /// Wraps an engine's own error.
    pub fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self::Failed(source.into())
    }

    /// The contract's error of the same meaning.
    #[must_use]
    pub fn into_backend(self, backend: &BackendId) -> BackendError {
        match self {
            Self::OutOfMemory(reason) => BackendError::OutOfMemory { backend: backend.clone(), reason },
            Self::Refused(reason) => BackendError::InvalidRequest { backend: backend.clone(), reason },
            Self::Failed(source) => BackendError::Failed { backend: backend.clone(), source },
        }
    }
}

/// Keys and values of the positions that were read so far, for every lane of one batch.
pub trait KvCache: Any + Send {
    /// Positions that every lane holds, padding counted.
    fn len(&self) -> usize;

    /// Whether nothing was read yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which positions of a forward pass need logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: a chunk in the middle of a prompt.
    None,
    /// The last position of every lane.
    Last,
    /// Every position of every lane.
    All,
}

/// Logits of one forward pass, row-major: lane by lane, position by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    /// Rows of `vocabulary` logits each.
    ///
    /// # Errors
    /// [`EngineError::Failed`] when the values are not whole rows.
    pub fn new(values: Vec<f32>, vocabulary: usize) -> Result<Self, EngineError> {
        if vocabulary == 0 || !values.len().is_multiple_of(vocabulary) {
            return Err(EngineError::failed(format!(
                "{} logits are no whole rows of {vocabulary}",
                values.len()
            )));
        }
        Ok(Self { values, vocabulary })
    }

    /// No row at all, the answer to [`Wanted::None`].
    #[must_use]
    pub fn none() -> Self {
        Self { values: Vec::new(), vocabulary: 1 }
    }

    /// Row `index`; lane `l` and wanted position `p` of `n` are row `l * n + p`.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.values.get(index * self.vocabulary..(index + 1) * self.vocabulary)
    }

    /// Row `index`, to be changed by a sampler.
    pub fn row_mut(&mut self, index: usize) -> Option<&mut [f32]> {
        self.values.get_mut(index * self.vocabulary..(index + 1) * self.vocabulary)
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.vocabulary
    }
}

/// A resident model. It is owned by one thread, and every call blocks until its result exists.
///
/// Lanes of a batch run in lock step: each forward pass reads the same number of positions in every lane. Prompts of
/// different lengths are padded on the left, so that their last tokens fall together; padding is masked.
pub trait LanguageModel: Send {
    /// What is known of the model. It does not change while the model is resident.
    fn info(&self) -> &ModelInfo;

    /// Its tokenizer, or why it has none; token ids work in either case.
    fn tokenizer(&self) -> Result<Arc<Tokenizer>, String>;

    /// Its chat template, or why it has none.
    ///
    /// # Errors
    /// The reason in words.
    fn chat_template(&self) -> Result<Arc<ChatTemplate>, String> {
        Err("the model brings no chat template".to_owned())
    }

    /// Ids that end an answer.
    fn end_of_sequence(&self) -> &[u32];

    /// Number of token ids.
    fn vocabulary(&self) -> usize;

    /// Longest prompt and answer together, in tokens.
    fn context(&self) -> usize;

    /// Most lanes in one batch.
    fn max_batch(&self) -> usize;

    /// Most positions that one call of [`LanguageModel::forward`] reads during prefill; a cancel takes effect between
    /// two calls.
    fn prefill_chunk(&self) -> usize;

    /// An empty cache of one lane per entry of `padding`, with room for `capacity` positions in each lane. The first
    /// `padding[lane]` positions of a lane are padding.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when there is no room.
    fn start(&mut self, padding: &[usize], capacity: usize) -> Result<Box<dyn KvCache>, EngineError>;

    /// Reads the next positions of every lane. `tokens` is row-major, lane by lane, and as many for each lane; the
    /// token of a padded position is ignored, but must be an id of the vocabulary.
    ///
    /// # Errors
    /// The engine's own; the cache is not to be used afterwards.
    fn forward(
        &mut self,
        cache: &mut dyn KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, EngineError>;

    /// Nanoseconds that forward passes took by the device's own clock since this was last asked. `None` where no device
    /// keeps time; then the engine's thread does.
    fn device_nanos(&mut self) -> Option<u64> {
        None
    }
}
