//! ONNX Runtime as a backend: graphs with a KV cache as inputs and outputs, as the zoo writes them and as Optimum exports
//! them, in this process. The library is found and loaded at run time; where there is none, probing says so.
//!
//! Files are read and checked before the library sees them. A provider that is asked for and does not compute the model is
//! an error, never a silent fall-back to the CPU.

mod audit;
mod backend;
mod build;
mod cache;
mod calibrate;
mod device;
mod error;
mod info;
mod interface;
mod library;
mod model;
mod options;
mod placement;
mod run;
#[cfg(test)]
mod tests;

pub use audit::Observed;
pub use backend::{OnnxRuntimeBackend, OnnxRuntimeBackendBuilder};
pub use options::{Optimisation, Provider, Shapes, Spinning, THREADS_VARIABLE, threads};
