//! TensorRT itself: the library, its parser and builder, a resident engine, and CUDA. Compiled with the feature `tensorrt`
//! alone; everything that decides something lies outside.

pub(crate) mod build;
mod cuda;
pub(crate) mod library;
mod log;
pub(crate) mod runtime;

pub(crate) use cuda::{Device, device};
