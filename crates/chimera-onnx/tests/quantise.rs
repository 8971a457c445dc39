//! Quantised graphs by hand: the nodes that must be there, the bytes that weights become, and the audit that tells one graph
//! from another. That engines run them, and how far logits move, is tested where the reference packages are.
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside what the lint takes for tests")]

use chimera_onnx::quantise::{
    Activations, DynamicOptions, Range, Ranges, StaticOptions, calibration_graph, calibration_points,
    dynamic_int8, static_int8,
};
use chimera_onnx::{Arithmetic, Attribute, Claim, DataType, Extent, GraphBuilder, Model, Tensor, audit};

const ROWS: Extent<'static> = Extent::Name("rows");

/// A table that tokens are looked up in and that is the head too, a product with its own weights, and one of `Gemm`.
fn graph(kind: DataType) -> Model {
    let mut g = GraphBuilder::new("g", 18);
    g.input("input_ids", DataType::I64, &[ROWS]);
    let table: Vec<f32> = (0..12).map(|i| i as f32 - 6.0).collect();
    let table = g.constant(Tensor::floats("table", &[6, 2], kind, &table));
    let w = g.constant(Tensor::floats("w", &[2, 2], kind, &[1.0, -2.0, 0.5, 1.0]));
    let b = g.constant(Tensor::floats("b", &[2], kind, &[1.0, 1.0]));
    let x = g.node("Gather", &[&table, "input_ids"], &[]);
    let y = g.node("MatMul", &[&x, &w], &[]);
    let z = g.node("Gemm", &[&x, &w, &b], &[("transB", Attribute::Int(0))]);
    let y = g.node("Add", &[&y, &z], &[]);
    let t = g.node("Transpose", &[&y], &[]);
    // Attention-like: two activations.
    let s = g.node("MatMul", &[&y, &t], &[]);
    let y = g.node("MatMul", &[&s, &y], &[]);
    let head = g.node("Transpose", &[&table], &[("perm", Attribute::Ints(vec![1, 0]))]);
    g.named("logits", "MatMul", &[&y, &head], &[]);
    g.output("logits", kind, &[ROWS, Extent::Number(6)]);
    let model = g.finish();
    model.check(&Default::default()).unwrap();
    model
}

fn count(model: &Model, operator: &str) -> usize {
    model.nodes().iter().filter(|node| node.op_type() == operator).count()
}

fn ranges(model: &Model) -> Ranges {
    calibration_points(model).into_iter().map(|p| (p.value, Range { min: -2.0, max: 6.0 })).collect()
}

#[test]
fn dynamic_quantisation_replaces_products_with_constants_and_shares_a_tied_table() {
    let model = graph(DataType::F32);
    let small = dynamic_int8(&model, &DynamicOptions::default()).unwrap();
    small.check(&Default::default()).unwrap();
    assert_eq!(count(&small, "MatMulInteger"), 3);
    assert_eq!((count(&small, "MatMul"), count(&small, "Gemm")), (2, 0), "two activations stay");
    // One activation feeds two products and is quantised once.
    assert_eq!(count(&small, "DynamicQuantizeLinear"), 2);
    let names: Vec<&str> = small.initializers.iter().map(|t| t.name.as_str()).collect();
    assert!(!names.contains(&"table") && !names.contains(&"w") && names.contains(&"b"), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("table")).count(), 2, "{names:?}");
    let table = small.initializer("table_quantised").unwrap();
    // Row 0 is -6, -5: its largest magnitude is 127.
    assert_eq!(&table.load().unwrap()[..2], [-127_i8 as u8, -106_i8 as u8]);
    let audit = audit(&small);
    assert_eq!(audit.constant_products(&Arithmetic::Integer), 3);
    assert_eq!(audit.refute(Claim::Int8), None);
    assert!(audit.refute(Claim::F32).unwrap().contains("I8"));
    // The head reads the whole table; nothing is read twice.
    let constants: u64 = small.initializers.iter().map(Tensor::bytes).sum();
    assert_eq!(audit.weight_bytes_per_token, constants);

    // Without the embedding the table stays beside the head's bytes, and a step looks up one row of it.
    let mut options = DynamicOptions::default();
    options.embedding = false;
    let split = dynamic_int8(&model, &options).unwrap();
    assert!(split.initializer("table").is_some());
    let other: u64 = split.initializers.iter().filter(|t| t.name != "table").map(Tensor::bytes).sum();
    assert_eq!(chimera_onnx::audit(&split).weight_bytes_per_token, other + 8);
}

#[test]
fn what_is_kept_stays_and_the_audit_tells() {
    let model = graph(DataType::F32);
    let mut options = DynamicOptions::default();
    options.keep = vec!["w".to_owned()];
    let partly = dynamic_int8(&model, &options).unwrap();
    let audit = audit(&partly);
    assert_eq!(
        (audit.constant_products(&Arithmetic::Integer), audit.constant_products(&Arithmetic::Float)),
        (1, 2)
    );
    assert!(audit.refute(Claim::Int8).unwrap().contains("2 of 3"));
    options.keep.push("table".to_owned());
    assert_eq!(dynamic_int8(&model, &options).unwrap_err().code(), "onnx.not_possible");
}

#[test]
fn the_static_form_is_symmetric_unless_asked_and_needs_every_range() {
    let model = graph(DataType::F32);
    let fixed = static_int8(&model, &ranges(&model), &StaticOptions::default()).unwrap();
    fixed.check(&Default::default()).unwrap();
    // Two activations; three products; two weights.
    assert_eq!((count(&fixed, "QuantizeLinear"), count(&fixed, "DequantizeLinear")), (2, 5));
    for tensor in fixed.initializers.iter().filter(|tensor| tensor.name.ends_with("_zero")) {
        assert_eq!(tensor.kind, DataType::I8, "{}", tensor.name);
        assert!(tensor.load().unwrap().iter().all(|byte| *byte == 0), "{}", tensor.name);
    }
    // The tied head has bytes of its own, along the rows of the table.
    assert!(fixed.initializer("table").is_some());
    assert_eq!(fixed.initializer("table_scale").unwrap().dims, [6]);
    let found = audit(&fixed);
    assert_eq!(found.constant_products(&Arithmetic::Dequantised), 3);
    assert_eq!(found.quantised_activations, ["I8"]);

    let mut options = StaticOptions::default();
    options.activations = Activations::U8;
    let unsigned = static_int8(&model, &ranges(&model), &options).unwrap();
    assert_eq!(audit(&unsigned).quantised_activations, ["U8"]);

    let mut some = ranges(&model);
    let (missing, _) = some.pop_first().unwrap();
    let error = static_int8(&model, &some, &StaticOptions::default()).unwrap_err();
    assert!(error.code() == "onnx.not_possible" && error.to_string().contains(&missing), "{error}");
    some.insert(missing, Range { min: f32::NAN, max: 1.0 });
    assert_eq!(
        static_int8(&model, &some, &StaticOptions::default()).unwrap_err().code(),
        "onnx.not_possible"
    );
}

#[test]
fn the_calibration_graph_gives_every_activation_that_is_needed() {
    let model = graph(DataType::F32);
    let points = calibration_points(&model);
    assert_eq!(points.len(), 2);
    let graph = calibration_graph(&model).unwrap();
    graph.check(&Default::default()).unwrap();
    let outputs: Vec<&str> = graph.graph().output.iter().map(|output| output.name()).collect();
    assert_eq!(outputs[0], "logits");
    assert_eq!(outputs[1..], points.iter().map(|point| point.output.as_str()).collect::<Vec<_>>());
}

#[test]
fn halves_and_old_operator_sets_are_refused() {
    let half = graph(DataType::F16);
    assert_eq!(dynamic_int8(&half, &DynamicOptions::default()).unwrap_err().code(), "onnx.not_possible");
    assert_eq!(calibration_graph(&half).unwrap_err().code(), "onnx.not_possible");
    let mut old = graph(DataType::F32);
    old.proto.opset_import[0].version = Some(11);
    let error = dynamic_int8(&old, &DynamicOptions::default()).unwrap_err();
    assert!(error.to_string().contains("operator set 11"), "{error}");
}

#[test]
fn claims_are_refuted_by_what_is_in_the_graph() {
    let whole = audit(&graph(DataType::F32));
    assert_eq!(whole.refute(Claim::F32), None);
    assert_eq!(whole.refute(Claim::Int8).unwrap(), "no INT8 tensor in this graph");
    assert_eq!(whole.refute(Claim::F16).unwrap(), "no F16 weight in this graph");
    let half = audit(&graph(DataType::F16));
    assert_eq!(half.refute(Claim::F16), None);
    assert!(half.refute(Claim::F32).unwrap().contains("are F16"));
    assert!(
        half.operators
            .iter()
            .any(|o| (o.operator.as_str(), o.precision.as_str(), o.nodes) == ("MatMul", "F16", 4))
    );

    // Bytes for weights alone are no integer arithmetic: the engine computes in floats.
    let mut g = GraphBuilder::new("g", 18);
    g.input("x", DataType::F32, &[ROWS, Extent::Number(2)]);
    let w = g.constant(Tensor::new("w", &[2, 2], DataType::I8, vec![1, 2, 3, 4]));
    let w = g.node("Cast", &[&w], &[("to", Attribute::Int(1))]);
    g.named("y", "MatMul", &["x", &w], &[]);
    g.output("y", DataType::F32, &[ROWS, Extent::Number(2)]);
    let cast = audit(&g.finish());
    assert_eq!(cast.constant_products(&Arithmetic::Float), 1);
    assert!(cast.refute(Claim::Int8).unwrap().contains("1 of 1"));
    assert!(cast.operators.iter().any(|o| o.precision == "I8 to F32"));
}
