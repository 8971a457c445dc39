//! Why a model cannot be loaded, sorted by what a user can do about it, and how that reads in the contract's words.

use std::path::{Path, PathBuf};

use chimera_core::{BackendError, BackendId};

/// A failed load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}")]
    NotFound(String),
    #[error("{}: {what}; make or fetch the file again", path.display())]
    Invalid { path: PathBuf, what: String },
    #[error("{0}")]
    Unsupported(String),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl LoadError {
    pub(crate) fn invalid(path: &Path, what: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), what: what.into() }
    }

    /// An I/O error, where the end of a file that should go on is the file's fault.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::invalid(path, "the file ends too early"),
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    pub(crate) fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
        let backend = backend.clone();
        match self {
            Self::NotFound(reason) => {
                BackendError::ModelNotFound { backend, model: model.to_owned(), reason }
            }
            Self::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                BackendError::ModelNotFound { backend, model: model.to_owned(), reason: self.to_string() }
            }
            Self::Invalid { .. } => {
                BackendError::ModelInvalid { backend, model: model.to_owned(), reason: self.to_string() }
            }
            Self::Unsupported(what) => BackendError::Unsupported { backend, what },
            Self::Io { .. } | Self::Tensor(_) => BackendError::failed(&backend, self),
        }
    }
}
