//! The adapter against sockets that say exactly what they are told.

mod environment;
mod faults;
mod models;
#[path = "../support/mod.rs"]
mod support;
mod wires;
