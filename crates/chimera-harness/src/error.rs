//! What stops a run. What happens to a trial is not an error but its outcome.

use std::io;

use chimera_records::{PlanError, RunError};

/// A run that cannot start or cannot go on. What is recorded stays recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// The run directory: its own error says what to do.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The plan: its own error says what to do.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A block that the plan does not have: the run directory and the request do not belong together.
    #[error("the plan has no block {block}: start the block through its supervisor")]
    NoSuchBlock {
        /// Asked.
        block: u32,
    },
    /// A process could not be started.
    #[error("cannot start a process for block {block}: {source}")]
    Launch {
        /// Block.
        block: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What is found out about an arm cannot be kept.
    #[error("{model} on {backend} could not be checked: {reason}")]
    Check {
        /// Backend of the design.
        backend: String,
        /// Model id of the design.
        model: String,
        /// Why.
        reason: String,
    },
    /// A process that checks an arm could not be started.
    #[error("cannot start a process that checks {model} on {backend}: {source}")]
    LaunchCheck {
        /// Backend of the design.
        backend: String,
        /// Model id of the design.
        model: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What stood on the input of a block's process is not a job.
    #[error("no block to run on standard input ({reason}): this is started by a supervisor, not by hand")]
    Job {
        /// What is wrong.
        reason: String,
    },
}

impl HarnessError {
    /// A short stable name for records and exit codes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Run(error) => error.code(),
            Self::Plan(_) => "plan",
            Self::NoSuchBlock { .. } => "no-such-block",
            Self::Check { .. } => "check",
            Self::Launch { .. } | Self::LaunchCheck { .. } => "launch",
            Self::Job { .. } => "job",
        }
    }
}
