//! The raw runs: one JSON line each, two timed calls in a run. A run that did not complete, or that the report marked as
//! degraded, is counted and never averaged. A throughput that does not belong to its tokens and its latency is refused.

use std::{collections::BTreeSet, path::PathBuf};

use chimera_records::Metric;
use serde::Deserialize;

use crate::{Artifacts, Call, ReplayError, call};

/// Modes, and the file of each.
pub(super) const MODES: [&str; 2] = ["prefill", "generate"];
/// Raw runs by mode.
pub(super) const FILES: [&str; 2] = [
    "cost_scaling/tr119/raw/bench_tr119_1766283446.jsonl",
    "cost_scaling/tr119/raw/bench_tr119_1766283570.jsonl",
];
/// Backends; the published favourite first.
pub(super) const BACKENDS: [&str; 5] = [
    "onnxruntime-gpu",
    "transformers-gpu-compile",
    "transformers-gpu",
    "onnxruntime-cpu",
    "transformers-cpu",
];
/// Scenarios; the first three have batch 1.
pub(super) const SCENARIOS: [&str; 5] =
    ["single_short", "single_medium", "single_long", "batch_short", "batch_medium"];
/// How many scenarios have batch 1.
pub(super) const SINGLE: usize = 3;

/// Whether the report takes the GPU's power for this backend, else the CPU package's.
pub(super) fn on_gpu(backend: usize) -> bool {
    BACKENDS[backend].contains("gpu")
}

#[derive(Deserialize)]
struct Line {
    spec: Spec,
    status: String,
    error: Option<String>,
    latencies_ms: Vec<f64>,
    throughput_tok_s: Vec<f64>,
    degraded_count: u32,
    resource_metrics: Resources,
}

#[derive(Deserialize)]
struct Spec {
    backend: String,
    scenario: String,
    repetition: u32,
    mode: String,
    batch_size: u32,
    seq_len: u32,
}

#[derive(Deserialize)]
struct Resources {
    samples: f64,
    duration_s: f64,
    gpu_power_mean_watts: Option<f64>,
    gpu_utilization_mean_pct: Option<f64>,
    cpu_power_mean_watts: Option<f64>,
}

/// A completed run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// From 0, within its cell.
    pub(super) repetition: u32,
    /// As published, one per call.
    pub(super) latencies_ms: Vec<f64>,
    /// As published, one per call.
    pub(super) rates: Vec<f64>,
    /// Tokens of all its calls.
    pub(super) tokens: f64,
    /// Seconds of all its calls.
    pub(super) seconds: f64,
    /// Power samples of its window.
    pub(super) samples: f64,
    /// Seconds from the first sample to the last.
    pub(super) window_s: f64,
    /// Mean of the samples.
    pub(super) gpu_watts: Option<f64>,
    /// Mean of the samples.
    pub(super) cpu_watts: Option<f64>,
    /// Mean of the samples.
    pub(super) gpu_percent: Option<f64>,
}

/// One value for each mode, backend and scenario.
pub(super) struct Matrix<T>(Vec<T>);

impl<T> Matrix<T> {
    /// Makes one; `value` gets mode, backend and scenario.
    pub(super) fn build<E>(
        mut value: impl FnMut(usize, usize, usize) -> Result<T, E>,
    ) -> Result<Matrix<T>, E> {
        let mut all = Vec::new();
        for mode in 0..MODES.len() {
            for backend in 0..BACKENDS.len() {
                for scenario in 0..SCENARIOS.len() {
                    all.push(value(mode, backend, scenario)?);
                }
            }
        }
        Ok(Matrix(all))
    }

    /// The scenarios of a backend in a mode.
    pub(super) fn of(&self, mode: usize, backend: usize) -> &[T] {
        let from = (mode * BACKENDS.len() + backend) * SCENARIOS.len();
        &self.0[from..from + SCENARIOS.len()]
    }

    /// All of a mode.
    pub(super) fn mode(&self, mode: usize) -> &[T] {
        let each = BACKENDS.len() * SCENARIOS.len();
        &self.0[mode * each..(mode + 1) * each]
    }
}

/// All runs.
pub(super) struct Runs {
    /// Completed runs of each cell, in the order of the file.
    pub(super) cells: Matrix<Vec<Run>>,
    /// Runs by mode that did not complete or were degraded.
    pub(super) failed: [usize; 2],
}

/// Reads both files.
pub(super) fn runs(data: &Artifacts) -> Result<Runs, ReplayError> {
    let mut cells = Matrix::<Vec<Run>>::build(|_, _, _| Ok::<_, ReplayError>(Vec::new()))?;
    let mut failed = [0; 2];
    for (mode, path) in FILES.iter().enumerate() {
        let bytes = data.bytes(path)?;
        let mut seen = BTreeSet::new();
        for (line, text) in (1_u64..).zip(bytes.split(|byte| *byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |reason: String| ReplayError::Malformed { path: PathBuf::from(path), line, reason };
            let row: Line = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
            let (backend, scenario) = place(&row.spec, mode).map_err(wrong)?;
            if !seen.insert((backend, scenario, row.spec.repetition)) {
                let spec = &row.spec;
                return Err(wrong(format!(
                    "run {} of {} in {} comes twice",
                    spec.repetition, spec.backend, spec.scenario
                )));
            }
            let run = run(&row, mode, line).map_err(wrong)?;
            let index = (mode * BACKENDS.len() + backend) * SCENARIOS.len() + scenario;
            match run {
                Some(run) => cells.0[index].push(run),
                None => failed[mode] += 1,
            }
        }
        for (backend, name) in BACKENDS.iter().enumerate() {
            for (scenario, runs) in SCENARIOS.iter().zip(cells.of(mode, backend)) {
                if runs.is_empty() {
                    let reason = format!("no completed run of {name} in {scenario}");
                    return Err(ReplayError::Content { path: PathBuf::from(path), reason });
                }
            }
        }
    }
    Ok(Runs { cells, failed })
}

/// Backend and scenario of a row; the row must be of the file's mode.
fn place(spec: &Spec, mode: usize) -> Result<(usize, usize), String> {
    if spec.mode != MODES[mode] {
        return Err(format!("mode `{}` in the file of {}", spec.mode, MODES[mode]));
    }
    let backend = BACKENDS.iter().position(|name| *name == spec.backend);
    let scenario = SCENARIOS.iter().position(|name| *name == spec.scenario);
    backend
        .zip(scenario)
        .ok_or_else(|| format!("`{}` in `{}` is no cell of this matrix", spec.backend, spec.scenario))
}

/// The run of a row; none when it failed.
fn run(row: &Line, mode: usize, line: u64) -> Result<Option<Run>, String> {
    if row.status != "ok" || row.degraded_count > 0 || row.error.is_some() {
        return Ok(None);
    }
    if row.latencies_ms.is_empty() || row.latencies_ms.len() != row.throughput_tok_s.len() {
        return Err("a completed run needs one throughput for each latency".to_owned());
    }
    let (mut tokens, mut seconds) = (0.0, 0.0);
    for (ms, rate) in row.latencies_ms.iter().zip(&row.throughput_tok_s) {
        if !(*ms > 0.0 && *rate > 0.0) {
            return Err(format!("{ms} ms at {rate} tok/s is no call"));
        }
        let own = call_tokens(&row.spec, mode, ms / 1e3 * rate)?;
        let trial = call(
            line as u32,
            &Call {
                backend: &row.spec.backend,
                model: "gpt2",
                scenario: &row.spec.scenario,
                block: row.spec.repetition,
                prompt_tokens: (mode == 0).then_some(own),
                generated: (mode == 1).then_some(own),
                total_ms: Some(*ms),
                ..Call::default()
            },
        );
        seconds += Metric::E2eClient.of(&trial).ok_or_else(|| "a call without a duration".to_owned())?;
        tokens += own;
    }
    let resources = &row.resource_metrics;
    Ok(Some(Run {
        repetition: row.spec.repetition,
        latencies_ms: row.latencies_ms.clone(),
        rates: row.throughput_tok_s.clone(),
        tokens,
        seconds,
        samples: resources.samples,
        window_s: resources.duration_s,
        gpu_watts: resources.gpu_power_mean_watts,
        cpu_watts: resources.cpu_power_mean_watts,
        gpu_percent: resources.gpu_utilization_mean_pct,
    }))
}

/// Tokens of a call from its latency and its published rate: a whole number, and in prefill batch times length.
fn call_tokens(spec: &Spec, mode: usize, tokens: f64) -> Result<f64, String> {
    let whole = tokens.round();
    let shape = f64::from(spec.batch_size * spec.seq_len);
    if (tokens - whole).abs() > 1e-6 * whole.max(1.0) {
        return Err(format!("latency and throughput make {tokens} tokens, which is no whole number"));
    }
    if mode == 0 && whole != shape {
        return Err(format!("latency and throughput make {whole} tokens, the shape has {shape}"));
    }
    Ok(whole)
}
