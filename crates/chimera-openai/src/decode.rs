//! Events of an answer into events of the contract. Pure: bytes and stamps in, events or an error out, no I/O and no clock.
//! The end is held back until the body has ended, because what follows an end may take it back.

mod part;

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use chimera_core::{
    BackendError, BackendId, ClockSource, Event, EventKind, FinishReason, Finished, Phase, PhaseTiming, Stamp,
};
use chimera_wire::{ServerEvent, ServerEvents, Teller};
use serde_json::{Number, Value};

use self::part::{Part, Stats, Text, Timings, Usage, said};
use crate::refusal::{error_in, error_text, told};

/// The longest event that is read, in bytes.
const EVENT: usize = 1 << 20;
/// Chunks beyond the budget: a parser of thoughts and tool calls may cut a token's text in two.
const SLACK: u64 = 64;
/// Tokens beyond the budget that are let pass: llama.cpp finishes a character that is open when the budget ends.
const OVER: u32 = 8;

/// What is expected of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Tokens asked for.
    pub(crate) budget: u32,
    /// Whether each part's usage tells the tokens so far.
    pub(crate) counts: bool,
    /// Tokens of context, where that is known.
    pub(crate) window: Option<u32>,
    /// Phases that the server is trusted to report.
    pub(crate) phases: Vec<Phase>,
}

/// What is told of an answer as a whole.
#[derive(Debug, Default)]
struct Told {
    reason: Option<String>,
    prompt: Option<u32>,
    cached: Option<u32>,
    generated: Option<u32>,
    prefill: Option<u64>,
    decode: Option<u64>,
}

/// Decodes one answer. After an error it is not fed again.
#[derive(Debug)]
pub(crate) struct Decoder {
    events: ServerEvents,
    teller: Teller,
    expected: Expected,
    /// Events seen and chunks given.
    seen: u64,
    chunks: u64,
    /// Tokens carried by the chunks so far; `None` once a chunk did not say.
    carried: Option<u64>,
    told: Told,
    /// `[DONE]` was seen.
    done: bool,
    /// The read that brought the last whole event.
    last: Stamp,
    /// The last read.
    read: Stamp,
}

impl Decoder {
    pub(crate) fn new(teller: Teller, expected: Expected) -> Self {
        Self {
            events: ServerEvents::new(EVENT),
            teller,
            expected,
            seen: 0,
            chunks: 0,
            carried: Some(0),
            told: Told::default(),
            done: false,
            last: Stamp::default(),
            read: Stamp::default(),
        }
    }

    /// Whether nothing more is to come.
    pub(crate) fn has_ended(&self) -> bool {
        self.done
    }

    /// Takes a piece of the body that was read at `at`; whole events become events.
    ///
    /// # Errors
    /// What the server did wrong, or says that it did.
    pub(crate) fn feed(
        &mut self,
        at: Stamp,
        bytes: Bytes,
        out: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        self.read = at;
        self.events.feed(bytes);
        while let Some(event) = self.events.next_event().map_err(|error| self.teller.protocol(error))? {
            self.last = at;
            self.event(at, &event, out)?;
        }
        Ok(())
    }

    fn event(
        &mut self,
        at: Stamp,
        event: &ServerEvent,
        out: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        let data = event.data.trim_ascii();
        if event.name.as_deref() == Some(b"error") {
            return Err(self.failed(data));
        }
        if data.is_empty() {
            return Ok(());
        }
        self.seen += 1;
        if self.seen > 4 * u64::from(self.expected.budget) + 16 * SLACK {
            return Err(self.endless("events", self.seen));
        }
        // Said twice it says no more; anything else after it does.
        if self.done && data != b"[DONE]" {
            return Err(self.teller.protocol("an event after `[DONE]`"));
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let part: Part<'_> = serde_json::from_slice(data).map_err(|error| {
            let excerpt = String::from_utf8_lossy(data.get(..120).unwrap_or(data));
            self.teller.protocol(format_args!("an event that is no answer ({error}): {excerpt}"))
        })?;
        if let Some(error) = &part.error {
            return Err(told(&self.teller, &error_text(error)));
        }
        let Some(choices) = part.choices else {
            let whole = serde_json::from_slice(data).ok().and_then(|value| error_in(&value));
            if let Some(message) = whole {
                return Err(told(&self.teller, &message));
            }
            if part.usage.is_none() && part.timings.is_none() && part.stats.is_none() {
                return Err(self
                    .teller
                    .protocol("an object that is neither a part of an answer nor an error"));
            }
            self.totals(part.usage.as_ref(), part.timings, part.stats);
            return Ok(());
        };
        self.totals(part.usage.as_ref(), part.timings, part.stats);
        let Some(choice) = choices.first else { return Ok(()) };
        if choices.more || choice.index.is_some_and(|index| index != 0) {
            return Err(self.teller.protocol("several answers, where one was asked for"));
        }
        let ids = choice.token_ids.or(part.tokens).filter(|ids| !ids.is_empty());
        let text = said(choice.text, choice.delta);
        self.chunk(at, text, ids, part.usage.is_some(), out)?;
        // TGI says it is empty as long as there is none.
        if let Some(Text(reason)) = choice.finish_reason.filter(|reason| !reason.0.is_empty()) {
            if self.told.reason.as_ref().is_some_and(|earlier| *earlier != reason) {
                return Err(self.teller.protocol("two ends of one answer that differ"));
            }
            self.told.reason = Some(reason.into_owned());
        }
        Ok(())
    }

    /// Gives out what an event says, if it says anything.
    fn chunk(
        &mut self,
        at: Stamp,
        text: Cow<'_, str>,
        ids: Option<Vec<u32>>,
        has_usage: bool,
        out: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        let mut tokens = ids.as_ref().map(|ids| ids.len() as u64);
        if tokens.is_none()
            && self.expected.counts
            && has_usage
            && let (Some(so_far), Some(carried)) = (self.told.generated, self.carried)
        {
            tokens = u64::from(so_far).checked_sub(carried);
            if tokens.is_none() {
                return Err(self.teller.protocol(format_args!("{so_far} tokens so far, after {carried}")));
            }
        }
        if text.is_empty() && tokens.is_none_or(|tokens| tokens == 0) {
            return Ok(());
        }
        if self.told.reason.is_some() {
            return Err(self.teller.protocol("text after the end of the answer"));
        }
        self.chunks += 1;
        if self.chunks > 2 * u64::from(self.expected.budget) + SLACK {
            return Err(self.endless("chunks", self.chunks));
        }
        self.carried = self.carried.zip(tokens).map(|(carried, tokens)| carried + tokens);
        let id = ids.and_then(|ids| match ids.as_slice() {
            [id] => Some(*id),
            _ => None,
        });
        let tokens = tokens.and_then(|tokens| u32::try_from(tokens).ok());
        let kind = EventKind::Chunk { text: text.into_owned(), tokens, id };
        out.push_back(Event { at, lane: 0, kind });
        Ok(())
    }

    fn totals(&mut self, usage: Option<&Usage>, timings: Option<Timings>, stats: Option<Stats>) {
        let count = |number: &Option<Number>| -> Option<u32> { number.as_ref()?.as_u64()?.try_into().ok() };
        let told = &mut self.told;
        if let Some(usage) = usage {
            told.prompt = count(&usage.prompt_tokens).or(told.prompt);
            told.generated = count(&usage.completion_tokens).or(told.generated);
            let cached =
                usage.prompt_tokens_details.as_ref().and_then(|details| count(&details.cached_tokens));
            told.cached = cached.or(told.cached);
        }
        if let Some(timings) = timings {
            told.prefill = nanos(timings.prompt_ms, 1e6).or(told.prefill);
            told.decode = nanos(timings.predicted_ms, 1e6).or(told.decode);
            let cached = timings.cache_n.filter(|n| (0.0..f64::from(u32::MAX)).contains(n));
            told.cached = told.cached.or(cached.map(|n| n as u32));
        }
        if let Some(stats) = stats {
            told.prefill = nanos(stats.time_to_first_token, 1e9).or(told.prefill);
            told.decode = nanos(stats.generation_time, 1e9).or(told.decode);
        }
    }

    /// What an event of the name `error` says.
    fn failed(&self, data: &[u8]) -> BackendError {
        let value = serde_json::from_slice::<Value>(data).ok();
        let message = value.as_ref().and_then(error_in);
        told(&self.teller, &message.unwrap_or_else(|| String::from_utf8_lossy(data).into_owned()))
    }

    fn endless(&self, what: &str, count: u64) -> BackendError {
        let budget = self.expected.budget;
        self.teller.protocol(format_args!(
            "{count} {what} for a budget of {budget} tokens: the server ignores it or never ends"
        ))
    }

    /// The body has ended: the last event, or why there is none.
    ///
    /// # Errors
    /// A body that was cut off, an end that is no success, and counts that do not agree.
    pub(crate) fn finish(mut self, out: &mut VecDeque<Event>) -> Result<(), BackendError> {
        if self.events.is_open() {
            // Some servers leave out the blank line after the last event; what is cut in two cannot be read.
            self.events.feed(Bytes::from_static(b"\n\n"));
            let at = self.read;
            while let Some(event) = self.events.next_event().map_err(|error| self.teller.protocol(error))? {
                self.last = at;
                self.event(at, &event, out).map_err(|error| match error {
                    BackendError::Protocol { .. } => {
                        self.teller.protocol("the answer was cut off in the middle of an event")
                    }
                    other => other,
                })?;
            }
        }
        let Some(reason) = self.told.reason.take() else {
            let what =
                if self.done { "it has no `finish_reason`" } else { "it ended without `finish_reason`" };
            return Err(self.teller.protocol(format_args!("the answer was cut off: {what}")));
        };
        let reason = self.reason(&reason)?;
        // Ollama puts a usage of zeros into every part: where text came, a zero is no count.
        let generated = self.told.generated.filter(|generated| *generated > 0 || self.chunks == 0);
        self.told.prompt = self.told.prompt.filter(|prompt| *prompt > 0);
        self.fits(self.told.prompt, generated)?;
        let budget = self.expected.budget;
        if let Some(generated) = generated {
            if generated > budget.saturating_add(OVER) {
                return Err(self
                    .teller
                    .protocol(format_args!("{generated} tokens for a budget of {budget}")));
            }
            if self.chunks == 0 && generated > 0 {
                // Tokens of which no text became: this is the first that shows them.
                let kind = EventKind::Chunk { text: String::new(), tokens: None, id: None };
                out.push_back(Event { at: self.last, lane: 0, kind });
            } else if self.carried.is_some_and(|carried| carried != u64::from(generated)) {
                let carried = self.carried.unwrap_or_default();
                return Err(self
                    .teller
                    .protocol(format_args!("{generated} tokens reported, {carried} carried by the stream")));
            }
        }
        let reported = [(Phase::Prefill, self.told.prefill), (Phase::Decode, self.told.decode)];
        let timings = reported.into_iter().filter_map(|(phase, nanos)| {
            let nanos = nanos.filter(|_| self.expected.phases.contains(&phase))?;
            Some(PhaseTiming { phase, nanos, source: ClockSource::Server })
        });
        let mut finished = Finished::new(reason, generated).timings(timings.collect());
        finished.prompt = self.told.prompt;
        // A server cannot have cached more than it read.
        finished.cached =
            self.told.cached.filter(|cached| self.told.prompt.is_some_and(|prompt| *cached <= prompt));
        out.push_back(Event { at: self.last, lane: 0, kind: EventKind::Finished(finished) });
        Ok(())
    }

    /// Some servers cut a prompt in silence, or forget its beginning on the way: their own counts give them away.
    fn fits(&self, prompt: Option<u32>, generated: Option<u32>) -> Result<(), BackendError> {
        let (Some(window), Some(prompt)) = (self.expected.window, prompt) else { return Ok(()) };
        let used = u64::from(prompt) + u64::from(generated.unwrap_or(0));
        if prompt >= window || used > u64::from(window) {
            return Err(self.teller.invalid(format_args!(
                "a prompt of {prompt} tokens and {used} with its answer at a context of {window}: something was cut or \
                 forgotten on the way; start the server with a larger context, or ask for less"
            )));
        }
        Ok(())
    }

    fn reason(&self, reason: &str) -> Result<FinishReason, BackendError> {
        match reason {
            // A model that calls a tool has ended its answer by itself.
            "stop" | "eos_token" | "stop_sequence" | "tool_calls" | "function_call" => Ok(FinishReason::Stop),
            "length" => Ok(FinishReason::Length),
            "content_filter" | "abort" | "error" => Err(BackendError::failed(
                self.teller.id(),
                format!("the server broke the answer off for the reason `{reason}`"),
            )),
            other => Err(self.teller.protocol(format_args!("an answer that ended for the reason `{other}`"))),
        }
    }
}

/// A duration in whole nanoseconds, rounded half away from zero; `None` for what is none.
fn nanos(value: Option<f64>, scale: f64) -> Option<u64> {
    let nanos = (value? * scale).round();
    (nanos.is_finite() && (0.0..1e18).contains(&nanos)).then_some(nanos as u64)
}

/// Reads a whole answer of bytes, cut at the given lengths, with the piece's number as its stamp. This is what the fuzzer
/// drives; it is no interface.
///
/// # Errors
/// The same as of a generation.
pub fn read_whole(
    bytes: &[u8],
    cuts: &[usize],
    budget: u32,
    counts: bool,
) -> Result<Vec<Event>, BackendError> {
    let expected = Expected { budget, counts, window: None, phases: vec![Phase::Prefill, Phase::Decode] };
    let mut decoder = Decoder::new(crate::refusal::teller(BackendId::new("openai"), None), expected);
    let mut out = VecDeque::new();
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut number = 0;
    for cut in cuts {
        number += 1;
        let piece = rest.split_to((*cut).min(rest.len()));
        decoder.feed(Stamp(number), piece, &mut out)?;
    }
    decoder.feed(Stamp(number + 1), rest, &mut out)?;
    decoder.finish(&mut out)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests;
