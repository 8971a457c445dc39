//! What can go wrong with a run directory, sorted by what a caller can do about it. Errors of designs and plans are not
//! here.

use std::{io, path::PathBuf};

use crate::{DesignError, FormatVersion, PlanError};

/// A run directory that cannot be made, read or written. Each message names the path and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no run here.
    #[error("{} is not a run directory ({reason}): name the directory that holds manifest.json", path.display())]
    NotARun {
        /// Directory.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A run is there already; runs are never overwritten.
    #[error("{} exists already and runs are never overwritten: choose another directory or resume the run", path.display())]
    Exists {
        /// Directory.
        path: PathBuf,
    },
    /// Written by a release with another layout.
    #[error(
        "{} has run format {found}, this program reads majors 1 to {}: use a release that writes format {}.x",
        path.display(), supported.major, found.major
    )]
    Version {
        /// Directory.
        path: PathBuf,
        /// Its format.
        found: FormatVersion,
        /// Newest format that this program reads.
        supported: FormatVersion,
    },
    /// Another process works on it.
    #[error("{} is in use by another process: wait for it to end, then try again", path.display())]
    Busy {
        /// File that is locked.
        path: PathBuf,
    },
    /// A file that is damaged where a crash cannot have damaged it.
    #[error("{}:{line}: {reason}: restore the file from a copy, or remove that line if you know what it was", path.display())]
    Corrupt {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The last line was cut off by a crash and nothing may be appended to it.
    #[error("{} ends in the middle of a line: resume the run, which repairs it", path.display())]
    Unrepaired {
        /// File.
        path: PathBuf,
    },
    /// No space left. What was recorded before is intact.
    #[error("no space left to write {}: free some, then resume the run; everything recorded before is intact", path.display())]
    DiskFull {
        /// File.
        path: PathBuf,
    },
    /// The design or the plan is not the one that the manifest names.
    #[error("{}: {what} is not the one the run was started with (manifest {expected}, now {found}): {remedy}", path.display())]
    Changed {
        /// File or directory.
        path: PathBuf,
        /// `design.toml`, or the plan.
        what: &'static str,
        /// Digest in the manifest.
        expected: String,
        /// Digest found.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Runs that do not belong together.
    #[error("{} cannot be merged with {}: {reason}", other.display(), first.display())]
    Unmergeable {
        /// The run that the others are compared with.
        first: PathBuf,
        /// The run that does not fit.
        other: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The design in the directory cannot be used.
    #[error("{}: {source}", path.display())]
    Design {
        /// File.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DesignError,
    },
    /// The plan cannot be made again.
    #[error("{}: {source}", path.display())]
    Plan {
        /// Directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// File or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl RunError {
    /// An I/O error, with a full disk told apart from the rest.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => {
                Self::DiskFull { path }
            }
            _ => Self::Io { action, path, source },
        }
    }

    /// A short stable name for records and exit codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotARun { .. } => "not-a-run",
            Self::Exists { .. } => "exists",
            Self::Version { .. } => "version",
            Self::Busy { .. } => "busy",
            Self::Corrupt { .. } => "corrupt",
            Self::Unrepaired { .. } => "unrepaired",
            Self::DiskFull { .. } => "disk-full",
            Self::Changed { .. } => "changed",
            Self::Unmergeable { .. } => "unmergeable",
            Self::Design { .. } => "design",
            Self::Plan { .. } => "plan",
            Self::Io { .. } => "io",
        }
    }
}
