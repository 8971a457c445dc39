//! The adapter with llama.cpp: what it says of itself and of models, and what it computes beside Candle on one file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]
#![cfg(feature = "llamacpp")]

mod common;

use std::{path::Path, sync::Arc};

use chimera_candle::CandleBackend;
use chimera_core::{
    Availability, Batch, EventKind, InferenceBackend, LoadOptions, ModelRef, Request, Session, SessionExt,
    SystemClock,
};
use chimera_llamacpp::LlamaCppBackend;
use chimera_zoo::Variant;
use futures_executor::block_on;
use futures_util::StreamExt;

/// Largest difference of two logits on F32 weights; 2.4e-5 was seen. Sums are made in another order.
const BOUND: f32 = 1e-4;
/// The same for GPT-2, 3.7e-3 was seen: llama.cpp looks its GELU up in a table of F16.
const GELU_BOUND: f32 = 1e-2;
/// The same on real weights, whose logits are three times as large; 6.4e-5 was seen.
const REAL_BOUND: f32 = 5e-4;

fn ours(path: &Path, context: Option<u32>) -> chimera_core::Result<Arc<dyn Session>> {
    let mut options = LoadOptions::default();
    options.context = context;
    let backend = LlamaCppBackend::builder(SystemClock::new()).build();
    block_on(backend.load(&ModelRef::at("model", path), &options))
}

fn candle(path: &Path) -> Arc<dyn Session> {
    let backend = CandleBackend::builder(SystemClock::new()).build();
    block_on(backend.load(&ModelRef::at("model", path), &LoadOptions::default())).unwrap()
}

fn prompt(length: usize, seed: usize, vocabulary: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729 + 13) % vocabulary) as u32).collect()
}

#[test]
fn a_probe_says_what_there_is() {
    let probe = block_on(LlamaCppBackend::builder(SystemClock::new()).build().probe()).unwrap();
    assert_eq!(probe.availability, Availability::Ready);
    let detail = |name: &str| probe.details.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(detail("threads"), Some(chimera_llamacpp::threads().to_string().as_str()));
    assert!(detail("system").is_some_and(|system| system.contains("CPU")), "{:?}", probe.details);
    assert!(detail("llama.cpp").is_some() && detail("ggml").is_some());
    // The version that is reported is the one that is built.
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let built =
        lock.split("name = \"llama-cpp-sys-2\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(probe.version, Some(format!("llama-cpp-sys-2 {built}")));
    if cfg!(not(any(feature = "cuda", feature = "metal", feature = "vulkan"))) {
        let gpu = LlamaCppBackend::builder(SystemClock::new()).gpu_layers(99).build();
        let probe = block_on(gpu.probe()).unwrap();
        assert!(matches!(&probe.availability, Availability::NotCompiled { .. }), "{}", probe.availability);
    }
}

/// Holds a file's logits and greedy tokens against those of Candle.
fn compare(name: &str, path: &Path, tokens: &[u32], bound: f32) {
    let (a, b) = (ours(path, None).unwrap(), candle(path));
    let vocabulary = a.model().vocabulary.unwrap() as usize;
    let (x, y) = (block_on(a.logits(tokens)).unwrap(), block_on(b.logits(tokens)).unwrap());
    assert_eq!(x.vocabulary, vocabulary, "{name}");
    assert_eq!(x.values.len(), tokens.len() * vocabulary, "{name}");
    assert_eq!(x.values.len(), y.values.len(), "{name}");
    let differences = || x.values.iter().zip(&y.values).map(|(p, q)| (p - q).abs());
    let worst = differences().fold(0.0, f32::max);
    let place = differences().position(|d| d == worst).unwrap() / vocabulary;
    let largest = y.values.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    println!("{name}: logits of up to {largest} differ by at most {worst:e}, at position {place}");
    assert!(worst < bound, "{name}: {worst}");
    let answer = |session: &Arc<dyn Session>| {
        block_on(session.run(Request::tokens(tokens[..9].to_vec(), 32).exact())).unwrap().ids.unwrap()
    };
    assert_eq!(answer(&a), answer(&b), "{name}");
    let (mut info, mut known) = (a.model().clone(), b.model().clone());
    assert!(info.kv_bytes_per_position.is_some() && info.weight_bytes_per_token.is_some());
    (info.name, known.name) = (String::new(), String::new());
    assert_eq!(info, known, "{name}");
}

#[test]
fn logits_and_greedy_tokens_are_those_of_candle() {
    for (model, bound) in [("llama-0.1m", BOUND), ("llama-1m", BOUND), ("gpt2-5m", GELU_BOUND)] {
        let path = common::files(model, Variant::F32Gguf).weights;
        compare(model, &path, &prompt(70, 3, 512), bound);
    }
}

/// The folder of models that users have.
fn real() -> Option<chimera_zoo::Zoo> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/zoo");
    let zoo = std::env::var_os("CHIMERA_ZOO").map_or_else(|| folder.into(), std::path::PathBuf::from);
    let zoo = chimera_zoo::Zoo::open(zoo).unwrap();
    if !matches!(zoo.fetched("smollm2-135m"), Ok(Some(_))) {
        println!("SKIP: no real weights here; `cargo xtask models fetch smollm2-135m` brings them");
        return None;
    }
    Some(zoo)
}

#[test]
fn real_weights_say_the_same() {
    let Some(zoo) = real() else { return };
    let path = zoo.ensure("smollm2-135m", Variant::F32Gguf).unwrap().weights;
    let session = ours(&path, None).unwrap();
    let text = "The capital of France is Paris, and the capital of Italy is";
    let tokens = block_on(session.tokenize(text)).unwrap();
    drop(session);
    compare("smollm2-135m", &path, &tokens, REAL_BOUND);
}

#[test]
fn lanes_of_different_lengths_are_as_alone() {
    let path = common::files("llama-0.1m", Variant::F32Gguf).weights;
    let session = ours(&path, None).unwrap();
    let requests: Vec<Request> = [(5, 12), (700, 3), (33, 20)]
        .into_iter()
        .map(|(length, budget)| Request::tokens(prompt(length, length, 512), budget).exact())
        .collect();
    let requests: Vec<Request> = requests
        .into_iter()
        .filter(|r| session.model().context.unwrap() > 720 || r.max_tokens != 3)
        .collect();
    let alone: Vec<Vec<u32>> = requests
        .iter()
        .map(|request| block_on(session.run(request.clone())).unwrap().ids.unwrap().to_vec())
        .collect();
    let mut together = vec![Vec::new(); requests.len()];
    block_on(async {
        let mut events = session.generate(Batch(requests));
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            if let EventKind::Chunk { id: Some(id), .. } = event.kind {
                together[event.lane as usize].push(id);
            }
        }
    });
    assert_eq!(together, alone);
}

#[test]
fn a_context_that_memory_does_not_hold_is_refused() {
    let path = common::files("llama-0.1m", Variant::F32Gguf).weights;
    let folder = tempfile::tempdir().unwrap();
    let huge = folder.path().join("huge.gguf");
    let mut bytes = std::fs::read(&path).unwrap();
    let key = b"llama.context_length";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    // 2^28 positions of 256 bytes for each of 64 lanes.
    bytes[at..at + 4].copy_from_slice(&(1u32 << 28).to_le_bytes());
    std::fs::write(&huge, bytes).unwrap();
    let session = ours(&huge, None).unwrap();
    let lanes = vec![Request::tokens(vec![1], (1 << 28) - 1).exact(); 64];
    let error = block_on(async {
        session.generate(Batch(lanes)).filter_map(async |e| e.err()).boxed_local().next().await
    });
    let error = error.expect("an error").error;
    assert_eq!(error.code(), "out-of-memory", "{error}");
    // It lives on.
    assert_eq!(block_on(session.run(Request::tokens(vec![1, 2], 3).exact())).unwrap().generated, Some(3));
    assert_eq!(ours(&path, Some(1 << 29)).err().unwrap().code(), "unsupported");
}
