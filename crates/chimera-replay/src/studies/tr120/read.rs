//! The two tables: what a run was, and its samples. A sample without a latency is a failure and is counted, never averaged.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::shared::{median, plain_mean},
    RUNS, SAMPLES,
};
use crate::{Artifacts, ReplayError, Row};

/// Names of the two arms in quantities.
pub(super) const ARMS: [&str; 2] = ["eager", "compiled"];

/// One sample.
pub(super) struct Sample {
    pub(super) scenario: String,
    pub(super) ms: f64,
    /// Between two events on the device, where they were recorded.
    pub(super) event_ms: Option<f64>,
    pub(super) tokens: f64,
}

/// One mode of one run: eager and compiled samples.
pub(super) struct Run {
    /// Time of day of the run: the second half of its id.
    pub(super) name: String,
    pub(super) mode: String,
    /// What the compiled label really ran.
    pub(super) backend: String,
    pub(super) dynamic: bool,
    /// `varlen` or `padded8`, inferred from the compiled shapes; empty where they are not known.
    pub(super) padding: String,
    /// Compiled sequence lengths of prefill; empty where no counters were kept.
    pub(super) lengths: BTreeSet<u32>,
    pub(super) graphs: Option<f64>,
    pub(super) at_limit: bool,
    pub(super) has_counters: bool,
    pub(super) counters_empty: bool,
    /// Eager, compiled.
    pub(super) arms: [Vec<Sample>; 2],
    pub(super) failed: usize,
}

impl Run {
    /// Whether the compiled label ran the compiler that the report is about.
    pub(super) fn is_inductor(&self) -> bool {
        self.backend == "inductor"
    }

    /// `<run>.<mode>`, the middle of a quantity's name.
    pub(super) fn key(&self) -> String {
        format!("{}.{}", self.name, self.mode)
    }

    /// Latencies of an arm in milliseconds.
    pub(super) fn latencies(&self, arm: usize) -> Vec<f64> {
        self.arms[arm].iter().map(|sample| sample.ms).collect()
    }

    /// Geometric mean over scenarios of compiled median over eager median: one value per process, in which every scenario
    /// counts alike.
    pub(super) fn ratio(&self) -> Option<f64> {
        let scenarios: BTreeSet<&str> =
            self.arms.iter().flatten().map(|sample| sample.scenario.as_str()).collect();
        let median = |arm: usize, scenario: &str| {
            let own: Vec<f64> = self.arms[arm]
                .iter()
                .filter(|sample| sample.scenario == scenario)
                .map(|sample| sample.ms)
                .collect();
            median(&own)
        };
        let logs: Option<Vec<f64>> = scenarios
            .iter()
            .map(|scenario| Some((median(1, scenario)? / median(0, scenario)?).ln()))
            .collect();
        let logs = logs.filter(|logs| !logs.is_empty())?;
        Some(plain_mean(&logs).exp())
    }
}

/// Reads all runs, in the order of their table.
pub(super) fn runs(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let columns = [
        "run_id",
        "mode",
        "dynamic",
        "compile_backend_actual",
        "dynamo_unique_graphs",
        "recompile_limit_reached",
        "counters_file",
        "counters_empty",
        "padding_inferred",
        "prefill_graph_seq_lens",
    ];
    let table = data.table(RUNS, &columns)?;
    let mut runs: Vec<Run> = Vec::new();
    let mut index: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in table.rows() {
        let (id, mode) = (row.text("run_id")?, row.text("mode")?);
        if index.insert((id.to_owned(), mode.to_owned()), runs.len()).is_some() {
            return Err(row.malformed(format!("{mode} of run {id} comes twice")));
        }
        runs.push(Run {
            name: id.rsplit('_').next().unwrap_or(id).to_owned(),
            mode: mode.to_owned(),
            backend: row.text("compile_backend_actual")?.to_owned(),
            dynamic: row.flag("dynamic")?,
            padding: row.text("padding_inferred")?.to_owned(),
            lengths: lengths(&row)?,
            graphs: row.maybe("dynamo_unique_graphs")?,
            at_limit: row.maybe("recompile_limit_reached")?.is_some_and(|times| times > 0.0),
            has_counters: row.flag("counters_file")?,
            counters_empty: row.flag("counters_empty")?,
            arms: [Vec::new(), Vec::new()],
            failed: 0,
        });
    }
    samples(data, &mut runs, &index)?;
    Ok(runs)
}

fn lengths(row: &Row<'_>) -> Result<BTreeSet<u32>, ReplayError> {
    row.text("prefill_graph_seq_lens")?
        .split_whitespace()
        .map(|word| word.parse().map_err(|_| row.malformed(format!("`{word}` is not a sequence length"))))
        .collect()
}

fn samples(
    data: &Artifacts,
    runs: &mut [Run],
    index: &BTreeMap<(String, String), usize>,
) -> Result<(), ReplayError> {
    let columns = ["run_id", "mode", "backend", "scenario", "idx", "latency_ms", "cuda_event_ms", "tokens"];
    let table = data.table(SAMPLES, &columns)?;
    let mut seen = BTreeSet::new();
    for row in table.rows() {
        let key = (row.text("run_id")?.to_owned(), row.text("mode")?.to_owned());
        let Some(place) = index.get(&key) else {
            return Err(row.malformed(format!("{} of run {} is not in the table of runs", key.1, key.0)));
        };
        let arm = match row.text("backend")? {
            "transformers-gpu" => 0,
            "transformers-gpu-compile" => 1,
            other => return Err(row.malformed(format!("`{other}` is no arm of this report"))),
        };
        let (scenario, idx) = (row.text("scenario")?, row.text("idx")?);
        if !seen.insert((*place, arm, scenario, idx)) {
            return Err(row.malformed(format!("sample {idx} of {scenario} comes twice")));
        }
        let run = &mut runs[*place];
        let (latency, tokens) = (row.maybe("latency_ms")?, row.number("tokens")?);
        match latency.filter(|_| tokens > 0.0) {
            Some(ms) if ms > 0.0 => run.arms[arm].push(Sample {
                scenario: scenario.to_owned(),
                ms,
                event_ms: row.maybe("cuda_event_ms")?,
                tokens,
            }),
            Some(ms) => return Err(row.malformed(format!("`latency_ms` is {ms}, not a duration"))),
            None => run.failed += 1,
        }
    }
    Ok(())
}
