//! NVIDIA's own parser and builder on graphs of the zoo: engines for a named compute capability, which takes no device.
//! Without the library each test says so and returns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]
#![cfg(feature = "tensorrt")]

mod common;

use std::path::Path;

use chimera_core::{Availability, InferenceBackend, ModelRef, SessionExt};
use chimera_onnx::{Attribute, DataType, Model, Tensor, node};
use chimera_tensorrt::{
    BuildOptions, Capability, EngineCache, Precision, ReadyEngine, TensorRtBackend, TensorRtError,
};
use chimera_zoo::Variant;
use futures_executor::block_on;

fn ahead() -> BuildOptions {
    // The least that the builder does: what is tested is what is built, not how fast it runs.
    BuildOptions::new(Capability::Sm89).level(0).unwrap()
}

fn backend(libraries: &Path) -> TensorRtBackend {
    common::builder(libraries).options(ahead()).profiles(common::profiles()).build()
}

fn build(backend: &TensorRtBackend, model: &ModelRef) -> ReadyEngine {
    backend.build_engine(model, &common::whole()).unwrap()
}

/// A copy of a model's folder whose graph was changed.
fn changed(name: &str, change: impl FnOnce(&mut Model)) -> (tempfile::TempDir, ModelRef) {
    let files = common::files(name, Variant::F32Onnx);
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(files.config.unwrap(), folder.path().join("config.json")).unwrap();
    let mut model = Model::read(&files.weights).unwrap();
    change(&mut model);
    model.write(&folder.path().join("model.onnx")).unwrap();
    let model = ModelRef::at(name, folder.path());
    (folder, model)
}

/// Puts pairs of quantise and dequantise around every product with a constant. The scales of activations are made up:
/// what is looked at is which types an engine has, and no answer of this graph.
fn quantise(model: &mut Model) {
    let f32s = |name: &str, value: f32| Tensor::floats(name, &[], DataType::F32, &[value]);
    let zero = |name: &str| Tensor::new(name, &[], DataType::I8, vec![0u8]);
    let mut nodes = Vec::new();
    let mut index = 0;
    for mut product in std::mem::take(&mut model.graph_mut().node) {
        let place =
            product.input.get(1).and_then(|name| model.initializers.iter().position(|t| &t.name == name));
        if product.op_type() == "MatMul"
            && let Some(place) = place
        {
            index += 1;
            let weights = &model.initializers[place];
            let values: Vec<f32> = weights
                .load()
                .unwrap()
                .chunks_exact(4)
                .map(|part| f32::from_le_bytes(part.try_into().unwrap()))
                .collect();
            let scale = values.iter().fold(1e-6f32, |most, value| most.max(value.abs())) / 127.0;
            let bytes: Vec<u8> = values.iter().map(|value| (value / scale).round() as i8 as u8).collect();
            let dims = weights.dims.clone();
            let of = |what: &str| format!("q{index}_{what}");
            model.initializers.extend([
                Tensor::new(of("weights"), &dims, DataType::I8, bytes),
                f32s(&of("scale"), scale),
                f32s(&of("in_scale"), 0.05),
                zero(&of("zero")),
            ]);
            let pair = |op: &str, inputs: [String; 3], output: String| {
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                node(op, &inputs, &[&output], &[] as &[(&str, Attribute)])
            };
            nodes.push(pair("DequantizeLinear", [of("weights"), of("scale"), of("zero")], of("wide")));
            let from = product.input[0].clone();
            nodes.push(pair("QuantizeLinear", [from, of("in_scale"), of("zero")], of("in8")));
            nodes.push(pair("DequantizeLinear", [of("in8"), of("in_scale"), of("zero")], of("in")));
            product.input = vec![of("in"), of("wide")];
        }
        nodes.push(product);
    }
    assert!(index > 4, "only {index} products with weights");
    model.graph_mut().node = nodes;
}

#[test]
fn engines_hold_the_precision_of_their_graphs() {
    let Some(libraries) = common::libraries() else { return };
    let backend = backend(&libraries);
    let (_folder, int8) = changed("llama-0.1m", quantise);
    let cases = [
        (common::model("llama-0.1m", Variant::F32Onnx), Precision::F32, "Float"),
        (common::model("llama-0.1m", Variant::F16Onnx), Precision::F16, "Half"),
        (int8, Precision::Int8, "Int8"),
    ];
    for (model, precision, element) in cases {
        let ready = build(&backend, &model);
        let (record, audit) = (&ready.record, &ready.record.audit);
        assert_eq!(record.key.precision, precision);
        assert_eq!(audit.supports(precision), Ok(()), "{audit}");
        assert_eq!(audit.unread, 0, "{audit}");
        // Every product of these graphs. The head is the embedding turned round and no constant, so `quantise` left it as it
        // was, and the audit says so.
        let held = audit.held(element).unwrap();
        if precision == Precision::Int8 {
            assert!(held > 0.5 && held < 1.0, "{audit}");
            assert!((audit.held("Float").unwrap() + held - 1.0).abs() < 1e-9, "{audit}");
        } else {
            assert!(held >= 1.0, "{audit}");
        }
        for other in [Precision::F32, Precision::F16, Precision::Int8] {
            assert_eq!(audit.supports(other).is_ok(), other == precision, "{other}: {audit}");
        }
        assert_eq!(record.bytes, ready.engine.len() as u64);
        assert!(record.bytes > 100_000 && record.build_seconds > 0.0 && !ready.cached);
        assert!(record.key.library.starts_with("1.7."), "{}", record.key.library);
        println!("{precision}: {} B in {:.1} s; {audit}", record.bytes, record.build_seconds);
    }
}

#[test]
fn gpt2_is_built_too() {
    let Some(libraries) = common::libraries() else { return };
    let ready = build(&backend(&libraries), &common::model("gpt2-5m", Variant::F32Onnx));
    assert_eq!(ready.record.audit.supports(Precision::F32), Ok(()));
    // The embedding of 50,257 tokens is looked up in, and is the head's matrix as well.
    assert!(ready.record.audit.tables["Float"] > 1_000_000, "{}", ready.record.audit);
}

#[test]
fn an_engine_is_built_once_and_again_where_anything_differs() {
    let Some(libraries) = common::libraries() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = EngineCache::at(folder.path());
    let with = |options: BuildOptions, profiles| {
        common::builder(&libraries).options(options).profiles(profiles).cache(cache.clone()).build()
    };
    let model = common::model("llama-0.1m", Variant::F32Onnx);
    let first = build(&with(ahead(), common::one_profile()), &model);
    let again = build(&with(ahead(), common::one_profile()), &model);
    assert!(!first.cached && again.cached);
    assert_eq!((&first.engine, &first.record), (&again.engine, &again.record));
    for other in [
        with(ahead().tf32(true), common::one_profile()),
        with(ahead().for_capability(Capability::Sm120), common::one_profile()),
        with(ahead(), common::profiles()),
        with(ahead().workspace(1 << 24).unwrap(), common::one_profile()),
    ] {
        let ready = build(&other, &model);
        assert!(!ready.cached);
        assert_ne!(ready.record.key, first.record.key);
    }
    assert!(
        !build(&with(ahead(), common::one_profile()), &common::model("llama-0.1m", Variant::F16Onnx)).cached
    );

    // A bit that has turned on the disk: the entry is refused by its hash, said, and made again.
    let name = format!("{}.engine", first.record.key.hash().unwrap());
    let mut bytes = first.engine.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let mended = build(&with(ahead(), common::one_profile()), &model);
    assert!(!mended.cached);
    assert!(mended.rejected.unwrap().contains("another hash"));
    assert!(build(&with(ahead(), common::one_profile()), &model).cached);
}

#[test]
fn operators_that_tensorrt_lacks_are_its_own_refusal() {
    let Some(libraries) = common::libraries() else { return };
    // Standard ONNX, so the reader takes it; TensorRT has none of it.
    let (_folder, model) = changed("llama-0.1m", |model| {
        let square = Tensor::floats("square", &[2, 2], DataType::F32, &[1.0, 2.0, 3.0, 4.0]);
        model.initializers.push(square);
        model.graph_mut().node.push(node("Det", &["square"], &["det"], &[]));
    });
    let error = backend(&libraries).build_engine(&model, &common::whole()).unwrap_err();
    assert!(matches!(&error, TensorRtError::Unsupported(what) if what.contains("Det")), "{error}");
    // One that nobody has never reaches it.
    let (_folder, model) = changed("llama-0.1m", |model| {
        model.graph_mut().node.push(node("Frobnicate", &["input_ids"], &["x"], &[]));
    });
    let error = backend(&libraries).build_engine(&model, &common::whole()).unwrap_err();
    assert!(matches!(&error, TensorRtError::Unsupported(what) if what.contains("Frobnicate")), "{error}");
}

#[test]
fn without_a_device_nothing_is_run_and_nvidia_says_why() {
    let Some(libraries) = common::libraries() else { return };
    let backend = common::builder(&libraries).build();
    let probe = block_on(backend.probe()).unwrap();
    assert!(
        probe.version.as_deref().is_some_and(|version| version.starts_with("1.7.")),
        "{:?}",
        probe.version
    );
    let (reason, remedy) = match &probe.availability {
        Availability::NoDevice { reason, remedy } => (reason, remedy),
        Availability::Ready => {
            println!("SKIP: there is a device here");
            return;
        }
        other => panic!("{other}"),
    };
    assert!(reason.contains("cudaError"), "{reason}");
    assert!(remedy.contains("GPU"), "{remedy}");
    let model = common::model("llama-0.1m", Variant::F32Onnx);
    let refused = block_on(backend.load(&model, &common::whole())).unwrap_err();
    assert_eq!(refused.code(), "unavailable");
    assert!(refused.to_string().contains("cudaError"), "{refused}");
    // A capability that is named is no way around it.
    let named = common::builder(&libraries).options(ahead()).build();
    assert_eq!(block_on(named.load(&model, &common::whole())).unwrap_err().code(), "unavailable");
}

#[test]
fn a_device_answers_as_the_reference_does() {
    let Some(libraries) = common::libraries() else { return };
    let backend = common::builder(&libraries).build();
    let probe = block_on(backend.probe()).unwrap();
    if !probe.availability.is_ready() {
        println!("SKIP: {}", probe.availability);
        return;
    }
    let model = common::model("llama-0.1m", Variant::F32Onnx);
    let session = block_on(backend.load(&model, &common::whole())).unwrap();
    let reference = chimera_candle::CandleBackend::builder(chimera_core::SystemClock::new()).build();
    let reference =
        block_on(reference.load(&common::model("llama-0.1m", Variant::F32Safetensors), &common::whole()))
            .unwrap();
    let tokens: Vec<u32> = (0..150u32).map(|i| i * 37 % 500).collect();
    let (ours, theirs) =
        (block_on(session.logits(&tokens)).unwrap(), block_on(reference.logits(&tokens)).unwrap());
    let difference = ours.values.iter().zip(&theirs.values).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(difference < 1e-3, "the logits differ by {difference}");
    let request = || chimera_core::Request::tokens(tokens[..40].to_vec(), 24).exact();
    let (a, b) = (block_on(session.run(request())).unwrap(), block_on(reference.run(request())).unwrap());
    assert_eq!(a.ids, b.ids);
}
