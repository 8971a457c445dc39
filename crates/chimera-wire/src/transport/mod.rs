//! Sockets as this crate sees them: bytes in with the kernel's receive stamp where there is one, bytes out. A
//! [`Connector`] makes them on some reactor; what is said over them is not known here.

mod async_io_socket;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(feature = "tokio")]
mod tokio_socket;

use std::{
    fmt, io,
    net::SocketAddr,
    task::{Context, Poll},
};

use async_trait::async_trait;

pub use async_io_socket::AsyncIo;
#[cfg(feature = "tokio")]
pub use tokio_socket::Tokio;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes; zero when the other side has ended.
    pub bytes: usize,
    /// When the last of them reached the kernel, in nanoseconds since 1970 by `CLOCK_REALTIME`; `None` where the kernel
    /// does not say.
    pub kernel_unix_ns: Option<u64>,
}

/// A connected byte stream.
pub trait Transport: Send + Unpin {
    /// Reads what is there.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>>;
    /// Writes some of `bytes`; says how many.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Pushes out what a layer below holds back.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends our direction.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Makes connections.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Connects to a host (name or address, IPv6 without brackets). Nagle's algorithm is off.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Transport>>;
}

/// Addresses of a host. A name is looked up on a thread of its own, since the system's resolver blocks.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let found: Vec<SocketAddr> = blocking::unblock(move || {
        std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port)).map(Iterator::collect)
    })
    .await?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
    }
    Ok(found)
}
