//! What the labels claim against what was recorded: precision of the engines, the shapes and reasons of failures, the
//! perplexity gates as coded, sizes and build times, and who survived.

use std::collections::BTreeMap;

use super::data::{Data, Run};
use crate::{Artifacts, ReplayError, Values};

pub(super) const ENGINES: &str = "backends/tr118/trt_engines.csv";
pub(super) const PERPLEXITY: &str = "backends/tr118/perplexity.csv";
pub(super) const EXPORTS: &str = "backends/tr118/onnx_exports.csv";

/// Why a record failed. Published reasons are free text; these are all that occur, and what else comes is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The engine has no profile for the shape.
    ProfileMismatch,
    /// A buffer was copied to the device that is larger than what was allocated there: 64-bit ids into 32-bit room.
    CopyFailed,
    /// There was no engine or session.
    EngineMissing,
    /// Anything else.
    Other,
}

impl Cause {
    pub(super) const ALL: [Self; 4] =
        [Self::ProfileMismatch, Self::CopyFailed, Self::EngineMissing, Self::Other];

    /// From a published reason.
    pub(super) fn of(reason: &str) -> Self {
        if reason.contains("set_input_shape_failed") {
            Self::ProfileMismatch
        } else if reason.contains("cuMemcpyHtoD") {
            Self::CopyFailed
        } else if reason.contains("missing") {
            Self::EngineMissing
        } else {
            Self::Other
        }
    }

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::ProfileMismatch => "profile-mismatch",
            Self::CopyFailed => "copy-failed",
            Self::EngineMissing => "engine-missing",
            Self::Other => "other",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ProfileMismatch => "no profile for the shape",
            Self::CopyFailed => "copy to the device failed",
            Self::EngineMissing => "no engine or session",
            Self::Other => "other",
        }
    }
}

/// Shapes that the profiles of the configuration admit: batch 1 up to 512 tokens, batch 4 up to 256, both from 8.
fn admitted(batch: f64, seq_len: f64) -> bool {
    seq_len >= 8.0 && ((batch == 1.0 && seq_len <= 512.0) || (batch == 4.0 && seq_len <= 256.0))
}

/// Failures of a group of runs, by cause, under `failures.<label>`.
pub(super) fn failures(values: &mut Values, label: &str, runs: &[&Run]) {
    let records = || runs.iter().flat_map(|run| &run.records);
    let failed = || records().filter(|r| !r.ok);
    let (all, bad) = (records().count() as f64, failed().count() as f64);
    values.put(format!("failures.{label}.records"), "", all);
    values.put(format!("failures.{label}.total"), "", bad);
    values.put(format!("failures.{label}.share"), "%", 100.0 * bad / all);
    for cause in Cause::ALL {
        let count = failed().filter(|r| Cause::of(&r.reason) == cause).count();
        values.put(format!("failures.{label}.{}", cause.id()), "", count as f64);
    }
    let inside =
        failed().filter(|r| Cause::of(&r.reason) == Cause::CopyFailed && admitted(r.batch, r.seq_len));
    values.put(format!("failures.{label}.copy-failed.inside_profiles"), "", inside.count() as f64);
    let timeouts = failed().filter(|r| r.reason.contains("timeout")).count();
    values.put(format!("failures.{label}.timeouts"), "", timeouts as f64);
    let backends: BTreeMap<(&str, &str), usize> = runs
        .iter()
        .flat_map(|run| run.records.iter().filter(|r| !r.ok).map(|r| (r.backend.as_str(), run.mode.as_str())))
        .fold(BTreeMap::new(), |mut counts, key| {
            *counts.entry(key).or_default() += 1;
            counts
        });
    for ((backend, mode), count) in backends {
        values.put(format!("failures.{label}.{backend}.{mode}"), "", count as f64);
    }
}

/// Perplexities of a model in a run, by backend.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) run: String,
    pub(super) backend: String,
    pub(super) perplexity: Option<f64>,
    /// Relative to the baseline of the same run, signed.
    pub(super) delta: Option<f64>,
    pub(super) threshold: Option<f64>,
}

impl Gate {
    /// Two-sided: an unexplained improvement is a difference too. None for the baseline and without a value.
    pub(super) fn passes(&self) -> Option<bool> {
        Some(self.delta?.abs() <= self.threshold?)
    }
}

/// Reads the perplexities and computes each difference again.
pub(super) fn gates(data: &Artifacts) -> Result<Vec<Gate>, ReplayError> {
    let table = data.table(PERPLEXITY, &["run", "backend", "perplexity", "threshold"])?;
    let mut gates: Vec<Gate> = Vec::new();
    for row in table.rows() {
        let (run, backend) = (row.text("run")?.to_owned(), row.text("backend")?.to_owned());
        if gates.iter().any(|gate| gate.run == run && gate.backend == backend) {
            return Err(row.malformed(format!("{backend} of {run} came before")));
        }
        let [perplexity, threshold] = [row.maybe("perplexity")?, row.maybe("threshold")?];
        gates.push(Gate { run, backend, perplexity, delta: None, threshold });
    }
    for index in 0..gates.len() {
        let base = gates.iter().find(|g| g.run == gates[index].run && g.backend == super::data::BASELINE);
        let delta = base.and_then(|base| Some(gates[index].perplexity? / base.perplexity? - 1.0));
        gates[index].delta = delta.filter(|_| gates[index].backend != super::data::BASELINE);
    }
    Ok(gates)
}

/// Perplexities of one run under `legacy.ppl.<label>`.
pub(super) fn perplexities(values: &mut Values, label: &str, path: &str, gates: &[Gate]) {
    for gate in gates.iter().filter(|gate| gate.run.ends_with(path)) {
        let name = format!("legacy.ppl.{label}.{}", gate.backend);
        match gate.perplexity {
            Some(perplexity) => values.put(name.clone(), "", perplexity),
            None => values.lacks(name.clone(), "the evaluation failed"),
        }
        if let Some(delta) = gate.delta {
            values.put(format!("{name}.delta"), "%", 100.0 * delta);
        }
    }
}

/// All gates together: how many pass, fail, could not be judged, and how many say nothing because the candidate gives the
/// very numbers of the full-precision engine.
pub(super) fn gate_totals(values: &mut Values, gates: &[Gate]) {
    let judged: Vec<bool> = gates.iter().filter_map(Gate::passes).collect();
    values.put("gates.passed", "", judged.iter().filter(|passes| **passes).count() as f64);
    values.put("gates.failed", "", judged.iter().filter(|passes| !**passes).count() as f64);
    let unjudged = gates.iter().filter(|g| g.perplexity.is_none()).count();
    values.put("gates.not_evaluated", "", unjudged as f64);
    for precision in ["fp32", "fp16", "int8"] {
        let backend = format!("tensorrt-{precision}");
        let coded = gates.iter().find(|g| g.backend == backend && g.threshold.is_some());
        match coded.and_then(|gate| gate.threshold) {
            Some(threshold) => values.put(format!("gates.threshold.{precision}"), "%", 100.0 * threshold),
            None => values.lacks(format!("gates.threshold.{precision}"), "no threshold was recorded"),
        }
    }
    let of = |run: &str, backend: &str| {
        gates.iter().find(|g| g.run == run && g.backend == backend).and_then(|g| g.perplexity)
    };
    let int8: Vec<(f64, f64)> = gates
        .iter()
        .filter(|g| g.backend == "tensorrt-int8")
        .filter_map(|g| Some((g.perplexity?, of(&g.run, "tensorrt-fp32")?)))
        .collect();
    values.put("gates.int8.judged", "", int8.len() as f64);
    values.put("gates.int8.identical_to_fp32", "", int8.iter().filter(|(a, b)| a == b).count() as f64);
}

/// One row of engine metadata.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    pub(super) run: String,
    pub(super) precision: String,
    /// What the inspector said of INT8 tensors; none where it was not asked.
    pub(super) int8: Option<bool>,
    /// Layer outputs of FP16, where the engine was inspected.
    pub(super) half: Option<f64>,
    pub(super) layers: Option<f64>,
    pub(super) profiles: Option<f64>,
    pub(super) build_s: Option<f64>,
    pub(super) size_mb: Option<f64>,
    pub(super) calibration_split: String,
}

/// Reads the engines.
pub(super) fn engines(data: &Artifacts) -> Result<Vec<Engine>, ReplayError> {
    let columns = [
        "run",
        "precision",
        "build_time_s",
        "file_size_mb",
        "num_layers",
        "num_profiles",
        "has_int8_tensors",
        "n_float",
        "n_half",
        "calib_split",
    ];
    let table = data.table(ENGINES, &columns)?;
    table
        .rows()
        .map(|row| {
            let inspected = row.maybe("n_float")?.is_some();
            Ok(Engine {
                run: row.text("run")?.to_owned(),
                precision: row.text("precision")?.to_owned(),
                int8: match row.text("has_int8_tensors")? {
                    "" => None,
                    _ => Some(row.flag("has_int8_tensors")?),
                },
                half: if inspected { Some(row.maybe("n_half")?.unwrap_or(0.0)) } else { None },
                layers: row.maybe("num_layers")?,
                profiles: row.maybe("num_profiles")?,
                build_s: row.maybe("build_time_s")?,
                size_mb: row.maybe("file_size_mb")?,
                calibration_split: row.text("calib_split")?.to_owned(),
            })
        })
        .collect()
}

/// The audit of precision over all engines.
pub(super) fn precision(values: &mut Values, engines: &[Engine]) {
    let count = |keep: &dyn Fn(&Engine) -> bool| engines.iter().filter(|e| keep(e)).count() as f64;
    values.put("audit.engines", "", engines.len() as f64);
    values.put("audit.engines.int8_true", "", count(&|e| e.int8 == Some(true)));
    values.put("audit.engines.int8_false", "", count(&|e| e.int8 == Some(false)));
    values.put("audit.engines.int8_unknown", "", count(&|e| e.int8.is_none()));
    values.put("audit.int8.inspected", "", count(&|e| e.precision == "int8" && e.int8.is_some()));
    values.put("audit.int8.with_int8_tensors", "", count(&|e| e.precision == "int8" && e.int8 == Some(true)));
    values.put("audit.fp16.inspected", "", count(&|e| e.precision == "fp16" && e.half.is_some()));
    values.put("audit.fp16.without_half", "", count(&|e| e.precision == "fp16" && e.half == Some(0.0)));
    values.put("audit.int8.calibrated_on_test_split", "", count(&|e| e.calibration_split == "test"));
}

/// Engines and export of one run under `build.<label>`.
pub(super) fn builds(
    values: &mut Values,
    label: &str,
    path: &str,
    engines: &[Engine],
    data: &Artifacts,
) -> Result<(), ReplayError> {
    for engine in engines.iter().filter(|engine| engine.run.contains(path)) {
        let name = |quantity: &str| format!("build.{label}.{}.{quantity}", engine.precision);
        match engine.build_s {
            Some(seconds) => values.put(name("time"), "s", seconds),
            None => values.lacks(name("time"), "the engine was not built for this run but used again"),
        }
        for (quantity, unit, value) in
            [("size", "MB", engine.size_mb), ("layers", "", engine.layers), ("profiles", "", engine.profiles)]
        {
            match value {
                Some(value) => values.put(name(quantity), unit, value),
                None => values.lacks(name(quantity), "the engine was not inspected"),
            }
        }
    }
    let exports = data.table(EXPORTS, &["run", "file_size_mb"])?;
    for row in exports.rows().filter(|row| row.text("run").is_ok_and(|run| run.contains(path))) {
        if let Some(size) = row.maybe("file_size_mb")? {
            values.put(format!("build.{label}.onnx.size"), "MB", size);
        }
    }
    Ok(())
}

/// The report's break-even: tokens after which a build of `build_s` seconds has paid for itself.
pub(super) fn break_even(build_s: f64, slow: f64, fast: f64) -> f64 {
    build_s / (1.0 / slow - 1.0 / fast)
}

/// Mean throughput over the scenarios that every one of `backends` finished, by the published formula.
pub(super) fn survivors(values: &mut Values, label: &str, run: &Run, backends: &[&str]) {
    let mut common = run.whole_scenarios(backends[0]);
    for backend in backends {
        let own = run.whole_scenarios(backend);
        values.put(format!("survivors.{label}.{backend}.scenarios"), "", own.len() as f64);
        common.retain(|scenario| own.contains(scenario));
    }
    values.put(format!("survivors.{label}.common"), "", common.len() as f64);
    for backend in backends {
        let records = run.ok(backend).filter(|r| common.contains(r.scenario.as_str()));
        let name = format!("survivors.{label}.{backend}.throughput");
        match super::legacy::overall(records, super::data::Record::rate) {
            Some(rate) => values.put(name, "tok/s", rate),
            None => values.lacks(name, "no scenario that all of them finished"),
        }
    }
}

/// All failed records of the data.
pub(super) fn every_failure(values: &mut Values, data: &Data) {
    let runs: Vec<&Run> = data.runs.iter().collect();
    failures(values, "all", &runs);
}
