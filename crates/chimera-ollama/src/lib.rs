//! Ollama's native HTTP interface as an [`chimera_core::InferenceBackend`]. Times are stamped where bytes arrive; the
//! durations that the server reports are kept verbatim beside them and never believed in silence. Nothing here derives
//! a metric, and no version table decides what a server can do: what it answers does.
//!
//! [`OllamaBackend::builder`] makes a backend for one server. Every request of a session carries the same options
//! that decide how a model is held (`num_ctx`, `num_thread`, `keep_alive`), so nothing is reloaded in silence; a reload
//! that happens all the same is visible as [`chimera_core::Phase::Load`] of that answer.
//!
//! A server cuts a prompt that does not fit without a word. It is asked not to (`truncate: false`), and where it does,
//! its own counts give it away: the lane ends with [`chimera_core::BackendError::InvalidRequest`].

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod api;
mod ask;
mod backend;
mod decode;
mod generation;
mod gguf;
mod manage;
mod refusal;
mod session;

pub use api::{Details, ModelFacts, Progress, Resident, Stored};
pub use backend::{OllamaBackend, OllamaBuilder};

#[doc(hidden)]
pub use decode::read_whole;
