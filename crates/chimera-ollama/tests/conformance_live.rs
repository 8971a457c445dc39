//! The suite against a real server, where `CHIMERA_OLLAMA_URL` names one; without it every scenario is skipped with that
//! reason. One server has one slot, and a dropped connection can leave its runner standing still (0.11.4), which would hold
//! up whoever waits beside: so the scenarios take turns, whatever the number of test threads.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use chimera_conformance::{Fixture, MultiByte, conformance_suite};
use chimera_core::{Clock, InferenceBackend, LoadOptions, ModelRef, SystemClock};
use chimera_ollama::OllamaBackend;
use chimera_wire::{Call, Client, Endpoint};
use chimera_zoo::{Variant, Zoo};
use serde_json::{Value, json};

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

fn url() -> Option<String> {
    std::env::var("CHIMERA_OLLAMA_URL").ok().filter(|url| !url.is_empty())
}

fn at(url: &str, clock: Arc<dyn Clock>) -> OllamaBackend {
    let builder = OllamaBackend::builder(Endpoint::parse(url, 11434).unwrap(), clock);
    // The model has a million weights: what takes seconds takes for ever.
    builder.patience(Duration::from_secs(5)).build().unwrap()
}

/// Waits until no other scenario uses the server. A scenario has a thread of its own, and its turn ends with that.
fn take_turns() {
    static TURN: Mutex<()> = Mutex::new(());
    thread_local! {
        static HELD: MutexGuard<'static, ()> = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    }
    HELD.with(|_| ());
}

fn options() -> LoadOptions {
    let mut options = LoadOptions::default();
    options.context = Some(512);
    options
}

/// A prompt whose answer has a character of several bytes, and that character, by the server's own unstreamed answer: weights
/// are random, so nobody knows beforehand.
async fn proof(url: &str) -> (String, String) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backend = at(url, Arc::clone(&clock));
    backend.load(&ModelRef::at(MODEL, file()), &options()).await.unwrap();
    let stored = backend.tags().await.unwrap();
    let name = &stored.iter().find(|stored| stored.name.starts_with(MODEL)).unwrap().name;
    let client = Client::builder(Endpoint::parse(url, 11434).unwrap(), clock).build().unwrap();
    for nonce in 0..64 {
        let prompt = format!("{nonce} größer 数");
        let body = json!({
            "model": name, "prompt": prompt, "raw": true, "stream": false,
            "options": {
                "num_ctx": 512, "num_predict": 64, "temperature": 0, "top_k": 1, "top_p": 1, "min_p": 0,
                "repeat_penalty": 1, "seed": 0,
            },
        });
        let answer = client.send(&Call::post("/api/generate", body.to_string())).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes(1 << 20).await.unwrap()).unwrap();
        let text = answer["response"].as_str().unwrap_or_default();
        if let Some(found) = text.chars().find(|c| !c.is_ascii())
            && !text.contains(char::REPLACEMENT_CHARACTER)
        {
            return (prompt, found.to_string());
        }
    }
    panic!("64 answers without a character of several bytes prove nothing");
}

fn fixture() -> Fixture {
    take_turns();
    static PROOF: OnceLock<(String, String)> = OnceLock::new();
    let url = url();
    let (prompt, text) = match &url {
        Some(url) => PROOF.get_or_init(|| async_io::block_on(proof(url))).clone(),
        None => ("not asked".to_owned(), "é".to_owned()),
    };
    let fixture = Fixture::new(MODEL, MultiByte::contains(prompt, text))
        .with_model(ModelRef::at(MODEL, file()))
        .options(options())
        .time_limit(Duration::from_secs(300))
        .tolerance(Duration::from_millis(50));
    // A server that is named has to be there.
    if url.is_none() { fixture.may_be_absent() } else { fixture }
}

conformance_suite! {
    // Nobody listens on port 1.
    backend: |fixture| at(&url().unwrap_or_else(|| "http://127.0.0.1:1".to_owned()), fixture.clock()),
    fixture: fixture,
    block_on: async_io::block_on,
}
