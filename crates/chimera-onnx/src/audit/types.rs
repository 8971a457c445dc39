//! The element type of every value, as far as operators tell: enough to say in which precision a node works. Shapes are
//! not followed, and what is not known stays unknown.

use std::collections::HashMap;

use crate::model::Model;
use crate::proto::{GraphProto, NodeProto, ValueInfoProto, type_proto};
use crate::quantise::int;
use crate::read::inner_graphs;
use crate::tensor::DataType;

/// Types by value. Inner graphs see the values around them, and names are unique across both.
pub(super) type Types = HashMap<String, DataType>;

/// The types of a model's values.
pub(super) fn types(model: &Model) -> Types {
    let mut types: Types =
        model.initializers.iter().map(|tensor| (tensor.name.clone(), tensor.kind)).collect();
    follow(model.graph(), &mut types);
    types
}

fn declared(value: &ValueInfoProto) -> Option<DataType> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::Tensor(tensor) => DataType::from_id(tensor.elem_type()),
        _ => None,
    }
}

fn follow(graph: &GraphProto, types: &mut Types) {
    for tensor in &graph.initializer {
        if let Some(kind) = DataType::from_id(tensor.data_type()) {
            types.insert(tensor.name().to_owned(), kind);
        }
    }
    for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
        if let Some(kind) = declared(value) {
            types.insert(value.name().to_owned(), kind);
        }
    }
    for node in &graph.node {
        for inner in inner_graphs(node) {
            follow(inner, types);
        }
        for (index, output) in node.output.iter().enumerate() {
            if output.is_empty() || types.contains_key(output) {
                continue;
            }
            if let Some(kind) = given(node, index, types) {
                types.insert(output.clone(), kind);
            }
        }
    }
}

/// The type of a node's output.
fn given(node: &NodeProto, index: usize, types: &Types) -> Option<DataType> {
    let of = |at: usize| node.input.get(at).and_then(|name| types.get(name)).copied();
    let named = |name: &str| int(node, name).and_then(|id| DataType::from_id(id.try_into().ok()?));
    match node.op_type() {
        "Cast" => named("to"),
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => Some(DataType::I64),
        "TopK" if index == 1 => Some(DataType::I64),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "And" | "Or" | "Xor" | "Not"
        | "IsNaN" | "IsInf" => Some(DataType::Bool),
        "DynamicQuantizeLinear" => Some(if index == 1 { DataType::F32 } else { DataType::U8 }),
        "QuantizeLinear" => of(2).or_else(|| named("output_dtype")).or(Some(DataType::U8)),
        "DequantizeLinear" => of(1),
        "MatMulInteger" | "ConvInteger" => Some(DataType::I32),
        "QLinearMatMul" => of(7),
        "DynamicQuantizeMatMul" => of(0),
        "MatMulIntegerToFloat" => of(2),
        // Its output is a float unless it says how to quantise it.
        "QGemm" => of(8).or_else(|| of(1)),
        "Where" => of(1).or_else(|| of(2)),
        "OneHot" => of(2),
        "Constant" | "ConstantOfShape" => {
            let attribute = node.attribute.first();
            match attribute.map(|attribute| (attribute.name(), attribute)) {
                Some(("value", attribute)) => DataType::from_id(attribute.t.as_ref()?.data_type()),
                Some(("value_int" | "value_ints", _)) => Some(DataType::I64),
                Some(("value_float" | "value_floats", _)) => Some(DataType::F32),
                None if node.op_type() == "ConstantOfShape" => Some(DataType::F32),
                _ => None,
            }
        }
        "If" => inner_graphs(node).find_map(|graph| types.get(graph.output.get(index)?.name()).copied()),
        "Loop" | "Scan" | "SequenceAt" => None,
        _ => of(0).or_else(|| of(1)),
    }
}

/// How a node works, in a word: the type it computes in, or what it turns into what.
pub(super) fn precision(node: &NodeProto, types: &Types) -> String {
    let label = |name: Option<&String>| {
        name.and_then(|name| types.get(name))
            .map_or_else(|| "unknown".to_owned(), |kind| kind.label().to_owned())
    };
    let (first, second, out) =
        (label(node.input.first()), label(node.input.get(1)), label(node.output.first()));
    match node.op_type() {
        "Cast" | "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => {
            format!("{first} to {out}")
        }
        "MatMulInteger" | "MatMulIntegerToFloat" => format!("{first} x {second}"),
        "DynamicQuantizeMatMul" => format!("U8 x {second}"),
        "QLinearMatMul" | "QGemm" => format!("{first} x {}", label(node.input.get(3))),
        "MatMul" | "Gemm" | "FusedMatMul" if first != second => format!("{first} x {second}"),
        _ if node.output.is_empty() => first,
        _ => out,
    }
}
