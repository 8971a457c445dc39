//! What can go wrong before a model is resident, sorted by what a user can do about it, and how that reads in the
//! contract's words.

use std::path::{Path, PathBuf};

use chimera_core::{Availability, BackendError, BackendId};
use chimera_engine::files::FileError;

use crate::{options::OptionError, profile::ProfileError};

/// A build or a load that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorRtError {
    /// Not usable here: the remedy is in it.
    #[error("{0}")]
    Unavailable(Availability),
    /// No such model: name another.
    #[error("{0}")]
    NotFound(String),
    /// A file that is no whole model: make or fetch it again.
    #[error("{}: {what}; make or fetch the file again", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A model of another kind: use another.
    #[error("{0}")]
    Unsupported(String),
    /// Profiles that cannot be.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Options that cannot be.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// TensorRT itself said no.
    #[error("TensorRT {step}: {said}")]
    Refused {
        /// Where.
        step: &'static str,
        /// Its own words.
        said: String,
    },
    /// The built engine is not what the graph claims to be.
    #[error("the engine was built and is not what it is called: {0}")]
    NotAsClaimed(String),
    /// The device has no room.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<FileError> for TensorRtError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound(what) => Self::NotFound(what),
            FileError::Invalid { path, what } => Self::Invalid { path, what },
            FileError::Io { path, source } => Self::Io { path, source },
            other => Self::Unsupported(other.to_string()),
        }
    }
}

impl TensorRtError {
    pub(crate) fn invalid(path: &Path, what: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// The contract's error of the same meaning.
    pub(crate) fn into_backend(self, backend: &BackendId, model: &str) -> BackendError {
        let (backend, model, reason) = (backend.clone(), model.to_owned(), self.to_string());
        match self {
            Self::Unavailable(_) => BackendError::Unavailable { backend, reason },
            Self::NotFound(_) => BackendError::ModelNotFound { backend, model, reason },
            Self::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                BackendError::ModelNotFound { backend, model, reason }
            }
            Self::Invalid { .. } | Self::NotAsClaimed(_) => {
                BackendError::ModelInvalid { backend, model, reason }
            }
            Self::Unsupported(what) => BackendError::Unsupported { backend, what },
            Self::Profile(_) | Self::Option(_) => BackendError::InvalidRequest { backend, reason },
            Self::OutOfMemory(reason) => BackendError::OutOfMemory { backend, reason },
            Self::Refused { .. } | Self::Io { .. } => BackendError::failed(&backend, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_code_that_says_what_to_do() {
        let id = BackendId::new("tensorrt");
        let code = |error: TensorRtError| error.into_backend(&id, "m").code();
        let missing = Availability::LibraryMissing { reason: "r".into(), remedy: "m".into() };
        assert_eq!(code(TensorRtError::Unavailable(missing)), "unavailable");
        assert_eq!(code(TensorRtError::NotFound("x".into())), "model-not-found");
        assert_eq!(code(TensorRtError::invalid(Path::new("a"), "cut off")), "model-invalid");
        assert_eq!(code(TensorRtError::NotAsClaimed("x".into())), "model-invalid");
        assert_eq!(code(TensorRtError::Unsupported("x".into())), "unsupported");
        assert_eq!(code(ProfileError::None.into()), "invalid-request");
        assert_eq!(code(TensorRtError::OutOfMemory("x".into())), "out-of-memory");
        assert_eq!(code(TensorRtError::Refused { step: "parser", said: "x".into() }), "failed");
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(code(TensorRtError::io(Path::new("a"), gone)), "model-not-found");
    }
}
