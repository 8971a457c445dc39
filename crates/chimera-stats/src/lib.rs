//! Statistics of Chimeraforge: pure functions on slices.
//!
//! A number never leaves without its interval, its method and the unit that was replicated ([`Estimate`]). This crate
//! knows no backend, does no I/O and reads no clock; random resampling takes a seed.

mod estimate;

pub use estimate::{Estimate, Interval};
