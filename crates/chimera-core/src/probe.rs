//! What works on this machine now, and why not where it does not. Probing is done by adapters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClockSource, Phase};

/// How far a backend is from being usable, worst first. Each rung but the last says why and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Availability {
    /// This binary was built without it.
    NotCompiled {
        /// Why.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// A native library is missing.
    LibraryMissing {
        /// Which, and where it was looked for.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// Code and libraries are there, the device is not.
    NoDevice {
        /// What the library answered.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// A server does not answer.
    Unreachable {
        /// Address and error.
        reason: String,
        /// What the user can do.
        remedy: String,
    },
    /// Usable.
    Ready,
}

impl Availability {
    /// Whether it can be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Reason and remedy, where it cannot be used.
    #[must_use]
    pub fn obstacle(&self) -> Option<(&str, &str)> {
        match self {
            Self::NotCompiled { reason, remedy }
            | Self::LibraryMissing { reason, remedy }
            | Self::NoDevice { reason, remedy }
            | Self::Unreachable { reason, remedy } => Some((reason, remedy)),
            Self::Ready => None,
        }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rung = match self {
            Self::NotCompiled { .. } => "not compiled",
            Self::LibraryMissing { .. } => "library missing",
            Self::NoDevice { .. } => "no device",
            Self::Unreachable { .. } => "unreachable",
            Self::Ready => return f.write_str("ready"),
        };
        match self.obstacle() {
            Some((reason, remedy)) => write!(f, "{rung}: {reason} ({remedy})"),
            None => f.write_str(rung),
        }
    }
}

/// What a backend can do. The defaults are the most conservative ones; what is declared is tested, and what is not
/// declared is the only excuse for a skipped test.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Capabilities {
    /// Every chunk says how many tokens it carries.
    pub token_counts: bool,
    /// `ignore_eos` gives exactly `max_tokens` tokens.
    pub exact_budget: bool,
    /// `max_tokens == 0` runs the prefill alone.
    pub prefill_only: bool,
    /// [`crate::Prompt::Tokens`] is accepted.
    pub token_prompts: bool,
    /// [`crate::Prompt::Chat`] is accepted.
    pub chat: bool,
    /// [`crate::Session::tokenize`] answers.
    pub tokenize: bool,
    /// [`crate::Session::score`] answers.
    pub scoring: bool,
    /// [`crate::Session::logits`] answers.
    pub logits: bool,
    /// Same seed, same request, same build: same tokens.
    pub deterministic: bool,
    /// Lanes in one batch; `None` when unknown, and then one is assumed.
    pub max_batch: Option<u32>,
    /// Generations at once on one session; `None` when unknown, and then one is assumed.
    pub max_in_flight: Option<u32>,
    /// A dropped stream stops its work within one decode step or within this many prompt tokens, whichever is under
    /// way; `None` when the backend promises nothing.
    pub prefill_chunk: Option<u32>,
    /// Who stamps the events of a stream: [`ClockSource::Engine`] in process, [`ClockSource::Client`] over a wire.
    pub stamps: ClockSource,
    /// Phases that every finished lane reports where they apply (no decode without a second token, no tokenizer for token
    /// ids), and who measures them.
    pub phases: Vec<(Phase, ClockSource)>,
}

/// The answer to a probe. A backend that is not usable answers too: that is not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Usable or not, and why.
    pub availability: Availability,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Version of the engine or server, as it calls itself.
    pub version: Option<String>,
    /// Anything else worth recording (device name, thread count, instruction sets), in a stable order.
    pub details: Vec<(String, String)>,
}
