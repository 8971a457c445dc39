//! Runs of two agents with one call each: agent a, agent b, the span of both.

use std::collections::BTreeSet;

use chimera_records::{Metric, Trial};

use crate::{Call, ReplayError, Table, call};

/// Columns of the file.
pub(super) const COLUMNS: &[&str] = &[
    "config",
    "scenario",
    "run",
    "a_execution_time_s",
    "b_execution_time_s",
    "a1_tokens_generated",
    "b1_tokens_generated",
    "a1_ttft_ms",
    "b1_ttft_ms",
    "a1_load_duration_ms",
    "b1_load_duration_ms",
    "a1_prompt_eval_duration_ms",
    "b1_prompt_eval_duration_ms",
    "a1_eval_duration_ms",
    "b1_eval_duration_ms",
    "concurrent_wall_time_s",
    "concurrency_speedup",
    "efficiency_percent",
    "resource_contention_detected",
];

/// Load beyond which a call is called cold, in seconds.
const COLD_S: f64 = 1.0;

/// One agent of a run.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// Its wall time in the run, in seconds.
    pub(super) seconds: f64,
    pub(super) tokens: f64,
    pub(super) trial: Trial,
}

impl Agent {
    fn metric(&self, metric: Metric) -> Option<f64> {
        metric.of(&self.trial)
    }

    /// Whether the server loaded a model for it.
    pub(super) fn cold(&self) -> Option<bool> {
        self.metric(Metric::LoadServer).map(|seconds| seconds > COLD_S)
    }
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) config: String,
    pub(super) scenario: String,
    /// The agent that ended first.
    pub(super) first: Agent,
    /// The agent that ended last.
    pub(super) last: Agent,
    pub(super) wall_s: f64,
    pub(super) speedup: f64,
    /// Balance index, in per cent.
    pub(super) index: f64,
    /// The published flag of contention.
    pub(super) contention: bool,
}

impl Pair {
    /// A run in which an agent generated nothing.
    pub(super) fn failed(&self) -> bool {
        self.first.tokens <= 0.0 || self.last.tokens <= 0.0
    }

    /// Tokens of both agents.
    pub(super) fn tokens(&self) -> f64 {
        self.first.tokens + self.last.tokens
    }

    /// Tokens of both agents over the span.
    pub(super) fn throughput(&self) -> f64 {
        self.tokens() / self.wall_s
    }

    /// Whether both agents asked for the same options.
    pub(super) fn same_options(&self) -> bool {
        self.scenario == "chimera_homo"
    }

    /// Whether the last agent's first token came after the first agent's end: the server took them one after the other.
    /// None where the token was not stamped.
    pub(super) fn serial(&self) -> Option<bool> {
        self.last.metric(Metric::TtftClient).map(|seconds| seconds >= self.first.seconds)
    }

    /// From the first agent's end to the last agent's prompt, in seconds: what the server did between them.
    pub(super) fn between(&self) -> Option<f64> {
        let (token, prompt) =
            self.last.metric(Metric::TtftClient).zip(self.last.metric(Metric::PrefillServer))?;
        Some(token - self.first.seconds - prompt)
    }

    /// The shorter answer over the longer, in tokens.
    pub(super) fn token_balance(&self) -> f64 {
        self.first.tokens.min(self.last.tokens) / self.first.tokens.max(self.last.tokens)
    }

    /// Sum of the agents' times over twice the longer, in per cent.
    pub(super) fn balance(&self) -> f64 {
        50.0 * (self.first.seconds + self.last.seconds) / self.last.seconds
    }
}

/// The runs of a table.
///
/// # Errors
/// Missing columns, fields that are no numbers, a run that comes twice, times that are not positive.
pub(super) fn read(table: &Table) -> Result<Vec<Pair>, ReplayError> {
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::with_capacity(table.len());
    for (id, row) in (0_u32..).zip(table.rows()) {
        let (config, run) = (row.text("config")?, row.number("run")? as u32);
        if !seen.insert((config, run)) {
            return Err(row.malformed(format!("run {run} of `{config}` comes twice")));
        }
        let scenario = row.text("scenario")?;
        let agent = |prefix: &str| -> Result<Agent, ReplayError> {
            let number = |name: &str| row.number(&format!("{prefix}{name}"));
            let maybe = |name: &str| row.maybe(&format!("{prefix}1_{name}"));
            let seconds = number("_execution_time_s")?;
            let tokens = number("1_tokens_generated")?;
            if seconds <= 0.0 {
                return Err(row.malformed(format!("`{prefix}_execution_time_s` is {seconds}")));
            }
            let trial = call(
                id,
                &Call {
                    backend: "ollama",
                    model: "gemma3:latest",
                    scenario,
                    block: run,
                    generated: Some(tokens),
                    load_ms: maybe("load_duration_ms")?,
                    prompt_eval_ms: maybe("prompt_eval_duration_ms")?,
                    eval_ms: maybe("eval_duration_ms")?,
                    ttft_ms: maybe("ttft_ms")?,
                    total_ms: Some(1e3 * seconds),
                    failure: (tokens <= 0.0).then_some("no token count was recorded"),
                    ..Call::default()
                },
            );
            Ok(Agent { seconds, tokens, trial })
        };
        let (a, b) = (agent("a")?, agent("b")?);
        let (first, last) = if a.seconds <= b.seconds { (a, b) } else { (b, a) };
        let wall_s = row.number("concurrent_wall_time_s")?;
        if wall_s <= 0.0 {
            return Err(row.malformed(format!("`concurrent_wall_time_s` is {wall_s}")));
        }
        pairs.push(Pair {
            config: config.to_owned(),
            scenario: scenario.to_owned(),
            first,
            last,
            wall_s,
            speedup: row.number("concurrency_speedup")?,
            index: row.number("efficiency_percent")?,
            contention: row.flag("resource_contention_detected")?,
        });
    }
    Ok(pairs)
}
