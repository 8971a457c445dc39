//! The behaviour suite on a small Llama. Without the library or a GPU nothing can be run: each test says so, in the words of
//! the probe, and returns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]

mod common;

use std::sync::OnceLock;

use chimera_conformance::{Fixture, MultiByte, conformance_suite, models};
use chimera_core::{Availability, InferenceBackend, SystemClock};
use chimera_tensorrt::{EngineCache, TensorRtBackend, TensorRtBackendBuilder};
use chimera_zoo::Variant;

const MODEL: &str = "llama-0.1m";

fn fixture() -> Fixture {
    let files = common::files(MODEL, Variant::F32Onnx);
    let json =
        std::fs::read(files.tokenizer.expect("the model has a tokenizer")).expect("a readable tokenizer");
    let tokenizer = chimera_engine::Tokenizer::from_json(&json).expect("a known tokenizer");
    // The model's tokens are mostly parts of words: it may take some hundred before one is a whole character.
    Fixture::new(MODEL, MultiByte::decodes(move |ids| tokenizer.decode(ids)))
}

/// The model, found by its name, beside a chat template: the zoo's models bring none.
fn with_template() -> std::path::PathBuf {
    let folder = std::path::Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/with-template-tensorrt"));
    let files = common::files(MODEL, Variant::F32Onnx);
    models::with_template_beside(&files.dir, MODEL, folder).expect("a copy of the model")
}

fn with_library(builder: TensorRtBackendBuilder) -> TensorRtBackendBuilder {
    match common::found() {
        Ok(folder) => builder.libraries(folder),
        Err(_) => builder,
    }
}

/// Why nothing can be run here, in the words of the probe.
fn missing() -> Option<String> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let backend = with_library(TensorRtBackend::builder(SystemClock::new())).build();
        let probe = futures_executor::block_on(backend.probe()).expect("a probe always answers");
        match probe.availability {
            Availability::Ready => None,
            obstacle => Some(obstacle.to_string()),
        }
    };
    WHY.get_or_init(ask).clone()
}

conformance_suite! {
    backend: |fixture| with_library(TensorRtBackend::builder(fixture.clock()))
        .models_dir(with_template())
        .cache(EngineCache::at(concat!(env!("CARGO_TARGET_TMPDIR"), "/engines")))
        .build(),
    fixture: fixture,
    block_on: futures_executor::block_on,
    missing: missing,
}
