//! Where records go as trials end: a run directory, or memory.

use chimera_records::{RunError, TokenStamps, Trial, TrialWriter};

/// Takes the records of one block.
pub trait Sink {
    /// A trial ended. Its stamps are those of its lanes, none unless it completed.
    ///
    /// # Errors
    /// It cannot be kept: the block stops.
    fn trial(&mut self, trial: &Trial, stamps: &[TokenStamps]) -> Result<(), RunError>;

    /// The block ended: make everything last.
    ///
    /// # Errors
    /// It cannot be kept.
    fn finish(&mut self) -> Result<(), RunError>;
}

impl Sink for TrialWriter {
    fn trial(&mut self, trial: &Trial, stamps: &[TokenStamps]) -> Result<(), RunError> {
        self.append(trial, stamps)
    }

    fn finish(&mut self) -> Result<(), RunError> {
        self.sync()
    }
}

/// Keeps records in memory: simulated studies and tests.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    /// Trials in the order of their ends.
    pub trials: Vec<Trial>,
    /// Token stamps of completed trials.
    pub stamps: Vec<TokenStamps>,
}

impl Sink for MemorySink {
    fn trial(&mut self, trial: &Trial, stamps: &[TokenStamps]) -> Result<(), RunError> {
        self.trials.push(trial.clone());
        self.stamps.extend_from_slice(stamps);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}
