//! Tests of TR121's analysis: on runs made from a formula, and on simulated studies with a planted exponent.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly and say what it counted")]

mod common;
mod findings;
mod planted_truth;
