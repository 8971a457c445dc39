//! The work behind the endpoints: who waits, which models are resident, how a request becomes a generation and what is
//! seen of it. No HTTP and no dialect is here.

pub(crate) mod ask;
pub(crate) mod fit;
pub(crate) mod keep;
pub(crate) mod metrics;
pub(crate) mod queue;
pub(crate) mod residents;
pub(crate) mod run;
pub(crate) mod stop;
pub(crate) mod template;
