//! What is on disk: a design (TOML) becomes a validated [`Settings`] and a [`Plan`]; a run directory holds the design,
//! a manifest, one line per trial, and token stamps. No runtime, no measuring and no statistics are here; live runs and
//! imported artefacts meet at these records.

mod design;
mod error;
mod judge;
mod manifest;
mod metric;
mod plan;
mod run_dir;
mod trial;

pub use design::{
    Capacity, Design, Grid, Hypothesis, Limits, ModelEntry, Overrides, Process, Profile, Published, Relation,
    Scenario, Settings, Warmup,
};
pub use error::{DesignError, PlanError};
pub use judge::{Constants, Expected, FirstPrefill};
pub use manifest::{
    Clocks, Counts, FileRecord, FormatVersion, HostRecord, LagRecord, Manifest, ModelRecord, NoiseRecord,
    ProcessRecord, ProgramRecord, RunStatus, SelfProof, Shard,
};
pub use metric::Metric;
pub use plan::{Block, Cell, Plan, PlannedTrial};
pub use run_dir::{
    Damage, Events, NewRun, RunDir, RunError, RunLock, Tally, TrialWriter, Trials, is_terminal, merge,
    unix_ms,
};
pub use trial::{Factors, First, Flag, HostNoise, Lane, Outcome, TokenStamps, Trial, TrialRole};
