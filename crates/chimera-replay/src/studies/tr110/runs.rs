//! Runs of two agents, as recorded. Per agent a row holds sums and means over its calls, so a call that reported nothing
//! shows only in that they disagree.

use std::collections::{BTreeMap, BTreeSet};

use super::RUNS;
use crate::{Artifacts, ReplayError, Row};

/// Mean of the calls' rates over the rate of all of them below which a call must be missing. Load makes the second one the
/// smaller, so the share lies above one; with one of two calls at zero it is about a half.
const COMPLETE: f64 = 0.75;
/// The report detects contention by this time to the first token of either agent, in milliseconds; its code does not.
const SLOW_TTFT_MS: f64 = 10_000.0;

/// One agent of a run.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) tokens: f64,
    pub(super) ttft_ms: f64,
    pub(super) wall_s: f64,
    calls: f64,
    server_s: f64,
    rate: Option<f64>,
}

impl Agent {
    /// Whether every call reported tokens and times.
    pub(super) fn complete(&self) -> bool {
        self.tokens > 0.0
            && self.server_s > 0.0
            && self.rate.is_some_and(|rate| rate >= COMPLETE * self.tokens / self.server_s)
    }

    /// Seconds of decode: the server's time without load and prompt evaluation.
    pub(super) fn decode_s(&self) -> f64 {
        self.server_s - self.calls * self.ttft_ms / 1e3
    }
}

/// One concurrent run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) test: u32,
    pub(super) scenario: String,
    pub(super) phase: u32,
    /// `num_gpu` of the first agent that sets one.
    pub(super) gpu: String,
    /// `num_gpu`/`num_ctx`/`temperature` of both agents, for print.
    pub(super) options: String,
    pub(super) a: Agent,
    pub(super) b: Agent,
    pub(super) wall_s: f64,
    pub(super) contention: bool,
    pub(super) ttft_delta_ms: f64,
    pub(super) rate_delta: f64,
}

impl Run {
    /// Sum of the agents' times while they ran together over the span: what is published as speed-up.
    pub(super) fn legacy_speedup(&self) -> f64 {
        (self.a.wall_s + self.b.wall_s) / self.wall_s
    }

    /// Half of it, in per cent: what is published as parallel efficiency. It says how equally long both took.
    pub(super) fn index(&self) -> f64 {
        50.0 * self.legacy_speedup()
    }

    /// What the index is when the span is the longer of the two times, in per cent.
    pub(super) fn balance(&self) -> f64 {
        50.0 * (self.a.wall_s + self.b.wall_s) / self.a.wall_s.max(self.b.wall_s)
    }

    pub(super) fn tokens(&self) -> f64 {
        self.a.tokens + self.b.tokens
    }

    /// Tokens of both agents over the span.
    pub(super) fn rate(&self) -> f64 {
        self.tokens() / self.wall_s
    }

    /// Shorter reply over longer one, in tokens.
    pub(super) fn token_ratio(&self) -> f64 {
        self.a.tokens.min(self.b.tokens) / self.a.tokens.max(self.b.tokens)
    }

    pub(super) fn overhead_s(&self) -> f64 {
        self.wall_s - self.a.wall_s.max(self.b.wall_s)
    }

    pub(super) fn mean_ttft_ms(&self) -> f64 {
        (self.a.ttft_ms + self.b.ttft_ms) / 2.0
    }

    pub(super) fn slow_ttft(&self) -> bool {
        self.a.ttft_ms.max(self.b.ttft_ms) > SLOW_TTFT_MS
    }

    pub(super) fn complete(&self) -> bool {
        self.a.complete() && self.b.complete()
    }
}

/// Reads the runs in the order in which they were made.
///
/// # Errors
/// A column or a number that is not there, a run that comes twice, a speed-up that is not the ratio of its times.
pub(super) fn read(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let table = data.table(RUNS, &["test_id", "scenario", "run", "concurrency_speedup"])?;
    let mut known = BTreeSet::new();
    let mut runs = Vec::with_capacity(table.len());
    for row in table.rows() {
        if !known.insert((row.text("test_id")?.to_owned(), row.text("run")?.to_owned())) {
            return Err(row.malformed("this run comes twice".to_owned()));
        }
        let run = Run {
            test: whole(&row, "test_id")?,
            phase: whole(&row, "phase")?,
            scenario: row.text("scenario")?.to_owned(),
            gpu: gpu(&row)?,
            options: format!("{} | {}", options(&row, "a")?, options(&row, "b")?),
            a: agent(&row, "a")?,
            b: agent(&row, "b")?,
            wall_s: row.number("concurrent_wall_time_s")?,
            contention: row.flag("resource_contention_detected")?,
            ttft_delta_ms: row.number("ttft_delta_ms")?,
            rate_delta: row.number("throughput_delta")?,
        };
        let recorded = row.number("concurrency_speedup")?;
        if (run.legacy_speedup() - recorded).abs() > 1e-6 {
            let reason =
                format!("`concurrency_speedup` is {recorded}, its times give {}", run.legacy_speedup());
            return Err(row.malformed(reason));
        }
        runs.push(run);
    }
    Ok(runs)
}

fn whole(row: &Row<'_>, column: &str) -> Result<u32, ReplayError> {
    let text = row.text(column)?;
    text.parse().map_err(|_| row.malformed(format!("`{column}` is `{text}`, not a whole number")))
}

fn agent(row: &Row<'_>, prefix: &str) -> Result<Agent, ReplayError> {
    let column = |name: &str| format!("{prefix}_{name}");
    Ok(Agent {
        tokens: row.maybe(&column("tokens"))?.unwrap_or(0.0),
        ttft_ms: row.number(&column("avg_ttft_ms"))?,
        wall_s: row.number(&column("execution_time_s"))?,
        calls: row.number(&column("requests"))?,
        server_s: row.number(&column("llm_duration_ms"))? / 1e3,
        rate: row.maybe(&column("avg_tok_s"))?,
    })
}

fn gpu(row: &Row<'_>) -> Result<String, ReplayError> {
    let level = row.maybe("a_num_gpu")?.or(row.maybe("b_num_gpu")?);
    Ok(level.map_or_else(|| "default".to_owned(), |level| level.to_string()))
}

fn options(row: &Row<'_>, prefix: &str) -> Result<String, ReplayError> {
    let mut levels = Vec::new();
    for option in ["num_gpu", "num_ctx", "temperature"] {
        levels.extend(row.maybe(&format!("{prefix}_{option}"))?.map(|level| level.to_string()));
    }
    Ok(if levels.is_empty() { "defaults".to_owned() } else { levels.join("/") })
}

/// Runs by test, tests in the order of their numbers.
pub(super) fn by_test(runs: &[Run]) -> BTreeMap<u32, Vec<&Run>> {
    let mut tests: BTreeMap<u32, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        tests.entry(run.test).or_default().push(run);
    }
    tests
}
