//! Every fault of a server on every adapter: what comes is documented (`docs/faults.md`), nothing panics or hangs, memory
//! stays bounded, the next request on the same session works, and every trial has its outcome.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "faults/adapter.rs"]
mod adapter;
#[path = "faults/cases.rs"]
mod cases;
#[path = "faults/content.rs"]
mod content;
#[path = "faults/http.rs"]
mod http;
#[path = "faults/matrix.rs"]
mod matrix;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/midway.rs"]
mod midway;
#[path = "faults/outcome.rs"]
mod outcome;
#[path = "faults/server.rs"]
mod server;
