//! Deterministic models written as safetensors, GGUF and ONNX, and real models on request.
//!
//! A [`Zoo`] is a folder of model files. Ask it for a name and a [`Variant`] and it gives the files: read from the
//! folder, or made there first. Weights come from a seeded generator that gives the same bits on every machine, so a
//! name, a generator version and a variant say all there is to say about a file. It is not a loader and runs nothing:
//! no inference engine is linked here, and an engine needs no more than the standard files that this crate writes.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! use chimera_zoo::{Variant, Zoo};
//!
//! let zoo = Zoo::open(folder.path())?;
//! let files = zoo.ensure("llama-0.1m", Variant::Q8Gguf)?;
//! assert_eq!(files.manifest.params, 106_816);
//! files.verify()?;
//! # Ok(())
//! # }
//! ```

mod audit;
mod convert;
mod derive;
mod error;
mod fetch;
mod gguf;
mod hash;
mod making;
mod manifest;
mod onnx;
mod quant;
mod real;
mod rng;
mod safetensors;
mod spec;
mod store;
mod tokenizer;
mod variant;
mod weights;
mod write;

pub use audit::{FileAudit, TypeCount, audit_gguf, audit_safetensors};
pub use convert::GgufModel;
pub use error::ZooError;
pub use fetch::{FetchEvent, FetchOptions};
pub use gguf::{GgufFile, GgufTensor, Value as GgufValue};
pub use making::{Making, Step, Work};
pub use manifest::{FileEntry, MANIFEST_FORMAT, Manifest, Origin};
pub use quant::{GgmlType, dequantise, quantise_q4_0, quantise_q8_0};
pub use real::{Part, REAL_MODELS, RealModel, real_model};
pub use rng::TensorStream;
pub use spec::{
    Architecture, Family, Gemma3Spec, Gpt2Spec, Init, LlamaSpec, ModelSpec, Shape, TR121_FAMILY, TensorDef,
    model_names, models,
};
pub use store::{GENERATOR_VERSION, ModelFiles, Zoo};
pub use variant::{Container, Encoding, Variant};
pub use weights::{Generated, TensorSource};
