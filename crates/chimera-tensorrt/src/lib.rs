//! TensorRT adapter: engines built from ONNX graphs with a KV cache, run in this process on an NVIDIA GPU.
//!
//! Building needs NVIDIA's library and no device when a compute capability is named; running needs both. Without the
//! feature `tensorrt` nothing native is compiled, and probing says so. What was never run on hardware is said in the
//! README, by [`TensorRtBackend`]'s probe, and in `docs/hardware.md`.
//!
//! What decides something (profiles, keys of the cache, checks of buffers, the decode loop, the audit) knows no library
//! and is tested on the CPU.

#![cfg_attr(
    not(feature = "tensorrt"),
    allow(
        dead_code,
        reason = "what loads and runs is compiled with the feature; its parts are tested without"
    )
)]

mod audit;
mod backend;
mod cache;
mod engine;
mod error;
mod executor;
mod graph;
mod interface;
mod model;
#[cfg(feature = "tensorrt")]
mod native;
mod options;
mod profile;
mod tensor;

pub use audit::{EngineAudit, Precision, Products};
pub use backend::{TensorRtBackend, TensorRtBackendBuilder};
pub use cache::{CachedEngine, EngineCache, EngineKey, EngineRecord, Lookup};
pub use engine::ReadyEngine;
pub use error::TensorRtError;
pub use options::{BuildOptions, Capability, OptionError, Specialisation, UnknownCapability};
pub use profile::{Extent, OutOfProfile, Profile, ProfileError, Profiles, Shape};

/// Names the folder with NVIDIA's two libraries.
pub const VARIABLE: &str = "CHIMERA_TENSORRT_DIR";

#[cfg(test)]
mod tests;
