//! Why a model cannot be loaded or run, sorted by what a user can do about it, and how that reads in the contract's words.

use std::path::Path;

use chimera_core::{BackendError, BackendId};
use chimera_engine::{EngineError, files::FileError};

/// A failed load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    OutOfMemory(String),
    #[error("{0}")]
    Failed(String),
}

impl LoadError {
    pub(crate) fn invalid(path: &Path, what: impl Into<String>) -> Self {
        FileError::invalid(path, what).into()
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        FileError::io(path, source).into()
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        FileError::Unsupported(what.into()).into()
    }

    /// What ONNX Runtime said when it was to make a session of a file.
    pub(crate) fn session(path: &Path, error: &ort::Error) -> Self {
        use ort::ErrorCode;
        if is_out_of_memory(error.message()) {
            return Self::OutOfMemory(error.message().to_owned());
        }
        match error.code() {
            ErrorCode::InvalidProtobuf
            | ErrorCode::InvalidGraph
            | ErrorCode::NoModel
            | ErrorCode::InvalidArgument => Self::invalid(path, error.message()),
            // A kernel that this build lacks, for a type or an operator.
            ErrorCode::NotImplemented => {
                Self::unsupported(format!("{}: {}", path.display(), error.message()))
            }
            ErrorCode::NoSuchFile => FileError::NotFound(error.message().to_owned()).into(),
            _ => Self::Failed(format!("{}: {}", path.display(), error.message())),
        }
    }

    pub(crate) fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
        match self {
            Self::File(error) => error.into_backend(backend, model),
            Self::Unavailable(reason) => BackendError::Unavailable { backend: backend.clone(), reason },
            Self::OutOfMemory(reason) => BackendError::OutOfMemory { backend: backend.clone(), reason },
            Self::Failed(_) => BackendError::failed(backend, self),
        }
    }
}

/// What ONNX Runtime said when it ran.
pub(crate) fn of_run(error: &ort::Error) -> EngineError {
    if is_out_of_memory(error.message()) {
        EngineError::OutOfMemory(error.message().to_owned())
    } else {
        EngineError::failed(error.message().to_owned())
    }
}

/// Whether a message is one of a failed allocation. The codes of the C interface do not tell.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "bad_alloc",
        "bad allocation",
        "failed to allocate memory",
        "available memory of",
        "out of memory",
        "cuda failure 2:",
        "allocation failed",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_allocations_are_told_from_their_messages() {
        for message in [
            "std::bad_alloc",
            "Failed to allocate memory for requested buffer of size 4398046511104",
            "CUDA failure 2: out of memory ; GPU=0",
            "Available memory of 12 is smaller than requested bytes of 256",
        ] {
            assert!(is_out_of_memory(message), "{message}");
        }
        assert!(!is_out_of_memory("Non-zero status code returned while running MatMul node"));
    }
}
