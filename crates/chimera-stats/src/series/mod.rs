//! Values in the order in which they were measured: how much they repeat one another, where their level changes, when
//! they become steady, what lies outside. Nothing here removes a value without saying which: labels are labels.

mod autocorrelation;

pub use autocorrelation::{EffectiveSize, autocorrelation, effective_size};
