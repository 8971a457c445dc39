//! Damaged files: an error with a code, and never the end of the process, which llama.cpp brings about where it finds
//! what it takes for impossible. Every damaged file is loaded and computed with in a child process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]
#![cfg(feature = "llamacpp")]

mod common;

use std::{fs, path::Path, process::Command};

use chimera_core::{InferenceBackend, LoadOptions, ModelRef, Request, SessionExt, SystemClock};
use chimera_llamacpp::LlamaCppBackend;
use chimera_zoo::Variant;
use futures_executor::block_on;

const FILES: &str = "CHIMERA_DAMAGED_FILES";

/// Loads every file of a folder, says each name before and the outcome after.
#[test]
#[ignore = "the process of a damaged file"]
fn child() {
    let Ok(files) = std::env::var(FILES) else { return };
    for path in files.split(':').map(Path::new) {
        println!("AT {}", path.display());
        let backend = LlamaCppBackend::builder(SystemClock::new()).build();
        let loaded = block_on(backend.load(&ModelRef::at("model", path), &LoadOptions::default()));
        let code = match loaded {
            Err(error) => error.code(),
            Ok(session) => match block_on(session.run(Request::tokens(vec![1, 2, 3], 2).exact())) {
                Ok(_) => "fine",
                Err(error) => error.error.code(),
            },
        };
        println!("GOT {code}");
    }
    println!("DONE");
}

/// Codes of all files, or the file at which a process ended.
fn outcomes(files: &[std::path::PathBuf]) -> Result<Vec<String>, String> {
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FILES, names.join(":"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if !said.contains("DONE") {
        let at = said.lines().rev().find_map(|l| l.split_once("AT ").map(|(_, at)| at)).unwrap_or_default();
        return Err(format!("{at}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(said.lines().filter_map(|line| line.split_once("GOT ").map(|(_, code)| code.to_owned())).collect())
}

#[test]
fn damaged_files_are_refused_and_end_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let original = fs::read(common::files("llama-0.1m", Variant::Q8Gguf).weights).unwrap();
    let length = original.len();
    let (mut cut, mut flipped) = (Vec::new(), Vec::new());
    let put = |name: String, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    for at in [0, 1, 3, 4, 7, 8, 12, 23, 24, 100, 1000, length / 2, length - 1] {
        cut.push(put(format!("cut-{at}.gguf"), &original[..at]));
    }
    // The keys and the descriptions of tensors; each with bits that make lengths huge, types odd, names wrong.
    let first = original.windows(10).position(|w| w == b"tokenizer.").unwrap_or(2000);
    let names = original.windows(10).position(|w| w == b"token_embd").unwrap_or(length / 3);
    let places = (0..first.min(1600)).step_by(5).chain((names..names + 2000).step_by(37));
    for at in places.filter(|&at| at < length) {
        for flip in [0x80, 0xFF] {
            let mut bytes = original.clone();
            bytes[at] ^= flip;
            flipped.push(put(format!("flip-{at}-{flip:x}.gguf"), &bytes));
        }
    }
    // The sign of a constant: its own reader lets it through, and its kernel ends the process.
    let key = b"attention.layer_norm_rms_epsilon";
    let mut negative = original.clone();
    let sign = original.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 7;
    negative[sign] ^= 0x80;
    cut.push(put("negative.gguf".into(), &negative));
    let codes = outcomes(&cut).unwrap();
    assert!(codes.len() == cut.len() && codes.iter().all(|code| code == "model-invalid"), "{codes:?}");
    let mut ended = Vec::new();
    let mut kinds = std::collections::BTreeMap::new();
    for files in flipped.chunks(40) {
        match outcomes(files) {
            Ok(codes) => codes.into_iter().for_each(|code| *kinds.entry(code).or_insert(0) += 1),
            // Which of them, and whether others too.
            Err(_) => {
                ended.extend(files.iter().filter_map(|file| outcomes(std::slice::from_ref(file)).err()))
            }
        }
    }
    println!("{kinds:?}");
    assert!(ended.is_empty(), "{} files ended the process:\n{}", ended.len(), ended.join("\n"));
    assert!(kinds.contains_key("model-invalid"), "{kinds:?}");
    let known = ["fine", "model-invalid", "unsupported", "failed", "out-of-memory", "invalid-request"];
    assert!(kinds.keys().all(|code| known.contains(&code.as_str())), "{kinds:?}");
}
