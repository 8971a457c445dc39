//! How large a difference is, with an interval: in the unit of the data, in standard deviations, in shares of pairs, in
//! shares of variance, and quantile by quantile. Whether it is a difference at all is for [`crate::hypothesis`]; ratios
//! are in [`crate::ratio`].

mod cliff;
mod difference;
mod eta;
mod hodges_lehmann;
mod shift;
mod standardised;

pub use cliff::cliff_delta;
pub use difference::{mean_difference_paired, mean_difference_student, mean_difference_welch};
pub use eta::eta_squared;
pub use hodges_lehmann::{hodges_lehmann, hodges_lehmann_one, hodges_lehmann_paired};
pub use shift::{Shift, shift_function};
pub use standardised::{cohen_d, cohen_d_paired, hedges_g, hedges_g_paired};
