//! What both dialects share on the wire: reading a body within its limits, JSON answers, errors, dates. No endpoint is
//! here.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod date;
pub(crate) mod fault;
