//! Tests of the analyses of TR117 and TR118, on runs made from a formula: what they must find is known.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;
mod designs;
mod tr117;
mod tr118;
