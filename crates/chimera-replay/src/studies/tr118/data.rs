//! The records of TR118: process runs, their records (one repetition of one scenario on one backend, over its prompts) and
//! the prompts' calls. Which run a report means is said by its path; runs of one model are never pooled here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chimera_records::Trial;

use crate::{Artifacts, Call, ReplayError, Row, call};

pub(super) const FILES: &str = "backends/tr118/files.csv";
pub(super) const RUNS: &str = "backends/tr118/runs.csv";
pub(super) const SAMPLES: &str = "backends/tr118/samples.csv";

/// Backends in the order of the report; the first is its baseline.
pub(super) const BACKENDS: [&str; 6] = [
    "transformers-gpu-compile",
    "onnxruntime-cpu",
    "onnxruntime-gpu",
    "tensorrt-fp32",
    "tensorrt-fp16",
    "tensorrt-int8",
];
pub(super) const BASELINE: &str = BACKENDS[0];
pub(super) const CPU: &str = BACKENDS[1];

/// One forward pass, or one whole generation of a prompt.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    pub(super) latency_ms: f64,
    pub(super) tokens: f64,
    /// The record of the call, as a live run would write it.
    pub(super) trial: Trial,
}

/// One repetition of one scenario on one backend.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) backend: String,
    pub(super) scenario: String,
    pub(super) rep: u32,
    pub(super) batch: f64,
    pub(super) seq_len: f64,
    /// The report's rule: status `ok` and no degraded prompt.
    pub(super) ok: bool,
    pub(super) reason: String,
    /// Empty for a record that failed.
    pub(super) prompts: Vec<Prompt>,
    /// What stands for a failed record: a trial without a latency.
    pub(super) failed: Option<Trial>,
}

impl Record {
    /// Mean over prompts of the latency, in milliseconds: the report's latency of a record.
    pub(super) fn latency(&self) -> f64 {
        self.prompts.iter().map(|p| p.latency_ms).sum::<f64>() / self.prompts.len() as f64
    }

    /// Mean over prompts of tokens per second: the report's throughput of a record.
    pub(super) fn rate(&self) -> f64 {
        let rates = self.prompts.iter().map(|p| p.tokens / (p.latency_ms / 1000.0));
        rates.sum::<f64>() / self.prompts.len() as f64
    }
}

/// One process: all backends and scenarios of a model in one mode.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) file: String,
    pub(super) model: String,
    pub(super) parameters: f64,
    pub(super) mode: String,
    /// Whether the published fit used it.
    pub(super) fitted: bool,
    pub(super) records: Vec<Record>,
}

impl Run {
    /// Successful records of a backend, in the order of the file.
    pub(super) fn ok(&self, backend: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |r| r.ok && r.backend == backend)
    }

    /// Scenarios in which a backend has records and none of them failed.
    pub(super) fn whole_scenarios(&self, backend: &str) -> BTreeSet<&str> {
        let own = || self.records.iter().filter(|r| r.backend == backend);
        let failed: BTreeSet<&str> = own().filter(|r| !r.ok).map(|r| r.scenario.as_str()).collect();
        own().map(|r| r.scenario.as_str()).filter(|scenario| !failed.contains(scenario)).collect()
    }
}

/// All runs.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) runs: Vec<Run>,
}

impl Data {
    /// The run whose path holds this text, of a mode.
    pub(super) fn run(&self, path: &str, mode: &str) -> Option<&Run> {
        self.runs.iter().find(|run| run.mode == mode && run.file.contains(path))
    }

    /// Complete prefill runs with both arms of the crossover, by number of parameters, of the models of the published fit.
    /// Development files of a few records and the first report's own runs are none.
    pub(super) fn replicates(&self) -> BTreeMap<u64, Vec<&Run>> {
        let fitted: BTreeSet<u64> =
            self.runs.iter().filter(|run| run.fitted).map(|run| run.parameters as u64).collect();
        let mut found: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            let scaling = run.file.contains("tr118v2") || run.fitted;
            let both = [BASELINE, CPU].iter().all(|backend| run.ok(backend).next().is_some());
            if run.mode == "prefill" && scaling && both && fitted.contains(&(run.parameters as u64)) {
                found.entry(run.parameters as u64).or_default().push(run);
            }
        }
        found
    }
}

type Key = (u32, String, String, u32);

fn key(row: &Row<'_>) -> Result<Key, ReplayError> {
    let [file, rep] = [count(row, "file_id")?, count(row, "rep")?];
    Ok((file, row.text("backend")?.to_owned(), row.text("scenario")?.to_owned(), rep))
}

fn count(row: &Row<'_>, column: &str) -> Result<u32, ReplayError> {
    let value = row.number(column)?;
    if value < 0.0 || value.fract() != 0.0 || value > f64::from(u32::MAX) {
        return Err(row.malformed(format!("`{column}` is {value}, not a count")));
    }
    Ok(value as u32)
}

fn positive(row: &Row<'_>, column: &str) -> Result<f64, ReplayError> {
    let value = row.number(column)?;
    if value <= 0.0 {
        return Err(row.malformed(format!("`{column}` is {value}, not above 0")));
    }
    Ok(value)
}

/// Reads the three tables and joins them.
pub(super) fn load(data: &Artifacts) -> Result<Data, ReplayError> {
    let files = data.table(FILES, &["file_id", "file", "model", "params", "mode", "in_published_fit"])?;
    let mut runs: BTreeMap<u32, Run> = BTreeMap::new();
    for row in files.rows() {
        let run = Run {
            file: row.text("file")?.to_owned(),
            model: row.text("model")?.to_owned(),
            parameters: positive(&row, "params")?,
            mode: row.text("mode")?.to_owned(),
            fitted: row.flag("in_published_fit")?,
            records: Vec::new(),
        };
        if runs.insert(count(&row, "file_id")?, run).is_some() {
            return Err(row.malformed("this `file_id` came before".to_owned()));
        }
    }
    let records = data.table(
        RUNS,
        &["file_id", "backend", "scenario", "rep", "batch", "seq_len", "status", "degraded_count", "reason"],
    )?;
    let mut places: HashMap<Key, (u32, usize)> = HashMap::new();
    for row in records.rows() {
        let key = key(&row)?;
        let file = key.0;
        let Some(run) = runs.get_mut(&file) else {
            return Err(row.malformed(format!("`file_id` {file} is not in {FILES}")));
        };
        let ok = row.text("status")? == "ok" && row.number("degraded_count")? == 0.0;
        let reason = row.text("reason")?.to_owned();
        let failed = (!ok).then(|| {
            let why = if reason.is_empty() { "no reason recorded" } else { &reason };
            trial(&key, &run.model, run.records.len(), None, Some(why))
        });
        let record = Record {
            backend: key.1.clone(),
            scenario: key.2.clone(),
            rep: key.3,
            batch: row.number("batch")?,
            seq_len: row.number("seq_len")?,
            ok,
            reason,
            prompts: Vec::new(),
            failed,
        };
        if places.insert(key, (file, run.records.len())).is_some() {
            return Err(
                row.malformed("this record came before: same run, backend, scenario and rep".to_owned())
            );
        }
        run.records.push(record);
    }
    let samples = data.table(
        SAMPLES,
        &["file_id", "backend", "scenario", "rep", "prompt_idx", "latency_ms", "ttft_ms", "tokens"],
    )?;
    for (id, row) in samples.rows().enumerate() {
        let key = key(&row)?;
        let place = places.get(&key).copied();
        let Some((run, index)) = place.and_then(|(file, index)| Some((runs.get_mut(&file)?, index))) else {
            return Err(row.malformed(format!("its record is not in {RUNS}")));
        };
        if !run.records[index].ok {
            return Err(row.malformed("it belongs to a failed record, which has no latency".to_owned()));
        }
        let [latency_ms, tokens] = [positive(&row, "latency_ms")?, positive(&row, "tokens")?];
        let times =
            Times { latency_ms, ttft_ms: row.maybe("ttft_ms")?, tokens, generate: run.mode == "generate" };
        let trial = trial(&key, &run.model, id, Some(times), None);
        run.records[index].prompts.push(Prompt { latency_ms, tokens, trial });
    }
    for record in runs.values().flat_map(|run| &run.records) {
        if record.ok && record.prompts.is_empty() {
            let Record { backend, scenario, rep, .. } = record;
            return Err(
                records.wrong(format!("{backend}, {scenario}, rep {rep} is ok and has no row in {SAMPLES}"))
            );
        }
    }
    Ok(Data { runs: runs.into_values().collect() })
}

struct Times {
    latency_ms: f64,
    ttft_ms: Option<f64>,
    tokens: f64,
    generate: bool,
}

fn trial(key: &Key, model: &str, id: usize, times: Option<Times>, failure: Option<&str>) -> Trial {
    let mut row = Call { backend: &key.1, model, scenario: &key.2, block: key.3, failure, ..Call::default() };
    if let Some(times) = times {
        row.total_ms = Some(times.latency_ms);
        if times.generate {
            // The first step is a pass of its own; a prefill has no token that arrives before the whole.
            row.ttft_ms = times.ttft_ms;
            row.generated = Some(times.tokens);
        } else {
            row.prompt_tokens = Some(times.tokens);
        }
    }
    call(u32::try_from(id).unwrap_or(u32::MAX), &row)
}
