//! Sockets on tokio's reactor, for programs that live there: the reads happen on the runtime's own threads.

use std::{
    io,
    net::Shutdown,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use tokio::{io::Interest, net::TcpStream};

use super::{Connector, Received, Transport, resolve};

/// Connects on the reactor of the tokio runtime that it is called from.
#[derive(Debug, Clone, Copy)]
pub struct Tokio {
    kernel_stamps: bool,
}

impl Tokio {
    /// Asks for the kernel's receive stamps where there are any.
    #[must_use]
    pub fn new() -> Self {
        Self { kernel_stamps: true }
    }

    /// Does without the kernel's receive stamps.
    #[must_use]
    pub fn without_kernel_stamps() -> Self {
        Self { kernel_stamps: false }
    }
}

impl Default for Tokio {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Connector for Tokio {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Transport>> {
        let addresses = resolve(host, port).await?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    #[cfg(target_os = "linux")]
                    let kernel = self.kernel_stamps.then(|| super::kernel::Stamps::of(&stream)).flatten();
                    return Ok(Box::new(Socket {
                        stream,
                        #[cfg(target_os = "linux")]
                        kernel,
                    }));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
    }
}

struct Socket {
    stream: TcpStream,
    #[cfg(target_os = "linux")]
    kernel: Option<super::kernel::Stamps>,
}

impl Transport for Socket {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            #[cfg(target_os = "linux")]
            let read = match &mut self.kernel {
                Some(kernel) => {
                    let stream = &self.stream;
                    stream.try_io(Interest::READABLE, || kernel.receive(stream, buffer))
                }
                None => plain(&self.stream, buffer),
            };
            #[cfg(not(target_os = "linux"))]
            let read = plain(&self.stream, buffer);
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

fn plain(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
    let bytes = stream.try_read(buffer)?;
    Ok(Received { bytes, kernel_unix_ns: None })
}
