//! The server over the simulator, by plain sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, where a broken expectation is a failure"
)]

mod hostile;
mod life;
mod ollama;
mod openai;
mod support;
