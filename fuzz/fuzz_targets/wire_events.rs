//! Arbitrary bytes in arbitrary pieces as server-sent events. The driver is that of the test `arbitrary` of chimera-openai.
#![no_main]

#[expect(dead_code, reason = "a target drives one decoder")]
#[path = "../../crates/chimera-openai/tests/arbitrary/drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<u8>)| drive::events(&input.0, &input.1));
