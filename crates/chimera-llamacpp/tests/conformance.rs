//! The behaviour suite on a small Llama.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]

#[cfg(feature = "llamacpp")]
mod common;

#[cfg(feature = "llamacpp")]
mod suite {

    use chimera_conformance::{Fixture, MultiByte, conformance_suite, models};
    use chimera_llamacpp::LlamaCppBackend;
    use chimera_zoo::Variant;

    use super::common;

    const MODEL: &str = "llama-0.1m";

    fn fixture() -> Fixture {
        // The tokenizer of the same model in its other container.
        let files = common::files(MODEL, Variant::F32Safetensors);
        let json =
            std::fs::read(files.tokenizer.expect("the model has a tokenizer")).expect("a readable tokenizer");
        let tokenizer = chimera_engine::Tokenizer::from_json(&json).expect("a known tokenizer");
        // The model's tokens are mostly parts of words: it may take some hundred before one is a whole character.
        Fixture::new(MODEL, MultiByte::decodes(move |ids| tokenizer.decode(ids)))
    }

    /// The model with a chat template in its file: the zoo's models bring none.
    fn with_template() -> std::path::PathBuf {
        let folder = std::path::Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/with-template-llamacpp"));
        let files = common::files(MODEL, Variant::F32Gguf);
        models::with_template_inside(&files.weights, MODEL, folder).expect("a copy of the model")
    }

    conformance_suite! {
        backend: |fixture| LlamaCppBackend::builder(fixture.clock())
            .models_dir(with_template())
            .build(),
        fixture: fixture,
        block_on: futures_executor::block_on,
    }
}

#[test]
#[cfg(not(feature = "llamacpp"))]
fn the_suite() {
    println!("SKIP: built without the feature llamacpp (cargo xtask fetch llama-cpp brings what it needs)");
}
