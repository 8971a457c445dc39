//! One request on its way: follows its stream to the end and turns what it showed into a trial. Between two events it
//! compares, copies a stamp and hashes; it keeps no text.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use chimera_core::{ClockSource, Event, EventKind, EventStream, Law, Stamp, StreamError};
use chimera_records::{Expected, Factors, First, Lane, Outcome, TokenStamps, Trial, TrialRole};
use sha2::{Digest, Sha256};

/// Chunks per token of the budget beyond which a stream is taken for endless.
const CHUNKS_PER_TOKEN: usize = 8;

/// What is known of a request when it is issued.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) id: u32,
    pub(crate) block: u32,
    pub(crate) position: u32,
    pub(crate) role: TrialRole,
    pub(crate) factors: Factors,
    pub(crate) firsts: Vec<First>,
    pub(crate) budget: u32,
    /// Whether the backend promised exactly the budget.
    pub(crate) exact: bool,
    /// Prompt tokens, where they are known exactly.
    pub(crate) expected: Option<u32>,
    pub(crate) intended: u64,
    pub(crate) in_flight: u32,
    pub(crate) started_unix_ms: u64,
    pub(crate) stamps: ClockSource,
    pub(crate) deadline: Stamp,
    pub(crate) timeout_s: f64,
}

/// A request that has ended, as its records.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) trial: Trial,
    pub(crate) stamps: Option<TokenStamps>,
    /// No other request was under way before its first token came.
    pub(crate) alone: bool,
}

/// A request under way.
pub(crate) struct Running {
    issue: Issue,
    stream: Option<EventStream>,
    law: Law,
    lane: Lane,
    /// Stamps of chunks that carry tokens, and how many each carries.
    stamps: Vec<u64>,
    carried: Vec<Option<u32>>,
    chunks: usize,
    ids: Sha256,
    all_ids: bool,
    text: Sha256,
    waker: Option<Waker>,
    alone: bool,
}

impl Running {
    pub(crate) fn new(issue: Issue, stream: EventStream) -> Self {
        // A plan may ask for budgets beyond reason; what does not come needs no room.
        let room = issue.budget.min(1 << 12) as usize;
        let lane = Lane {
            budget: Some(issue.budget),
            intended: Some(issue.intended),
            in_flight: Some(issue.in_flight),
            ..Lane::default()
        };
        Self {
            alone: issue.in_flight == 0,
            issue,
            stream: Some(stream),
            law: Law::new(1),
            lane,
            stamps: Vec::with_capacity(room),
            carried: Vec::with_capacity(room),
            chunks: 0,
            ids: Sha256::new(),
            all_ids: true,
            text: Sha256::new(),
            waker: None,
        }
    }

    /// Another request goes out beside it.
    pub(crate) fn has_company(&mut self) {
        self.alone &= !self.stamps.is_empty();
    }

    pub(crate) fn deadline(&self) -> Stamp {
        self.issue.deadline
    }

    /// Has the task polled again: its deadline has come.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Ends the request because the run is to stop.
    pub(crate) fn cancel(&mut self) -> Option<Ended> {
        drop(self.stream.take()?);
        Some(self.end(Outcome::Cancelled))
    }

    fn failed(code: &str, reason: String) -> Outcome {
        Outcome::Failed { code: code.to_owned(), reason }
    }

    /// Takes one item of the stream; says so when it decides the request.
    fn take(&mut self, item: Result<Event, StreamError>) -> Option<Outcome> {
        if let Err(breach) = self.law.see(&item) {
            return Some(Self::failed("law", breach.to_string()));
        }
        let event = match item {
            Ok(event) => event,
            Err(error) => return Some(Self::failed(error.error.code(), error.to_string())),
        };
        if event.at > self.issue.deadline {
            return Some(self.censored());
        }
        let at = event.at.0;
        match event.kind {
            EventKind::Sent => self.lane.sent = Some(at),
            EventKind::Headers => self.lane.headers = Some(at),
            EventKind::PromptProcessed { tokens, cached } => {
                self.lane.prompt_processed = Some(at);
                self.lane.prompt_tokens = tokens;
                self.lane.cached_tokens = cached;
            }
            EventKind::Chunk { text, tokens, id } => {
                self.chunks += 1;
                if self.chunks
                    > (self.issue.budget as usize).saturating_mul(CHUNKS_PER_TOKEN).saturating_add(1024)
                {
                    let reason =
                        format!("{} chunks for a budget of {} tokens", self.chunks, self.issue.budget);
                    return Some(Self::failed("endless", reason));
                }
                self.text.update(text.as_bytes());
                // A chunk that says it carries no token ends no interval between tokens.
                if tokens != Some(0) {
                    self.stamps.push(at);
                    self.carried.push(tokens);
                    match id {
                        Some(id) if tokens == Some(1) => self.ids.update(id.to_le_bytes()),
                        _ => self.all_ids = false,
                    }
                }
            }
            EventKind::Finished(finished) => self.lane.finished(event.at, finished),
            // A kind of event that this version does not know says nothing that is recorded.
            _ => {}
        }
        None
    }

    fn censored(&self) -> Outcome {
        Outcome::Censored { timeout_s: self.issue.timeout_s }
    }

    /// Makes the records. It is called once.
    fn end(&mut self, outcome: Outcome) -> Ended {
        self.stream = None; // Cancels what has not ended.
        let mut lane = std::mem::take(&mut self.lane);
        let completed = outcome == Outcome::Completed;
        let digest = if completed { self.digest() } else { None };
        // A backend that counts the tokens of its chunks need not count them again.
        let carried = self.carried.iter().copied().try_fold(0_u32, |sum, n| sum.checked_add(n?));
        let token_stamps = if completed { self.token_stamps() } else { None };
        let issue = &self.issue;
        let mut flags = Vec::new();
        if completed {
            lane.first_token = self.stamps.first().copied();
            lane.last_token = self.stamps.last().copied();
            lane.generated = lane.generated.or(carried);
            lane.output = digest;
            let expected = Expected {
                budget: issue.exact.then_some(issue.budget),
                prompt: issue.expected,
                first_prefill: None,
            };
            flags = lane.flags(&self.stamps, &expected);
        } else {
            // No latency: the schedule alone stays, and of what took too long the part that is known.
            let in_time = matches!(outcome, Outcome::Censored { .. });
            lane = Lane {
                budget: lane.budget,
                intended: lane.intended,
                in_flight: lane.in_flight,
                sent: lane.sent,
                first_token: self.stamps.first().copied().filter(|_| in_time),
                ..Lane::default()
            };
        }
        let trial = Trial {
            id: issue.id,
            block: issue.block,
            position: issue.position,
            attempt: 1,
            role: issue.role,
            factors: issue.factors.clone(),
            firsts: issue.firsts.clone(),
            started_unix_ms: issue.started_unix_ms,
            outcome,
            load_ns: None,
            stamps: issue.stamps,
            lanes: vec![lane],
            host: None,
            flags,
        };
        Ended { trial, stamps: token_stamps, alone: self.alone }
    }

    /// Equal work gives equal digests. Ids are preferred: different ids can spell the same text.
    fn digest(&mut self) -> Option<Box<str>> {
        if self.chunks == 0 {
            return None;
        }
        let hash = if self.all_ids { &mut self.ids } else { &mut self.text };
        let first: [u8; 8] = hash.finalize_reset().as_slice().first_chunk().copied()?;
        Some(format!("{:016x}", u64::from_be_bytes(first)).into())
    }

    fn token_stamps(&mut self) -> Option<TokenStamps> {
        let first = *self.stamps.first()?;
        let deltas =
            self.stamps.array_windows().map(|[earlier, later]| later.saturating_sub(*earlier)).collect();
        let singles = self.carried.iter().all(|carried| *carried == Some(1));
        let carried = (!singles).then(|| std::mem::take(&mut self.carried));
        Some(TokenStamps { trial: self.issue.id, attempt: 1, lane: 0, first, deltas, carried })
    }

    /// Reads what the stream has; `now` is asked only when it has nothing.
    fn poll_stream(&mut self, now: impl Fn() -> Stamp, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let Some(stream) = &mut self.stream else { return Poll::Pending };
            match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => {
                    if let Some(outcome) = self.take(item) {
                        return Poll::Ready(outcome);
                    }
                }
                Poll::Ready(None) => {
                    return Poll::Ready(match self.law.end() {
                        Ok(()) => Outcome::Completed,
                        Err(breach) => Self::failed("law", breach.to_string()),
                    });
                }
                Poll::Pending if now() >= self.issue.deadline => return Poll::Ready(self.censored()),
                Poll::Pending => {
                    if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                        self.waker = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// A running request with the clock it is judged by.
pub(crate) struct Task {
    pub(crate) running: Running,
    pub(crate) clock: std::sync::Arc<dyn chimera_core::Clock>,
}

impl Future for Task {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let Task { running, clock } = self.get_mut();
        running.poll_stream(|| clock.now(), cx).map(|outcome| running.end(outcome))
    }
}
