//! Our tables and tokenizers beside llama.cpp's own.

use std::path::PathBuf;

use chimera_core::LoadOptions;
use chimera_engine::{LanguageModel, files::Encoding};
use chimera_zoo::{Variant, Zoo};
use llama_cpp_sys_2 as sys;

use super::Model;

#[test]
fn blocks_are_as_large_as_ggml_has_them() {
    for encoding in Encoding::all() {
        #[expect(unsafe_code, reason = "llama-cpp-2 has no names for these")]
        // SAFETY: both look into a constant table by a number that it has.
        let (block, bytes) =
            unsafe { (sys::ggml_blck_size(encoding.number), sys::ggml_type_size(encoding.number)) };
        assert_eq!((encoding.block as i64, encoding.bytes), (block, bytes as u64), "{}", encoding.name);
    }
}

/// Texts where tokenizers differ: digits, spaces, letters of other scripts, contractions, an emoji of several parts.
const TEXTS: &[&str] = &[
    "The quick brown fox jumps over the lazy dog.",
    "In 2024, 1234567 people paid $3.50; that's 100%.",
    "  two spaces,\ttabs\nand\n\nlines  ",
    "Grüße aus Köln — naïve café, Ελλάδα, русский, 日本語",
    "fn main() { println!(\"{}\", x[0] += 1); }",
    "👩‍👩‍👧 don't WON'T I'll",
];

fn same_ids(path: &std::path::Path) {
    let model = Model::load("model", path, &LoadOptions::default(), 0).unwrap();
    let ours = model.tokenizer().unwrap();
    for text in TEXTS {
        let theirs = model.vocab().tokenize(text.as_bytes(), false, false);
        let theirs: Vec<u32> = theirs.iter().map(|token| token.0 as u32).collect();
        assert_eq!(ours.encode(text).unwrap(), theirs, "{}: {text:?}", path.display());
    }
}

#[test]
fn our_tokenizer_gives_the_ids_of_llama_cpp() {
    // The test's program is in `deps` of the build folder.
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().and_then(|deps| deps.parent()).unwrap().join("chimera-llamacpp-zoo");
    let zoo = Zoo::open(folder).unwrap();
    same_ids(&zoo.ensure("llama-0.1m", Variant::F32Gguf).unwrap().weights);

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/zoo");
    let zoo =
        Zoo::open(std::env::var_os("CHIMERA_ZOO").map_or_else(|| folder.into(), PathBuf::from)).unwrap();
    match zoo.fetched("smollm2-135m") {
        Ok(Some(files)) => same_ids(&files.weights),
        _ => println!("SKIP: no real weights here; `cargo xtask models fetch smollm2-135m` brings them"),
    }
}
