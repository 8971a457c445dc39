//! The contract between measuring code and inference backends.
//!
//! An [`InferenceBackend`] is a device or a server; it loads a model into a [`Session`]; a session answers a [`Batch`]
//! with a stream of stamped [`Event`]s. Every event is stamped where it happens, by the [`Clock`] handed to the backend,
//! and never after a channel or a tokenizer. A phase that nobody measured has no entry; an error is an error.
//!
//! This crate knows no runtime, no transport and no FFI, and it does no measuring of its own: adapters implement it,
//! the harness and the agents call it, `chimera-conformance` checks it.
//!
//! Implementors see the small traits without defaults ([`InferenceBackend`], [`Session`]); callers get conveniences
//! from [`BackendExt`] and [`SessionExt`], so that a decorator can never inherit a wrong default.

mod backend;
mod error;
mod event;
mod ext;
mod law;
mod model;
mod probe;
mod request;
mod time;

pub mod decorate;

pub use backend::{EventStream, InferenceBackend, Session};
pub use error::{BackendError, Result, StreamError};
pub use event::{ClockSource, Event, EventKind, FinishReason, Finished, Phase, PhaseTiming};
pub use ext::{BackendExt, Generation, SessionExt};
pub use law::{Law, LawBreach};
pub use model::{LoadOptions, Logits, ModelInfo, ModelRef, Parameters, Score};
pub use probe::{Availability, Capabilities, Probe};
pub use request::{Batch, Message, Prompt, Request, Role, Sampling};
pub use time::{BackendId, Clock, Stamp, SystemClock};
