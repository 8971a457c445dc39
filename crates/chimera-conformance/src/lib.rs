//! One behaviour suite that every inference backend passes.
//!
//! An adapter's tests say how to make its backend and a [`Fixture`] (a model, prompts, budgets, the clock), and
//! [`conformance_suite!`] expands one named test per scenario: on the value, on `Box<dyn InferenceBackend>`, on
//! `Arc<dyn InferenceBackend>` and through every decorator of `chimera-core`. The executor is the caller's.
//!
//! A scenario is skipped only where the backend's own [`chimera_core::Capabilities`] disclaim what it [`Need`]s; a
//! scenario cannot skip itself, and what is disclaimed has to be refused, not half done. The suite judges behaviour; it
//! measures nothing and does not know whether a model's answers are any good.
//!
//! ```
//! use std::sync::Arc;
//! use chimera_conformance::{Fixture, MultiByte, conformance_suite};
//! use chimera_sim::{SimBackend, SimModel, VirtualClock};
//!
//! fn fixture() -> Fixture {
//!     let bytes = |ids: &[u32]| {
//!         let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
//!         String::from_utf8_lossy(&bytes).into_owned()
//!     };
//!     Fixture::new("tiny", MultiByte::decodes(bytes)).with_clock(Arc::new(VirtualClock::new()))
//! }
//!
//! conformance_suite! {
//!     backend: |fixture| SimBackend::builder().clock(fixture.clock()).model(SimModel::new("tiny")).build(),
//!     fixture: fixture,
//!     block_on: futures_executor::block_on,
//! }
//! # fn main() {}
//! ```

mod context;
mod fixture;
pub mod models;
mod scenario;
mod suite;
mod table;
mod transcript;

#[doc(hidden)]
pub mod support;

pub use fixture::{Breakage, Fixture, MultiByte};
pub use table::{Failure, Need, SCENARIOS, Scenario, Subject, Verdict, planned_skips, run};
