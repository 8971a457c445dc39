//! Finds what is quantised: products of an activation with a constant matrix, and the embedding that tokens are looked up
//! in.

use std::collections::{HashMap, HashSet};

use crate::model::Model;
use crate::proto::NodeProto;
use crate::tensor::{DataType, Tensor};

/// A product of an activation with a constant matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Product {
    /// Index of its node.
    pub(super) node: usize,
    /// Name of the activation.
    pub(super) activation: String,
    /// Name of the constant.
    pub(super) weight: String,
    /// Whether the constant is stored as `[outputs, inputs]`.
    pub(super) turned: bool,
    /// A `Gemm`'s bias.
    pub(super) bias: Option<String>,
}

impl Product {
    /// The axis of the constant that counts outputs.
    pub(super) fn axis(&self) -> usize {
        usize::from(!self.turned)
    }
}

/// An integer attribute.
pub(crate) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|attribute| attribute.name() == name).and_then(|attribute| attribute.i)
}

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    node.attribute.iter().find(|attribute| attribute.name() == name).and_then(|attribute| attribute.f)
}

/// Whether a node is a standard operator of this type.
pub(crate) fn is(node: &NodeProto, operator: &str) -> bool {
    node.op_type() == operator && matches!(node.domain(), "" | "ai.onnx")
}

/// Every product whose constant is a matrix of F32, in the graph's order.
pub(super) fn products(model: &Model) -> Vec<Product> {
    let matrices: HashMap<&str, &Tensor> = model
        .initializers
        .iter()
        .filter(|tensor| tensor.kind == DataType::F32 && tensor.dims.len() == 2)
        .map(|tensor| (tensor.name.as_str(), tensor))
        .collect();
    let turned: HashMap<&str, &str> = model
        .nodes()
        .iter()
        .filter(|node| is(node, "Transpose"))
        .filter_map(|node| {
            let (input, output) = (node.input.first()?, node.output.first()?);
            let perm = node.attribute.iter().find(|attribute| attribute.name() == "perm");
            let swaps = perm.is_none_or(|perm| perm.ints == [1, 0]);
            (swaps && matrices.contains_key(input.as_str())).then_some((output.as_str(), input.as_str()))
        })
        .collect();
    let mut out = Vec::new();
    for (index, node) in model.nodes().iter().enumerate() {
        let gemm = is(node, "Gemm");
        if !gemm && !is(node, "MatMul") {
            continue;
        }
        let [activation, right, ..] = node.input.as_slice() else { continue };
        // Scaled or turned activations are rare, and another product.
        let plain = int(node, "transA").unwrap_or(0) == 0
            && float(node, "alpha").unwrap_or(1.0) == 1.0
            && float(node, "beta").unwrap_or(1.0) == 1.0;
        if gemm && !plain || matrices.contains_key(activation.as_str()) {
            continue;
        }
        let flipped = int(node, "transB").unwrap_or(0) != 0;
        let (weight, turned) = match turned.get(right.as_str()) {
            Some(weight) => (*weight, !flipped),
            None => (right.as_str(), flipped),
        };
        if !matrices.contains_key(weight) {
            continue;
        }
        let bias = node.input.get(2).filter(|bias| !bias.is_empty()).cloned();
        out.push(Product {
            node: index,
            activation: activation.clone(),
            weight: weight.to_owned(),
            turned,
            bias,
        });
    }
    out
}

/// Tables of F32 that tokens are looked up in: the node's index and the table.
pub(super) fn embeddings(model: &Model) -> Vec<(usize, String)> {
    let inputs: HashSet<&str> =
        model.inputs().map(|input| input.name()).filter(|name| *name == "input_ids").collect();
    let table = |node: &NodeProto| {
        let [table, ids] = node.input.as_slice() else { return None };
        let tensor = model.initializer(table)?;
        let fits =
            tensor.kind == DataType::F32 && tensor.dims.len() == 2 && int(node, "axis").unwrap_or(0) == 0;
        (fits && inputs.contains(ids.as_str())).then(|| table.clone())
    };
    let gathers = model.nodes().iter().enumerate().filter(|(_, node)| is(node, "Gather"));
    gathers.filter_map(|(index, node)| Some((index, table(node)?))).collect()
}
