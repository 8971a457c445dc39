//! Statistics of Chimeraforge: pure functions on slices.
//!
//! A number never leaves without its interval, its method and the unit that was replicated ([`Estimate`]). This crate
//! knows no backend, does no I/O and reads no clock; random resampling takes a seed. It decides nothing about a study:
//! which values are replicates, and what a result means, is the caller's to say.
//!
//! Values enter through a checked [`Sample`] (finite, at least one, with the name of its unit) or [`Blocks`]. A
//! p-value is `None`, or an error, where there are fewer than three points or no noise to test against.
//!
//! ```
//! use chimera_stats::{Sample, intervals};
//!
//! let block_means = [10.1, 9.8, 10.3, 10.0, 9.9];
//! let sample = Sample::new(&block_means, "block")?;
//! let mean = intervals::over_blocks(sample, 0.95)?;
//! assert!(mean.interval.is_some_and(|i| i.contains(10.0)));
//! # Ok::<(), chimera_stats::StatsError>(())
//! ```

mod dist;
mod error;
mod estimate;
mod noncentral;
mod sample;
mod summary;

pub mod bootstrap;
pub mod censored;
pub mod effect;
pub mod hypothesis;
pub mod intervals;
pub mod models;
pub mod pcg64;
pub mod power;
pub mod quantile;
pub mod random;
pub mod rank;
pub mod ratio;
pub mod regression;
pub mod robust;
pub mod series;
pub mod two_level;
pub mod variance;

pub use error::StatsError;
pub use estimate::{Estimate, Interval};
pub use sample::{Blocks, Sample};
pub use summary::{Summary, ratio_of_sums};
