//! What is seen of a generation: stamped events, and the phases a backend reports by itself. Deriving metrics from
//! them is not done here; `docs/metrics.md` says how it is done.

use serde::{Deserialize, Serialize};

use crate::Stamp;

/// Who measured a duration. Values of different sources are never averaged or compared in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClockSource {
    /// Stamped by us where bytes or tokens arrive.
    #[default]
    Client,
    /// Stamped in the engine's thread of an in-process backend.
    Engine,
    /// Reported by the backend.
    Server,
    /// Device events (CUDA events, for instance).
    Device,
}

/// A stretch of a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Making the model resident.
    Load,
    /// Waiting for a place to run.
    Queue,
    /// Text to token ids.
    Tokenize,
    /// Reading the prompt, up to the logits of its last token.
    Prefill,
    /// First to last generated token.
    Decode,
    /// All of it, as the reporter counts it.
    Total,
}

/// One phase's duration as somebody reported it. A phase that nobody measured has no entry; it is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTiming {
    /// Which phase.
    pub phase: Phase,
    /// Its length in nanoseconds. Zero is a measurement.
    pub nanos: u64,
    /// Who measured it.
    pub source: ClockSource,
}

/// Something that happened to one lane, stamped where it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When: in the engine's thread, or when its bytes arrived; never after a channel or a tokenizer.
    pub at: Stamp,
    /// Index of the request in its batch.
    pub lane: u32,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// The request's last byte left, or its token ids were submitted to the engine.
    Sent,
    /// Response headers arrived (HTTP only).
    Headers,
    /// The logits of the last prompt token exist.
    PromptProcessed {
        /// Real prompt tokens of this lane, padding not counted; `None` when the backend does not say.
        tokens: Option<u32>,
        /// How many of them came from a prefix cache; `None` when the backend does not say.
        cached: Option<u32>,
    },
    /// Generated text. A chunk is not a token.
    Chunk {
        /// Text that became complete with this chunk; empty while a multi-byte character is still open.
        text: String,
        /// How many tokens the chunk carries; `None` when the wire does not say.
        tokens: Option<u32>,
        /// The token's id, when the chunk is exactly one known token.
        id: Option<u32>,
    },
    /// Terminal: exactly one per lane that succeeds, and the lane's last event.
    Finished(Finished),
}

/// The end of one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens generated, when known.
    pub generated: Option<u32>,
    /// Prompt tokens of this lane where they are told only now, as servers do; what
    /// [`EventKind::PromptProcessed`] told need not be told again.
    pub prompt: Option<u32>,
    /// How many of them came from a prefix cache, where that is told only now.
    pub cached: Option<u32>,
    /// Durations the backend reported by itself, verbatim.
    pub timings: Vec<PhaseTiming>,
}

impl Finished {
    /// An end of which nothing else is told.
    #[must_use]
    pub fn new(reason: FinishReason, generated: Option<u32>) -> Self {
        Self { reason, generated, prompt: None, cached: None, timings: Vec::new() }
    }

    /// The same end with the durations that the backend reported.
    #[must_use]
    pub fn timings(mut self, timings: Vec<PhaseTiming>) -> Self {
        self.timings = timings;
        self
    }
}

/// Why a lane ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended its answer.
    Stop,
    /// The budget was used up.
    Length,
}
