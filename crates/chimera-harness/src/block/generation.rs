//! Follows the streams of events of one trial to their ends: one, or as many as requests were issued at once. This is the
//! hot loop: between two events it compares, copies a stamp and reuses its buffers; everything else waits until the
//! generation is over.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use chimera_core::{Clock, Event, EventKind, EventStream, Law, LawBreach, Stamp, StreamError};
use chimera_records::{Factors, Lane};
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};

use crate::Cancel;

/// How a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Completed,
    Failed { code: String, reason: String },
    Cancelled,
    Censored,
}

/// What one lane has shown so far.
#[derive(Debug, Default)]
pub(super) struct LaneScratch {
    pub lane: Lane,
    /// Stamps of chunks that carry tokens.
    pub stamps: Vec<u64>,
    /// Tokens that each of them carries.
    pub carried: Vec<Option<u32>>,
    /// Ids of the tokens, as long as every chunk tells its own.
    pub ids: Vec<u32>,
    pub all_ids: bool,
    pub text: String,
}

impl LaneScratch {
    fn begin(&mut self, budget: usize) {
        self.lane = Lane::default();
        self.stamps.clear();
        self.stamps.reserve(budget);
        self.carried.clear();
        self.carried.reserve(budget);
        self.ids.clear();
        self.ids.reserve(budget);
        self.all_ids = true;
        self.text.clear();
        self.text.reserve(budget.saturating_mul(8));
    }
}

/// Buffers of the lanes, used again for every trial of a block.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) lanes: Vec<LaneScratch>,
    requests: Vec<Following>,
    /// Lanes of each request.
    width: usize,
}

/// What is known of one request under way.
#[derive(Debug)]
struct Following {
    law: Law,
    over: bool,
}

impl Scratch {
    /// Makes room for a trial, so that the loop need not.
    pub(crate) fn begin(&mut self, factors: &Factors) {
        self.width = factors.batch as usize;
        let requests = factors.concurrency as usize;
        // A design may ask for budgets beyond reason; what does not come needs no room.
        let budget = (factors.budget as usize).min(1 << 16);
        self.lanes.resize_with(self.width.saturating_mul(requests), LaneScratch::default);
        for lane in &mut self.lanes {
            lane.begin(budget);
        }
        self.requests.clear();
        self.requests.resize_with(requests, || Following { law: Law::new(self.width), over: false });
    }

    /// Every request was wanted at this moment. A request alone has no such moment but that of its sending.
    pub(crate) fn issued(&mut self, at: Stamp) {
        if self.requests.len() > 1 {
            for scratch in &mut self.lanes {
                scratch.lane.intended = Some(at.0);
            }
        }
    }

    /// Takes one item of a request's stream; says so when it decides the request.
    fn take(&mut self, request: usize, item: Result<Event, StreamError>, deadline: Stamp) -> Option<End> {
        let first = request * self.width;
        if let Err(breach) = self.requests.get_mut(request)?.law.see(&item) {
            return Some(broken(first, &breach));
        }
        let event = match item {
            Ok(event) => event,
            Err(error) => {
                let lane = error.lane.map(|lane| first + lane as usize);
                let reason = match lane.or((self.requests.len() > 1).then_some(first)) {
                    Some(lane) => format!("lane {lane}: {error}"),
                    None => error.to_string(),
                };
                return Some(End::Failed { code: error.error.code().into(), reason });
            }
        };
        if event.at > deadline {
            return Some(End::Censored);
        }
        let at = event.at.0;
        // The law has refused lanes that were not asked for.
        let scratch = self.lanes.get_mut(first + event.lane as usize)?;
        let lane = &mut scratch.lane;
        match event.kind {
            EventKind::Sent => lane.sent = Some(at),
            EventKind::Headers => lane.headers = Some(at),
            EventKind::PromptProcessed { tokens, cached } => {
                lane.prompt_processed = Some(at);
                lane.prompt_tokens = tokens;
                lane.cached_tokens = cached;
            }
            EventKind::Chunk { text, tokens, id } => {
                scratch.text.push_str(&text);
                // A chunk that says it carries no token ends no interval between tokens.
                if tokens != Some(0) {
                    scratch.stamps.push(at);
                    scratch.carried.push(tokens);
                    match id {
                        Some(id) if tokens == Some(1) => scratch.ids.push(id),
                        _ => scratch.all_ids = false,
                    }
                }
            }
            EventKind::Finished(finished) => lane.finished(event.at, finished),
            // A kind of event that this version does not know says nothing that is recorded.
            _ => {}
        }
        None
    }

    /// How a request ended whose stream has nothing more to say.
    fn end(&self, request: usize) -> End {
        match self.requests.get(request).map(|of| of.law.end()) {
            Some(Err(breach)) => broken(request * self.width, &breach),
            _ => End::Completed,
        }
    }

    fn over(&mut self, request: usize) {
        if let Some(of) = self.requests.get_mut(request) {
            of.over = true;
        }
    }
}

fn broken(first: usize, breach: &LawBreach) -> End {
    let lane = u32::try_from(first).unwrap_or(u32::MAX).saturating_add(breach.lane);
    let breach = LawBreach { lane, what: breach.what.clone() };
    End::Failed { code: "law".into(), reason: breach.to_string() }
}

/// What limits a generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until<'a> {
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) deadline: Stamp,
    pub(crate) cancel: &'a Cancel,
}

/// Reads the streams until they end, fail, break the law, run past the deadline, or the run is to stop. All are polled in
/// turn by one task, the first time one right after the other, so that all requests leave at the same moment. A request
/// that fails is dropped and the others are read to their ends: they are not to disturb what comes next.
pub(crate) async fn drive(events: &mut [EventStream], scratch: &mut Scratch, until: Until<'_>) -> End {
    let mut limit = None;
    let mut failed = None;
    poll_fn(|cx| poll(events, scratch, &mut limit, &mut failed, until, cx)).await
}

fn poll(
    events: &mut [EventStream],
    scratch: &mut Scratch,
    limit: &mut Option<BoxFuture<'static, ()>>,
    failed: &mut Option<End>,
    until: Until<'_>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    loop {
        let (mut open, mut moved) = (false, false);
        for (request, stream) in events.iter_mut().enumerate() {
            if scratch.requests.get(request).is_none_or(|of| of.over) {
                continue;
            }
            let decided = match stream.as_mut().poll_next(cx) {
                Poll::Ready(Some(item)) => scratch.take(request, item, until.deadline),
                Poll::Ready(None) => Some(scratch.end(request)),
                Poll::Pending => {
                    open = true;
                    continue;
                }
            };
            moved = true;
            match decided {
                None => open = true,
                Some(End::Completed) => scratch.over(request),
                Some(end @ End::Failed { .. }) => {
                    scratch.over(request);
                    // Cancels what this request still has under way.
                    *stream = stream::empty().boxed();
                    failed.get_or_insert(end);
                }
                Some(end) => return Poll::Ready(failed.take().unwrap_or(end)),
            }
        }
        if !open {
            return Poll::Ready(failed.take().unwrap_or(End::Completed));
        }
        if moved {
            if until.cancel.is_set() {
                return Poll::Ready(End::Cancelled);
            }
            continue;
        }
        let limit = limit.get_or_insert_with(|| until.clock.sleep_until(until.deadline));
        if limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(failed.take().unwrap_or(End::Censored));
        }
        return if until.cancel.poll(cx) { Poll::Ready(End::Cancelled) } else { Poll::Pending };
    }
}
