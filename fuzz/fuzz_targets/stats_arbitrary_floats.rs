//! Any bytes, read as floats of every kind, through every public function of the statistics. The driver is that of the
//! test `arbitrary_floats` of chimera-stats, which runs twenty thousand random strings.
#![no_main]

#[expect(dead_code, unused_imports, reason = "the count of checked values is for the test")]
#[path = "../../crates/chimera-stats/tests/arbitrary/mod.rs"]
mod arbitrary;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| arbitrary::drive(bytes));
