//! The same weights in Candle and in ONNX Runtime: logits within a stated bound, greedy tokens the same; batches, chunks
//! and sessions of fixed shape against the plain way.
#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

mod common;

use std::{path::Path, sync::Arc};

use chimera_candle::CandleBackend;
use chimera_core::{
    Batch, EventKind, InferenceBackend, LoadOptions, ModelRef, Request, Session, SystemClock,
};
use chimera_onnx::{
    Model,
    quantise::{self, Calibrator, DynamicOptions, StaticOptions},
};
use chimera_onnxruntime::{OnnxRuntimeBackend, Optimisation, Shapes, Spinning};
use chimera_zoo::Variant;
use common::wait;
use futures_util::StreamExt;

fn load(backend: &dyn InferenceBackend, path: &Path) -> Arc<dyn Session> {
    wait(backend.load(&ModelRef::at("model", path), &LoadOptions::default())).expect("it loads")
}

fn candle(path: &Path) -> Arc<dyn Session> {
    load(&CandleBackend::builder(SystemClock::new()).build(), path)
}

fn ours(library: &Path, name: &str, variant: Variant) -> Arc<dyn Session> {
    load(&common::backend(library).build(), &common::files(name, variant).dir)
}

/// Some token ids, the same for the same seed.
fn prompt(session: &dyn Session, length: usize, seed: usize) -> Vec<u32> {
    let vocabulary = session.model().vocabulary.expect("a vocabulary") as usize;
    (0..length).map(|i| ((i * 7919 + seed * 104_729 + 13) % vocabulary) as u32).collect()
}

/// Largest difference of two models' logits over a sequence.
fn distance(a: &dyn Session, b: &dyn Session, tokens: &[u32]) -> f32 {
    let (a, b) = (wait(a.logits(tokens)).expect("logits"), wait(b.logits(tokens)).expect("logits"));
    assert_eq!((a.vocabulary, a.values.len()), (b.vocabulary, b.values.len()));
    a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Greedy tokens of every lane.
fn greedy(session: &dyn Session, prompts: &[Vec<u32>], count: u32) -> Vec<Vec<u32>> {
    let batch = Batch(prompts.iter().map(|prompt| Request::tokens(prompt.clone(), count).exact()).collect());
    let mut said = vec![Vec::new(); prompts.len()];
    wait(async {
        let mut events = session.generate(batch);
        while let Some(event) = events.next().await {
            let event = event.expect("an event");
            if let EventKind::Chunk { id: Some(id), .. } = event.kind {
                said[event.lane as usize].push(id);
            }
        }
    });
    said
}

/// Sums of 32-bit floats in another order differ by some units in the last place, and more over more layers. The norm of
/// a stream of two numbers, which is what the smallest model has, makes much of little.
const BOUNDS: &[(&str, f32)] =
    &[("tiny-gpt2", 1e-3), ("llama-0.1m", 5e-5), ("llama-1m", 5e-5), ("gpt2-5m", 2e-4)];

#[test]
fn logits_and_tokens_are_those_of_candle() {
    let Some(library) = common::library() else { return };
    for &(name, bound) in BOUNDS {
        let candle = candle(&common::files(name, Variant::F32Safetensors).dir);
        let ours = ours(&library, name, Variant::F32Onnx);
        let tokens = prompt(&*ours, 90, 1);
        let found = distance(&*candle, &*ours, &tokens);
        println!("{name}: largest difference of logits {found:e}");
        assert!(found < bound, "{name}: {found}");
        let prompts = [prompt(&*ours, 40, 2)];
        assert_eq!(greedy(&*candle, &prompts, 32), greedy(&*ours, &prompts, 32), "{name}");
    }
}

#[test]
fn half_precision_stays_near_whole_precision() {
    let Some(library) = common::library() else { return };
    for name in ["llama-0.1m", "gpt2-5m"] {
        let whole = ours(&library, name, Variant::F32Onnx);
        let half = ours(&library, name, Variant::F16Onnx);
        let found = distance(&*whole, &*half, &prompt(&*whole, 60, 3));
        println!("{name}: F16 differs by {found:e}");
        assert!(found > 0.0 && found < 0.05, "{name}: {found}");
        let (whole, half) = (whole.model(), half.model());
        assert_eq!(half.kv_bytes_per_position.map(|bytes| bytes * 2), whole.kv_bytes_per_position);
        assert_eq!((whole.quantisation.as_deref(), half.quantisation.as_deref()), (Some("F32"), Some("F16")));
        assert_eq!(half.weight_bytes_per_token.map(|bytes| bytes * 2), whole.weight_bytes_per_token);
        assert_eq!(half.parameters, whole.parameters);
    }
}

#[test]
fn what_is_known_of_a_model_is_what_candle_knows() {
    let Some(library) = common::library() else { return };
    for name in ["llama-0.1m", "gpt2-5m"] {
        let candle = candle(&common::files(name, Variant::F32Safetensors).dir);
        let ours = ours(&library, name, Variant::F32Onnx);
        let (candle, ours) = (candle.model(), ours.model());
        assert_eq!(candle.parameters, ours.parameters, "{name}");
        assert_eq!(candle.quantisation, ours.quantisation);
        assert_eq!(
            (candle.layers, candle.width, candle.heads, candle.kv_heads, candle.vocabulary, candle.context),
            (ours.layers, ours.width, ours.heads, ours.kv_heads, ours.vocabulary, ours.context)
        );
        assert_eq!(candle.kv_bytes_per_position, ours.kv_bytes_per_position);
        // A graph reads two more rows, of its cosines and sines.
        let bytes = [candle, ours].map(|model| model.weight_bytes_per_token.expect("bytes") as f64);
        assert!((bytes[0] / bytes[1] - 1.0).abs() < 0.01, "{name}: {bytes:?}");
        assert_eq!(ours.digest.as_ref().map(String::len), Some(64));
    }
}

#[test]
fn padded_lanes_say_what_they_say_alone() {
    let Some(library) = common::library() else { return };
    for name in ["tiny-gpt2", "llama-0.1m"] {
        let session = ours(&library, name, Variant::F32Onnx);
        // Longer than a chunk: the first chunk is nothing but padding for some lanes.
        let prompts: Vec<_> =
            [5, 100, 1, 70].into_iter().enumerate().map(|(i, n)| prompt(&*session, n, i)).collect();
        let alone: Vec<_> =
            prompts.iter().flat_map(|prompt| greedy(&*session, std::slice::from_ref(prompt), 20)).collect();
        assert_eq!(greedy(&*session, &prompts, 20), alone, "{name}");
    }
}

#[test]
fn options_change_how_and_not_what() {
    let Some(library) = common::library() else { return };
    let files = common::files("llama-0.1m", Variant::F32Onnx);
    let make = || OnnxRuntimeBackend::builder(SystemClock::new(), &library);
    let plain = load(&make().build(), &files.dir);
    let prompts = [prompt(&*plain, 80, 4)];
    let wanted = greedy(&*plain, &prompts, 16);
    for (what, builder) in [
        ("not optimised", make().optimisation(Optimisation::None)),
        ("basic", make().optimisation(Optimisation::Basic)),
        ("extended", make().optimisation(Optimisation::Extended)),
        ("one thread", make().threads(std::num::NonZeroUsize::new(1))),
        ("always spinning", make().spinning(Spinning::Always)),
        ("no spinning", make().spinning(Spinning::Off)),
        ("no pattern", make().memory_pattern(false)),
        ("no arena", make().arena(false)),
        ("fixed shapes", make().shapes(Shapes::Fixed(8))),
        ("one fixed shape", make().shapes(Shapes::Fixed(1))),
    ] {
        let session = load(&builder.build(), &files.dir);
        let found = distance(&*plain, &*session, &prompts[0]);
        assert!(found < 5e-5, "{what}: {found}");
        assert_eq!(greedy(&*session, &prompts, 16), wanted, "{what}");
    }
}

#[test]
fn the_optimised_graph_shows_what_is_computed() {
    let Some(library) = common::library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("optimised.onnx");
    let files = common::files("llama-0.1m", Variant::F32Onnx);
    let backend = common::backend(&library).build();
    let observed = backend.optimised(&ModelRef::at("x", &files.dir), &to).expect("it is written");
    println!("{:?}", observed.operators);
    assert!(observed.float_products > 0 && observed.integer_products == 0 && !observed.is_int8());
    assert!(to.is_file());
}

#[test]
fn integers_are_integers_once_optimised_and_say_nearly_the_same() {
    let Some(library) = common::library() else { return };
    let files = common::files("llama-1m", Variant::F32Onnx);
    let backend = common::backend(&library).build();
    let whole = load(&backend, &files.dir);
    let model = Model::read(&files.weights).expect("a graph");
    let calibration: Vec<_> = (10..18).map(|seed| prompt(&*whole, 64, seed)).collect();
    let at = ModelRef::at("x", &files.dir);
    let mut arms =
        vec![("dynamic", quantise::dynamic_int8(&model, &DynamicOptions::default()).expect("a graph"))];
    for calibrator in [Calibrator::MinMax, Calibrator::Percentile(99.99), Calibrator::Entropy] {
        let ranges = backend.ranges(&at, &calibration, calibrator).expect("ranges");
        let graph = quantise::static_int8(&model, &ranges, &StaticOptions::default()).expect("a graph");
        arms.push((calibrator.name(), graph));
    }
    for (what, graph) in arms {
        let folder = tempfile::tempdir().expect("a folder");
        graph.write(&folder.path().join("model.onnx")).expect("a file");
        std::fs::copy(files.config.as_ref().expect("a file"), folder.path().join("config.json"))
            .expect("a copy");
        let at = ModelRef::at("x", folder.path());
        let observed = backend.optimised(&at, &folder.path().join("optimised.onnx")).expect("it is written");
        println!(
            "{what}: {} products of integers, {} of floats",
            observed.integer_products, observed.float_products
        );
        assert!(observed.is_int8(), "{what}: {observed:?}");
        let small = load(&backend, folder.path());
        let found = distance(&*whole, &*small, &prompt(&*whole, 60, 3));
        println!("{what}: differs by {found:e}");
        assert!(found > 0.0 && found < 2.0, "{what}: {found}");
    }
}

#[test]
fn real_weights_say_the_same() {
    let Some(library) = common::library() else { return };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/zoo");
    let zoo = std::env::var_os("CHIMERA_ZOO").map_or_else(|| folder.into(), std::path::PathBuf::from);
    let real = chimera_zoo::Zoo::open(zoo).expect("a folder");
    if !matches!(real.fetched("smollm2-135m"), Ok(Some(_))) {
        println!("SKIP: no real weights here; `cargo xtask models fetch smollm2-135m` brings them");
        return;
    }
    let safetensors = real.ensure("smollm2-135m", Variant::F32Safetensors).expect("they convert");
    let graph = real.ensure("smollm2-135m", Variant::F32Onnx).expect("they convert");
    let candle = candle(&safetensors.dir);
    let ours = load(&common::backend(&library).build(), &graph.dir);
    let tokens =
        wait(ours.tokenize("The capital of France is Paris, and the capital of Italy is")).expect("ids");
    let found = distance(&*candle, &*ours, &tokens);
    println!("smollm2-135m: largest difference of logits {found:e}");
    assert!(found < 1e-3, "{found}");
    let tokens = [tokens];
    assert_eq!(greedy(&*candle, &tokens, 24), greedy(&*ours, &tokens, 24));
}
