//! Why a model cannot be loaded: its files, or the library that computes.

use std::path::Path;

use chimera_core::{BackendError, BackendId};
use chimera_engine::files::FileError;

/// A failed load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl LoadError {
    pub(crate) fn invalid(path: &Path, what: impl Into<String>) -> Self {
        FileError::invalid(path, what).into()
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        FileError::Unsupported(what.into()).into()
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        FileError::io(path, source).into()
    }

    pub(crate) fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
        match self {
            Self::File(error) => error.into_backend(backend, model),
            Self::Tensor(_) => BackendError::failed(backend, self),
        }
    }
}
