//! One generation as the server sees it: pieces of text, then an end with what was measured. Dropping it cancels the
//! generation and gives slot and model back once the backend is at rest.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use chimera_core::{
    BackendError, EventKind, EventStream, FinishReason, Finished, Phase, Request, Stamp, StreamError,
};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    ask::{Ask, Input},
    fit::Fitted,
    residents::Lease,
    stop::Stops,
};
use crate::{
    app::{App, raised},
    http::fault::{Fault, Kind},
};

/// What comes of a generation.
#[derive(Debug)]
pub(crate) enum Piece {
    Text(String),
    End(End),
}

/// The end of an answer. What nobody measured or counted is absent.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) reason: FinishReason,
    pub(crate) prompt_tokens: Option<u32>,
    pub(crate) cached_tokens: Option<u32>,
    pub(crate) generated: Option<u32>,
    /// From the request's arrival to its end, by the server's clock.
    pub(crate) total: Duration,
    /// Until the model was there, by the server's clock; the wait for a slot is not in it.
    pub(crate) load: Duration,
    /// As the backend reports it, else from the stamps of its events.
    pub(crate) prefill: Option<Duration>,
    /// As the backend reports it, else from the stamps of its events.
    pub(crate) decode: Option<Duration>,
}

/// What a generation holds. It is given back at the deadline also when nobody asks for the next piece: a client that does
/// not read keeps the connection from asking.
#[derive(Default)]
struct Held {
    events: Option<EventStream>,
    place: Option<(Lease, OwnedSemaphorePermit)>,
}

/// A generation under way.
pub(crate) struct Run {
    app: Arc<App>,
    held: Arc<Mutex<Held>>,
    guard: tokio::task::AbortHandle,
    stops: Stops,
    ready: VecDeque<Result<Piece, Fault>>,
    over: bool,
    arrived: Instant,
    load: Duration,
    spoke: bool,
    pub(crate) cut: u32,
    seen: Observed,
}

/// What the events said so far.
#[derive(Debug, Default)]
struct Observed {
    sent: Option<Stamp>,
    read: Option<Stamp>,
    last: Option<Stamp>,
    prompt_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    /// `None` once a chunk did not say how many tokens it carries.
    carried: Option<u32>,
}

impl Run {
    /// Waits for a slot and for the model, and starts the generation; returns when its first text, its end or its
    /// error is there, so that an error still finds the head of the answer unsent.
    pub(crate) async fn begin(app: &Arc<App>, mut ask: Ask, arrived: Instant) -> Result<Self, Fault> {
        let slot = app.queue.enter().await?;
        let queued = arrived.elapsed();
        let lease = app.residents.acquire(&ask.model).await?;
        let load = arrived.elapsed().saturating_sub(queued);
        let input = std::mem::replace(&mut ask.input, Input::Text(String::new()));
        ask.input = super::template::formed(input, &*lease.session, app.options.plain_chat)?;
        let fitted = super::fit::fit(&*lease.session, &app.capabilities, &mut ask, lease.context).await?;
        let Fitted { prompt, budget, cut } = fitted;
        let mut request = Request::new(prompt, budget).seed(ask.seed).sampling(ask.sampling);
        request.ignore_eos = ask.ignore_eos;
        let events = lease.session.generate(request.into());
        app.metrics.in_flight.fetch_add(1, Ordering::SeqCst);
        let held = Arc::new(Mutex::new(Held { events: Some(events), place: Some((lease, slot)) }));
        let limit = app.options.request_timeout;
        let guard = tokio::spawn({
            let held = Arc::downgrade(&held);
            async move {
                tokio::time::sleep_until((arrived + limit).into()).await;
                if let Some(held) = held.upgrade() {
                    release(std::mem::take(&mut *lock(&held)), limit);
                }
            }
        });
        let mut run = Self {
            app: Arc::clone(app),
            held,
            guard: guard.abort_handle(),
            stops: Stops::new(ask.stops),
            ready: VecDeque::new(),
            over: false,
            arrived,
            load,
            spoke: false,
            cut,
            seen: Observed { carried: Some(0), ..Observed::default() },
        };
        match run.step().await {
            Some(Err(fault)) => Err(fault),
            Some(piece) => {
                run.ready.push_front(piece);
                Ok(run)
            }
            None => Err(Fault::new(Kind::Protocol, "the backend's stream ended without a word")),
        }
    }

    /// The next piece; `None` after the end or an error.
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, Fault>> {
        let piece = self.step().await;
        if let Some(Err(_)) = &piece {
            self.app.metrics.stream_errors.fetch_add(1, Ordering::Relaxed);
        }
        piece
    }

    async fn step(&mut self) -> Option<Result<Piece, Fault>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.over {
                return None;
            }
            let deadline = self.arrived + self.app.options.request_timeout;
            let mut cut = self.app.cut.subscribe();
            let held = Arc::clone(&self.held);
            let next = poll_fn(move |cx| match &mut lock(&held).events {
                Some(events) => events.poll_next_unpin(cx).map(Some),
                None => Poll::Ready(None),
            });
            let item = tokio::select! {
                biased;
                // Without events the deadline was while nobody asked.
                item = next => match item {
                    Some(item) => item,
                    None => return self.fail(Fault::timeout(self.app.options.request_timeout)),
                },
                () = tokio::time::sleep_until(deadline.into()) => {
                    return self.fail(Fault::timeout(self.app.options.request_timeout));
                }
                () = raised(&mut cut) => {
                    return self.fail(Fault::new(Kind::Draining, "the server stopped before the answer was complete"));
                }
            };
            match item {
                Some(Ok(event)) => self.see(event.at, event.kind),
                Some(Err(StreamError { error, .. })) => {
                    if matches!(error, BackendError::Closed { .. })
                        && let Some((lease, _)) = &lock(&self.held).place
                    {
                        lease.broken();
                    }
                    return self.fail(error.into());
                }
                None => {
                    return self
                        .fail(Fault::new(Kind::Protocol, "the backend's stream ended without an end"));
                }
            }
        }
    }

    fn fail(&mut self, fault: Fault) -> Option<Result<Piece, Fault>> {
        self.over = true;
        self.rest();
        Some(Err(fault))
    }

    fn see(&mut self, at: Stamp, kind: EventKind) {
        let seen = &mut self.seen;
        match kind {
            EventKind::Sent => seen.sent = Some(at),
            EventKind::PromptProcessed { tokens, cached } => {
                seen.read = Some(at);
                (seen.prompt_tokens, seen.cached_tokens) = (tokens, cached);
            }
            EventKind::Chunk { text, tokens, .. } => {
                seen.read.get_or_insert(at);
                seen.last = Some(at);
                seen.carried = seen.carried.zip(tokens).map(|(sum, n)| sum.saturating_add(n));
                let found = self.stops.push(text);
                self.say(found.text);
                if found.stopped {
                    self.end(FinishReason::Stop, None);
                    self.rest();
                }
            }
            EventKind::Finished(finished) => {
                let rest = self.stops.rest();
                self.say(rest);
                self.end(finished.reason, Some(&finished));
                // The lane is over: nothing is left to wait for.
                *lock(&self.held) = Held::default();
            }
            _ => {}
        }
    }

    fn say(&mut self, text: String) {
        if text.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.spoke, true) {
            self.app.metrics.first.see(self.arrived.elapsed());
        }
        self.ready.push_back(Ok(Piece::Text(text)));
    }

    fn end(&mut self, reason: FinishReason, finished: Option<&Finished>) {
        self.over = true;
        let reported = |phase| {
            let timing = finished?.timings.iter().find(|timing| timing.phase == phase)?;
            Some(Duration::from_nanos(timing.nanos))
        };
        let span = |from: Option<Stamp>, to: Option<Stamp>| to?.since(from?);
        let seen = &self.seen;
        let end = End {
            reason,
            prompt_tokens: seen.prompt_tokens.or_else(|| finished?.prompt),
            cached_tokens: seen.cached_tokens.or_else(|| finished?.cached),
            generated: finished.and_then(|finished| finished.generated).or(seen.carried),
            total: self.arrived.elapsed(),
            load: self.load,
            prefill: reported(Phase::Prefill).or_else(|| span(seen.sent, seen.read)),
            decode: reported(Phase::Decode).or_else(|| span(seen.read, seen.last)),
        };
        let metrics = &self.app.metrics;
        let count = |n: Option<u32>| u64::from(n.unwrap_or(0));
        metrics.prompt_tokens.fetch_add(count(end.prompt_tokens), Ordering::Relaxed);
        metrics.generated_tokens.fetch_add(count(end.generated), Ordering::Relaxed);
        metrics.duration.see(end.total);
        self.ready.push_back(Ok(Piece::End(end)));
    }

    /// Ends what may still run, and keeps the slot until it has ended.
    fn rest(&mut self) {
        let held = std::mem::take(&mut *lock(&self.held));
        release(held, self.app.options.request_timeout);
    }
}

/// Cancels what still runs, and keeps its place until it has ended.
fn release(held: Held, limit: Duration) {
    let Held { events, place } = held;
    // Dropping the stream cancels.
    let running = events.is_some();
    drop(events);
    let Some((lease, slot)) = place else { return };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !running {
        return;
    }
    runtime.spawn(async move {
        // `idle` waits for every generation of the session: with others about, the wait would be theirs.
        if lease.alone() {
            let _ = tokio::time::timeout(limit, lease.session.idle()).await;
        }
        drop((lease, slot));
    });
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Run {
    fn drop(&mut self) {
        self.guard.abort();
        if !self.over {
            self.app.metrics.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        self.rest();
        self.app.metrics.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
