//! The suite against a real server, where `CHIMERA_OLLAMA_URL` names one; without it every scenario is skipped with that
//! reason. One server has one slot: run it with one test thread, or the scenarios wait for each other.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use chimera_conformance::{Fixture, MultiByte, conformance_suite};
use chimera_core::{LoadOptions, ModelRef};
use chimera_ollama::OllamaBackend;
use chimera_wire::Endpoint;
use chimera_zoo::{Variant, Zoo};

const MODEL: &str = "chimera-live";

/// A generated model as a file; its folder stays until the process ends.
fn file() -> PathBuf {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let files = Zoo::open(folder.path()).unwrap().ensure("llama-1m", Variant::F32Gguf).unwrap();
        (folder, files.weights)
    });
    path.clone()
}

fn backend(fixture: &Fixture) -> OllamaBackend {
    // Nobody listens on port 1.
    let url = std::env::var("CHIMERA_OLLAMA_URL").unwrap_or_else(|_| "http://127.0.0.1:1".to_owned());
    let endpoint = Endpoint::parse(&url, 11434).unwrap();
    OllamaBackend::builder(endpoint, fixture.clock()).build().unwrap()
}

fn fixture() -> Fixture {
    let mut options = LoadOptions::default();
    options.context = Some(512);
    Fixture::new(MODEL, MultiByte::contains(PROMPT, ANSWER))
        .with_model(ModelRef::at(MODEL, file()))
        .options(options)
        .time_limit(Duration::from_secs(300))
        .tolerance(Duration::from_millis(50))
        .may_be_absent()
}

/// What the generated model says in its first 64 tokens after this prompt, greedily.
const PROMPT: &str = "The quick brown fox";
const ANSWER: &str = "é";

conformance_suite! {
    backend: backend,
    fixture: fixture,
    block_on: async_io::block_on,
}
