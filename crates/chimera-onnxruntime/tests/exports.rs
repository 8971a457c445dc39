//! Graphs of other people: without the inputs that only newer exports have, with narrower integers, in folders of their
//! own layout; and files that are damaged or lie, each with an error that says what is wrong.
#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

mod common;

use std::{path::Path, sync::Arc};

use chimera_core::{BackendError, InferenceBackend, LoadOptions, ModelRef, Session};
use chimera_onnx::{Attribute, DataType, Extent, Model, Tensor, node, value};
use chimera_zoo::{ModelFiles, Variant};
use common::wait;

const MODEL: &str = "llama-0.1m";

fn graph() -> (ModelFiles, Model) {
    let files = common::files(MODEL, Variant::F32Onnx);
    let model = Model::read(&files.weights).expect("a readable graph");
    (files, model)
}

/// A folder as Optimum writes it, with a changed graph in it.
fn folder(files: &ModelFiles, model: &Model) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("onnx")).expect("a folder");
    model.write(&folder.path().join("onnx/model.onnx")).expect("a file");
    for (from, to) in [(&files.config, "config.json"), (&files.tokenizer, "tokenizer.json")] {
        std::fs::copy(from.as_ref().expect("a file"), folder.path().join(to)).expect("a copy");
    }
    std::fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": [7, 9]}"#)
        .expect("a file");
    folder
}

fn load(library: &Path, folder: &Path) -> chimera_core::Result<Arc<dyn Session>> {
    let backend = common::backend(library).build();
    wait(backend.load(&ModelRef::at("export", folder), &LoadOptions::default()))
}

/// What makes an older export of a graph.
type Change = fn(&mut Model);

/// The last positions' places, told from the mask: what exports do that take no places.
fn without_positions(model: &mut Model) {
    let graph = model.graph_mut();
    graph.input.retain(|input| input.name() != "position_ids");
    let mut nodes = vec![
        node("CumSum", &["attention_mask", "own_axis"], &["own_counts"], &[]),
        node("Sub", &["own_counts", "own_one"], &["own_all"], &[]),
        node("Max", &["own_all", "own_zero"], &["own_places"], &[]),
        node(
            "Shape",
            &["input_ids"],
            &["own_count"],
            &[("start", Attribute::Int(1)), ("end", Attribute::Int(2))],
        ),
        node("Neg", &["own_count"], &["own_start"], &[]),
        node("Slice", &["own_places", "own_start", "own_end", "own_axes"], &["position_ids"], &[]),
    ];
    nodes.append(&mut graph.node);
    graph.node = nodes;
    model.initializers.extend([
        Tensor::i64s("own_axis".to_owned(), &[], &[1]),
        Tensor::i64s("own_one".to_owned(), &[], &[1]),
        Tensor::i64s("own_zero".to_owned(), &[], &[0]),
        Tensor::i64s("own_end".to_owned(), &[1], &[i64::MAX]),
        Tensor::i64s("own_axes".to_owned(), &[1], &[1]),
    ]);
}

/// The number of kept logits as a constant: all of them.
fn without_keep(model: &mut Model) {
    model.graph_mut().input.retain(|input| input.name() != "num_logits_to_keep");
    model.initializers.push(Tensor::i64s("num_logits_to_keep".to_owned(), &[], &[0]));
}

/// Token ids of 32 bits.
fn narrow(model: &mut Model) {
    let graph = model.graph_mut();
    for input in &mut graph.input {
        if input.name() == "input_ids" {
            let shape = [Extent::Name("batch_size"), Extent::Name("sequence_length")];
            *input = value("input_ids", DataType::I32, &shape);
        }
    }
    for node in &mut graph.node {
        for input in &mut node.input {
            if input == "input_ids" {
                *input = "own_ids".to_owned();
            }
        }
    }
    let cast = node("Cast", &["input_ids"], &["own_ids"], &[("to", Attribute::Int(7))]);
    graph.node.insert(0, cast);
}

#[test]
fn older_exports_give_the_same_logits() {
    let Some(library) = common::library() else { return };
    let (files, plain) = graph();
    let ours = load(&library, &files.dir).expect("it loads");
    let tokens: Vec<u32> = (0..80).map(|i| i * 37 % 251).collect();
    let wanted = wait(ours.logits(&tokens)).expect("logits");
    let changes: [(&str, &[Change]); 4] = [
        ("no number of logits", &[without_keep]),
        ("no places", &[without_positions]),
        ("narrow ids", &[narrow]),
        ("all of it", &[narrow, without_positions, without_keep]),
    ];
    for (what, change) in changes {
        let mut model = plain.clone();
        change.iter().for_each(|change| change(&mut model));
        let folder = folder(&files, &model);
        let session = load(&library, folder.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = wait(session.logits(&tokens)).expect("logits");
        let distance =
            found.values.iter().zip(&wanted.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(distance < 1e-5, "{what}: {distance}");
        assert_eq!(session.model().weight_bytes_per_token, ours.model().weight_bytes_per_token, "{what}");
        assert_eq!(session.model().parameters, None, "{what}: nobody has counted them");
    }
}

#[test]
fn values_inside_a_graph_are_shown_where_it_names_them() {
    let Some(library) = common::library() else { return };
    let (files, plain) = graph();
    let backend = common::backend(&library).build();
    let mut nothing = |_: &str, _: &[f32]| panic!("there is nothing to show");
    let error = backend
        .activations(&ModelRef::at("x", &files.dir), &[vec![1, 2]], &mut nothing)
        .expect_err("no outputs");
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");

    let mut model = plain.clone();
    let product = model.nodes().iter().find(|node| node.op_type() == "MatMul").expect("a product").clone();
    let name = product.output[0].clone();
    let shape = ["batch_size", "sequence_length", "width"].map(Extent::Name);
    model.graph_mut().output.push(value(&name, DataType::F32, &shape));
    let folder = folder(&files, &model);
    let mut seen = Vec::new();
    let mut see = |output: &str, values: &[f32]| {
        assert!(values.iter().all(|value| value.is_finite()) && values.iter().any(|value| *value != 0.0));
        seen.push((output.to_owned(), values.len()));
    };
    let model = ModelRef::at("x", folder.path());
    backend.activations(&model, &[vec![1, 2, 3], vec![4; 6]], &mut see).expect("they are shown");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|(output, _)| *output == name) && seen[1].1 == 2 * seen[0].1, "{seen:?}");
    let error = backend.activations(&model, &[vec![1 << 20]], &mut |_, _| {}).expect_err("no such id");
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
}

#[test]
fn damaged_files_are_named_and_end_nothing() {
    let Some(library) = common::library() else { return };
    let (files, model) = graph();
    let says = |folder: &Path, word: &str| {
        let error = common::refused(load(&library, folder));
        let kind = matches!(
            error,
            BackendError::ModelInvalid { .. }
                | BackendError::Unsupported { .. }
                | BackendError::ModelNotFound { .. }
        );
        assert!(kind && error.to_string().contains(word), "{error:?}");
    };
    let place = folder(&files, &model);
    let path = place.path().join("onnx/model.onnx");
    let whole = std::fs::read(&path).expect("a file");
    for length in [0, 1, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).expect("a file");
        says(place.path(), "model.onnx");
    }
    std::fs::write(&path, "this is no graph").expect("a file");
    says(place.path(), "model.onnx");
    std::fs::remove_file(&path).expect("removed");
    says(place.path(), "no model.onnx");

    let mut missing = model.clone();
    missing.initializers.remove(0);
    says(folder(&files, &missing).path(), "model.onnx");
    let mut strange = model.clone();
    strange.graph_mut().node[0].op_type = Some("NoSuchOperator".to_owned());
    says(folder(&files, &strange).path(), "NoSuchOperator");
    let mut uncached = model.clone();
    uncached.graph_mut().input.retain(|input| !input.name().starts_with("past_key_values.1."));
    says(folder(&files, &uncached).path(), "model.onnx");

    let place = folder(&files, &model);
    let config = place.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("a file");
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let layers = told["num_hidden_layers"].as_u64().expect("layers");
    std::fs::write(
        &config,
        text.replace(&format!("\"num_hidden_layers\": {layers}"), "\"num_hidden_layers\": 77"),
    )
    .expect("a file");
    says(place.path(), "77");
    std::fs::remove_file(&config).expect("removed");
    says(place.path(), "config.json");
}

#[test]
fn a_context_beyond_the_model_is_refused() {
    let Some(library) = common::library() else { return };
    let (files, _) = graph();
    let backend = common::backend(&library).build();
    let mut options = LoadOptions::default();
    options.context = Some(1 << 30);
    let error = common::refused(wait(backend.load(&ModelRef::at("x", &files.dir), &options)));
    assert!(matches!(error, BackendError::Unsupported { .. }), "{error}");
    options.context = Some(16);
    let session = wait(backend.load(&ModelRef::at("x", &files.dir), &options)).expect("it loads");
    assert_eq!(session.model().context, Some(16));
    let error = wait(session.logits(&[1; 17])).expect_err("beyond the context");
    assert!(matches!(error, BackendError::InvalidRequest { .. }), "{error}");
}
