//! The I/O type under hyper: every read and write of the socket is stamped here, before any HTTP is looked at.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use chimera_core::{Clock, Stamp};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::{LagMeter, framing::Framing, transport::Transport};

/// Bytes of one read. hyper asks for more only when it has room; a token's line is a hundred.
const READ: usize = 16 * 1024;

/// Interim answers (`100 Continue`, `103 Early Hints`) to one request. hyper skips them for as long as they come.
const MOST_INTERIM: u32 = 64;

/// The read that brought the body up to an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Body bytes of this answer that are there after the read.
    pub(crate) end: u64,
    pub(crate) at: Stamp,
    pub(crate) kernel: Option<Stamp>,
}

/// What a connection has seen, shared with whoever reads the answer.
#[derive(Debug)]
pub(crate) struct Tape {
    framing: Framing,
    /// Body bytes of the current answer so far.
    body: u64,
    /// Reads whose body bytes nobody has taken yet.
    arrivals: VecDeque<Arrival>,
    /// The last write before the answer began.
    sent: Option<Stamp>,
    /// Whether anything was read since the request.
    answered: bool,
    /// The read that brought the end of the head.
    head: Option<Stamp>,
    last_read: Option<Stamp>,
}

impl Tape {
    /// Begins another request on the same connection.
    pub(crate) fn begin(&mut self) {
        self.framing.begin();
        self.body = 0;
        self.arrivals.clear();
        self.sent = None;
        self.answered = false;
        self.head = None;
    }

    pub(crate) fn sent(&self) -> Option<Stamp> {
        self.sent
    }

    /// Whether nothing came back since the request.
    pub(crate) fn is_unanswered(&self) -> bool {
        !self.answered
    }

    pub(crate) fn head(&self) -> Option<Stamp> {
        self.head
    }

    pub(crate) fn last_read(&self) -> Option<Stamp> {
        self.last_read
    }

    /// The read that brought the byte at `offset`, and how many bytes from there it brought. Reads before it are
    /// forgotten.
    pub(crate) fn arrival_of(&mut self, offset: u64) -> Option<(Arrival, u64)> {
        while let Some(arrival) = self.arrivals.front() {
            if arrival.end > offset {
                return Some((*arrival, arrival.end - offset));
            }
            self.arrivals.pop_front();
        }
        None
    }

    fn read(&mut self, at: Stamp, kernel: Option<Stamp>, bytes: &[u8]) -> io::Result<()> {
        self.answered = true;
        self.last_read = Some(at);
        let heads = self.framing.heads();
        let body = self.framing.see(bytes);
        if self.framing.heads() > heads {
            self.head.get_or_insert(at);
        }
        if body > 0 {
            self.body += body;
            self.arrivals.push_back(Arrival { end: self.body, at, kernel });
        }
        if self.framing.interim() > MOST_INTERIM {
            let reason = format!("more than {MOST_INTERIM} interim answers to one request");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(())
    }

    fn wrote(&mut self, at: Stamp) {
        // What is written after the answer began is not what it answers.
        if !self.answered {
            self.sent = Some(at);
        }
    }
}

/// A shared tape.
#[derive(Debug, Clone)]
pub(crate) struct SharedTape(Arc<Mutex<Tape>>);

impl SharedTape {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transport whose reads and writes are stamped.
pub(crate) struct Stamped {
    inner: Box<dyn Transport>,
    clock: Arc<dyn Clock>,
    meter: Arc<LagMeter>,
    tape: SharedTape,
    buffer: Box<[u8]>,
}

impl Stamped {
    pub(crate) fn new(inner: Box<dyn Transport>, clock: Arc<dyn Clock>, meter: Arc<LagMeter>) -> Self {
        let tape = Tape {
            framing: Framing::new(),
            body: 0,
            arrivals: VecDeque::new(),
            sent: None,
            answered: false,
            head: None,
            last_read: None,
        };
        let tape = SharedTape(Arc::new(Mutex::new(tape)));
        Self { inner, clock, meter, tape, buffer: vec![0; READ].into_boxed_slice() }
    }

    pub(crate) fn tape(&self) -> SharedTape {
        self.tape.clone()
    }
}

impl Read for Stamped {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = into.remaining().min(this.buffer.len());
        let Some(buffer) = this.buffer.get_mut(..room) else { return Poll::Ready(Ok(())) };
        let received = ready!(this.inner.poll_receive(cx, buffer))?;
        let at = this.clock.now();
        let bytes = buffer.get(..received.bytes).unwrap_or_default();
        if !bytes.is_empty() {
            let kernel = this.meter.take(at, received.kernel_unix_ns);
            this.tape.lock().read(at, kernel, bytes)?;
            into.put_slice(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Stamped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.inner.poll_send(cx, bytes))?;
        let at = this.clock.now();
        this.tape.lock().wrote(at);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.poll_close(cx)
    }
}
