//! What a server is started with, and why it may refuse to start. Nothing here touches the network.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use chimera_core::{BackendError, ModelRef};

/// How a [`crate::Server`] behaves.
#[derive(Clone)]
pub struct ServeOptions {
    /// Address to listen on; port 0 lets the system choose. Default `127.0.0.1:0`.
    pub bind: SocketAddr,
    /// What clients must send as `Authorization: Bearer …`, `/healthz` excepted. Needed beyond loopback.
    pub token: Option<String>,
    /// Generations at once, over all models. Default 1.
    pub slots: NonZeroUsize,
    /// Requests that may wait for a slot; one more is refused. Default 512.
    pub queue: usize,
    /// How long an unused model stays resident, unless a request says otherwise. Default 5 minutes.
    pub keep_alive: Duration,
    /// Models resident at once; the least recently used idle one makes room. Default 1.
    pub resident: NonZeroUsize,
    /// Longest request body in bytes. Default 16 MiB.
    pub max_body: usize,
    /// How long a client may take to send the head of a request. Default 30 s.
    pub header_timeout: Duration,
    /// From a request's arrival to the end of its answer, a load included. Default 10 minutes.
    pub request_timeout: Duration,
    /// How long running generations may go on when the server is stopped. Default 10 s.
    pub drain: Duration,
    /// Context window in tokens for models that a request names without one; `None` takes the model's own.
    pub context: Option<u32>,
    /// Renders a chat as `role: content` lines for a backend without chat templates. Off by default: no model was
    /// trained on such lines.
    pub plain_chat: bool,
}

impl std::fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token stays out of logs.
        f.debug_struct("ServeOptions")
            .field("bind", &self.bind)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("slots", &self.slots)
            .field("queue", &self.queue)
            .field("keep_alive", &self.keep_alive)
            .field("resident", &self.resident)
            .field("max_body", &self.max_body)
            .field("header_timeout", &self.header_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("drain", &self.drain)
            .field("context", &self.context)
            .field("plain_chat", &self.plain_chat)
            .finish()
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            slots: NonZeroUsize::MIN,
            queue: 512,
            keep_alive: Duration::from_secs(300),
            resident: NonZeroUsize::MIN,
            max_body: 16 << 20,
            header_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(600),
            drain: Duration::from_secs(10),
            context: None,
            plain_chat: false,
        }
    }
}

/// A model that the server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// The name that clients ask for; `name` and `name:latest` are the same.
    pub name: String,
    /// What the backend is asked to load.
    pub reference: ModelRef,
}

impl ServedModel {
    /// A model that clients and backend call by the same name.
    pub fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { reference: ModelRef::named(name.as_str()), name }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Everybody on the network could use the machine: set a token, or listen on loopback.
    #[error("{addr} can be reached from other machines and no token is set: set one, or bind 127.0.0.1")]
    TokenNeeded {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// Somebody listens there already.
    #[error(
        "{addr} is in use: stop the program that listens there, or choose another port (0 finds a free one)"
    )]
    AddressInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {addr}: {source}; choose an address of this machine and a port above 1023")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Options that do not go together, or not with this backend.
    #[error("{reason}: {remedy}")]
    Options {
        /// What is wrong.
        reason: String,
        /// What to change.
        remedy: String,
    },
    /// The backend cannot be used.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// The system gave no thread or no event loop.
    #[error("cannot start the server's threads: {0}; close other programs, or raise the limits of this user")]
    Threads(std::io::Error),
}

impl ServeError {
    /// A short stable name for exit codes and tests.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TokenNeeded { .. } => "token-needed",
            Self::AddressInUse { .. } => "address-in-use",
            Self::Bind { .. } => "bind",
            Self::Options { .. } => "options",
            Self::Backend(error) => error.code(),
            Self::Threads(_) => "threads",
        }
    }
}
