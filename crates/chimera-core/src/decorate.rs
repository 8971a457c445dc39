//! Decorators: wrap a backend and every session it loads, instead of editing adapters.
//!
//! They change neither identity, stamps nor what a backend declares, with one exception: [`Limited`] lowers
//! `max_in_flight`. Each forwards every method of both traits by hand, and a lint refuses one that is forgotten. How
//! they are stacked is the caller's choice: what is outermost sees what the caller sees.

mod faulty;
mod limited;
mod recorded;
mod traced;

pub use faulty::{FaultPlan, Faulty, MakeError, StreamFault};
pub use limited::Limited;
pub use recorded::{Notice, Recorded, Sink};
pub use traced::Traced;
