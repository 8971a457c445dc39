//! Runs a plan: blocks are processes, trials are records.
//!
//! [`run_block`] runs the trials of one block on one thread of control, whatever the executor and whatever the clock;
//! [`Supervisor`] runs the blocks of a plan, each through a [`Launcher`] (a fresh process, or this one for tests), keeps
//! the manifest true, and resumes what was interrupted. Backends and models come from a [`Registry`] that the binary
//! provides: no adapter is named here. What happens is told as [`Progress`]; nothing is printed, and no metric is
//! computed.

mod block;
mod calibrate;
mod cancel;
mod error;
mod estimate;
mod host;
mod progress;
mod quality;
mod registry;
mod sink;
mod supervisor;

pub use block::{BlockRun, run_block};
pub use calibrate::calibrate;
pub use cancel::Cancel;
pub use error::HarnessError;
pub use estimate::{CostHint, Estimate, estimate, hints_from};
pub use host::{host_record, noise_record};
pub use progress::{BlockEnd, Progress, TrialEnd};
pub use quality::{CheckJob, checks};
pub use registry::{FoundModel, Missing, Registry, RegistryError};
pub use sink::{MemorySink, Sink};
pub use supervisor::{
    BlockJob, InlineLauncher, Launcher, OnDeath, ProcessLauncher, Supervisor, available_threads, serve_block,
};
