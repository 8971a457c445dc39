//! Tests of comparisons, plans and A/A rates on runs whose truth is planted.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

mod calls;
mod common;
mod comparable;
mod rates;
