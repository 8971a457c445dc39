//! Arbitrary bytes as an ONNX file. The driver is that of the test `arbitrary` of chimera-onnx.
#![no_main]

#[path = "../../crates/chimera-onnx/tests/arbitrary/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drive::read(data);
});
