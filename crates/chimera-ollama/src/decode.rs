//! Lines of an answer into events. Pure: bytes and stamps in, events or an error out, no I/O and no clock. The end is held
//! back until the body has ended, because what follows an end may take it back.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use chimera_core::{
    BackendError, BackendId, ClockSource, Event, EventKind, FinishReason, Finished, Phase, PhaseTiming, Stamp,
};
use chimera_wire::{Lines, Teller};
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::refusal::{error_text, told};

/// The longest line that is read, in bytes.
const LINE: usize = 1 << 20;
/// Chunks beyond the budget: a parser of thoughts may cut a token's text in two.
const SLACK: u64 = 64;
/// Ollama ends an answer that says the same token more often than this, and does not say that it did.
const REPEATS: u32 = 30;

/// Text that is borrowed unless an escape forces a copy.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct Spoken<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
}

/// One line of `/api/generate` or `/api/chat`. Numbers may be missing or be none that can be used.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    response: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Spoken<'a>>,
    done: Option<bool>,
    #[serde(borrow)]
    done_reason: Option<Text<'a>>,
    total_duration: Option<Number>,
    load_duration: Option<Number>,
    prompt_eval_count: Option<Number>,
    prompt_eval_cached_count: Option<Number>,
    prompt_eval_duration: Option<Number>,
    eval_count: Option<Number>,
    eval_duration: Option<Number>,
    error: Option<Value>,
}

/// What an end tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    reason: Option<String>,
    /// Prompt, cached, generated.
    counts: [Option<u32>; 3],
    /// Load, prefill, decode, total in nanoseconds.
    nanos: [Option<u64>; 4],
}

const PHASES: [Phase; 4] = [Phase::Load, Phase::Prefill, Phase::Decode, Phase::Total];

impl End {
    fn of(line: &Line<'_>) -> Self {
        let count = |number: &Option<Number>| number.as_ref()?.as_u64()?.try_into().ok();
        let nanos = |number: &Option<Number>| number.as_ref()?.as_u64();
        Self {
            reason: line.done_reason.as_ref().map(|text| text.0.to_string()).filter(|text| !text.is_empty()),
            counts: [
                count(&line.prompt_eval_count),
                count(&line.prompt_eval_cached_count),
                count(&line.eval_count),
            ],
            nanos: [
                nanos(&line.load_duration),
                nanos(&line.prompt_eval_duration),
                nanos(&line.eval_duration),
                nanos(&line.total_duration),
            ],
        }
    }

    /// Whether another end says nothing else. What it leaves out it does not deny.
    fn agrees(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            a.is_none() || b.is_none() || a == b
        }
        same(&self.reason, &other.reason)
            && self.counts.iter().zip(&other.counts).all(|(a, b)| same(a, b))
            && self.nanos.iter().zip(&other.nanos).all(|(a, b)| same(a, b))
    }
}

/// What is expected of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// Tokens asked for.
    pub(crate) budget: u32,
    /// Tokens of context that the session has.
    pub(crate) window: u32,
    /// Phases that the server is trusted to report.
    pub(crate) phases: Vec<Phase>,
}

/// Decodes one answer. After an error it is not fed again.
#[derive(Debug)]
pub(crate) struct Decoder {
    lines: Lines,
    teller: Teller,
    expected: Expected,
    chunks: u64,
    /// The last chunk's text, and how often it came in a row after the first time.
    said: String,
    repeats: u32,
    end: Option<(Stamp, End)>,
    last: Stamp,
}

impl Decoder {
    pub(crate) fn new(teller: Teller, expected: Expected) -> Self {
        Self {
            lines: Lines::new(LINE),
            teller,
            expected,
            chunks: 0,
            said: String::new(),
            repeats: 0,
            end: None,
            last: Stamp::default(),
        }
    }

    /// Whether the end was seen.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes a piece of the body that was read at `at`; whole lines become events.
    ///
    /// # Errors
    /// What the server did wrong, or says that it did.
    pub(crate) fn feed(
        &mut self,
        at: Stamp,
        bytes: Bytes,
        events: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        self.last = at;
        self.lines.feed(bytes);
        while let Some(line) = self.lines.next_line().map_err(|error| self.teller.protocol(error))? {
            self.line(at, &line, events)?;
        }
        Ok(())
    }

    fn line(&mut self, at: Stamp, line: &[u8], events: &mut VecDeque<Event>) -> Result<(), BackendError> {
        let parsed: Line<'_> = match serde_json::from_slice(line) {
            Ok(parsed) => parsed,
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => return Ok(()),
            Err(error) => {
                let excerpt = String::from_utf8_lossy(line.get(..120).unwrap_or(line));
                return Err(self
                    .teller
                    .protocol(format_args!("a line that is no answer ({error}): {excerpt}")));
            }
        };
        if let Some(error) = &parsed.error {
            return Err(told(&self.teller, &error_text(error)));
        }
        let done = parsed.done == Some(true);
        let mut end = done.then(|| End::of(&parsed));
        let (content, thoughts) = match parsed.message {
            Some(message) => (message.content, message.thinking),
            None => (parsed.response, parsed.thinking),
        };
        if content.is_none() && thoughts.is_none() && !done && parsed.done.is_none() {
            return Err(self.teller.protocol("an object that is neither text, an end nor an error"));
        }
        // Thoughts come before what they lead to.
        for Text(text) in [thoughts, content].into_iter().flatten() {
            if text.is_empty() {
                continue;
            }
            if self.end.is_some() {
                return Err(self.teller.protocol("text after the end of the answer"));
            }
            self.chunks += 1;
            if self.chunks > 2 * u64::from(self.expected.budget) + SLACK {
                let asked = self.expected.budget;
                return Err(self.teller.protocol(format_args!(
                    "{} chunks for a budget of {asked} tokens: the server ignores it or never ends",
                    self.chunks
                )));
            }
            if self.said == *text {
                self.repeats += 1;
            } else {
                self.said.clear();
                self.said.push_str(&text);
                self.repeats = 0;
            }
            let kind = EventKind::Chunk { text: text.into_owned(), tokens: None, id: None };
            events.push_back(Event { at, lane: 0, kind });
        }
        match (end.take(), &self.end) {
            (Some(end), None) => self.end = Some((at, end)),
            // Some proxies say it twice; the first counts.
            (Some(again), Some((_, first))) if !first.agrees(&again) => {
                return Err(self.teller.protocol("two ends of one answer that differ"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The body has ended: the last event, or why there is none.
    ///
    /// # Errors
    /// A body that was cut off, an end that is no success, and counts that show a cut prompt.
    pub(crate) fn finish(mut self, events: &mut VecDeque<Event>) -> Result<(), BackendError> {
        if let Some(line) = self.lines.finish() {
            let at = self.last;
            if let Err(error) = self.line(at, &line, events) {
                // Half a line is what a broken connection leaves.
                return Err(match error {
                    BackendError::Protocol { .. } if self.end.is_none() => {
                        self.teller.protocol("the answer was cut off in the middle of a line")
                    }
                    other => other,
                });
            }
        }
        let Some((at, end)) = self.end.take() else {
            if self.repeats >= REPEATS {
                let reason = format!(
                    "the server ended the answer without `done` after {} equal chunks in a row, as Ollama does with an \
                     answer that repeats itself; ask for fewer tokens or sample otherwise",
                    self.repeats + 1
                );
                return Err(BackendError::failed(self.teller.id(), reason));
            }
            return Err(self.teller.protocol("the answer was cut off: it ended without `done`"));
        };
        let finished = self.finished(&end)?;
        if self.chunks == 0 && finished.generated.is_some_and(|generated| generated > 0) {
            // Tokens of which no whole character became: this line is the first that shows them.
            let kind = EventKind::Chunk { text: String::new(), tokens: None, id: None };
            events.push_back(Event { at, lane: 0, kind });
        }
        events.push_back(Event { at, lane: 0, kind: EventKind::Finished(finished) });
        Ok(())
    }

    fn finished(&self, end: &End) -> Result<Finished, BackendError> {
        let Expected { budget, window, phases } = &self.expected;
        let [prompt, cached, generated] = end.counts;
        if prompt.is_some_and(|prompt| prompt >= *window) {
            return Err(self.teller.invalid(format_args!(
                "the prompt does not fit: the server read {} tokens at a context of {window}, so it was cut or left \
                 no room for an answer; load with a larger context or shorten the prompt",
                prompt.unwrap_or_default()
            )));
        }
        let used = u64::from(prompt.unwrap_or(0)) + u64::from(generated.unwrap_or(0));
        if used > u64::from(*window) {
            return Err(self.teller.invalid(format_args!(
                "prompt and answer take {used} tokens at a context of {window}: the server forgot the beginning on the \
                 way; load with a larger context or ask for fewer tokens"
            )));
        }
        if let Some(generated) = generated.filter(|generated| generated > budget) {
            return Err(self.teller.protocol(format_args!("{generated} tokens for a budget of {budget}")));
        }
        let reason = match end.reason.as_deref() {
            Some("stop") => FinishReason::Stop,
            Some("length") => FinishReason::Length,
            // Old servers do not say.
            None if generated.map_or(self.chunks, u64::from) >= u64::from(*budget) => FinishReason::Length,
            None => FinishReason::Stop,
            Some(other) => {
                return Err(self
                    .teller
                    .protocol(format_args!("an answer that ended for the reason `{other}`")));
            }
        };
        let timings = PHASES.into_iter().zip(end.nanos).filter_map(|(phase, nanos)| {
            let nanos = nanos.filter(|_| phases.contains(&phase))?;
            Some(PhaseTiming { phase, nanos, source: ClockSource::Server })
        });
        let mut finished = Finished::new(reason, generated).timings(timings.collect());
        finished.prompt = prompt;
        // A server cannot have cached more than it read.
        finished.cached = cached.filter(|cached| prompt.is_some_and(|prompt| *cached <= prompt));
        Ok(finished)
    }
}

/// Reads a whole answer of bytes, cut at the given places, with the piece's number as its stamp. This is what the fuzzer
/// drives; it is no interface.
///
/// # Errors
/// The same as of a generation.
pub fn read_whole(
    bytes: &[u8],
    cuts: &[usize],
    budget: u32,
    window: u32,
) -> Result<Vec<Event>, BackendError> {
    let expected = Expected { budget, window, phases: PHASES.to_vec() };
    let mut decoder = Decoder::new(crate::refusal::teller(BackendId::new("ollama"), None), expected);
    let mut events = VecDeque::new();
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut number = 0;
    for cut in cuts {
        number += 1;
        let piece = rest.split_to((*cut).min(rest.len()));
        decoder.feed(Stamp(number), piece, &mut events)?;
    }
    decoder.feed(Stamp(number + 1), rest, &mut events)?;
    decoder.finish(&mut events)?;
    Ok(events.into())
}

#[cfg(test)]
mod tests;
