//! Servers that speak OpenAI's HTTP interface as an [`chimera_core::InferenceBackend`]: llama.cpp's server, vLLM, SGLang,
//! TGI, LM Studio, our own server, and whatever else answers `/v1/completions` and `/v1/chat/completions`. Times are
//! stamped where bytes arrive; a chunk is not a token, and what a server does not say has no entry. Nothing here derives a
//! metric.
//!
//! [`OpenAiBackend::builder`] makes a backend for one server. What kind of server it is ([`Flavour`]) is found out by
//! harmless requests unless it is said; it decides which fields are sent and what is declared. Everything that decides an
//! answer and that the server knows is sent, so that no default of a server changes what is measured.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod ask;
mod backend;
mod decode;
mod detect;
mod flavour;
mod generation;
mod models;
mod refusal;
mod server;
mod session;

pub use backend::{OpenAiBackend, OpenAiBuilder};
pub use flavour::Flavour;

#[doc(hidden)]
pub use decode::read_whole;
