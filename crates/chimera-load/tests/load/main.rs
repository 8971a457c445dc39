//! Load runs on the simulator, on virtual time unless a test says otherwise.

#![expect(clippy::expect_used, reason = "helpers of tests fail where they stand")]

mod common;
mod loops;
mod plans;
mod real;
mod records;
mod search;
mod trouble;
