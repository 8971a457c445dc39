//! Values in the order in which they were measured: how much they repeat one another, whether they drift, where
//! their level changes, when they become steady, what lies outside. Nothing here removes a value without saying which: labels are labels.

mod autocorrelation;
mod divisive;
mod mann_kendall;
mod outliers;
mod pelt;
mod steady;

pub use autocorrelation::{EffectiveSize, autocorrelation, effective_size};
pub use divisive::{Change, Changes, e_divisive};
pub use mann_kendall::mann_kendall;
pub use outliers::{Label, Labels, mad_labels, tukey_labels};
pub use pelt::{Penalty, Stretch, pelt};
pub use steady::{Course, Criteria, Steady, Trimmed, steady_state, trim_warm_up};
