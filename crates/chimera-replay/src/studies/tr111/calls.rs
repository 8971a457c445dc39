//! Calls of the Rust agent alone: one row is one call to a model, stage `analysis` or `report` of one run in one arm of one
//! configuration. TR111 v2 and the single agents of TR116 share this form. A call without a generated token failed: its
//! stream ended without the server's last line.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Metric, Trial};

use crate::{Call, ReplayError, Table, call};

/// Columns that both files have.
pub(in crate::studies) const COLUMNS: &[&str] = &[
    "config",
    "arm",
    "run",
    "stage",
    "num_gpu",
    "num_ctx",
    "temperature",
    "tokens_generated",
    "throughput_tokens_per_sec",
    "ttft_ms",
    "total_duration_ms",
    "load_duration_ms",
    "prompt_eval_duration_ms",
    "eval_duration_ms",
];

/// Load beyond which a call is called cold, in seconds: a resident model reports about a quarter of one.
pub(in crate::studies) const COLD_S: f64 = 1.0;

/// One call.
#[derive(Debug, Clone)]
pub(in crate::studies) struct SingleCall {
    pub(in crate::studies) model: String,
    pub(in crate::studies) config: String,
    pub(in crate::studies) arm: String,
    pub(in crate::studies) run: u32,
    pub(in crate::studies) stage: String,
    /// `num_gpu`, `num_ctx`, `temperature`; empty where the server's default was left.
    pub(in crate::studies) options: [String; 3],
    /// Rate as the file has it, 0 for a failed call.
    pub(in crate::studies) rate: Option<f64>,
    /// Time to the first token as the file has it, in milliseconds.
    pub(in crate::studies) ttft_ms: Option<f64>,
    /// Prompt evaluation as the file has it, in milliseconds.
    pub(in crate::studies) prompt_eval_ms: Option<f64>,
    pub(in crate::studies) tokens: f64,
    pub(in crate::studies) files: Option<f64>,
    /// Wall time of the whole run, in seconds.
    pub(in crate::studies) wall_s: Option<f64>,
    /// As a live run would have recorded it.
    pub(in crate::studies) trial: Trial,
}

impl SingleCall {
    /// No token came.
    pub(in crate::studies) fn failed(&self) -> bool {
        self.trial.lanes.is_empty()
    }

    /// Tokens and seconds of decode, as the server counts them; none for a failed call and where a value is missing.
    pub(in crate::studies) fn decode(&self) -> Option<(f64, f64)> {
        let tokens = f64::from(self.trial.lanes.first()?.generated?);
        Metric::DecodeServer.of(&self.trial).filter(|seconds| *seconds > 0.0).map(|seconds| (tokens, seconds))
    }

    /// A metric of the call, in seconds or tokens per second.
    pub(in crate::studies) fn metric(&self, metric: Metric) -> Option<f64> {
        metric.of(&self.trial)
    }

    /// Whether the server loaded the model for it; none where it does not say.
    pub(in crate::studies) fn cold(&self) -> Option<bool> {
        self.metric(Metric::LoadServer).map(|seconds| seconds > COLD_S)
    }
}

/// An option's level as a label: `60`, `0.8`, empty for the default.
fn level(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

/// The calls of a table.
///
/// # Errors
/// Missing columns, fields that are no numbers, a call that comes twice.
pub(in crate::studies) fn read(table: &Table) -> Result<Vec<SingleCall>, ReplayError> {
    let files = ["benchmark_data_count", "files"].into_iter().find(|column| table.has(column));
    let mut seen = BTreeSet::new();
    let mut calls = Vec::with_capacity(table.len());
    for (id, row) in (0_u32..).zip(table.rows()) {
        let model = if table.has("model") { row.text("model")? } else { "gemma3:latest" };
        let run = row.number("run")? as u32;
        let key = (model, row.text("config")?, row.text("arm")?, run, row.text("stage")?);
        if !seen.insert(key) {
            return Err(row.malformed(format!("run {run} of `{}`, {}, {} comes twice", key.1, key.2, key.4)));
        }
        let tokens = row.number("tokens_generated")?;
        let (ttft_ms, prompt_eval_ms) = (row.maybe("ttft_ms")?, row.maybe("prompt_eval_duration_ms")?);
        let trial = call(
            id,
            &Call {
                backend: "ollama",
                model,
                scenario: key.4,
                block: run,
                generated: Some(tokens),
                load_ms: row.maybe("load_duration_ms")?,
                prompt_eval_ms,
                eval_ms: row.maybe("eval_duration_ms")?,
                ttft_ms,
                total_ms: row.maybe("total_duration_ms")?,
                failure: (tokens <= 0.0).then_some("the stream ended without a token count"),
                ..Call::default()
            },
        );
        calls.push(SingleCall {
            model: model.to_owned(),
            config: key.1.to_owned(),
            arm: key.2.to_owned(),
            run,
            stage: key.4.to_owned(),
            options: [
                level(row.maybe("num_gpu")?),
                level(row.maybe("num_ctx")?),
                level(row.maybe("temperature")?),
            ],
            rate: row.maybe("throughput_tokens_per_sec")?,
            ttft_ms,
            prompt_eval_ms,
            tokens,
            files: files.map(|column| row.maybe(column)).transpose()?.flatten(),
            wall_s: if table.has("wf_total_seconds") { row.maybe("wf_total_seconds")? } else { None },
            trial,
        });
    }
    Ok(calls)
}

/// Tokens and seconds of decode over calls; none where no call has both.
pub(in crate::studies) fn sums<'a>(calls: impl IntoIterator<Item = &'a SingleCall>) -> Option<(f64, f64)> {
    let all: Vec<(f64, f64)> = calls.into_iter().filter_map(SingleCall::decode).collect();
    (!all.is_empty()).then(|| all.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
}

/// Tokens over seconds of decode.
pub(in crate::studies) fn rate<'a>(calls: impl IntoIterator<Item = &'a SingleCall>) -> Option<f64> {
    sums(calls).map(|(tokens, seconds)| tokens / seconds)
}

/// Calls by a key, in its order.
pub(in crate::studies) fn by<'a, K: Ord>(
    calls: impl IntoIterator<Item = &'a SingleCall>,
    key: impl Fn(&'a SingleCall) -> K,
) -> BTreeMap<K, Vec<&'a SingleCall>> {
    let mut groups: BTreeMap<K, Vec<&SingleCall>> = BTreeMap::new();
    for call in calls {
        groups.entry(key(call)).or_default().push(call);
    }
    groups
}

/// Rate of a run with its stages weighing the same, so that long reports do not move it; none unless all calls of the run
/// have one and there are `stages` of them.
pub(in crate::studies) fn even_rate(run: &[&SingleCall], stages: usize) -> Option<f64> {
    let rates: Option<Vec<f64>> = run.iter().map(|call| call.metric(Metric::DecodeRateServer)).collect();
    rates.filter(|rates| rates.len() == stages).map(|rates| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// Mean and standard deviation (n - 1) of a published column; not a number where there is none.
pub(in crate::studies) fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len() as f64 - 1.0)).sqrt())
}

/// The median of a published column; not a number where it is empty.
pub(in crate::studies) fn median(values: &[f64]) -> f64 {
    crate::studies::shared::median(values).unwrap_or(f64::NAN)
}

/// The largest value; not a number where there is none.
pub(in crate::studies) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::max).unwrap_or(f64::NAN)
}

/// The smallest value; not a number where there is none.
pub(in crate::studies) fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)
}

/// How often, and by how much, one arm is above another: pairs of (base, other).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::studies) struct Wins {
    pub(in crate::studies) wins: usize,
    pub(in crate::studies) pairs: usize,
    /// Mean, largest and smallest change, in per cent.
    pub(in crate::studies) mean: f64,
    pub(in crate::studies) largest: f64,
    pub(in crate::studies) smallest: f64,
}

/// Counts wins of the second over the first.
pub(in crate::studies) fn wins(pairs: &[(f64, f64)]) -> Wins {
    let changes: Vec<f64> = pairs.iter().map(|(base, other)| 100.0 * (other / base - 1.0)).collect();
    Wins {
        wins: changes.iter().filter(|change| **change > 0.0).count(),
        pairs: pairs.len(),
        mean: moments(&changes).0,
        largest: largest(&changes),
        smallest: smallest(&changes),
    }
}
