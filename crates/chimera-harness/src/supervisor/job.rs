//! What a block's process is told: one line of JSON on its standard input.

use std::{collections::BTreeSet, num::NonZero, path::PathBuf};

use chimera_records::Plan;
use serde::{Deserialize, Serialize};

use crate::{CheckJob, block::pending};

/// One block to be run by one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockJob {
    /// The run's directory.
    pub run: PathBuf,
    /// Block of its plan.
    pub block: u32,
    /// Which attempt at this block it is, from 1.
    pub attempt: u32,
    /// Threads that the process shall have.
    pub threads: u32,
    /// Trials of the block that are done.
    pub done: BTreeSet<u32>,
    /// Instead of the block's trials: check this arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckJob>,
}

impl BlockJob {
    /// Trials that the process will run, repeated first uses included.
    #[must_use]
    pub fn trials(&self, plan: &Plan) -> usize {
        plan.blocks.get(self.block as usize).map_or(0, |block| pending(plan, block, &self.done).len())
    }
}

/// Threads that a level of a design stands for: 0 is all cores that this process may use.
#[must_use]
pub fn available_threads(level: u32) -> u32 {
    if level > 0 {
        return level;
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}
