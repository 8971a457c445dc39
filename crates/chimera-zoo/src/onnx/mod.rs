//! The ONNX writer: GPT-2 and Llama as graphs of standard operators with the KV cache as inputs and outputs, under the
//! names that Optimum's exports use. Weights pass through one at a time. Quantised graphs are made from these by
//! `chimera-onnx`; nothing here runs one.

mod gpt2;
mod llama;
mod parts;

use std::path::Path;

use chimera_onnx::{DataType, Model, TOO_MANY_BYTES, Tensor, float_bytes};

use crate::error::ZooError;
use crate::gguf::names::transpose;
use crate::hash::HashedFile;
use crate::safetensors::Written;
use crate::spec::{Architecture, ModelSpec, TensorDef};
use crate::variant::Encoding;
use crate::weights::TensorSource;
pub(crate) use llama::{COSINES, SINES};
use parts::Parts;

/// The version of these graphs. It is part of the names of their folders: a change of them must change it.
pub(crate) const GRAPH_VERSION: u32 = 3;

/// Where an initializer's values come from: Hugging Face's tensors, one below the other, and perhaps transposed. A linear
/// layer is stored as `[inputs, outputs]`, so that no step of inference transposes it.
#[derive(Debug)]
struct Recipe {
    name: String,
    defs: Vec<TensorDef>,
    transposed: bool,
}

/// A graph, and how the initializers that it leaves open are made.
#[derive(Debug)]
struct Graph {
    model: Model,
    recipes: Vec<Recipe>,
}

impl Graph {
    fn of(spec: &ModelSpec, kind: DataType) -> Option<Self> {
        let parts = Parts::new(spec, kind);
        match &spec.architecture {
            Architecture::Gpt2(gpt2) => Some(gpt2::graph(parts, gpt2)),
            Architecture::Llama(llama) => Some(llama::graph(parts, llama)),
            Architecture::Gemma3(_) => None,
        }
    }

    /// The values of an initializer.
    fn values(&self, source: &dyn TensorSource, tensor: &Tensor) -> Result<Vec<u8>, ZooError> {
        let recipe = self.recipes.iter().find(|recipe| recipe.name == tensor.name).ok_or_else(|| {
            ZooError::Internal { detail: format!("no values for initializer {}", tensor.name) }
        })?;
        let mut values = Vec::new();
        for def in &recipe.defs {
            let more = source.values(def)?;
            if values.is_empty() { values = more } else { values.extend(more) }
        }
        if recipe.transposed {
            let (columns, rows) = (tensor.dims[0] as usize, tensor.dims[1] as usize);
            values = transpose(&values, rows, columns);
        }
        Ok(float_bytes(tensor.kind, &values))
    }
}

fn kind_of(encoding: Encoding) -> Option<DataType> {
    match encoding {
        Encoding::F32 => Some(DataType::F32),
        Encoding::F16 => Some(DataType::F16),
        Encoding::Q8_0 | Encoding::Q4_0 | Encoding::Int8Dynamic => None,
    }
}

/// Why a model cannot be written so, if it cannot.
pub(crate) fn reason_to_skip(spec: &ModelSpec, encoding: Encoding) -> Option<String> {
    // What is made of the F32 graph can exist where that can.
    let encoding = if encoding == Encoding::Int8Dynamic { Encoding::F32 } else { encoding };
    let Some(kind) = kind_of(encoding) else {
        return Some(format!("{} is ggml's and no type of ONNX", encoding.label()));
    };
    let Some(graph) = Graph::of(spec, kind) else {
        return Some(
            "Gemma 3 is not written as ONNX here: its graph of sliding windows is not built".to_owned(),
        );
    };
    let bytes = graph.model.file_bytes();
    (bytes >= TOO_MANY_BYTES)
        .then(|| format!("it would take {bytes} bytes, and one ONNX file holds less than 2 GiB"))
}

/// Writes `spec`'s graph and weights, in `encoding` (F32 or F16), to `path`. Gives the size, the SHA-256 and what was
/// written.
pub(crate) fn write(
    path: &Path,
    spec: &ModelSpec,
    source: &dyn TensorSource,
    encoding: Encoding,
) -> Result<(u64, String, Vec<Written>), ZooError> {
    let graph = kind_of(encoding).and_then(|kind| Graph::of(spec, kind)).ok_or_else(|| {
        let what = format!("{} of {} in ONNX", encoding.label(), spec.family().name());
        ZooError::Unsupported { path: path.to_path_buf(), what }
    })?;
    let mut file = HashedFile::create(path)?;
    graph.model.write_with(|data| file.write(data), |tensor| graph.values(source, tensor))?;
    let (bytes, sha256) = file.finish()?;
    let written = graph
        .model
        .initializers
        .iter()
        .map(|tensor| Written {
            name: tensor.name.clone(),
            stored: tensor.kind.label(),
            bytes: tensor.bytes(),
        })
        .collect();
    Ok((bytes, sha256, written))
}
