//! The behaviour suite on a small Llama.
#![expect(clippy::expect_used, reason = "helpers of tests fail like tests")]

mod common;

use chimera_candle::CandleBackend;
use chimera_conformance::{Fixture, MultiByte, conformance_suite};
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
    let plain = common::models_dir(MODEL, Variant::F32Safetensors).join(MODEL);
    let folder = std::path::PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/with-template"));
    std::fs::create_dir_all(folder.join(MODEL)).expect("a folder");
    let place = |name: &std::ffi::OsStr, bytes: &[u8]| {
        // Several tests may come here at once: whole files or none.
        let (to, thread) = (folder.join(MODEL).join(name), std::thread::current().id());
        let partial = folder.join(format!("{}-{}-{thread:?}", std::process::id(), name.display()));
        std::fs::write(&partial, bytes).expect("a file");
        std::fs::rename(&partial, &to).expect("a file");
    };
    for entry in std::fs::read_dir(plain).expect("the model") {
        let entry = entry.expect("a file of the model");
        if !entry.file_name().display().to_string().starts_with('.') {
            place(&entry.file_name(), &std::fs::read(entry.path()).expect("a readable file"));
        }
    }
    place(
        "chat_template.jinja".as_ref(),
        b"{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    );
    folder
}

conformance_suite! {
    backend: |fixture| CandleBackend::builder(fixture.clock())
        .models_dir(with_template())
        .build(),
    fixture: fixture,
    block_on: futures_executor::block_on,
}
