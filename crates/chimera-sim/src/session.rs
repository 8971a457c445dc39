//! A resident simulated model: its places, its queue and what it remembers.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use chimera_core::{BackendError, Batch, EventStream, Logits, ModelInfo, Result, Score, Session, Stamp};

use crate::{
    SimModel,
    backend::Device,
    lane::{beginning, then},
    noise::{Purpose, mix, name_hash},
    stream::SimStream,
    text::Story,
};

/// A session of a [`crate::SimBackend`].
#[derive(Debug)]
pub(crate) struct SimSession(Arc<Resident>);

/// What a session and its streams share.
pub(crate) struct Resident {
    pub(crate) device: Arc<Device>,
    pub(crate) model: SimModel,
    /// Noise of block and model.
    pub(crate) prefill_factor: f64,
    pub(crate) decode_factor: f64,
    /// Log of the sum that makes Zipf's weights probabilities.
    log_sum: f64,
    state: Mutex<State>,
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident")
            .field("device", &self.device)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) closed: bool,
    /// Whether a prefill has run here.
    pub(crate) used: bool,
    /// Prompt tokens and lanes of prefills that have run here.
    pub(crate) shapes: HashSet<(u32, u32)>,
    pub(crate) last_prompt: Vec<u32>,
    /// When each free place became free.
    free: Vec<Stamp>,
    /// Who waits for a place, first come first served.
    queue: VecDeque<(u64, Option<Waker>)>,
    tickets: u64,
    /// Streams that were begun and have not ended.
    live: u32,
    /// When the work of ended streams, cancelled ones included, is over.
    busy_until: Stamp,
    idlers: Vec<Waker>,
}

impl SimSession {
    pub(crate) fn new(device: Arc<Device>, model: SimModel) -> Self {
        let level = |phase| device.noise.level(device.seed, device.block, &model.info.name, phase);
        let (prefill_factor, decode_factor) = (level(Purpose::Prefill), level(Purpose::Decode));
        let log_sum =
            (1..=model.vocabulary()).map(|rank| f64::from(rank).powf(-model.zipf)).sum::<f64>().ln();
        let places = device.capabilities.max_in_flight.unwrap_or(1).max(1) as usize;
        let state = State { free: vec![Stamp::default(); places], ..State::default() };
        Self(Arc::new(Resident {
            device,
            model,
            prefill_factor,
            decode_factor,
            log_sum,
            state: Mutex::new(state),
        }))
    }
}

impl Resident {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.device.id.clone() }
    }

    /// Enters the queue.
    pub(crate) fn enqueue(&self) -> u64 {
        let mut state = self.state();
        let ticket = state.tickets;
        state.tickets += 1;
        state.live += 1;
        state.queue.push_back((ticket, None));
        ticket
    }

    /// Takes a place if the ticket is the oldest and a place is free; the stamp says since when the place is free.
    pub(crate) fn try_place(&self, ticket: u64) -> Option<Stamp> {
        self.state().take(ticket)
    }

    /// Waits for a place. Who waits and is not polled holds up those behind.
    pub(crate) fn poll_place(&self, ticket: u64, cx: &Context<'_>) -> Poll<Stamp> {
        let mut state = self.state();
        if let Some(since) = state.take(ticket) {
            return Poll::Ready(since);
        }
        if let Some((_, waker)) = state.queue.iter_mut().find(|(other, _)| *other == ticket) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends a stream's stay: gives its place back as of `at`, or leaves the queue.
    pub(crate) fn leave(&self, waiting: Option<u64>, at: Stamp) {
        let mut state = self.state();
        state.live = state.live.saturating_sub(1);
        match waiting {
            Some(ticket) => state.queue.retain(|(other, _)| *other != ticket),
            None => {
                state.free.push(at);
                state.busy_until = state.busy_until.max(at);
            }
        }
        state.wake_first();
        if state.live == 0 {
            state.idlers.drain(..).for_each(Waker::wake);
        }
    }

    fn check_open(&self, declared: bool, what: &str) -> Result<()> {
        if self.state().closed {
            return Err(self.closed());
        }
        if declared {
            return Ok(());
        }
        Err(BackendError::Unsupported { backend: self.device.id.clone(), what: what.into() })
    }

    /// Refuses a sequence that cannot be read.
    fn admit(&self, tokens: &[u32]) -> Result<()> {
        let refuse = |reason| BackendError::InvalidRequest { backend: self.device.id.clone(), reason };
        let vocabulary = self.model.vocabulary();
        if let Some(id) = tokens.iter().find(|id| **id >= vocabulary) {
            return Err(refuse(format!("token id {id} in a vocabulary of {vocabulary}")));
        }
        match self.model.info.context {
            Some(context) if tokens.len() > context as usize => {
                Err(refuse(format!("{} tokens; the context is {context}", tokens.len())))
            }
            _ => Ok(()),
        }
    }
}

/// What a model holds of the next token: Zipf's law by id, but for the token that a greedy answer begins with, which has
/// changed places with the likeliest.
struct Heard<'a> {
    resident: &'a Resident,
    hash: u64,
    greedy: u32,
}

impl<'a> Heard<'a> {
    fn new(resident: &'a Resident) -> Self {
        Self { resident, hash: beginning(mix(name_hash(&resident.model.info.name))), greedy: 0 }
    }

    fn hear(&mut self, token: u32) {
        self.hash = then(self.hash, token);
        self.greedy = u32::from(Story::new(self.hash).next());
    }

    fn logit(&self, id: u32) -> f64 {
        let rank = match id {
            0 => self.greedy,
            id if id == self.greedy => 0,
            id => id,
        };
        -self.resident.model.zipf * f64::from(rank + 1).ln()
    }
}

impl State {
    fn take(&mut self, ticket: u64) -> Option<Stamp> {
        if self.queue.front().is_none_or(|(first, _)| *first != ticket) {
            return None;
        }
        let (earliest, _) = self.free.iter().enumerate().min_by_key(|(_, since)| **since)?;
        let since = self.free.swap_remove(earliest);
        self.queue.pop_front();
        self.wake_first();
        Some(since)
    }

    fn wake_first(&mut self) {
        if !self.free.is_empty()
            && let Some((_, waker)) = self.queue.front_mut()
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }
}

#[async_trait]
impl Session for SimSession {
    fn model(&self) -> &ModelInfo {
        &self.0.model.info
    }

    fn generate(&self, batch: Batch) -> EventStream {
        Box::pin(SimStream::new(Arc::clone(&self.0), batch))
    }

    async fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.0.check_open(self.0.device.capabilities.tokenize, "tokenize")?;
        Ok(text.bytes().map(u32::from).collect())
    }

    async fn score(&self, tokens: &[u32]) -> Result<Score> {
        let resident = &self.0;
        resident.check_open(resident.device.capabilities.scoring, "score")?;
        resident.admit(tokens)?;
        let mut heard = Heard::new(resident);
        let log_probabilities = tokens
            .array_windows()
            .map(|&[token, next]| {
                heard.hear(token);
                (heard.logit(next) - resident.log_sum) as f32
            })
            .collect();
        Ok(Score { log_probabilities })
    }

    async fn logits(&self, tokens: &[u32]) -> Result<Logits> {
        let resident = &self.0;
        resident.check_open(resident.device.capabilities.logits, "logits")?;
        resident.admit(tokens)?;
        let vocabulary = resident.model.vocabulary();
        let mut heard = Heard::new(resident);
        let mut values = Vec::new();
        for &token in tokens {
            heard.hear(token);
            values.extend((0..vocabulary).map(|id| heard.logit(id) as f32));
        }
        Ok(Logits { values, vocabulary: vocabulary as usize })
    }

    async fn idle(&self) {
        loop {
            poll_fn(|cx| {
                let mut state = self.0.state();
                if state.live == 0 {
                    return Poll::Ready(());
                }
                state.idlers.push(cx.waker().clone());
                Poll::Pending
            })
            .await;
            let until = self.0.state().busy_until;
            let clock = &self.0.device.clock;
            if clock.now() < until {
                clock.sleep_until(until).await;
            }
            let state = self.0.state();
            if state.live == 0 && state.busy_until <= until {
                return;
            }
        }
    }

    async fn unload(&self) -> Result<()> {
        let mut state = self.0.state();
        state.closed = true;
        for (_, waker) in &mut state.queue {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
        Ok(())
    }
}
