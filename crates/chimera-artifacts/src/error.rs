//! What stops an import, sorted by what a caller can do about it. A source that does not parse does not stop it: see
//! [`crate::Trouble`].

use std::{io, path::PathBuf};

/// Why there is no import.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Install git.
    #[error("git could not be started: {source}")]
    NoGit {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Name a clone.
    #[error("{path} is no git repository: {reason}")]
    NotAClone {
        /// What was named.
        path: PathBuf,
        /// What git says.
        reason: String,
    },
    /// The clone is shallow, or is one of something else.
    #[error(
        "{path} has no commit {commit}: it is a shallow clone or another repository (`git -C {path} fetch --unshallow` \
         completes a shallow one)"
    )]
    NoCommit {
        /// The clone.
        path: PathBuf,
        /// The commit.
        commit: String,
    },
    /// Name another folder, or remove this one.
    #[error(
        "{path} holds files but no import.json: a folder of something else, or an import that was broken off. Remove it \
         or name another one"
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is an import of other commits, or its manifest is damaged: name another folder, or remove it.
    #[error("{path}: {reason}; remove the folder or name another one")]
    Foreign {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// git said something unexpected.
    #[error("git {what}: {reason}")]
    Git {
        /// The command.
        what: String,
        /// What it said.
        reason: String,
    },
    /// Look at the disk.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ImportError {
    /// Whether the caller named the wrong thing: nothing was written.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Git { .. } | Self::Io { .. })
    }
}
