//! TR112: the Rust agent against the Python agent. It compares reports of different weeks: the rates are the server's, so
//! what differs between the weeks differs between the “languages”. Both languages ran on one day for TR116, and that is
//! where the question can be asked; and it asks for what a client can own, the time between server and client.

mod python;
mod same_day;
mod v1;
mod v2;

use crate::Replay;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&v1::Tr112V1, &v2::Tr112];
