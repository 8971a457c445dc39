//! An ONNX graph, checked before TensorRT sees it: NVIDIA's parser takes a text file for an empty graph. Reading and its
//! checks are `chimera-onnx`'s; what an engine must know of a graph is worked out here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use chimera_core::{LoadOptions, ModelInfo};
use chimera_engine::{
    Texts,
    files::{GraphConfig, GraphFiles},
};
use chimera_onnx::{Data, DataType, Model, OnnxError, proto};
use sha2::{Digest, Sha256};

use crate::{
    audit::Precision,
    cache::hex,
    error::TensorRtError,
    interface::{Interface, KEEP},
    model::Parts,
    options::BuildOptions,
    profile::Profiles,
    tensor::{Element, Role, TensorSpec},
};

/// Longest context that is believed.
const LONGEST: u32 = 1 << 24;

/// A graph that an engine can be built from.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// The file. It is what was checked and what is hashed.
    pub(crate) bytes: Vec<u8>,
    /// The file's path, where weights lie in files beside it.
    pub(crate) beside: Option<PathBuf>,
    /// SHA-256 of the file and of those beside it.
    pub(crate) sha256: Vec<String>,
    pub(crate) interface: Interface,
    pub(crate) precision: Precision,
    /// Elements of constants that are weights.
    pub(crate) parameters: u64,
}

/// A graph with what lies beside it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) graph: Graph,
    config: GraphConfig,
    /// Longest prompt and answer together.
    pub(crate) context: u32,
    texts: Texts,
}

impl Source {
    /// Reads and checks a model's files.
    pub(crate) fn read(located: &GraphFiles, options: &LoadOptions) -> Result<Self, TensorRtError> {
        let graph = Graph::read(&located.graph)?;
        let config = GraphConfig::read(&located.folder)?;
        let trained = u32::try_from(config.context).ok().filter(|context| (2..=LONGEST).contains(context));
        let trained = trained.ok_or_else(|| {
            TensorRtError::Unsupported(format!(
                "a context of {} ({})",
                config.context,
                located.graph.display()
            ))
        })?;
        let context = match options.context {
            Some(asked) if asked < 2 || asked > trained => {
                return Err(TensorRtError::Unsupported(format!(
                    "a context of {asked}: {} has one of {trained}",
                    located.graph.display()
                )));
            }
            asked => asked.unwrap_or(trained),
        };
        let texts = Texts::beside(&located.folder, &config.family, graph.interface.vocabulary);
        Ok(Self { graph, config, context, texts })
    }

    /// What a model needs beside its engine.
    pub(crate) fn parts(&self, name: &str, profiles: Profiles, options: &BuildOptions) -> Parts {
        let interface = self.graph.interface.clone();
        let small = |n: usize| u32::try_from(n).ok();
        let mut info = ModelInfo::named(name);
        info.digest = self.graph.sha256.first().cloned();
        info.parameters =
            Some(chimera_core::Parameters { total: self.graph.parameters, active: self.graph.parameters });
        info.layers = small(interface.layers);
        info.width = small(self.config.width);
        info.heads = small(self.config.heads);
        info.kv_heads = small(interface.kv_heads);
        info.vocabulary = small(interface.vocabulary);
        info.context = Some(self.context);
        info.quantisation = Some(match (self.graph.precision, options.allows_tf32()) {
            (Precision::F32, true) => "F32 (TF32 allowed)".to_owned(),
            (precision, _) => precision.to_string(),
        });
        info.kv_bytes_per_position = Some(interface.bytes_per_position() as u64);
        Parts {
            info,
            texts: self.texts.clone(),
            end_of_sequence: self.config.end_of_sequence.clone(),
            context: self.context as usize,
            profiles,
            interface,
        }
    }
}

impl Graph {
    /// Reads and checks a file.
    pub(crate) fn read(path: &Path) -> Result<Self, TensorRtError> {
        let model = Model::read(path).map_err(|error| unsound(path, error))?;
        let bytes = fs::read(path).map_err(|source| TensorRtError::io(path, source))?;
        let mut sha256 = vec![hex(&Sha256::digest(&bytes))];
        let files = external(&model, path);
        for file in &files {
            let data = fs::read(file).map_err(|source| TensorRtError::io(file, source))?;
            sha256.push(hex(&Sha256::digest(data)));
        }
        let beside = (!files.is_empty()).then(|| path.to_owned());
        let interface = Interface::of(&tensors(&model)?)?;
        let precision = precision(&model)?;
        let parameters = weights(&model).map(|(_, elements)| elements).sum();
        Ok(Self { bytes, beside, sha256, interface, precision, parameters })
    }
}

fn unsound(path: &Path, error: OnnxError) -> TensorRtError {
    match error {
        OnnxError::UnknownOperator { .. } | OnnxError::Unsupported { .. } => {
            TensorRtError::Unsupported(error.to_string())
        }
        other => TensorRtError::invalid(path, other.to_string()),
    }
}

/// Files beside a graph that hold its weights, each once. That they lie in its folder was checked by whoever read it.
fn external(model: &Model, path: &Path) -> BTreeSet<PathBuf> {
    model
        .initializers
        .iter()
        .filter_map(|tensor| match &tensor.data {
            Data::File { path: file, .. } if **file != *path => Some(file.to_path_buf()),
            _ => None,
        })
        .collect()
}

/// Types, extents and roles of a graph's inputs and outputs.
fn tensors(model: &Model) -> Result<Vec<TensorSpec>, TensorRtError> {
    let inputs = model.inputs().map(|value| spec(value, Role::Input));
    inputs.chain(model.graph().output.iter().map(|value| spec(value, Role::Output))).collect()
}

fn spec(value: &proto::ValueInfoProto, role: Role) -> Result<TensorSpec, TensorRtError> {
    let name = value.name().to_owned();
    let Some(proto::type_proto::Value::Tensor(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(TensorRtError::Unsupported(format!("this graph: {name} is no tensor")));
    };
    let element = tensor.elem_type.and_then(DataType::from_id).map_or(Element::Other("no type"), element);
    let dims = tensor.shape.as_ref().map_or(&[][..], |shape| &shape.dim);
    let extent = |dim: &proto::Dimension| match dim.value {
        Some(proto::dimension::Value::Number(n)) => usize::try_from(n).ok(),
        _ => None,
    };
    let on_host = role == Role::Input && name == KEEP;
    Ok(TensorSpec { name, role, element, dims: dims.iter().map(extent).collect(), on_host })
}

fn element(kind: DataType) -> Element {
    match kind {
        DataType::F32 => Element::F32,
        DataType::F16 => Element::F16,
        DataType::I64 => Element::I64,
        DataType::I32 => Element::I32,
        DataType::I8 => Element::I8,
        DataType::Bool => Element::Bool,
        other => Element::Other(other.label()),
    }
}

/// Constants with two extents or more, and how many elements they have.
fn weights(model: &Model) -> impl Iterator<Item = (DataType, u64)> {
    model
        .initializers
        .iter()
        .filter(|tensor| tensor.dims.iter().filter(|&&extent| extent > 1).count() >= 2)
        .map(|tensor| (tensor.kind, tensor.dims.iter().product()))
}

/// What a graph claims to be. Networks are strongly typed: the graph's types are the engine's.
fn precision(model: &Model) -> Result<Precision, TensorRtError> {
    let refuse = |what: &str| Err(TensorRtError::Unsupported(format!("this graph: {what}")));
    let operators: BTreeSet<&str> = model.nodes().iter().map(|node| node.op_type()).collect();
    if operators.contains("DynamicQuantizeLinear") || operators.contains("MatMulInteger") {
        return refuse(
            "its activations are quantised while it runs, which TensorRT does not do: static INT8 with pairs of \
             QuantizeLinear and DequantizeLinear is built",
        );
    }
    if operators.contains("QuantizeLinear") && operators.contains("DequantizeLinear") {
        return Ok(Precision::Int8);
    }
    let of = |kind: DataType| -> u64 {
        weights(model).filter(|(found, _)| *found == kind).map(|(_, elements)| elements).sum()
    };
    match (of(DataType::F32), of(DataType::F16)) {
        (0, 0) => refuse("it has neither F32 nor F16 weights"),
        (_, 0) => Ok(Precision::F32),
        (0, _) => Ok(Precision::F16),
        (full, half) => refuse(&format!(
            "its weights are of two types, {full} elements of F32 and {half} of F16: convert it as a whole"
        )),
    }
}
