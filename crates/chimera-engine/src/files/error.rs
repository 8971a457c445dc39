//! Why a model's files cannot be used, sorted by what a user can do about it, and how that reads in the contract's words.

use std::path::{Path, PathBuf};

use chimera_core::{BackendError, BackendId};

/// A file or folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such model: look at its name, its path and the folder of models.
    #[error("{0}")]
    NotFound(String),
    /// The file is damaged or no file of a model: make or fetch it again.
    #[error("{}: {what}; make or fetch the file again", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file is sound and asks for something that is not done here.
    #[error("{0}")]
    Unsupported(String),
    /// The system's own error.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl FileError {
    /// A damaged file.
    pub fn invalid(path: &Path, what: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), what: what.into() }
    }

    /// An I/O error, where the end of a file that should go on is the file's fault.
    #[must_use]
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::invalid(path, "the file ends too early"),
            _ => Self::Io { path: path.to_owned(), source },
        }
    }

    /// The contract's error of the same meaning.
    #[must_use]
    pub fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
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
            Self::Io { .. } => BackendError::failed(&backend, self),
        }
    }
}
