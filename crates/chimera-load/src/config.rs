//! What is asked of a load run, as typed TOML: an unknown key is an error that names its path. Files are read by
//! [`crate::LoadPlan`], and nothing is run here.

use std::path::PathBuf;

use chimera_core::Sampling;
use chimera_records::Design;
use serde::{Deserialize, Serialize};

use crate::{Lengths, LoadError};

/// Fastest schedule that is accepted, in requests per second: one per microsecond is beyond any client.
const FASTEST: f64 = 1e6;
/// Most requests of one level: a bound on memory.
const MOST_REQUESTS: u32 = 10_000_000;
/// Longest time that is accepted anywhere, in seconds.
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// What is asked of a load run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadConfig {
    /// Backend, by the name under which the caller knows it.
    pub backend: String,
    /// Model that the backend is asked for.
    pub model: String,
    /// When requests are issued, and at which levels.
    pub arrivals: Arrivals,
    /// Search for the level at which the server saturates, from the one level that `arrivals` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<Saturation>,
    /// How much is measured at each level of each block. A replay may leave it out: then all arrivals are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    /// How much comes before that, under the same load, and is recorded as warm-up.
    #[serde(default = "no_warmup")]
    pub warmup: Length,
    /// Prompts.
    #[serde(default)]
    pub prompts: Prompts,
    /// Budgets of generated tokens, for prompts that do not bring their own.
    #[serde(default = "some_output")]
    pub output: Lengths,
    /// Put letters that no other request has at the beginning of each prompt, so that no prefix cache answers.
    #[serde(default = "yes")]
    pub nonce: bool,
    /// Send prompts as one message of a chat, rendered by the model's own template.
    #[serde(default)]
    pub chat: bool,
    /// Go on past the end of a sequence, so that exactly the budget comes, where the backend can.
    #[serde(default = "yes")]
    pub exact: bool,
    /// How tokens are chosen.
    #[serde(default)]
    pub sampling: Sampling,
    /// Replicates: every level comes once in each, in seeded random order.
    #[serde(default = "some_blocks")]
    pub blocks: u32,
    /// Seed of arrivals, lengths, prompts and orders.
    #[serde(default = "one")]
    pub seed: u64,
    /// A request that takes longer is censored.
    #[serde(default = "some_timeout")]
    pub timeout_s: f64,
    /// Open loop: no more than so many requests at once. Those that are due wait on our side, and it shows in their times
    /// from `intended`. None by default: a cap hides what the server does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Limits that make a request a good one.
    #[serde(default)]
    pub slo: Slo,
}

fn no_warmup() -> Length {
    Length::Requests(0)
}
fn some_output() -> Lengths {
    Lengths::Fixed { tokens: 64 }
}
fn yes() -> bool {
    true
}
fn some_blocks() -> u32 {
    5
}
fn one() -> u64 {
    1
}
fn some_timeout() -> f64 {
    300.0
}

/// When requests are issued. Each entry of a list is a level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "law", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrivals {
    /// So many at once: the next is issued when one ends. It measures capacity; it cannot show waiting.
    Closed {
        /// Requests at once.
        concurrency: Vec<u32>,
    },
    /// At equal distances, whatever the server does.
    Constant {
        /// Requests per second.
        rate: Vec<f64>,
    },
    /// Independent of each other: exponential distances, whatever the server does.
    Poisson {
        /// Requests per second, in the mean.
        rate: Vec<f64>,
    },
    /// At recorded times.
    Replay {
        /// Times in seconds, one per line, in order.
        file: PathBuf,
        /// The trace runs so many times faster than it was recorded.
        #[serde(default = "as_recorded")]
        speed: Vec<f64>,
    },
}

fn as_recorded() -> Vec<f64> {
    vec![1.0]
}

/// A search for the level at which the server saturates: double until it does, then halve the gap.
///
/// An open loop is saturated where fewer than 95 % of what was offered was achieved; a closed loop where twice the
/// concurrency gave less than 5 % more tokens per second; either where more than 5 % of the requests miss the SLO's time
/// to first token (its p95 is beyond the limit).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saturation {
    /// Times that the gap is halved.
    #[serde(default = "some_bisections")]
    pub bisect: u32,
    /// Level beyond which the search does not go.
    pub most: f64,
}

fn some_bisections() -> u32 {
    3
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// So many requests.
    Requests(u32),
    /// Requests whose time lies within so many seconds.
    Seconds(f64),
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Prompts {
    /// Random common words. Where the backend tokenizes and takes token ids, lengths are exact; elsewhere a word stands
    /// for a token, and the backend's own count is recorded.
    Synthetic {
        /// Tokens, the nonce included.
        tokens: Lengths,
    },
    /// A file: one prompt per line, or lines of JSON `{"prompt": "…", "max_tokens": 64}`. Each block takes all of them in
    /// an order of its own before any comes again.
    File {
        /// Which.
        path: PathBuf,
    },
}

impl Default for Prompts {
    fn default() -> Self {
        Self::Synthetic { tokens: Lengths::Fixed { tokens: 256 } }
    }
}

/// Limits that make a request a good one, in seconds; absent ones are not asked. In an open loop times count from
/// `intended`: that is what somebody who asks would see.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Time per output token after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_s: Option<f64>,
    /// The whole request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_s: Option<f64>,
}

impl Slo {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl LoadConfig {
    /// A run with everything at its default: synthetic prompts of 256 tokens, 64 to generate, five blocks.
    pub fn new(
        backend: impl Into<String>,
        model: impl Into<String>,
        arrivals: Arrivals,
        length: Length,
    ) -> Self {
        Self {
            backend: backend.into(),
            model: model.into(),
            arrivals,
            saturation: None,
            length: Some(length),
            warmup: no_warmup(),
            prompts: Prompts::default(),
            output: some_output(),
            nonce: true,
            chat: false,
            exact: true,
            sampling: Sampling::default(),
            blocks: some_blocks(),
            seed: one(),
            timeout_s: some_timeout(),
            max_in_flight: None,
            slo: Slo::default(),
        }
    }

    /// Reads and validates a configuration.
    ///
    /// # Errors
    /// [`LoadError::Config`] with the path of the first key that is wrong.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let table = toml::from_str::<toml::Table>(text)
            .map_err(|error| LoadError::config(".", error.to_string().trim_end()))?;
        Self::from_table(table)
    }

    /// The configuration in the design of a load run.
    ///
    /// # Errors
    /// [`LoadError::Config`] for a design of something else.
    pub fn from_design(design: &str) -> Result<Self, LoadError> {
        let (_, load) = Design::parse_with_load(design)
            .map_err(|error| LoadError::config("design", error.to_string()))?;
        Self::from_table(load.ok_or_else(|| LoadError::config("load", "the run is no load run"))?)
    }

    fn from_table(table: toml::Table) -> Result<Self, LoadError> {
        let config: Self = serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
            LoadError::config(error.path().to_string(), error.inner().to_string().trim_end())
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Sets the warm-up.
    #[must_use]
    pub fn warmup(mut self, warmup: Length) -> Self {
        self.warmup = warmup;
        self
    }

    /// Sets the prompts.
    #[must_use]
    pub fn prompts(mut self, prompts: Prompts) -> Self {
        self.prompts = prompts;
        self
    }

    /// Sets the law of budgets.
    #[must_use]
    pub fn output(mut self, output: Lengths) -> Self {
        self.output = output;
        self
    }

    /// Sets replicates and seed.
    #[must_use]
    pub fn blocks(mut self, blocks: u32, seed: u64) -> Self {
        self.blocks = blocks;
        self.seed = seed;
        self
    }

    /// Sets the limits of a good request.
    #[must_use]
    pub fn slo(mut self, slo: Slo) -> Self {
        self.slo = slo;
        self
    }

    /// Sets the time after which a request is censored.
    #[must_use]
    pub fn timeout(mut self, seconds: f64) -> Self {
        self.timeout_s = seconds;
        self
    }

    /// Asks for a search for saturation.
    #[must_use]
    pub fn to_saturation(mut self, saturation: Saturation) -> Self {
        self.saturation = Some(saturation);
        self
    }

    /// Checks everything that needs no file.
    ///
    /// # Errors
    /// [`LoadError::Config`].
    pub fn validate(&self) -> Result<(), LoadError> {
        let refuse = |key: &str, reason: &str| Err(LoadError::config(key, reason));
        for (key, name) in [("backend", &self.backend), ("model", &self.model)] {
            if name.trim().is_empty() {
                return refuse(key, "a name is needed");
            }
        }
        if self.blocks == 0 || self.blocks > 100_000 {
            return refuse("blocks", "1 to 100,000 are allowed");
        }
        time("timeout_s", self.timeout_s)?;
        if self.max_in_flight == Some(0) {
            return refuse("max_in_flight", "at least 1 is needed; leave it out for no cap");
        }
        for (key, limit) in
            [("slo.ttft_s", self.slo.ttft_s), ("slo.tpot_s", self.slo.tpot_s), ("slo.e2e_s", self.slo.e2e_s)]
        {
            if let Some(limit) = limit {
                time(key, limit)?;
            }
        }
        self.output.validate("output")?;
        if let Prompts::Synthetic { tokens } = &self.prompts {
            tokens.validate("prompts.tokens")?;
        }
        match self.length {
            Some(Length::Requests(n)) if n == 0 || n > MOST_REQUESTS => {
                return refuse("length.requests", "1 to 10,000,000 are allowed");
            }
            Some(Length::Seconds(seconds)) => time("length.seconds", seconds)?,
            None if !matches!(self.arrivals, Arrivals::Replay { .. }) => {
                return refuse(
                    "length",
                    "write `length = { requests = 200 }` or `length = { seconds = 60 }`",
                );
            }
            _ => {}
        }
        match self.warmup {
            Length::Requests(n) if n > MOST_REQUESTS => {
                return refuse("warmup.requests", "at most 10,000,000 are allowed");
            }
            Length::Seconds(seconds) if !(0.0..=LONGEST_S).contains(&seconds) => {
                return refuse("warmup.seconds", "0 to 2,592,000 s are allowed");
            }
            _ => {}
        }
        self.validate_arrivals()
    }

    fn validate_arrivals(&self) -> Result<(), LoadError> {
        let levels: Vec<f64> = match &self.arrivals {
            Arrivals::Closed { concurrency } => concurrency.iter().copied().map(f64::from).collect(),
            Arrivals::Constant { rate } | Arrivals::Poisson { rate } => rate.clone(),
            Arrivals::Replay { speed, .. } => speed.clone(),
        };
        let refuse = |key: &str, reason: &str| Err(LoadError::config(key, reason));
        let allowed = |level: f64| level.is_finite() && level > 0.0 && level <= FASTEST;
        if levels.is_empty() || !levels.iter().all(|level| allowed(*level)) {
            return refuse("arrivals", "one or more levels are needed, each above 0 and at most 1,000,000");
        }
        let mut sorted = levels.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.array_windows().any(|[a, b]| a == b) {
            return refuse("arrivals", "a level stands twice; replicates are asked for by `blocks`");
        }
        if self.max_in_flight.is_some() && matches!(self.arrivals, Arrivals::Closed { .. }) {
            return refuse("max_in_flight", "a closed loop is capped by its concurrency: leave it out");
        }
        if let Some(Saturation { bisect, most }) = self.saturation {
            match levels.as_slice() {
                [first] if allowed(most) && most >= *first && bisect <= 16 => {}
                _ => {
                    return refuse(
                        "saturation",
                        "it needs one level in `arrivals` to begin with, `most` at or above it, and at most 16 bisections",
                    );
                }
            }
        }
        Ok(())
    }
}

fn time(key: &str, seconds: f64) -> Result<(), LoadError> {
    if seconds > 0.0 && seconds <= LONGEST_S {
        return Ok(());
    }
    Err(LoadError::config(
        key,
        format!("{seconds} s; more than 0 and at most 2,592,000 s (30 days) are allowed"),
    ))
}
