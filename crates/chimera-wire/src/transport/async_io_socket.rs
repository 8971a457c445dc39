//! Sockets on async-io's reactor. Its own thread serves it when no executor of that family runs on this one, so it works
//! under tokio, smol, async-std and a plain `block_on` alike; under `async_io::block_on` no other thread is involved.

use std::{
    io,
    net::{Shutdown, TcpStream},
    task::{Context, Poll, ready},
};

use async_io::Async;
use async_trait::async_trait;

use super::{Connector, Received, Transport, resolve};

/// Connects on async-io's reactor.
#[derive(Debug, Clone, Copy)]
pub struct AsyncIo {
    kernel_stamps: bool,
}

impl AsyncIo {
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

impl Default for AsyncIo {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Connector for AsyncIo {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Transport>> {
        let mut last = None;
        for address in resolve(host, port).await? {
            match Async::<TcpStream>::connect(address).await {
                Ok(stream) => {
                    stream.get_ref().set_nodelay(true)?;
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
    stream: Async<TcpStream>,
    #[cfg(target_os = "linux")]
    kernel: Option<super::kernel::Stamps>,
}

impl Socket {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        #[cfg(target_os = "linux")]
        if let Some(kernel) = &mut self.kernel {
            return kernel.receive(&self.stream, buffer);
        }
        let bytes = io::Read::read(&mut self.stream.get_ref(), buffer)?;
        Ok(Received { bytes, kernel_unix_ns: None })
    }
}

impl Transport for Socket {
    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Received>> {
        loop {
            match self.receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => return Poll::Ready(done),
            }
            ready!(self.stream.poll_readable(cx))?;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match io::Write::write(&mut self.stream.get_ref(), bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => return Poll::Ready(done),
            }
            ready!(self.stream.poll_writable(cx))?;
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.get_ref().shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}
