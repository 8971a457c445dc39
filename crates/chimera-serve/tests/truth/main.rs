//! The scripted server is held against a client that reads raw bytes: what it sends, when, and what it says about it.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod bytes;
mod client;
mod ends;
mod fixtures;
mod limits;
mod log;
mod schedule;
mod throughput;
