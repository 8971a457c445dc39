//! Damaged files: an error that names the file, never a panic.

use std::{fs, path::Path};

use chimera_engine::files::FileError;
use chimera_zoo::Variant;

use super::{files, load_at};
use crate::error::LoadError;

/// Loads a damaged copy; whatever it is, it must not panic, and what is refused names the file.
fn try_damaged(path: &Path, original: &[u8], what: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
    let mut bytes = original.to_vec();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    match std::panic::catch_unwind(|| load_at(path).map(|_| ())) {
        Err(_) => panic!("{what}: it panicked"),
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            let said = error.to_string();
            let about_file =
                matches!(error, LoadError::File(FileError::Invalid { .. })) && said.contains("weights.");
            assert!(
                about_file || matches!(error, LoadError::File(FileError::Unsupported(_))),
                "{what}: {error:?}"
            );
            false
        }
    }
}

fn damage(variant: Variant, name: &str) {
    let files = files("llama-0.1m", variant);
    let folder = tempfile::tempdir().unwrap();
    if let Some(config) = &files.config {
        fs::copy(config, folder.path().join("config.json")).unwrap();
    }
    let path = folder.path().join(name);
    let original = fs::read(&files.weights).unwrap();
    assert!(try_damaged(&path, &original, "nothing", |_| {}));
    let length = original.len();
    for cut in [0, 1, 3, 4, 7, 8, 12, 23, 24, 100, 1000, length / 2, length - 1] {
        assert!(
            !try_damaged(&path, &original, &format!("cut at {cut}"), |b| b.truncate(cut)),
            "cut at {cut}"
        );
    }
    // The header: every byte at the start, then some; each with bits that make lengths huge, types odd, names wrong.
    let header: Vec<usize> = (0..64).chain((64..4000).step_by(37)).collect();
    let mut survived = 0;
    for &at in &header {
        for flip in [0x01, 0x80, 0xFF] {
            survived +=
                usize::from(try_damaged(&path, &original, &format!("{flip:#x} at {at}"), |b| b[at] ^= flip));
        }
    }
    // Some of the header is only described and not computed with; most is not.
    assert!(survived < header.len() * 3, "no damage was ever noticed");
}

#[test]
fn damaged_gguf_is_refused() {
    damage(Variant::Q8Gguf, "weights.gguf");
}

#[test]
fn damaged_safetensors_are_refused() {
    damage(Variant::F32Safetensors, "weights.safetensors");
}

#[test]
fn a_missing_tensor_and_a_wrong_shape_are_named() {
    let files = files("llama-0.1m", Variant::F32Safetensors);
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    fs::copy(&files.weights, &weights).unwrap();
    let config = fs::read_to_string(files.config.unwrap()).unwrap();
    let write = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        fs::write(folder.path().join("config.json"), config.replace(from, to)).unwrap();
        match load_at(folder.path()) {
            Err(error @ LoadError::File(FileError::Invalid { .. })) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let said = write("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(said.contains("model.layers.2") && said.contains("missing"), "{said}");
    let said = write("\"intermediate_size\": 128", "\"intermediate_size\": 96");
    assert!(said.contains("ffn_gate") && said.contains("[128, 64]"), "{said}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let missing = load_at(folder.path()).map(|_| ()).unwrap_err();
    assert!(missing.to_string().contains("config.json"), "{missing}");
}
