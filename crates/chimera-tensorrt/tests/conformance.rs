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

use chimera_conformance::{Fixture, MultiByte, conformance_suite};
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

/// A folder in which the model is found by its name.
fn models() -> std::path::PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join(MODEL);
        std::fs::create_dir(&to).expect("a folder");
        for entry in std::fs::read_dir(common::files(MODEL, Variant::F32Onnx).dir).expect("a folder") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
        folder
    });
    folder.path().to_owned()
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
        .models_dir(models())
        .cache(EngineCache::at(concat!(env!("CARGO_TARGET_TMPDIR"), "/engines")))
        .build(),
    fixture: fixture,
    block_on: futures_executor::block_on,
    missing: missing,
}
