//! Follows one stream of events to its end. This is the hot loop: between two events it compares, copies a stamp and
//! reuses its buffers; everything else waits until the generation is over.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use chimera_core::{Clock, Event, EventKind, EventStream, Law, Stamp, StreamError};
use chimera_records::{Factors, Lane};
use futures_core::future::BoxFuture;

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
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(super) lanes: Vec<LaneScratch>,
    law: Law,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { lanes: Vec::new(), law: Law::new(0) }
    }
}

impl Scratch {
    /// Makes room for a trial, so that the loop need not.
    pub(crate) fn begin(&mut self, factors: &Factors) {
        let lanes = factors.batch as usize;
        // A design may ask for budgets beyond reason; what does not come needs no room.
        let budget = (factors.budget as usize).min(1 << 16);
        self.lanes.resize_with(lanes, LaneScratch::default);
        for lane in &mut self.lanes {
            lane.begin(budget);
        }
        self.law = Law::new(lanes);
    }

    /// Takes one item of the stream; says so when it decides the trial.
    fn take(&mut self, item: Result<Event, StreamError>, deadline: Stamp) -> Option<End> {
        if let Err(breach) = self.law.see(&item) {
            return Some(broken(&breach));
        }
        let event = match item {
            Ok(event) => event,
            Err(error) => {
                let reason = match error.lane {
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
        let scratch = self.lanes.get_mut(event.lane as usize)?;
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
}

fn broken(breach: &chimera_core::LawBreach) -> End {
    End::Failed { code: "law".into(), reason: breach.to_string() }
}

/// Reads the stream until it ends, fails, breaks the law, runs past the deadline, or the run is to stop.
pub(crate) async fn drive(
    events: &mut EventStream,
    scratch: &mut Scratch,
    clock: &Arc<dyn Clock>,
    deadline: Stamp,
    cancel: &Cancel,
) -> End {
    let mut limit = None;
    poll_fn(|cx| poll(events, scratch, &mut limit, clock, deadline, cancel, cx)).await
}

fn poll(
    events: &mut EventStream,
    scratch: &mut Scratch,
    limit: &mut Option<BoxFuture<'static, ()>>,
    clock: &Arc<dyn Clock>,
    deadline: Stamp,
    cancel: &Cancel,
    cx: &mut Context<'_>,
) -> Poll<End> {
    loop {
        match events.as_mut().poll_next(cx) {
            Poll::Ready(Some(item)) => {
                if let Some(end) = scratch.take(item, deadline) {
                    return Poll::Ready(end);
                }
                if cancel.is_set() {
                    return Poll::Ready(End::Cancelled);
                }
            }
            Poll::Ready(None) => {
                return Poll::Ready(match scratch.law.end() {
                    Ok(()) => End::Completed,
                    Err(breach) => broken(&breach),
                });
            }
            Poll::Pending => {
                let limit = limit.get_or_insert_with(|| clock.sleep_until(deadline));
                if limit.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(End::Censored);
                }
                return if cancel.poll(cx) { Poll::Ready(End::Cancelled) } else { Poll::Pending };
            }
        }
    }
}
