//! What can go wrong, sorted by what a caller can do about it. A request that fails is none of these: it is a record.

use std::path::PathBuf;

use chimera_core::BackendError;
use chimera_records::RunError;

/// Why a load run cannot be planned or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration is wrong: change it.
    #[error("{key}: {reason}")]
    Config {
        /// Path of the key.
        key: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A file of prompts or arrivals cannot be used: mend it or name another.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, with the line where one is to blame.
        reason: String,
    },
    /// The backend cannot do what the run needs before any request: the same as for a single request.
    #[error("preparing the prompts: {0}")]
    Backend(#[from] BackendError),
    /// Records cannot be kept: nothing is run after that.
    #[error(transparent)]
    Records(#[from] RunError),
    /// The thread that writes the records is gone.
    #[error("the thread that writes the records ended without a word; what it had written stands")]
    WriterGone,
}

impl LoadError {
    /// A short stable name for exit codes and logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::File { .. } => "file",
            Self::Backend(error) => error.code(),
            Self::Records(_) => "records",
            Self::WriterGone => "writer-gone",
        }
    }

    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { key: key.into(), reason: reason.into() }
    }
}
