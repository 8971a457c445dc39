//! The adapter's public side without llama.cpp: it says so, and what mends it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests, and say what they saw"
)]
#![cfg(not(feature = "llamacpp"))]

use chimera_core::{Availability, BackendExt, InferenceBackend, SystemClock};
use chimera_llamacpp::LlamaCppBackend;
use futures_executor::block_on;

#[test]
fn what_is_not_compiled_in_is_an_answer() {
    let backend = LlamaCppBackend::builder(SystemClock::new()).build();
    let probe = block_on(backend.probe()).unwrap();
    assert!(
        matches!(&probe.availability, Availability::NotCompiled { remedy, .. } if remedy.contains("fetch llama-cpp"))
    );
    assert_eq!(probe.version, None);
    assert_eq!(block_on(backend.load_named("any")).unwrap_err().code(), "unavailable");
}
