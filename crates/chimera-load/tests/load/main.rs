//! Load runs on the simulator, on virtual time unless a test says otherwise.

mod common;
mod loops;
mod plans;
mod real;
mod records;
mod search;
mod trouble;
