//! One generation, as a hand-written stream: an event costs no future of its own beyond the sleep.
//!
//! The schedule runs by itself: each instant follows from the one before by a law, never from the moment of polling, so
//! a consumer that is slow sees the true stamps late. Delivery waits until the clock has reached the instant.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use chimera_core::{
    BackendError, Batch, ClockSource, Event, EventKind, FinishReason, Finished, Phase, PhaseTiming, Result,
    Stamp, StreamError,
};
use futures_core::{future::BoxFuture, stream::Stream};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    Fault,
    lane::{Lane, ids, lane},
    laws::whole,
    noise::{Purpose, factor, generator, mix, name_hash},
    session::Resident,
};

pub(crate) struct SimStream {
    resident: Arc<Resident>,
    batch: Batch,
    stage: Stage,
    /// The instant that comes next, or that has just been.
    at: Stamp,
    sleep: Option<BoxFuture<'static, ()>>,
    out: VecDeque<Result<Event, StreamError>>,
    lanes: Vec<Lane>,
    rng: Xoshiro256PlusPlus,
    fault: Option<Fault>,
    /// Tokens that each running lane has.
    made: u32,
    sent: Stamp,
    prefill: Prefill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Queued(u64),
    Prefilling,
    Decoding,
    Stalled,
    Over,
}

#[derive(Debug, Clone, Copy, Default)]
struct Prefill {
    start: Stamp,
    end: Stamp,
    /// Tokens to read, without cached ones.
    tokens: u32,
    cached: u32,
    /// Noise, and what first use adds.
    factor: f64,
    extra_ns: f64,
}

impl SimStream {
    pub(crate) fn new(resident: Arc<Resident>, batch: Batch) -> Self {
        Self {
            rng: generator(&[0]),
            resident,
            batch,
            stage: Stage::New,
            at: Stamp::default(),
            sleep: None,
            out: VecDeque::new(),
            lanes: Vec::new(),
            fault: None,
            made: 0,
            sent: Stamp::default(),
            prefill: Prefill::default(),
        }
    }

    fn push(&mut self, lane: usize, kind: EventKind) {
        let lane = u32::try_from(lane).unwrap_or(u32::MAX);
        self.out.push_back(Ok(Event { at: self.at, lane, kind }));
    }

    /// Ends the stream with an error, the places given back.
    fn fail(&mut self, at: Stamp, error: BackendError) {
        self.out.push_back(Err(StreamError::all(at, error)));
        self.end(at);
    }

    fn end(&mut self, at: Stamp) {
        match self.stage {
            Stage::Queued(ticket) => self.resident.leave(Some(ticket), at),
            Stage::Prefilling | Stage::Decoding | Stage::Stalled => self.resident.leave(None, at),
            Stage::New | Stage::Over => {}
        }
        self.stage = Stage::Over;
    }

    fn start(&mut self) {
        self.at = self.resident.device.clock.now();
        self.sent = self.at;
        if let Err(error) = self.admit() {
            self.fail(self.at, error);
            return;
        }
        for lane in 0..self.lanes.len() {
            self.push(lane, EventKind::Sent);
        }
        let ticket = self.resident.enqueue();
        self.stage = Stage::Queued(ticket);
        // The device begins at once where it can, whether or not anybody reads on.
        if let Some(free) = self.resident.try_place(ticket) {
            self.enter(free);
        }
    }

    /// Judges the batch and makes its lanes.
    fn admit(&mut self) -> Result<()> {
        let resident = Arc::clone(&self.resident);
        let (device, model) = (&resident.device, &resident.model);
        if resident.state().closed {
            return Err(resident.closed());
        }
        let invalid = |reason: String| BackendError::InvalidRequest { backend: device.id.clone(), reason };
        let most = device.capabilities.max_batch.unwrap_or(1) as usize;
        let requests = std::mem::take(&mut self.batch.0);
        if requests.is_empty() || requests.len() > most {
            return Err(invalid(format!("{} lanes; 1 to {most} run together", requests.len())));
        }
        let index = device.generations.fetch_add(1, Ordering::Relaxed);
        let name = name_hash(&model.info.name);
        self.rng = generator(&[device.seed, device.block, name, Purpose::Step as u64, index]);
        self.fault = device.faults.iter().find(|(n, _)| *n == index).map(|(_, fault)| *fault);
        let once = if device.capabilities.deterministic { 0 } else { index };
        let context = model.info.context.unwrap_or(u32::MAX);
        let mut tokens = 0_u64;
        for request in &requests {
            let lane = lane(&resident, request, mix(name ^ once))?;
            let need = u64::from(lane.prompt) + u64::from(lane.budget);
            if lane.prompt == 0 {
                return Err(invalid("an empty prompt".into()));
            }
            if need > u64::from(context) {
                return Err(invalid(format!(
                    "{} prompt tokens and {} to generate; the context is {context}",
                    lane.prompt, lane.budget
                )));
            }
            tokens += need;
            self.lanes.push(lane);
        }
        if self.fault == Some(Fault::OutOfMemory) || model.memory_tokens.is_some_and(|most| tokens > most) {
            return Err(BackendError::OutOfMemory {
                backend: device.id.clone(),
                reason: format!("no room for {tokens} tokens of context"),
            });
        }
        if device.prompt_cache
            && let [only] = &requests[..]
        {
            let ids = ids(&only.prompt);
            let mut state = resident.state();
            let common = ids.iter().zip(&state.last_prompt).take_while(|(a, b)| a == b).count();
            // The last token is always read: its logits are needed.
            self.prefill.cached = u32::try_from(common.min(ids.len() - 1)).unwrap_or(0);
            state.last_prompt = ids;
        }
        Ok(())
    }

    /// Plans the prefill for a place that is free since `free`.
    fn enter(&mut self, free: Stamp) {
        let resident = &self.resident;
        let laws = &resident.model.laws;
        let longest = self.lanes.iter().map(|lane| lane.prompt).max().unwrap_or(0);
        let lanes = lane_count(&self.lanes);
        let mut extra_ns = 0.0;
        {
            let mut state = resident.state();
            if !std::mem::replace(&mut state.used, true) {
                extra_ns += laws.first_model_ns;
            }
            if state.shapes.insert((longest, lanes)) {
                extra_ns += laws.first_shape_ns;
            }
        }
        let factor = resident.prefill_factor * factor(&mut self.rng, resident.device.noise.step);
        let start = self.sent.max(free).after(whole(laws.queue_ns));
        let tokens = longest - self.prefill.cached;
        let end = start.after(whole(laws.prefill_ns(tokens, lanes) * factor + extra_ns));
        self.prefill = Prefill { start, end, tokens, factor, extra_ns, cached: self.prefill.cached };
        self.at = end;
        self.stage = Stage::Prefilling;
    }

    fn prompt_done(&mut self) {
        self.stage = Stage::Decoding;
        let known = self.resident.device.capabilities.token_counts;
        for index in 0..self.lanes.len() {
            let tokens = self.lanes.get(index).map(|lane| lane.prompt).filter(|_| known);
            let cached = Some(self.prefill.cached).filter(|_| known);
            self.push(index, EventKind::PromptProcessed { tokens, cached });
        }
        self.token();
    }

    /// The logits of a step exist: each running lane gets its next token or ends; then the next step is planned.
    fn token(&mut self) {
        match self.fault {
            Some(Fault::ErrorAfter(n)) if n == self.made => {
                let error =
                    BackendError::failed(&self.resident.device.id, "the simulated fault of the design");
                return self.fail(self.at, error);
            }
            Some(Fault::StallAfter(n)) if n == self.made => {
                self.stage = Stage::Stalled;
                return;
            }
            Some(Fault::TruncateAfter(n)) if n == self.made => return self.end(self.at),
            _ => {}
        }
        let per_chunk = self.resident.device.tokens_per_chunk;
        let known = self.resident.device.capabilities.token_counts;
        let made = self.made;
        for index in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.running) else { continue };
            let mut end = None;
            let mut id = None;
            if lane.eos_after == Some(made) && made < lane.budget {
                end = Some((FinishReason::Stop, made));
            } else if made < lane.budget {
                let byte = lane.story.next();
                id = Some(u32::from(byte));
                lane.assembler.push(byte, &mut lane.text);
                lane.held += 1;
                lane.last = self.at;
                if made + 1 == lane.budget {
                    end = Some((FinishReason::Length, made + 1));
                }
            } else {
                end = Some((FinishReason::Length, made));
            }
            lane.running = end.is_none();
            if lane.held == per_chunk || (end.is_some() && lane.held > 0) {
                let tokens = std::mem::take(&mut lane.held);
                let text = std::mem::take(&mut lane.text);
                let id = id.filter(|_| known && tokens == 1);
                self.push(index, EventKind::Chunk { text, tokens: Some(tokens).filter(|_| known), id });
            }
            if let Some((reason, generated)) = end {
                let timings = self.timings(index, generated);
                let generated = Some(generated).filter(|_| known);
                self.push(index, EventKind::Finished(Finished::new(reason, generated).timings(timings)));
            }
        }
        self.made += 1;
        let running =
            u32::try_from(self.lanes.iter().filter(|lane| lane.running).count()).unwrap_or(u32::MAX);
        if running == 0 {
            return self.end(self.at);
        }
        let longest =
            self.lanes.iter().filter(|lane| lane.running).map(|lane| lane.prompt).max().unwrap_or(0);
        let ns = self.resident.model.laws.decode_step_ns(longest + self.made, running)
            * self.resident.decode_factor
            * factor(&mut self.rng, self.resident.device.noise.step);
        self.at = self.at.after(whole(ns));
    }

    /// The declared phases of a lane that ends now.
    fn timings(&self, lane: usize, generated: u32) -> Vec<PhaseTiming> {
        let last = self.lanes.get(lane).map(|lane| lane.last).filter(|_| generated > 0);
        let spans = [
            (Phase::Queue, self.prefill.start.since(self.sent)),
            (Phase::Prefill, self.prefill.end.since(self.prefill.start)),
            // The first token comes with the logits of the prompt; without a token there is no decode to time.
            (Phase::Decode, last.and_then(|last| last.since(self.prefill.end))),
            (Phase::Total, self.at.since(self.sent)),
        ];
        let timing = |(phase, span): (Phase, Option<std::time::Duration>)| {
            let nanos = u64::try_from(span?.as_nanos()).ok()?;
            self.resident.device.reports(phase).then_some(PhaseTiming {
                phase,
                nanos,
                source: ClockSource::Engine,
            })
        };
        spans.into_iter().filter_map(timing).collect()
    }

    /// When the step or chunk that is under way at `now` ends.
    fn cancelled_at(&self, now: Stamp) -> Stamp {
        if self.stage != Stage::Prefilling || now <= self.prefill.start {
            return if self.stage == Stage::Decoding { self.at.max(now) } else { now };
        }
        let chunk = self.resident.device.capabilities.prefill_chunk.unwrap_or(u32::MAX).max(1);
        let lanes = lane_count(&self.lanes);
        let mut read = 0_u32;
        while read < self.prefill.tokens {
            read = read.saturating_add(chunk).min(self.prefill.tokens);
            let ns = self.resident.model.laws.prefill_ns(read, lanes) * self.prefill.factor;
            let end = self.prefill.start.after(whole(ns + self.prefill.extra_ns));
            if end >= now {
                return end;
            }
        }
        self.prefill.end.max(now)
    }
}

impl Stream for SimStream {
    type Item = Result<Event, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.out.pop_front() {
                return Poll::Ready(Some(item));
            }
            match this.stage {
                Stage::New => {
                    this.start();
                    continue;
                }
                Stage::Over => return Poll::Ready(None),
                Stage::Stalled => return Poll::Pending,
                Stage::Queued(_) | Stage::Prefilling | Stage::Decoding => {}
            }
            let resident = Arc::clone(&this.resident);
            let clock = &resident.device.clock;
            if resident.state().closed {
                this.sleep = None;
                this.fail(clock.now(), resident.closed());
                continue;
            }
            if let Stage::Queued(ticket) = this.stage {
                let free = ready!(resident.poll_place(ticket, cx));
                this.enter(free);
            }
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            if clock.now() < this.at {
                this.sleep = Some(clock.sleep_until(this.at));
                continue;
            }
            if this.stage == Stage::Prefilling { this.prompt_done() } else { this.token() }
        }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::New | Stage::Over) {
            self.end(self.cancelled_at(self.resident.device.clock.now()));
        }
    }
}

fn lane_count(lanes: &[Lane]) -> u32 {
    u32::try_from(lanes.len()).unwrap_or(u32::MAX)
}
