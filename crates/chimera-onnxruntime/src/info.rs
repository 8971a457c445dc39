//! What is known of a model before it runs: from its files, which are read and checked here before ONNX Runtime sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use chimera_core::{ModelInfo, Parameters};
use chimera_engine::{
    files::{FileError, GraphConfig, GraphFiles},
    files_digest,
};
use chimera_onnx::{Data, Model, OnnxError, Tensor};
use serde_json::Value;

use crate::error::LoadError;

/// Reads the files of a model.
pub(crate) fn of_files(
    name: &str,
    located: &GraphFiles,
    config: &GraphConfig,
) -> Result<ModelInfo, LoadError> {
    let graph = &located.graph;
    let model = Model::read(graph).map_err(|error| unsound(graph, error))?;
    let mut info = ModelInfo::named(name);
    let mut files: BTreeSet<&Path> = BTreeSet::new();
    for tensor in &model.initializers {
        if let Data::File { path, .. } = &tensor.data {
            files.insert(path);
        }
    }
    files.remove(graph.as_path());
    let files: Vec<&Path> = std::iter::once(graph.as_path()).chain(files).collect();
    info.digest = Some(files_digest(&files).map_err(|error| LoadError::io(graph, error))?);
    let small = |n: usize| u32::try_from(n).ok();
    info.layers = small(config.layers);
    info.width = small(config.width);
    info.heads = small(config.heads);
    info.kv_heads = small(config.kv_heads);
    info.parameters = recorded_parameters(graph).map(|total| Parameters { total, active: total });
    let weights = Weights::of(&model);
    info.quantisation = weights.precision;
    info.weight_bytes_per_token = Some(weights.bytes_per_token);
    Ok(info)
}

/// What the reader says, sorted by what a user can do.
pub(crate) fn unsound(graph: &Path, error: OnnxError) -> LoadError {
    match error {
        OnnxError::Io { source, .. } => LoadError::io(graph, source),
        OnnxError::Unsupported { .. } | OnnxError::UnknownOperator { .. } => {
            LoadError::unsupported(error.to_string())
        }
        OnnxError::MissingData { .. } => FileError::NotFound(error.to_string()).into(),
        _ => LoadError::invalid(graph, error.to_string()),
    }
}

/// Exact parameters as the `manifest.json` beside a graph has them. They cannot be counted in a graph: a tied head may be
/// stored twice, and tables that are computed look like weights.
fn recorded_parameters(graph: &Path) -> Option<u64> {
    let manifest = std::fs::read(graph.parent()?.join("manifest.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    let name = graph.file_name()?.to_str()?;
    let files = manifest["files"].as_array()?;
    let ours = files.iter().any(|file| file["name"].as_str() == Some(name));
    manifest["params"].as_u64().filter(|_| ours)
}

/// Weights of a graph as they are stored.
#[derive(Debug, PartialEq)]
struct Weights {
    /// The type that most elements have.
    precision: Option<String>,
    /// Bytes that one token reads: of tables that are looked up one row, of everything else all.
    bytes_per_token: u64,
}

impl Weights {
    fn of(model: &Model) -> Self {
        let mut looked_up: BTreeSet<&str> = BTreeSet::new();
        let mut multiplied: BTreeSet<&str> = BTreeSet::new();
        for node in model.nodes() {
            for (index, input) in node.input.iter().enumerate() {
                let table = index == 0 && node.op_type().starts_with("Gather");
                let uses = if table { &mut looked_up } else { &mut multiplied };
                uses.insert(input);
            }
        }
        let weights = || {
            model.initializers.iter().filter(|tensor| {
                !tensor.dims.is_empty() && (tensor.kind.is_float() || tensor.kind.is_small_integer())
            })
        };
        let read = |tensor: &Tensor| {
            let name = tensor.name.as_str();
            if looked_up.contains(name) && !multiplied.contains(name) {
                tensor.bytes() / tensor.dims.first().copied().unwrap_or(1).max(1)
            } else {
                tensor.bytes()
            }
        };
        let mut types: BTreeMap<&str, u64> = BTreeMap::new();
        for tensor in weights() {
            let elements = types.entry(tensor.kind.label()).or_default();
            *elements = elements.saturating_add(tensor.elements());
        }
        let most = types.into_iter().max_by_key(|(_, elements)| *elements);
        Self {
            precision: most.map(|(label, _)| label.to_owned()),
            bytes_per_token: weights().map(read).fold(0, u64::saturating_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use chimera_onnx::{DataType, Extent, GraphBuilder};

    use super::*;

    #[test]
    fn a_table_is_read_by_the_row_and_a_matrix_as_a_whole() {
        let mut graph = GraphBuilder::new("test", 18);
        let ids = graph.input("ids", DataType::I64, &[Extent::Number(1)]);
        let zeros = |name: &str, dims: &[u64], kind| {
            let count = dims.iter().product::<u64>() as usize;
            Tensor::floats(name, dims, kind, &vec![0.0; count])
        };
        let table = graph.constant(zeros("table", &[100, 8], DataType::F16));
        let head = graph.constant(zeros("head", &[8, 20], DataType::F32));
        let row = graph.node("Gather", &[&table, &ids], &[]);
        let wide = graph.node("Cast", &[&row], &[("to", chimera_onnx::Attribute::Int(1))]);
        graph.named("out", "MatMul", &[&wide, &head], &[]);
        let weights = Weights::of(&graph.finish());
        assert_eq!(weights.bytes_per_token, 8 * 2 + 8 * 20 * 4);
        assert_eq!(weights.precision.as_deref(), Some("F16"));
    }
}
