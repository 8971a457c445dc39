//! Candle adapter: GPT-2, Llama and Gemma 3 from safetensors and GGUF files, computed in this process.
//!
//! The models are small ones of our own on `candle-core` and `candle-nn`: they give logits at every position, mask
//! padding, and write to a cache that was allocated once. Image input and downloading are not here.
//! Threads are a setting of the process: see [`THREADS_VARIABLE`].

mod arch;
mod attention;
mod backend;
mod config;
mod device;
mod error;
mod file;
mod linear;
mod model;
mod weights;

pub use backend::{CandleBackend, CandleBackendBuilder};
pub use device::{CandleDevice, THREADS_VARIABLE, threads};
pub use weights::computed_in;

#[cfg(test)]
mod tests;
