//! What can go wrong with published data, sorted by what a caller can do about it.

use std::{io, path::PathBuf};

use chimera_report::Invalid;
use chimera_stats::StatsError;

/// Data that could not be used, with the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Fetch or import the artefacts: a file is not there.
    #[error("{path} is missing: name the folder of the artefacts, or import them")]
    Missing {
        /// The file.
        path: PathBuf,
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
    /// The file is not what its name says: fetch it again, or report a change of its layout.
    #[error("{path}, line {line}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A column is not there: the layout is another one.
    #[error("{path}: there is no column `{column}`; there are: {found}")]
    Column {
        /// The file.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// Those that are there.
        found: String,
    },
    /// The rows do not hold what the report says they do.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A statistic refused its input.
    #[error("{place}: {source}")]
    Statistics {
        /// Which part of the analysis.
        place: String,
        /// What was wrong.
        #[source]
        source: StatsError,
    },
    /// A claim of the ledger cannot be judged: mend the ledger.
    #[error("claim `{claim}`: {reason}")]
    Ledger {
        /// Its id, or the file where it has none.
        claim: String,
        /// What is wrong.
        reason: String,
    },
    /// The findings contradict their own form: a defect.
    #[error("the findings are not well-formed: {0}")]
    Findings(#[from] Invalid),
    /// The shared analysis refused its input.
    #[error(transparent)]
    Study(#[from] chimera_studies::StudyError),
}

impl ReplayError {
    /// Names the place where a statistic refused its input.
    pub fn at(place: impl Into<String>) -> impl FnOnce(StatsError) -> ReplayError {
        let place = place.into();
        move |source| ReplayError::Statistics { place, source }
    }
}
