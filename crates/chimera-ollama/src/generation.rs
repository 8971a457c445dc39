//! One generation as a stream: it asks when it is first polled, reads until the body has ended, and closes the connection
//! when it is dropped, which is how a server learns that nobody listens.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use chimera_core::{BackendError, Clock, Event, EventKind, Stamp, StreamError};
use chimera_wire::{Answer, Body, Call, WireError};
use futures_core::{Stream, future::BoxFuture};
use futures_util::FutureExt;

use crate::{
    decode::{Decoder, Expected},
    manage::Server,
    refusal::refused,
};

/// How long the end of a body is waited for after the end of the answer.
const AFTER_END: Duration = Duration::from_secs(2);
/// Bytes of a refusal that are read.
pub(crate) const REFUSAL: usize = 64 * 1024;

type Item = Result<Event, StreamError>;

enum State {
    /// Nothing was asked yet.
    New(Call),
    /// The head of the answer is waited for.
    Asking(BoxFuture<'static, Result<Answer, WireError>>),
    /// The body is read.
    Reading { body: Box<Body>, decoder: Box<Decoder>, late: Option<BoxFuture<'static, ()>> },
    /// The server refused; its reasons are read.
    Refused(BoxFuture<'static, BackendError>),
    /// Nothing more comes.
    Over,
}

/// A generation of one lane.
pub(crate) struct Generation {
    server: Arc<Server>,
    model: String,
    path: &'static str,
    expected: Expected,
    state: State,
    ready: VecDeque<Event>,
    /// An error that ends the lane once what came before it is given out.
    failed: Option<StreamError>,
    /// Set when a generation is dropped while the server may be working on it.
    dropped: Arc<AtomicBool>,
}

impl Generation {
    pub(crate) fn new(
        server: Arc<Server>,
        model: String,
        asked: crate::ask::Asked,
        expected: Expected,
        dropped: Arc<AtomicBool>,
    ) -> Self {
        let call = Call::post(asked.path, asked.json).accept("application/x-ndjson");
        let (path, state) = (asked.path, State::New(call));
        Self { server, model, path, expected, state, ready: VecDeque::new(), failed: None, dropped }
    }

    fn fail(&mut self, at: Stamp, error: BackendError) {
        // What still runs on the server is stopped by the closed connection, some time later.
        if matches!(self.state, State::Asking(_) | State::Reading { .. }) {
            self.dropped.store(true, Ordering::Release);
        }
        self.state = State::Over;
        self.failed = Some(StreamError { at, lane: Some(0), error });
    }

    fn now(&self) -> Stamp {
        self.server.clock.now()
    }

    fn begun(&mut self, answer: Answer) {
        for (at, kind) in [(answer.sent, EventKind::Sent), (answer.headers_at, EventKind::Headers)] {
            self.ready.push_back(Event { at: at.max(answer.sent), lane: 0, kind });
        }
        let status = answer.status.as_u16();
        if status != 200 {
            let server = Arc::clone(&self.server);
            let (model, path) = (self.model.clone(), self.path);
            let why = async move {
                // A body that cannot be read is no reason to lose the status.
                let body = answer.bytes(REFUSAL).await.unwrap_or_default();
                refused(&server.teller, status, &body, &model, path)
            };
            self.state = State::Refused(why.boxed());
            return;
        }
        let kind = answer.content_type();
        if !matches!(kind.as_str(), "" | "application/x-ndjson" | "application/ndjson" | "application/json") {
            let error = self.server.teller.protocol(format_args!("an answer of the type `{kind}`"));
            self.fail(answer.headers_at, error);
            return;
        }
        let decoder = Decoder::new(self.server.teller.clone(), self.expected.clone());
        self.state = State::Reading { body: Box::new(answer.body), decoder: Box::new(decoder), late: None };
    }

    /// Reads on. Ready when there is something to give out, or nothing more.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Reading { body, decoder, late } = &mut self.state else { return Poll::Ready(()) };
        let piece = match Pin::new(&mut **body).poll_next(cx) {
            Poll::Ready(piece) => piece,
            Poll::Pending if decoder.has_ended() => {
                // The answer is whole. A server that does not end its body must not hold up the trial.
                let clock = &self.server.clock;
                let late = late.get_or_insert_with(|| clock.sleep_until(clock.now().after(AFTER_END)));
                ready!(late.as_mut().poll(cx));
                None
            }
            Poll::Pending => return Poll::Pending,
        };
        match piece {
            Some(Ok(piece)) => {
                if let Err(error) = decoder.feed(piece.at, piece.bytes, &mut self.ready) {
                    self.fail(piece.at, error);
                }
            }
            Some(Err(error)) => {
                let error = self.server.teller.wire(error);
                self.fail(self.now(), error);
            }
            None => {
                let State::Reading { decoder, .. } = std::mem::replace(&mut self.state, State::Over) else {
                    return Poll::Ready(());
                };
                if let Err(error) = decoder.finish(&mut self.ready) {
                    self.fail(self.now(), error);
                }
            }
        }
        Poll::Ready(())
    }
}

impl Stream for Generation {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Some(error) = this.failed.take() {
                return Poll::Ready(Some(Err(error)));
            }
            match &mut this.state {
                State::New(call) => {
                    let (call, client) = (call.clone(), this.server.client.clone());
                    this.state = State::Asking(async move { client.send(&call).await }.boxed());
                }
                State::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                    Ok(answer) => this.begun(answer),
                    Err(error) => {
                        let error = this.server.teller.wire(error);
                        this.fail(this.now(), error);
                    }
                },
                State::Refused(why) => {
                    let error = ready!(why.as_mut().poll(cx));
                    this.fail(this.now(), error);
                }
                State::Reading { .. } => ready!(this.read(cx)),
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if matches!(self.state, State::Asking(_) | State::Reading { .. }) {
            self.dropped.store(true, Ordering::Release);
        }
    }
}
