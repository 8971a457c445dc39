//! One trial as it stands on disk: which cell, what happened, and the stamps from which every metric is derived. A
//! trial stores stamps and counts, never a metric; metrics are computed by [`crate::Metric`].

use chimera_core::{ClockSource, FinishReason, PhaseTiming};
use serde::{Deserialize, Serialize};

/// What a trial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialRole {
    /// First use of a shape in its process, with a short budget, or a request of the warm-up of a load run. Never
    /// averaged with steady trials.
    FirstUse,
    /// A steady trial: its process, model and shape have been used before.
    Measured,
}

/// What a trial was the first to use. Filled from what really happened, not from the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// First generation of the process.
    Process,
    /// First generation of the model in this process.
    Model,
    /// First generation of this (backend, model, scenario, batch, concurrency) in this process.
    Shape,
}

/// The cell a trial belongs to, in full: a record can be read without its plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Factors {
    /// Backend of the registry.
    pub backend: Box<str>,
    /// Model id of the design.
    pub model: Box<str>,
    /// Scenario (prompt) of the design.
    pub scenario: Box<str>,
    /// Budget of generated tokens per lane.
    #[serde(rename = "gen")]
    pub budget: u32,
    /// Lanes run together.
    pub batch: u32,
    /// Requests issued at the same moment; the trial's lanes are theirs. Records from before there was this factor have one.
    #[serde(default = "single", skip_serializing_if = "is_single")]
    pub concurrency: u32,
    /// Threads of the process.
    pub threads: u32,
}

pub(crate) fn single() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
pub(crate) fn is_single(value: &u32) -> bool {
    *value == 1
}

/// How a trial ended: a closed list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every lane ended well.
    Completed,
    /// Something went wrong; a failed trial carries no latency.
    Failed {
        /// [`chimera_core::BackendError::code`], or `law` for a stream that broke the contract.
        code: String,
        /// The error in full.
        reason: String,
    },
    /// Not run, and why (a model that is not there, a backend that is not ready).
    Skipped {
        /// Why.
        reason: String,
    },
    /// Stopped by the user.
    Cancelled,
    /// Not finished within the design's limit: the latency is known to be longer.
    Censored {
        /// The limit in seconds.
        timeout_s: f64,
    },
}

impl Outcome {
    /// A stable word for counts and tables.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled => "cancelled",
            Self::Censored { .. } => "censored",
        }
    }
}

/// What one lane showed: stamps in nanoseconds of the process's clock, and counts. Absent means not seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lane {
    /// Real prompt tokens, as the backend reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens that a prefix cache answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Prompt tokens of the nonce that the prompt began with, so that no prefix cache could answer it; they are part of
    /// `prompt_tokens`. Absent without a nonce, and where its length could not be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce_tokens: Option<u32>,
    /// Tokens generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<u32>,
    /// Why the lane ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishReason>,
    /// Budget of this request, where the cell's budget is the largest of a distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// Under load: when the request was to be sent by its schedule. In a closed loop, when its place became free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intended: Option<u64>,
    /// Under load: requests that were under way when this one was issued, itself not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// The request left, or its token ids were submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Response headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<u64>,
    /// Logits of the last prompt token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_processed: Option<u64>,
    /// First chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<u64>,
    /// Last chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token: Option<u64>,
    /// The terminal event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Durations the backend reported by itself, verbatim.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timings: Vec<PhaseTiming>,
    /// First 16 hex digits of the SHA-256 of the generated ids (or text): equal work gives equal digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<str>>,
}

/// What the host did during a trial. Absent means that this host does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNoise {
    /// Share of the trial's time in which some runnable task waited for a CPU (pressure stall, `some`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<f64>,
    /// Share of all CPU time that the hypervisor took away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
    /// One-minute load average at the end of the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load1: Option<f64>,
}

/// Something about a trial that a reader must know. A flagged trial stays in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Flag {
    /// Pressure or steal above the design's limit.
    HostNoise,
    /// Fewer tokens came than the budget asked for.
    ShortGeneration,
    /// A prefix cache answered part of the prompt: the backend says so, or it read the prompt ten times faster than at
    /// the shape's first use in this process (under load: than the first prompt that it read alone).
    CachedPrompt,
    /// The prompt's token count is not the scenario's.
    PromptLength,
    /// Durations that the backend reports cannot be true, by what we saw of this request or by those before it.
    ImplausibleServerTiming,
}

/// One trial: one line of `trials.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Number in the plan.
    pub id: u32,
    /// Block of the plan: the unit of replication.
    pub block: u32,
    /// Place in the block's order.
    pub position: u32,
    /// Which process of the block ran it, from 1; above 1 only after a resume.
    pub attempt: u32,
    /// What it is for.
    pub role: TrialRole,
    /// Its cell.
    pub factors: Factors,
    /// What it was the first to use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firsts: Vec<First>,
    /// Wall-clock start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Time to make the model resident, when this trial had to, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_ns: Option<u64>,
    /// Who made the stamps.
    pub stamps: ClockSource,
    /// The lanes of a completed trial; empty otherwise. A request under load that did not complete keeps one lane with
    /// its schedule (intended, sent, budget), and no latency; one that was censored also keeps its first token, when
    /// that came in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// The host meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostNoise>,
    /// What a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

impl Trial {
    /// A completed steady trial: what latency estimates are made of.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.role == TrialRole::Measured && self.firsts.is_empty() && self.outcome == Outcome::Completed
    }
}

/// Token stamps of one lane: one line of `events.jsonl`. Deltas make it small; every per-token figure can be recomputed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenStamps {
    /// Trial.
    pub trial: u32,
    /// Attempt of that trial.
    pub attempt: u32,
    /// Lane.
    pub lane: u32,
    /// Stamp of the first chunk, nanoseconds.
    pub first: u64,
    /// Nanoseconds from each chunk to the next.
    pub deltas: Vec<u64>,
    /// Tokens carried by each chunk, when any differs from one; `null` where the wire does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Vec<Option<u32>>>,
}
