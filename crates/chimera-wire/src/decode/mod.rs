//! Pure decoders: bytes in, lines or events out. They allocate for what is cut in two only, keep no more than their
//! limit, and know neither time nor I/O.

mod lines;
mod sse;

pub use lines::Lines;
pub use sse::{ServerEvent, ServerEvents};

/// A stream that no honest server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A line or an event that does not end.
    #[error("a line or an event is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Text that is not UTF-8.
    #[error("a line is not UTF-8")]
    NotUtf8,
}
