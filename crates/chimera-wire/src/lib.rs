//! What HTTP adapters share: pure decoders of streamed answers (NDJSON, server-sent events), and a timed HTTP/1.1 stream
//! that stamps bytes where they arrive. It knows no inference server and no model; what lines mean is the adapters'
//! business.
//!
//! A [`Client`] talks to one [`Endpoint`]. [`Client::send`] gives an [`Answer`], whose [`Body`] is a stream of
//! [`Piece`]s: bytes with the stamp of the read that brought them, taken between the socket and the HTTP layer. Nothing
//! is spawned: the connection is driven by whoever polls the body, so any executor will do, and dropping the body closes
//! the connection. Sockets come from a [`Connector`]; [`AsyncIo`] works under every executor.
//!
//! On Linux the kernel's own receive stamps are a second clock: the time between the arrival in the kernel and our stamp
//! is this client's lag, kept by [`LagMeter`].

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod answer;
mod body;
mod client;
mod decode;
mod endpoint;
mod error;
mod framing;
mod lag;
mod link;
mod outgoing;
mod proxy;
mod stamped;
mod teller;
mod tls;
mod transport;

pub use answer::Answer;
pub use body::{Body, Piece};
pub use client::{Call, Client, ClientBuilder, Limits};
pub use decode::{DecodeError, Lines, ServerEvent, ServerEvents};
pub use endpoint::{Endpoint, redacted};
pub use error::WireError;
pub use lag::{Lag, LagMeter};
pub use proxy::Proxy;
pub use teller::{SHOWN, Teller};
#[cfg(feature = "tokio")]
pub use transport::Tokio;
pub use transport::{AsyncIo, Connector, Received, Transport};
