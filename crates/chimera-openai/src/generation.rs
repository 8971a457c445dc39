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
use futures_util::{FutureExt, StreamExt};

use crate::{
    ask::{Asked, renamed},
    decode::{Decoder, Expected},
    refusal::{message_of, refused, told},
    server::{REFUSAL, Server, wants_other_name},
};

/// How long the end of a body is waited for after `[DONE]`.
const AFTER_END: Duration = Duration::from_secs(2);

type Item = Result<Event, StreamError>;

/// What the generations of a session know of each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The server may be working on something that nobody waits for.
    pub(crate) dropped: AtomicBool,
    /// The server refused `max_tokens` of a chat and wants `max_completion_tokens`.
    pub(crate) renamed: AtomicBool,
}

enum State {
    /// Nothing was asked yet.
    New,
    /// The head of the answer is waited for.
    Asking(BoxFuture<'static, Result<Answer, WireError>>),
    /// The body is read.
    Reading { body: Box<Body>, decoder: Box<Decoder>, late: Option<BoxFuture<'static, ()>> },
    /// The server refused; its reasons are read.
    Refused { sent: Stamp, headers: Stamp, why: BoxFuture<'static, Refusal> },
    /// Nothing more comes.
    Over,
}

/// A refusal, or that the same may be asked with the budget under its other name.
enum Refusal {
    Final(BackendError),
    OtherName,
}

/// A generation of one lane.
pub(crate) struct Generation {
    server: Arc<Server>,
    model: String,
    asked: Asked,
    is_chat: bool,
    expected: Expected,
    state: State,
    ready: VecDeque<Event>,
    /// An error that ends the lane once what came before it is given out.
    failed: Option<StreamError>,
    shared: Arc<Shared>,
}

impl Generation {
    pub(crate) fn new(
        server: Arc<Server>,
        model: String,
        mut asked: Asked,
        is_chat: bool,
        expected: Expected,
        shared: Arc<Shared>,
    ) -> Self {
        if is_chat
            && shared.renamed.load(Ordering::Acquire)
            && let Some(json) = renamed(&asked.json)
        {
            asked.json = json;
        }
        let (ready, failed) = (VecDeque::new(), None);
        Self { server, model, asked, is_chat, expected, state: State::New, ready, failed, shared }
    }

    fn fail(&mut self, at: Stamp, error: BackendError) {
        // What still runs on the server is stopped by the closed connection, some time later.
        if matches!(self.state, State::Asking(_) | State::Reading { .. }) {
            self.shared.dropped.store(true, Ordering::Release);
        }
        self.state = State::Over;
        self.failed = Some(StreamError { at, lane: Some(0), error });
    }

    fn now(&self) -> Stamp {
        self.server.clock.now()
    }

    fn ask(&mut self) {
        let call = Call::post(self.asked.path, self.asked.json.clone()).accept("text/event-stream");
        let client = self.server.client.clone();
        self.state = State::Asking(async move { client.send(&call).await }.boxed());
    }

    fn begun(&mut self, sent: Stamp, headers: Stamp) {
        for (at, kind) in [(sent, EventKind::Sent), (headers.max(sent), EventKind::Headers)] {
            self.ready.push_back(Event { at, lane: 0, kind });
        }
    }

    fn answered(&mut self, answer: Answer) {
        let (sent, headers) = (answer.sent, answer.headers_at);
        let status = answer.status.as_u16();
        let kind = answer.content_type();
        if status == 200 && matches!(kind.as_str(), "" | "text/event-stream") {
            self.begun(sent, headers);
            let decoder = Decoder::new(self.server.teller.clone(), self.expected.clone());
            self.state =
                State::Reading { body: Box::new(answer.body), decoder: Box::new(decoder), late: None };
            return;
        }
        let server = Arc::clone(&self.server);
        let (model, path) = (self.model.clone(), self.asked.path);
        let other_name = self.is_chat && renamed(&self.asked.json).is_some();
        let why = async move {
            // A body that cannot be read is no reason to lose the status.
            let body = beginning(answer).await;
            if status == 200 {
                // Some servers say what is wrong with a good status; anything else is no stream.
                return Refusal::Final(match message_of(&body) {
                    Some(message) => told(&server.teller, &message),
                    None => server
                        .teller
                        .protocol(format_args!("an answer of the type `{kind}` instead of a stream")),
                });
            }
            if other_name && wants_other_name(status, &body) {
                return Refusal::OtherName;
            }
            Refusal::Final(refused(&server.teller, status, &body, &model, path))
        };
        self.state = State::Refused { sent, headers, why: why.boxed() };
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

/// The beginning of a body, as much as a refusal may be long.
async fn beginning(mut answer: Answer) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < REFUSAL
        && let Some(Ok(piece)) = answer.body.next().await
    {
        all.extend_from_slice(&piece.bytes);
    }
    all.truncate(REFUSAL);
    all
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
                State::New => this.ask(),
                State::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                    Ok(answer) => this.answered(answer),
                    Err(error) => {
                        let error = this.server.teller.wire(error);
                        this.fail(this.now(), error);
                    }
                },
                State::Refused { sent, headers, why } => {
                    let (sent, headers) = (*sent, *headers);
                    match ready!(why.as_mut().poll(cx)) {
                        Refusal::Final(error) => {
                            this.begun(sent, headers);
                            this.fail(this.now(), error);
                        }
                        Refusal::OtherName => {
                            // The stamps are those of the request that is answered.
                            this.shared.renamed.store(true, Ordering::Release);
                            if let Some(json) = renamed(&this.asked.json) {
                                this.asked.json = json;
                            }
                            this.ask();
                        }
                    }
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
            self.shared.dropped.store(true, Ordering::Release);
        }
    }
}
