//! A simulated inference backend whose times are known in closed form.
//!
//! It is ground truth for everything that measures: a study of a simulated family with a planted exponent must find it,
//! and every event must be where its law puts it. It keeps the whole contract of `chimera-core` (lanes, queue, budgets,
//! cancellation, faults) on a [`VirtualClock`], which costs no waiting, or on the machine's. It is not a model of any
//! real device, and what it says means nothing.
//!
//! A [`SimBackend`] knows [`SimModel`]s; each has [`Laws`]; [`Noise`] multiplies them, level by level, from a seed.

mod backend;
mod clock;
mod lane;
mod laws;
mod model;
mod noise;
mod session;
mod stream;
mod text;

pub use backend::{SimBackend, SimBuilder};
pub use clock::VirtualClock;
pub use laws::Laws;
pub use model::{Fault, LoadFault, SimModel};
pub use noise::Noise;
