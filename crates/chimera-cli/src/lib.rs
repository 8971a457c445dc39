//! The command line: the registry of backends and models, the stages of a study, and what is printed. This is the only
//! crate that names adapters. Measuring, analysing and rendering are done by the crates below it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is the job of this crate")]

pub mod artifacts;
mod audit;
pub mod bench;
pub mod compare;
mod convert;
pub mod exit;
pub mod models;
pub mod places;
pub mod prepare;
pub mod probe;
pub mod program;
pub mod progress;
pub mod prove;
pub mod registry;
pub mod replay;
pub mod runs;
pub mod serve;
pub mod stages;
pub mod study;
