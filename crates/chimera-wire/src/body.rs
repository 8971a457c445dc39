//! The body of an answer as a stream of stamped pieces. Reading it drives the connection; dropping it before its end
//! closes the connection, which is how a server learns that nobody listens any more.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use chimera_core::{Clock, Stamp};
use futures_core::{Stream, future::BoxFuture};
use hyper::body::{Body as _, Incoming};

use crate::{WireError, client::Pool, link::Link};

/// Bytes that one read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// When the read returned.
    pub at: Stamp,
    /// When the kernel had the read's last byte; `None` where it does not say. Pieces of one read share their stamps.
    pub kernel: Option<Stamp>,
    /// Part of the body.
    pub bytes: Bytes,
}

/// A body. Ends after an error.
pub struct Body {
    link: Option<Link>,
    incoming: Incoming,
    /// What hyper gave and nobody took yet.
    held: Bytes,
    /// Body bytes given out.
    given: u64,
    last: Stamp,
    limit: u64,
    stall: Duration,
    clock: Arc<dyn Clock>,
    timer: Option<(Stamp, BoxFuture<'static, ()>)>,
    pool: Arc<Pool>,
    done: bool,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("given", &self.given).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn new(link: Link, incoming: Incoming, last: Stamp, pool: Arc<Pool>) -> Self {
        let (limit, stall) = (pool.limits.body, pool.limits.stall);
        let clock = Arc::clone(&pool.clock);
        Self {
            link: Some(link),
            incoming,
            held: Bytes::new(),
            given: 0,
            last,
            limit,
            stall,
            clock,
            timer: None,
            pool,
            done: false,
        }
    }

    /// Whom it comes from.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.pool.name
    }

    /// The stamp of the last read: the end of the answer, when it has ended.
    #[must_use]
    pub fn last_read(&self) -> Stamp {
        self.last
    }

    /// The next part of what hyper gave, with the stamp of the read that brought it.
    fn take(&mut self) -> Option<Piece> {
        if self.held.is_empty() {
            return None;
        }
        let arrival = self.link.as_ref().and_then(|link| link.tape.lock().arrival_of(self.given));
        let (at, kernel, length) = match arrival {
            Some((arrival, left)) => {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.held.len());
                (arrival.at, arrival.kernel, length)
            }
            // Framing that we read otherwise than hyper: the last stamp is late, but true.
            None => (self.last, None, self.held.len()),
        };
        self.last = self.last.max(at);
        self.given += length as u64;
        Some(Piece { at: self.last, kernel, bytes: self.held.split_to(length) })
    }

    fn fail(&mut self, error: WireError) -> Poll<Option<Result<Piece, WireError>>> {
        self.done = true;
        self.link = None;
        Poll::Ready(Some(Err(error)))
    }

    /// The end: gives the connection back when it can be used again.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.done = true;
        let Some(mut link) = self.link.take() else { return };
        link.drive(cx);
        if let Some(at) = link.tape.lock().last_read() {
            self.last = self.last.max(at);
        }
        self.pool.give_back(link);
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let due = self.last.after(self.stall);
            let (_, timer) = self.timer.get_or_insert_with(|| (due, self.clock.sleep_until(due)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer = None;
            if self.clock.now() >= due {
                return true;
            }
        }
    }
}

impl Stream for Body {
    type Item = Result<Piece, WireError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(piece) = this.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        if this.done {
            return Poll::Ready(None);
        }
        let mut driven = false;
        loop {
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if this.given + data.len() as u64 > this.limit {
                        let endpoint = this.pool.name.clone();
                        let what = "the answer";
                        return this.fail(WireError::TooLarge { endpoint, what, limit: this.limit });
                    }
                    this.held = data;
                    if let Some(piece) = this.take() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = this.pool.lost(&error);
                    return this.fail(error);
                }
                Poll::Ready(None) => {
                    this.end(cx);
                    return Poll::Ready(None);
                }
                // The body is empty: let the connection fill it, then look once more.
                Poll::Pending if !std::mem::replace(&mut driven, true) => {
                    if let Some(link) = &mut this.link {
                        link.drive(cx);
                    }
                }
                Poll::Pending => {
                    if this.stalled(cx) {
                        let endpoint = this.pool.name.clone();
                        let (what, limit) = ("the next part of the answer", this.stall);
                        return this.fail(WireError::Timeout { endpoint, what, limit });
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}
