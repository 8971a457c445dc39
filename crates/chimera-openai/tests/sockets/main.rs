//! The adapter against sockets that say exactly what they are told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod environment;
mod faults;
mod kinds;
#[path = "../support/mod.rs"]
mod support;
mod wires;
