//! What is on disk: a design (TOML) becomes a validated [`Settings`] and a [`Plan`]; a run directory holds the design,
//! a manifest, one line per trial, token stamps, and one line per answer to whether its arms run the same model. No runtime, no measuring and no statistics are here; live runs and
//! imported artefacts meet at these records.

mod design;
mod error;
mod judge;
mod manifest;
mod metric;
mod plan;
mod quality;
mod run_dir;
mod trial;

pub use design::{
    Capacity, Design, Grid, Hypothesis, Limits, ModelEntry, Overrides, Process, Profile, Published, Quality,
    Relation, Scenario, Settings, Warmup,
};
pub use error::{DesignError, PlanError};
pub use judge::{Constants, Expected, FirstPrefill};
pub use manifest::{
    Clocks, Counts, FileRecord, FormatVersion, HostRecord, LagRecord, Manifest, ModelRecord, NoiseRecord,
    ProcessRecord, ProgramRecord, RunStatus, SelfProof, Shard,
};
pub use metric::Metric;
pub use plan::{Block, Cell, Plan, PlannedTrial};
pub use quality::{
    Agreement, Audit, Audited, Basis, Build, ChunkScore, NotMeasured, Perplexity, PrecisionCount,
    QualityCheck, QualityKey, QualityRecord,
};
pub use run_dir::{
    Damage, Events, NewRun, QualityRecords, QualityWriter, RunDir, RunError, RunLock, Tally, TrialWriter,
    Trials, is_terminal, merge, unix_ms,
};
pub use trial::{Factors, First, Flag, HostNoise, Lane, Outcome, TokenStamps, Trial, TrialRole};
