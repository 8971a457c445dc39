//! Dynamic quantisation: each run finds the range of each activation, multiplies integers, and scales the sums back. The
//! nodes are those that ONNX Runtime fuses into one: `DynamicQuantizeLinear`, `MatMulInteger`, `Cast`, `Mul`.

use std::collections::{HashMap, HashSet};

use super::products::{embeddings, products};
use super::{refuse, sweep, weights};
use crate::build::{Attribute, node};
use crate::error::{OnnxError, Result};
use crate::model::Model;
use crate::proto::NodeProto;
use crate::tensor::DataType;

/// What is quantised, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DynamicOptions {
    /// Whether the table that tokens are looked up in is stored in bytes too, one scale a row. A head that is tied to it
    /// then shares these bytes; otherwise the table stays F32 beside the head's bytes.
    pub embedding: bool,
    /// Whether weights keep to seven bits. Processors with AVX2 and no VNNI add pairs of products in 16 bits, and eight bits
    /// saturate there.
    pub seven_bits: bool,
    /// Constants that stay as they are, by name.
    pub keep: Vec<String>,
}

impl Default for DynamicOptions {
    fn default() -> Self {
        Self { embedding: true, seven_bits: false, keep: Vec::new() }
    }
}

/// A graph that computes its products with constants in integers, activations quantised anew in every run.
///
/// # Errors
/// [`OnnxError::NotPossible`] if nothing can be quantised, as in a graph of F16; those of reading its weights.
pub fn dynamic_int8(model: &Model, options: &DynamicOptions) -> Result<Model> {
    refuse(model, "dynamic quantisation")?;
    let keep: HashSet<&str> = options.keep.iter().map(String::as_str).collect();
    let found: Vec<_> =
        products(model).into_iter().filter(|product| !keep.contains(product.weight.as_str())).collect();
    if found.is_empty() {
        return Err(OnnxError::NotPossible {
            what: "dynamic quantisation".to_owned(),
            reason: format!("{} multiplies no activation by a constant matrix of F32", model.label()),
        });
    }
    let largest = if options.seven_bits { 63 } else { 127 };
    let mut out = model.clone();
    let mut stored: HashMap<String, usize> = HashMap::new();
    let mut store = |out: &mut Model, name: &str, axis: usize| -> Result<bool> {
        if let Some(before) = stored.get(name) {
            return Ok(*before == axis);
        }
        let Some(tensor) = model.initializer(name) else { return Ok(false) };
        let (data, scales) = weights::quantise(tensor, axis, largest)?;
        out.initializers.push(data);
        out.initializers.push(scales);
        stored.insert(name.to_owned(), axis);
        Ok(true)
    };
    let mut replaced: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    let mut quantised: HashSet<&str> = HashSet::new();
    let cast = |kind: DataType| [("to", Attribute::Int(kind.id().into()))];
    for product in &found {
        // A constant that two products use along different axes has its scales for the first alone.
        if !store(&mut out, &product.weight, product.axis())? {
            continue;
        }
        let Some(y) = model.nodes()[product.node].output.first() else { continue };
        let a = &product.activation;
        let [bytes, scale, zero] = ["quantised", "scale", "zero"].map(|part| format!("{a}_{part}"));
        let mut nodes = Vec::new();
        if quantised.insert(a) {
            nodes.push(node("DynamicQuantizeLinear", &[a], &[&bytes, &scale, &zero], &[]));
        }
        let mut weight = weights::quantised(&product.weight);
        if product.turned {
            let turned = format!("{y}_turned");
            let perm = [("perm", Attribute::Ints(vec![1, 0]))];
            nodes.push(node("Transpose", &[&weight], &[&turned], &perm));
            weight = turned;
        }
        let [sums, wide, factor] = ["sums", "wide", "factor"].map(|part| format!("{y}_{part}"));
        nodes.push(node("MatMulInteger", &[&bytes, &weight, &zero], &[&sums], &[]));
        nodes.push(node("Cast", &[&sums], &[&wide], &cast(DataType::F32)));
        nodes.push(node("Mul", &[&scale, &weights::scale(&product.weight)], &[&factor], &[]));
        match &product.bias {
            None => nodes.push(node("Mul", &[&wide, &factor], &[y], &[])),
            Some(bias) => {
                let scaled = format!("{y}_scaled");
                nodes.push(node("Mul", &[&wide, &factor], &[&scaled], &[]));
                nodes.push(node("Add", &[&scaled, bias], &[y], &[]));
            }
        }
        replaced.insert(product.node, nodes);
    }
    if options.embedding {
        for (index, table) in embeddings(model) {
            if keep.contains(table.as_str()) || !store(&mut out, &table, 0)? {
                continue;
            }
            let old = &model.nodes()[index];
            let (Some(ids), Some(y)) = (old.input.get(1), old.output.first()) else { continue };
            let [rows, wide, scale, factor, axis] =
                ["rows", "wide", "scales", "factor", "axis"].map(|part| format!("{y}_{part}"));
            out.initializers.push(crate::tensor::Tensor::i64s(axis.clone(), &[1], &[-1]));
            let nodes = vec![
                node("Gather", &[&weights::quantised(&table), ids], &[&rows], &[]),
                node("Cast", &[&rows], &[&wide], &cast(DataType::F32)),
                node("Gather", &[&weights::scale(&table), ids], &[&scale], &[]),
                node("Unsqueeze", &[&scale, &axis], &[&factor], &[]),
                node("Mul", &[&wide, &factor], &[y], &[]),
            ];
            replaced.insert(index, nodes);
        }
    }
    let graph = out.graph_mut();
    graph.node = std::mem::take(&mut graph.node)
        .into_iter()
        .enumerate()
        .flat_map(|(index, node)| replaced.remove(&index).unwrap_or_else(|| vec![node]))
        .collect();
    sweep(&mut out);
    out.path = None;
    Ok(out)
}
