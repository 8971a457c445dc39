//! Arbitrary answers of OpenAI's interface in arbitrary pieces. The driver is that of the test `arbitrary` of chimera-openai.
#![no_main]

#[expect(dead_code, reason = "a target drives one decoder")]
#[path = "../../crates/chimera-openai/tests/arbitrary/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| drive::answers(&input.0, &input.1, input.2));
