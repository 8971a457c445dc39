//! Arbitrary bytes as an ONNX file: an error or a model, never a panic; and a model that was read is written and read
//! again as the same. The fuzz target `onnx_read` drives the same code.

#![allow(
    clippy::expect_used,
    reason = "a broken promise is what this looks for, in tests and in the fuzz target"
)]

use chimera_onnx::{Model, ReadOptions};

/// Reads `data`; gives what an error is called, or `read`.
pub(crate) fn read(data: &[u8]) -> &'static str {
    let mut options = ReadOptions::default();
    options.memory = 64 << 20;
    options.allow = vec!["com.example:*".to_owned()];
    let model = match Model::from_bytes(data, &options) {
        Ok(model) => model,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return error.code();
        }
    };
    // Written by us, it is as sound, and the same.
    let written = model.to_bytes().expect("what was read can be written");
    assert_eq!(written.len() as u64, model.file_bytes());
    options.memory = 256 << 20;
    let again = Model::from_bytes(&written, &options).expect("what we write can be read");
    // Not equal as numbers where a NaN is.
    assert_eq!(again.to_bytes().expect("again"), written);
    "read"
}
