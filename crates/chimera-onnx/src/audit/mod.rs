//! What a graph holds and computes in, read off the graph itself: which operators work in which precision, how weights are
//! stored, which products are of integers, which claims are false, and how many bytes of weights one decode step reads. Of a
//! graph that an engine wrote after its optimisations it says what that engine will run; of any other, what is asked for.

mod types;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use crate::model::Model;
use crate::proto::{GraphProto, NodeProto};
use crate::quantise::is;
use crate::read::inner_graphs;
use crate::tensor::{DataType, Tensor};
use types::{Types, precision, types};

/// Nodes of one operator and precision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorCount {
    /// The operator, with its domain where that is not the standard one.
    pub operator: String,
    /// What it works in, such as `F32`, `U8 x I8` or `F32 to U8`.
    pub precision: String,
    /// How many nodes.
    pub nodes: u64,
}

/// Constants of one element type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightCount {
    /// The element type.
    pub kind: String,
    /// How many tensors.
    pub tensors: u64,
    /// Elements of all.
    pub elements: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// What a product computes in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Arithmetic {
    /// Integers of eight bits or fewer, sums in 32.
    Integer,
    /// Floats between `DequantizeLinear` and the product: integers if the engine fuses them, floats of this type if it does
    /// not. Only the engine's own optimised graph tells.
    Dequantised,
    /// Floats times weights of four or eight bits that the operator unpacks by itself.
    WeightOnly,
    /// Floats.
    Float,
    /// Types that could not be followed.
    Unknown,
}

/// One product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductAudit {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// Whether one of its factors is a constant; the others are of attention.
    pub constant: bool,
    /// What it computes in.
    pub arithmetic: Arithmetic,
    /// The types of its factors, such as `U8 x I8`.
    pub precision: String,
}

/// A claim about a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// All weights and products are F32.
    F32,
    /// Weights and products are F16.
    F16,
    /// Weights and products are integers of eight bits.
    Int8,
}

/// What a graph holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Operators, sorted.
    pub operators: Vec<OperatorCount>,
    /// Constants by element type, most bytes first.
    pub weights: Vec<WeightCount>,
    /// Every product of two matrices, in the graph's order.
    pub products: Vec<ProductAudit>,
    /// Element types of quantised values that are no constants, such as `U8`.
    pub quantised_activations: Vec<String>,
    /// Bytes of constants that one decode step at batch 1 reads: each once, of a table that is only looked up in one row.
    pub weight_bytes_per_token: u64,
}

/// Audits a graph.
#[must_use]
pub fn audit(model: &Model) -> Audit {
    let types = types(model);
    let mut operators: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut products = Vec::new();
    let mut quantised = HashSet::new();
    let constants = constants(model);
    let sources: HashMap<&str, &NodeProto> = nodes(model.graph())
        .into_iter()
        .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)))
        .collect();
    for node in nodes(model.graph()) {
        let domain = if matches!(node.domain(), "" | "ai.onnx") {
            String::new()
        } else {
            format!("{}:", node.domain())
        };
        let operator = format!("{domain}{}", node.op_type());
        let precision = precision(node, &types);
        *operators.entry((operator.clone(), precision.clone())).or_insert(0) += 1;
        if let Some((arithmetic, factors)) = arithmetic(node, &types, &sources) {
            products.push(ProductAudit {
                node: node.name().to_owned(),
                operator,
                constant: factors.iter().any(|factor| is_constant(factor, &constants, &sources)),
                arithmetic,
                precision,
            });
        }
        for output in &node.output {
            let small = types.get(output).filter(|kind| kind.is_small_integer());
            if let Some(kind) = small.filter(|_| !is_constant(output, &constants, &sources)) {
                quantised.insert(kind.label().to_owned());
            }
        }
    }
    let mut quantised: Vec<String> = quantised.into_iter().collect();
    quantised.sort();
    Audit {
        operators: operators
            .into_iter()
            .map(|((operator, precision), nodes)| OperatorCount { operator, precision, nodes })
            .collect(),
        weights: weights(model),
        products,
        quantised_activations: quantised,
        weight_bytes_per_token: bytes_per_token(model),
    }
}

/// Every node, those of inner graphs too.
fn nodes(graph: &GraphProto) -> Vec<&NodeProto> {
    let mut out: Vec<&NodeProto> = Vec::new();
    let mut open = vec![graph];
    while let Some(graph) = open.pop() {
        for node in &graph.node {
            out.push(node);
            open.extend(inner_graphs(node));
        }
    }
    out
}

fn constants(model: &Model) -> HashSet<&str> {
    let mut out: HashSet<&str> = model.initializers.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut open = vec![model.graph()];
    while let Some(graph) = open.pop() {
        out.extend(graph.initializer.iter().map(|tensor| tensor.name()));
        for node in &graph.node {
            if is(node, "Constant") {
                out.extend(node.output.iter().map(String::as_str));
            }
            open.extend(inner_graphs(node));
        }
    }
    out
}

/// Whether a value is a constant, or one that is turned, cast or dequantised.
fn is_constant(name: &str, constants: &HashSet<&str>, sources: &HashMap<&str, &NodeProto>) -> bool {
    let mut name = name;
    // A graph that was read has no cycle; one that was built may.
    for _ in 0..8 {
        if constants.contains(name) {
            return true;
        }
        let Some(node) = sources.get(name) else { return false };
        let passes = ["Transpose", "DequantizeLinear", "Cast", "Identity", "Reshape"];
        match node.input.first() {
            Some(input) if passes.iter().any(|operator| is(node, operator)) => name = input,
            _ => return false,
        }
    }
    false
}

/// What a product computes in, and the names of its factors; none if the node is no product.
fn arithmetic<'a>(
    node: &'a NodeProto,
    types: &Types,
    sources: &HashMap<&str, &NodeProto>,
) -> Option<(Arithmetic, Vec<&'a str>)> {
    let factors = |places: &[usize]| -> Vec<&'a str> {
        places.iter().filter_map(|at| node.input.get(*at).map(String::as_str)).collect()
    };
    Some(match node.op_type() {
        "MatMulInteger"
        | "MatMulIntegerToFloat"
        | "MatMulInteger16"
        | "ConvInteger"
        | "DynamicQuantizeMatMul"
        | "QAttention" => (Arithmetic::Integer, factors(&[0, 1])),
        "QLinearMatMul" | "QGemm" | "QLinearConv" => (Arithmetic::Integer, factors(&[0, 3])),
        "MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4" => (Arithmetic::WeightOnly, factors(&[0, 1])),
        "MatMul" | "Gemm" | "FusedMatMul" | "FusedGemm" | "Conv" | "FusedConv" => {
            let both = factors(&[0, 1]);
            let through_dequantise = both.iter().all(|factor| {
                let mut source = sources.get(factor);
                // A turned constant is one.
                while let Some(node) = source.filter(|node| is(node, "Transpose")) {
                    source = node.input.first().and_then(|input| sources.get(input.as_str()));
                }
                source.is_some_and(|node| is(node, "DequantizeLinear"))
            });
            let known = both.iter().all(|factor| types.get(*factor).is_some_and(|kind| kind.is_float()));
            let arithmetic = match (through_dequantise, known) {
                (true, _) => Arithmetic::Dequantised,
                (false, true) => Arithmetic::Float,
                (false, false) => Arithmetic::Unknown,
            };
            (arithmetic, both)
        }
        _ => return None,
    })
}

fn weights(model: &Model) -> Vec<WeightCount> {
    let mut by_kind: BTreeMap<DataType, (u64, u64, u64)> = BTreeMap::new();
    let mut open = vec![model.graph()];
    let mut count = |kind: DataType, elements: u64| {
        let entry = by_kind.entry(kind).or_default();
        entry.0 += 1;
        entry.1 += elements;
        entry.2 += kind.bytes_of(elements).unwrap_or(0);
    };
    for tensor in &model.initializers {
        count(tensor.kind, tensor.elements());
    }
    while let Some(graph) = open.pop() {
        for tensor in &graph.initializer {
            if let Some(kind) = DataType::from_id(tensor.data_type()) {
                count(
                    kind,
                    tensor.dims.iter().fold(1, |n: u64, d| n.saturating_mul(u64::try_from(*d).unwrap_or(0))),
                );
            }
        }
        open.extend(graph.node.iter().flat_map(inner_graphs));
    }
    let mut out: Vec<WeightCount> = by_kind
        .into_iter()
        .map(|(kind, (tensors, elements, bytes))| WeightCount {
            kind: kind.label().to_owned(),
            tensors,
            elements,
            bytes,
        })
        .collect();
    out.sort_by_key(|count| std::cmp::Reverse(count.bytes));
    out
}

fn bytes_per_token(model: &Model) -> u64 {
    // By constant: whether anything but a look-up uses it.
    let mut whole: HashMap<&str, bool> = HashMap::new();
    for node in nodes(model.graph()) {
        let axis = crate::quantise::int(node, "axis").unwrap_or(0);
        for (place, input) in node.input.iter().enumerate() {
            let looked_up = is(node, "Gather") && place == 0 && axis == 0;
            *whole.entry(input).or_insert(false) |= !looked_up;
        }
    }
    let read = |tensor: &Tensor| match whole.get(tensor.name.as_str()) {
        None => 0,
        Some(true) => tensor.bytes(),
        Some(false) => tensor.bytes() / tensor.dims.first().copied().unwrap_or(1).max(1),
    };
    model.initializers.iter().map(read).sum()
}

impl Audit {
    /// Products with a constant that compute in this way.
    #[must_use]
    pub fn constant_products(&self, arithmetic: &Arithmetic) -> usize {
        self.products.iter().filter(|product| product.constant && product.arithmetic == *arithmetic).count()
    }

    /// Why a claim about this graph is false, if the graph shows it. A claim that is not refuted may still be false in an
    /// engine that was given this graph: audit the graph that the engine wrote.
    #[must_use]
    pub fn refute(&self, claim: Claim) -> Option<String> {
        let elements = |kind: &str| self.weights.iter().find(|w| w.kind == kind).map_or(0, |w| w.elements);
        let products: Vec<&ProductAudit> = self.products.iter().filter(|product| product.constant).collect();
        let not =
            |fits: &dyn Fn(&ProductAudit) -> bool| products.iter().filter(|product| !fits(product)).count();
        let share = |count: usize, of: &str| {
            (count > 0)
                .then(|| format!("{count} of {} products with constants are not of {of}", products.len()))
        };
        match claim {
            Claim::Int8 => {
                if elements("I8") + elements("U8") == 0 && self.quantised_activations.is_empty() {
                    return Some("no INT8 tensor in this graph".to_owned());
                }
                share(
                    not(&|p| matches!(p.arithmetic, Arithmetic::Integer | Arithmetic::Dequantised)),
                    "eight-bit integers",
                )
            }
            Claim::F16 => {
                if elements("F16") == 0 {
                    return Some("no F16 weight in this graph".to_owned());
                }
                share(not(&|p| p.precision == "F16"), "F16")
            }
            Claim::F32 => {
                let other = self.weights.iter().find(|w| {
                    ["F16", "BF16", "I8", "U8", "I4", "U4"].contains(&w.kind.as_str()) && w.elements > 1
                });
                other
                    .map(|w| format!("{} weights in this graph are {}", w.elements, w.kind))
                    .or_else(|| share(not(&|p| p.precision == "F32"), "F32"))
            }
        }
    }
}
