//! llama.cpp adapter: GGUF models computed by llama.cpp in this process, through the crate `llama-cpp-2`.
//!
//! Without the feature `llamacpp` there is no llama.cpp in it: the backend says so when it is probed, and loads nothing.
//! Sampling, tokenizers and stamps are those of the other engines in process, so that only the arithmetic differs. Chat
//! templates, image input and downloading are not here. Threads are a setting of the process: see [`THREADS_VARIABLE`].

mod backend;
#[cfg(feature = "llamacpp")]
mod header;
#[cfg(feature = "llamacpp")]
mod native;
mod threads;

pub use backend::{LlamaCppBackend, LlamaCppBackendBuilder};
pub use threads::{THREADS_VARIABLE, threads};
