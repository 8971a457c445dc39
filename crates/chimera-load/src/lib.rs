//! A load generator over any [`chimera_core::InferenceBackend`]: closed loops, open loops by intended time, sweeps and a
//! search for saturation. Its requests are trials like those of every other run, in an ordinary run directory. It prints
//! nothing, and beyond sums, ratios and order statistics it computes no statistics.
//!
//! A [`LoadConfig`] (typed TOML, or built) becomes a [`LoadPlan`]; [`run()`] issues its requests on a [`Target`] and hands
//! each to a [`Sink`] as it ends; [`summarise`] turns the records into one [`LevelSummary`] per level. `docs/load.md` says
//! what the numbers mean.

mod cancel;
mod config;
mod engine;
mod error;
mod lengths;
mod level;
mod pace;
mod plan;
mod prompts;
mod record;
mod request;
mod run;
mod schedule;
mod sink;
mod summary;

pub use cancel::Cancel;
pub use config::{Arrivals, Length, LoadConfig, Prompts, Saturation, Slo};
pub use error::LoadError;
pub use lengths::Lengths;
pub use level::Level;
pub use pace::Pacing;
pub use plan::LoadPlan;
pub use record::{begin_run, create_run, finish_run};
pub use run::{LoadRun, Progress, RunEnd, RunOptions, Target, run, run_blocking};
pub use schedule::{Arrival, Schedule};
pub use sink::{MemorySink, Sink, WriterSink};
pub use summary::{
    BlockSummary, Distribution, Ends, Evidence, Goodput, LevelSummary, Quantile, gaps_between_chunks,
    gaps_per_token, summarise,
};
