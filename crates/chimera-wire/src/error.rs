//! What can go wrong on a wire, sorted by what a caller can do about it. What a server says of a request (a status, an
//! error message) is not an error here: adapters read it.

use std::{io, time::Duration};

/// A failure between us and a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The address cannot be used: write another.
    #[error("the address `{address}` cannot be used: {reason}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// Nobody answers: start the server or correct the address.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Whom.
        endpoint: String,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The other side could not prove who it is, or speaks no TLS that we know.
    #[error("no secure connection to {endpoint}: {reason}")]
    Tls {
        /// Whom.
        endpoint: String,
        /// What was refused.
        reason: String,
    },
    /// No answer in time: it may answer later.
    #[error("{endpoint}: {what} took longer than {} s", limit.as_secs_f64())]
    Timeout {
        /// Whom.
        endpoint: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The connection broke before the answer was whole: ask again.
    #[error("the connection to {endpoint} broke: {reason}")]
    Lost {
        /// Whom.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// The server answered something that this client does not take: report it.
    #[error("{endpoint} answered what cannot be used: {detail}")]
    Protocol {
        /// Whom.
        endpoint: String,
        /// What was seen.
        detail: String,
    },
    /// The answer is longer than any honest one.
    #[error("{endpoint}: {what} is longer than {limit} bytes")]
    TooLarge {
        /// Whom.
        endpoint: String,
        /// What.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
}

impl WireError {
    /// A short stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "address",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::Lost { .. } => "lost",
            Self::Protocol { .. } => "protocol",
            Self::TooLarge { .. } => "too-large",
        }
    }

    /// The same error in the words of the contract. `backend` is who is asked.
    #[must_use]
    pub fn into_backend(self, backend: &chimera_core::BackendId) -> chimera_core::BackendError {
        use chimera_core::BackendError;
        let backend = backend.clone();
        match self {
            Self::Address { .. } | Self::Connect { .. } | Self::Tls { .. } => {
                BackendError::Unavailable { backend, reason: self.to_string() }
            }
            Self::Timeout { limit, .. } => BackendError::Timeout { backend, seconds: limit.as_secs_f64() },
            Self::Lost { .. } => BackendError::failed(&backend, self),
            Self::Protocol { .. } | Self::TooLarge { .. } => {
                BackendError::Protocol { backend, detail: self.to_string() }
            }
        }
    }
}
