//! What happens during a run, as it happens: for progress bars, for the manifest, and as the lines that a block's
//! process sends to its supervisor. Figures here are for the eye; what counts is in the records.

use std::path::PathBuf;

use chimera_core::{ModelInfo, Probe};
use chimera_records::{Counts, FileRecord, LagRecord, Outcome, QualityRecord, RunStatus, TrialRole};
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Progress {
    /// A supervisor began or resumed a run.
    PlanStarted {
        /// Name of the run.
        run_id: String,
        /// Its directory.
        path: PathBuf,
        /// Trials planned for this run or shard.
        trials: u64,
        /// How many of them were done before.
        done: u64,
        /// Blocks still to be run.
        blocks: u32,
    },
    /// The process that checks an arm before anything is timed is about to start.
    QualityStarted {
        /// Backend of the design.
        backend: String,
        /// Model id of the design.
        model: String,
        /// Which check it is, from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// Something was found out about an arm, or why it could not be, and has been recorded.
    QualityFound {
        /// What.
        record: QualityRecord,
    },
    /// The process that checks an arm has ended.
    QualityEnded {
        /// Backend of the design.
        backend: String,
        /// Model id of the design.
        model: String,
        /// How.
        end: BlockEnd,
    },
    /// A block's process is about to start.
    BlockStarted {
        /// Block.
        block: u32,
        /// Which replicate it belongs to.
        replicate: u32,
        /// Threads that it will have.
        threads: u32,
        /// Which attempt at this block it is, from 1.
        attempt: u32,
        /// Trials that it will run, repeated first uses included.
        trials: u32,
    },
    /// A block's process is ready to run trials.
    ProcessReady {
        /// Block.
        block: u32,
        /// From its start to here in nanoseconds, as seen by who started it.
        startup_ns: Option<u64>,
    },
    /// A backend answered to its probe.
    BackendProbed {
        /// Name in the design.
        backend: String,
        /// Its answer.
        probe: Probe,
    },
    /// A model is resident.
    ModelLoaded {
        /// Name of the backend in the design.
        backend: String,
        /// Id of the model in the design.
        model: String,
        /// How long it took in nanoseconds.
        load_ns: u64,
        /// What the backend says of it.
        info: ModelInfo,
        /// Its files.
        files: Vec<FileRecord>,
        /// Where the weights come from and under which licence.
        provenance: Option<String>,
    },
    /// A model cannot be had: its trials in this block are skipped.
    ModelMissing {
        /// Name of the backend in the design.
        backend: String,
        /// Id of the model in the design.
        model: String,
        /// Why.
        reason: String,
    },
    /// How late the block's process was as a client of a backend behind a wire.
    ClientLag {
        /// Name in the design.
        backend: String,
        /// The figures.
        lag: LagRecord,
    },
    /// A trial ended and has been recorded.
    TrialEnded(TrialEnd),
    /// A block's process has run its trials, or cannot go on.
    BlockEnded {
        /// Block.
        block: u32,
        /// How.
        end: BlockEnd,
        /// Largest resident memory of the process in bytes.
        peak_rss_bytes: Option<u64>,
    },
    /// Anything else that a reader of the log should see.
    Note {
        /// In words.
        text: String,
    },
    /// The supervisor is done.
    PlanEnded {
        /// Where the run stands.
        status: RunStatus,
        /// Why it failed, when it did.
        failure: Option<String>,
        /// How its trials ended.
        counts: Counts,
    },
}

/// The end of a trial in a few words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialEnd {
    /// Number in the plan.
    pub id: u32,
    /// Block.
    pub block: u32,
    /// Attempt at the block.
    pub attempt: u32,
    /// What it was for.
    pub role: TrialRole,
    /// Backend of the design.
    pub backend: String,
    /// Model id of the design.
    pub model: String,
    /// Scenario id of the design.
    pub scenario: String,
    /// Lanes.
    pub batch: u32,
    /// Requests at once.
    pub concurrency: u32,
    /// Budget of generated tokens.
    #[serde(rename = "gen")]
    pub budget: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it carries a flag.
    pub flagged: bool,
    /// First sent to last token over all lanes, in nanoseconds, of a completed trial.
    pub span_ns: Option<u64>,
    /// Tokens generated by all lanes, of a completed trial whose backend counts them.
    pub generated: Option<u64>,
}

/// How a block ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum BlockEnd {
    /// Every trial has its record.
    Done,
    /// Stopped by the user.
    Cancelled,
    /// It cannot go on: records cannot be written, or the job makes no sense.
    Failed {
        /// [`crate::HarnessError::code`].
        code: String,
        /// The error in full.
        reason: String,
    },
    /// Its process died (a signal, no memory, a crash).
    Died {
        /// How, and the last that it said.
        reason: String,
        /// Whether it ended by a fault of what it was doing, as an assertion or a wrong access to memory, and was not killed
        /// from outside: then what it was doing is to be blamed, and is not tried again.
        #[serde(default)]
        crashed: bool,
    },
}
