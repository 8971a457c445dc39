//! What ONNX Runtime has made of a graph: the optimised graph, written by the library and read back. What a file promises
//! is one thing; which products are computed in which type is seen here alone, before any claim of a precision.

use std::{collections::BTreeMap, path::Path};

use chimera_onnx::Model;

use crate::{
    build::{self, Variation},
    error::LoadError,
    info::unsound,
    library::Loaded,
    options::Options,
};

/// Products of integers, in the standard and among ONNX Runtime's own operators.
const INTEGER: &[&str] = &[
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QLinearMatMul",
    "QGemm",
    "QAttention",
    "DynamicQuantizeLSTM",
    "ConvInteger",
    "QLinearConv",
];

/// Products of floats. `MatMulNBits` reads small integers and multiplies floats unless it is told otherwise.
const FLOAT: &[&str] = &[
    "MatMul",
    "Gemm",
    "FusedMatMul",
    "FusedGemm",
    "MatMulNBits",
    "Attention",
    "MultiHeadAttention",
    "GroupQueryAttention",
    "Conv",
    "FusedConv",
];

/// Operators of an optimised graph.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// How often each operator occurs.
    pub operators: BTreeMap<String, usize>,
    /// Products with a constant, which are a model's weights, computed in integers.
    pub integer_products: usize,
    /// The same computed in floats.
    pub float_products: usize,
}

impl Observed {
    /// Whether the graph may be called one of 8-bit integers: every product with weights is computed in integers.
    #[must_use]
    pub fn is_int8(&self) -> bool {
        self.integer_products > 0 && self.float_products == 0
    }

    /// Reads a graph.
    pub(crate) fn of(model: &Model) -> Self {
        let mut observed = Self::default();
        let constant = |name: &String| model.initializer(name).is_some();
        for node in model.nodes() {
            let operator = node.op_type();
            *observed.operators.entry(operator.to_owned()).or_default() += 1;
            // A product of two activations, as in attention, has no weights.
            if node.input.iter().any(constant) {
                if INTEGER.contains(&operator) {
                    observed.integer_products += 1;
                } else if FLOAT.contains(&operator) {
                    observed.float_products += 1;
                }
            }
        }
        observed
    }
}

/// Writes the optimised graph to a file and reads what is in it.
pub(crate) fn optimised(
    library: &Loaded,
    graph: &Path,
    options: &Options,
    to: &Path,
) -> Result<Observed, LoadError> {
    Model::read(graph).map_err(|error| unsound(graph, error))?;
    // The session is made for the file's sake: it is written when it is made.
    drop(build::session(library, graph, options, Variation { shape: None, optimised: Some(to) })?);
    let model = Model::read(to).map_err(|error| unsound(to, error))?;
    Ok(Observed::of(&model))
}

#[cfg(test)]
mod tests {
    use chimera_onnx::{DataType, Extent, GraphBuilder, Tensor};

    use super::*;

    #[test]
    fn integers_are_claimed_only_where_all_weights_are_multiplied_so() {
        let build = |operators: &[(&str, bool)]| {
            let mut graph = GraphBuilder::new("test", 18);
            let x = graph.input("x", DataType::F32, &[Extent::Number(2), Extent::Number(2)]);
            let w = graph.constant(Tensor::floats("w", &[2, 2], DataType::F32, &[0.0; 4]));
            for (operator, weights) in operators {
                graph.node(operator, &[&x, if *weights { &w } else { &x }], &[]);
            }
            Observed::of(&graph.finish())
        };
        assert!(build(&[("MatMulInteger", true), ("MatMul", false)]).is_int8());
        assert!(!build(&[("MatMulInteger", true), ("MatMul", true)]).is_int8());
        assert!(!build(&[("MatMul", true)]).is_int8());
        assert!(!build(&[("MatMul", false)]).is_int8(), "a graph without weights claims nothing");
        let observed = build(&[("MatMul", true), ("MatMul", true), ("Add", true)]);
        assert_eq!(
            (observed.float_products, observed.operators["MatMul"], observed.operators["Add"]),
            (2, 2, 1)
        );
    }
}
