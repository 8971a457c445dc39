//! The behaviour suite on a small Llama.
#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

mod common;

use chimera_candle::CandleBackend;
use chimera_conformance::{Fixture, MultiByte, conformance_suite, models};
use chimera_zoo::Variant;

const MODEL: &str = "llama-0.1m";

fn fixture() -> Fixture {
    let files = common::files(MODEL, Variant::F32Safetensors);
    let json =
        std::fs::read(files.tokenizer.expect("the model has a tokenizer")).expect("a readable tokenizer");
    let tokenizer = chimera_engine::Tokenizer::from_json(&json).expect("a known tokenizer");
    // The model's tokens are mostly parts of words: it may take some hundred before one is a whole character.
    Fixture::new(MODEL, MultiByte::decodes(move |ids| tokenizer.decode(ids)))
}

/// The model beside a chat template: the zoo's models bring none.
fn with_template() -> std::path::PathBuf {
    let folder = std::path::Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/with-template-candle"));
    let files = common::files(MODEL, Variant::F32Safetensors);
    models::with_template_beside(&files.dir, MODEL, folder).expect("a copy of the model")
}

conformance_suite! {
    backend: |fixture| CandleBackend::builder(fixture.clock())
        .models_dir(with_template())
        .build(),
    fixture: fixture,
    block_on: futures_executor::block_on,
}
