//! What can go wrong, sorted by what a caller can do about it. Adapters' own errors convert into these.

use crate::{BackendId, Stamp};

/// Result of a contract call.
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A failure of a backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Not usable here and now: install, start or configure something.
    #[error("backend {backend} is unavailable: {reason}")]
    Unavailable {
        /// Which backend.
        backend: BackendId,
        /// Why, and the remedy.
        reason: String,
    },
    /// The backend cannot do this: ask for something else.
    #[error("backend {backend} does not support {what}")]
    Unsupported {
        /// Which backend.
        backend: BackendId,
        /// What was asked.
        what: String,
    },
    /// No such model: name another, or make it available.
    #[error("backend {backend} has no model {model}: {reason}")]
    ModelNotFound {
        /// Which backend.
        backend: BackendId,
        /// The name that was asked.
        model: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The model's files are there and unusable: make or fetch them again.
    #[error("backend {backend} cannot use model {model}: {reason}")]
    ModelInvalid {
        /// Which backend.
        backend: BackendId,
        /// The model.
        model: String,
        /// What is wrong with which file.
        reason: String,
    },
    /// The request itself is wrong: change it.
    #[error("backend {backend} refuses the request: {reason}")]
    InvalidRequest {
        /// Which backend.
        backend: BackendId,
        /// What is wrong.
        reason: String,
    },
    /// Too big for the device: a smaller batch, context or model may do.
    #[error("backend {backend} ran out of memory: {reason}")]
    OutOfMemory {
        /// Which backend.
        backend: BackendId,
        /// What did not fit.
        reason: String,
    },
    /// No answer in time: it may answer later.
    #[error("backend {backend} did not answer within {seconds} s")]
    Timeout {
        /// Which backend.
        backend: BackendId,
        /// How long it was waited for.
        seconds: f64,
    },
    /// The session was unloaded: load the model again.
    #[error("the session of backend {backend} is closed")]
    Closed {
        /// Which backend.
        backend: BackendId,
    },
    /// The backend said something that its protocol does not allow: report it.
    #[error("backend {backend} broke its protocol: {detail}")]
    Protocol {
        /// Which backend.
        backend: BackendId,
        /// What was seen.
        detail: String,
    },
    /// Anything else that went wrong inside the backend.
    #[error("backend {backend} failed: {source}")]
    Failed {
        /// Which backend.
        backend: BackendId,
        /// The backend's own error.
        #[source]
        source: Source,
    },
}

impl BackendError {
    /// Wraps a backend's own error that fits no other variant.
    pub fn failed(backend: &BackendId, source: impl Into<Source>) -> Self {
        Self::Failed { backend: backend.clone(), source: source.into() }
    }

    /// A short stable name for records and exit codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Unsupported { .. } => "unsupported",
            Self::ModelNotFound { .. } => "model-not-found",
            Self::ModelInvalid { .. } => "model-invalid",
            Self::InvalidRequest { .. } => "invalid-request",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Timeout { .. } => "timeout",
            Self::Closed { .. } => "closed",
            Self::Protocol { .. } => "protocol",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the same request may succeed a little later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unavailable { .. })
    }

    /// The backend that failed.
    #[must_use]
    pub fn backend(&self) -> &BackendId {
        match self {
            Self::Unavailable { backend, .. }
            | Self::Unsupported { backend, .. }
            | Self::ModelNotFound { backend, .. }
            | Self::ModelInvalid { backend, .. }
            | Self::InvalidRequest { backend, .. }
            | Self::OutOfMemory { backend, .. }
            | Self::Timeout { backend, .. }
            | Self::Closed { backend }
            | Self::Protocol { backend, .. }
            | Self::Failed { backend, .. } => backend,
        }
    }
}

/// An error in a stream: it says when and, where it concerns one, which lane. It ends that lane; without a lane, all.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct StreamError {
    /// When it was noticed.
    pub at: Stamp,
    /// Which lane it ends; `None` ends all of them.
    pub lane: Option<u32>,
    /// What went wrong.
    #[source]
    pub error: BackendError,
}

impl StreamError {
    /// An error that ends every lane.
    #[must_use]
    pub fn all(at: Stamp, error: BackendError) -> Self {
        Self { at, lane: None, error }
    }
}
