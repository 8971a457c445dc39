//! The decode loop: one batch on a model, from token ids to stamped events. It runs in the worker thread and stamps
//! there; queueing and text are others' business.

use std::sync::atomic::{AtomicBool, Ordering};

use chimera_core::{
    BackendError, BackendId, Batch, Clock, ClockSource, FinishReason, Phase, PhaseTiming, Prompt, Request,
    Stamp, StreamError,
};
use futures_channel::mpsc::UnboundedSender;

use crate::{LanguageModel, Logits, Sampler, Tokenizer, Wanted};

/// What happened to a lane, before its token has become text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happened {
    Sent,
    PromptProcessed { tokens: u32 },
    Token(u32),
    Finished { reason: FinishReason, generated: u32, timings: Vec<PhaseTiming> },
}

/// An event on its way from the worker to the consumer.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) at: Stamp,
    pub(crate) lane: u32,
    pub(crate) what: Happened,
}

pub(crate) type RawItem = Result<Raw, StreamError>;

/// A batch that waits for the worker, and where its events go.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) submitted: Stamp,
    pub(crate) cancelled: std::sync::Arc<AtomicBool>,
    pub(crate) events: UnboundedSender<RawItem>,
}

/// What a running batch needs of its surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) backend: &'a BackendId,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) tokenizer: Result<&'a Tokenizer, &'a str>,
    pub(crate) closed: &'a AtomicBool,
}

struct Lane {
    prompt: Vec<u32>,
    budget: u32,
    ignore_eos: bool,
    sampler: Sampler,
    tokenize: Option<u64>,
    generated: u32,
    first: Stamp,
    last: Stamp,
    /// The device's time from the first token to the last.
    last_by_device: Option<u64>,
    done: bool,
}

/// Durations that the lanes of a batch have in common.
struct Told {
    common: [PhaseTiming; 2],
    /// Passes since the prefill, by the device's clock, where it keeps time.
    decode: Option<u64>,
}

/// A duration by the device's clock where it keeps time, else by the engine's thread.
fn timing(phase: Phase, device: Option<u64>, engine: u64) -> PhaseTiming {
    let (nanos, source) = match device {
        Some(nanos) => (nanos, ClockSource::Device),
        None => (engine, ClockSource::Engine),
    };
    PhaseTiming { phase, nanos, source }
}

enum Stop {
    /// Nobody listens any more.
    Cancelled,
    Failed(BackendError),
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// Runs one batch to its end, its failure or its cancellation.
pub(crate) fn run(model: &mut dyn LanguageModel, job: &Job, around: &Surroundings<'_>) {
    if let Err(Stop::Failed(error)) = (Run { model, job, around }).go() {
        // A consumer that has gone away needs no answer.
        let _ = job.events.unbounded_send(Err(StreamError::all(around.clock.now(), error)));
    }
}

struct Run<'a, 'b> {
    model: &'a mut dyn LanguageModel,
    job: &'a Job,
    around: &'a Surroundings<'b>,
}

impl Run<'_, '_> {
    fn go(&mut self) -> Result<(), Stop> {
        self.check_cancelled()?;
        let queue = nanos(self.job.submitted, self.now());
        let mut lanes = self.prepare()?;
        let width = lanes.iter().map(|l| l.prompt.len()).max().unwrap_or(0);
        let steps = lanes.iter().map(|l| l.budget).max().unwrap_or(0);

        let sent = self.now();
        for lane in 0..lanes.len() {
            self.send(sent, lane, Happened::Sent)?;
        }
        // Whatever the device did before is no part of this.
        let _ = self.model.device_nanos();
        let (mut cache, mut logits) = self.prefill(&lanes, width, steps)?;
        let processed = self.now();
        for (index, lane) in lanes.iter().enumerate() {
            let tokens = u32::try_from(lane.prompt.len()).unwrap_or(u32::MAX);
            self.send(processed, index, Happened::PromptProcessed { tokens })?;
        }
        let device = self.model.device_nanos();
        let prefill = timing(Phase::Prefill, device, nanos(sent, processed));
        let common = [timing(Phase::Queue, None, queue), prefill];
        let mut told = Told { common, decode: device.map(|_| 0) };

        let mut next: Vec<u32> = lanes.iter().map(|l| l.prompt.last().copied().unwrap_or(0)).collect();
        loop {
            for (index, lane) in lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.done) {
                self.step(index, lane, &mut logits, &mut next, &told)?;
            }
            if lanes.iter().all(|lane| lane.done) {
                return Ok(());
            }
            self.check_cancelled()?;
            // A lane that is done goes on reading its last token: nobody looks at its logits, and lanes do not meet.
            logits = self.forward(cache.as_mut(), &next, Wanted::Last)?;
            let passed = self.model.device_nanos();
            told.decode = told.decode.zip(passed).map(|(sum, nanos)| sum.saturating_add(nanos));
        }
    }

    /// Chooses the next token of a lane, or ends it.
    fn step(
        &self,
        index: usize,
        lane: &mut Lane,
        logits: &mut Logits,
        next: &mut [u32],
        told: &Told,
    ) -> Result<(), Stop> {
        if lane.budget == 0 {
            return self.finish(index, lane, FinishReason::Length, told);
        }
        let token = logits.row_mut(index).and_then(|row| lane.sampler.choose(row)).ok_or_else(|| {
            BackendError::failed(self.around.backend, format!("the logits of lane {index} are not numbers"))
        })?;
        if !lane.ignore_eos && self.model.end_of_sequence().contains(&token) {
            return self.finish(index, lane, FinishReason::Stop, told);
        }
        let at = self.now();
        if lane.generated == 0 {
            lane.first = at;
        }
        lane.last = at;
        lane.last_by_device = told.decode;
        lane.generated += 1;
        lane.sampler.see(token);
        next[index] = token;
        self.send(at, index, Happened::Token(token))?;
        if lane.generated == lane.budget {
            self.finish(index, lane, FinishReason::Length, told)?;
        }
        Ok(())
    }

    fn finish(&self, index: usize, lane: &mut Lane, reason: FinishReason, told: &Told) -> Result<(), Stop> {
        lane.done = true;
        let decode = (lane.generated > 0)
            .then(|| timing(Phase::Decode, lane.last_by_device, nanos(lane.first, lane.last)));
        let tokenize = lane.tokenize.map(|nanos| timing(Phase::Tokenize, None, nanos));
        let timings = told.common.into_iter().chain(tokenize).chain(decode).collect();
        self.send(self.now(), index, Happened::Finished { reason, generated: lane.generated, timings })
    }

    /// Reads the padded prompts chunk by chunk.
    fn prefill(
        &mut self,
        lanes: &[Lane],
        width: usize,
        steps: u32,
    ) -> Result<(Box<dyn crate::KvCache>, Logits), Stop> {
        let padding: Vec<usize> = lanes.iter().map(|l| width - l.prompt.len()).collect();
        // The last token of an answer is chosen and never read.
        let capacity = width + (steps as usize).saturating_sub(1);
        let mut cache =
            self.model.start(&padding, capacity).map_err(|e| e.into_backend(self.around.backend))?;
        if !cache.is_empty() {
            let detail = format!("a new cache holds {} positions", cache.len());
            return Err(BackendError::Protocol { backend: self.around.backend.clone(), detail }.into());
        }
        let chunk = self.model.prefill_chunk().max(1);
        let mut start = 0;
        loop {
            self.check_cancelled()?;
            let end = width.min(start + chunk);
            let mut tokens = Vec::with_capacity(lanes.len() * (end - start));
            for (lane, &padding) in lanes.iter().zip(&padding) {
                tokens.extend((start..end).map(|column| match column.checked_sub(padding) {
                    Some(position) => lane.prompt[position],
                    None => lane.prompt[0],
                }));
            }
            let wanted = if end == width { Wanted::Last } else { Wanted::None };
            let logits = self.forward(cache.as_mut(), &tokens, wanted)?;
            if end == width {
                return Ok((cache, logits));
            }
            start = end;
        }
    }

    fn forward(
        &mut self,
        cache: &mut dyn crate::KvCache,
        tokens: &[u32],
        wanted: Wanted,
    ) -> Result<Logits, Stop> {
        Ok(self.model.forward(cache, tokens, wanted).map_err(|e| e.into_backend(self.around.backend))?)
    }

    /// Turns prompts into ids and refuses what cannot run, before any work begins.
    fn prepare(&self) -> Result<Vec<Lane>, Stop> {
        let requests = &self.job.batch.0;
        if requests.is_empty() {
            return Err(self.refuse("a batch of no lanes").into());
        }
        if requests.len() > self.model.max_batch() {
            return Err(self
                .refuse(format!("{} lanes, at most {} run together", requests.len(), self.model.max_batch()))
                .into());
        }
        requests.iter().enumerate().map(|(index, request)| Ok(self.lane(index, request)?)).collect()
    }

    fn lane(&self, index: usize, request: &Request) -> Result<Lane, BackendError> {
        let refuse = |reason: String| self.refuse(format!("lane {index}: {reason}"));
        let begin = self.now();
        let (prompt, tokenize) = match &request.prompt {
            Prompt::Tokens(ids) => (ids.to_vec(), None),
            Prompt::Text(text) => {
                let tokenizer = self.around.tokenizer.map_err(|why| BackendError::Unsupported {
                    backend: self.around.backend.clone(),
                    what: format!("text prompts for this model: {why}; raw token ids work"),
                })?;
                let ids = tokenizer.encode_prompt(text).map_err(|e| refuse(e.to_string()))?;
                (ids, Some(nanos(begin, self.now())))
            }
            Prompt::Chat(messages) => {
                let unsupported = |why: &str| BackendError::Unsupported {
                    backend: self.around.backend.clone(),
                    what: format!("chats for this model: {why}; plain prompts work"),
                };
                let template = self.model.chat_template().map_err(|why| unsupported(&why))?;
                let tokenizer = self.around.tokenizer.map_err(unsupported)?;
                let text = template.render(messages).map_err(|e| refuse(e.to_string()))?;
                let ids = tokenizer.encode_template(&text).map_err(|e| refuse(e.to_string()))?;
                (ids, Some(nanos(begin, self.now())))
            }
            _ => {
                return Err(BackendError::Unsupported {
                    backend: self.around.backend.clone(),
                    what: "prompts of this kind".into(),
                });
            }
        };
        if prompt.is_empty() {
            return Err(refuse("the prompt has no tokens".into()));
        }
        let vocabulary = self.model.vocabulary();
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(refuse(format!("token id {id} is not in the vocabulary of {vocabulary}")));
        }
        let context = self.model.context();
        if prompt.len() + request.max_tokens as usize > context {
            return Err(refuse(format!(
                "{} prompt tokens and a budget of {} exceed the context of {context}",
                prompt.len(),
                request.max_tokens,
            )));
        }
        let mut sampler = Sampler::new(request.sampling, request.seed).map_err(refuse)?;
        for &id in &prompt {
            sampler.see(id);
        }
        Ok(Lane {
            prompt,
            budget: request.max_tokens,
            ignore_eos: request.ignore_eos,
            sampler,
            tokenize,
            generated: 0,
            first: Stamp::default(),
            last: Stamp::default(),
            last_by_device: None,
            done: false,
        })
    }

    fn refuse(&self, reason: impl Into<String>) -> BackendError {
        BackendError::InvalidRequest { backend: self.around.backend.clone(), reason: reason.into() }
    }

    fn check_cancelled(&self) -> Result<(), Stop> {
        if self.job.cancelled.load(Ordering::Acquire) {
            return Err(Stop::Cancelled);
        }
        if self.around.closed.load(Ordering::Acquire) {
            return Err(Stop::Failed(BackendError::Closed { backend: self.around.backend.clone() }));
        }
        Ok(())
    }

    fn send(&self, at: Stamp, lane: usize, what: Happened) -> Result<(), Stop> {
        let lane = u32::try_from(lane).unwrap_or(u32::MAX);
        self.job.events.unbounded_send(Ok(Raw { at, lane, what })).map_err(|_| Stop::Cancelled)
    }

    fn now(&self) -> Stamp {
        self.around.clock.now()
    }
}

fn nanos(from: Stamp, to: Stamp) -> u64 {
    to.0.saturating_sub(from.0)
}
