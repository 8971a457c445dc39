//! The Rust runs of the second phase, four calls each, and the samples of the GPU that were taken beside them.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Metric, Trial};
use chimera_stats::rank;

use super::{
    super::{
        family::{Family, put},
        shared::{difference, mean, of_sums, plain_mean, run_number},
    },
    GPU, RUST,
    runs::{moments, welch},
};
use crate::{Artifacts, Call, LEVEL, ReplayError, Row, Values, call};

/// Models by name in the data and in quantities.
pub(super) const MODELS: [(&str, &str); 2] = [("gemma3:latest", "gemma"), ("qwen2.5:7b", "qwen")];

struct Run {
    calls: Vec<Trial>,
    wall_s: f64,
    efficiency: f64,
}

impl Run {
    fn failed_calls(&self) -> usize {
        self.calls.iter().filter(|call| call.lanes.is_empty()).count()
    }

    fn tokens(&self) -> f64 {
        self.calls.iter().flat_map(|call| &call.lanes).filter_map(|lane| lane.generated).map(f64::from).sum()
    }

    /// Tokens of the agent with fewer over those of the one with more.
    fn length_ratio(&self) -> f64 {
        let of = |agent: &str| -> f64 {
            let own = self.calls.iter().filter(|call| &*call.factors.scenario == agent);
            own.flat_map(|call| &call.lanes).filter_map(|lane| lane.generated).map(f64::from).sum()
        };
        let (a, b) = (of("a"), of("b"));
        a.min(b) / a.max(b)
    }
}

/// Reads the runs; adds the published index and our rates.
pub(super) fn runs(data: &Artifacts, values: &mut Values, tests: &mut Family) -> Result<(), ReplayError> {
    let columns = ["run", "model", "concurrent_wall_time_s", "efficiency_percent"];
    let table = data.table(RUST, &columns)?;
    let mut seen = BTreeSet::new();
    let mut groups: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for (id, row) in (0_u32..).zip(table.rows()) {
        let (model, number) = (row.text("model")?, run_number(&row)?);
        let Some((_, short)) = MODELS.iter().find(|(known, _)| *known == model) else {
            return Err(row.malformed(format!("`{model}` is no model of this report")));
        };
        if !seen.insert((model, number)) {
            return Err(row.malformed(format!("run {number} of `{model}` comes twice")));
        }
        let mut calls = Vec::with_capacity(4);
        for (position, (agent, stage)) in (0_u32..).zip([("a", 1), ("a", 2), ("b", 1), ("b", 2)]) {
            calls.push(one(&row, 4 * id + position, model, number, agent, stage)?);
        }
        let wall_s = row.number("concurrent_wall_time_s")?;
        groups.entry(short).or_default().push(Run {
            calls,
            wall_s,
            efficiency: row.number("efficiency_percent")?,
        });
    }
    let mut indices: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (_, model) in MODELS {
        let own = groups.remove(model).unwrap_or_default();
        let index: Vec<f64> = own.iter().map(|run| run.efficiency).collect();
        moments(values, &format!("legacy.rust_efficiency.{model}"), "%", &index);
        let failed: usize = own.iter().map(Run::failed_calls).sum();
        values.put(format!("rust.failed_calls.{model}"), "", failed as f64);
        let sound: Vec<&Run> = own.iter().filter(|run| run.failed_calls() == 0).collect();
        let tokens: Vec<f64> = sound.iter().map(|run| run.tokens()).collect();
        let walls: Vec<f64> = sound.iter().map(|run| run.wall_s).collect();
        put(values, format!("rust.aggregate_rate.{model}"), "tok/s", of_sums(&tokens, &walls, "run"));
        let rates: Vec<f64> = sound.iter().map(|run| decode_rate(run)).collect();
        put(values, format!("rust.decode_rate.{model}"), "tok/s", mean(&rates, "run"));
        let lengths: Vec<f64> = sound.iter().map(|run| run.length_ratio()).collect();
        put(values, format!("rust.length_ratio.{model}"), "", mean(&lengths, "run"));
        let index: Vec<f64> = sound.iter().map(|run| run.efficiency).collect();
        put(values, format!("rust.efficiency.{model}"), "%", mean(&index, "run"));
        let correlation = rank::spearman(&index, &lengths).and_then(|rho| rho.estimate(LEVEL));
        put(values, format!("rust.spearman_length_ratio.{model}"), "", correlation);
        indices.insert(model, index);
    }
    put(values, "rust.qwen_minus_gemma", "pp", difference(&indices["qwen"], &indices["gemma"], "run"));
    tests.add(values, "rust.models", welch(&indices["qwen"], &indices["gemma"]));
    let gap =
        values.point("legacy.rust_efficiency.gemma.mean").zip(values.point("legacy.efficiency.default.mean"));
    match gap {
        Some((rust, python)) => values.put("legacy.rust_minus_python", "pp", rust - python),
        None => values.lacks("legacy.rust_minus_python", "an arm has no run"),
    }
    Ok(())
}

/// Tokens over the server's decode time, all calls of a run together.
fn decode_rate(run: &Run) -> f64 {
    let seconds: f64 = run.calls.iter().filter_map(|call| Metric::DecodeServer.of(call)).sum();
    run.tokens() / seconds
}

fn one(
    row: &Row<'_>,
    id: u32,
    model: &str,
    block: u32,
    agent: &str,
    stage: u32,
) -> Result<Trial, ReplayError> {
    let of = |what: &str| row.maybe(&format!("{agent}{stage}_{what}"));
    let generated = of("tokens_generated")?;
    let failure =
        (!generated.is_some_and(|tokens| tokens > 0.0)).then_some("the stream ended without a token");
    Ok(call(
        id,
        &Call {
            backend: "ollama",
            model,
            scenario: agent,
            block,
            generated,
            load_ms: of("load_duration_ms")?,
            prompt_eval_ms: of("prompt_eval_duration_ms")?,
            eval_ms: of("eval_duration_ms")?,
            ttft_ms: of("ttft_ms")?,
            total_ms: of("total_duration_ms")?,
            failure,
            ..Call::default()
        },
    ))
}

/// Power, utilisation and memory, over all samples as published.
pub(super) fn gpu(data: &Artifacts, values: &mut Values) -> Result<(), ReplayError> {
    let table = data.table(GPU, &["model", "power_w", "util_pct", "mem_mib"])?;
    let mut columns: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for row in table.rows() {
        let model = match row.text("model")? {
            "gemma3_latest" => "gemma",
            "qwen2_5_7b" => "qwen",
            other => return Err(row.malformed(format!("`{other}` is no model of this report"))),
        };
        for (column, name) in [("power_w", "power"), ("util_pct", "utilisation"), ("mem_mib", "memory")] {
            if let Some(value) = row.maybe(column)? {
                columns.entry((model, name)).or_default().push(value);
            }
        }
    }
    values.put("legacy.gpu.samples", "", table.len() as f64);
    for (_, model) in MODELS {
        for (name, unit) in [("power", "W"), ("utilisation", "%")] {
            let sample = columns.remove(&(model, name)).unwrap_or_default();
            moments(values, &format!("legacy.gpu.{model}.{name}"), unit, &sample);
        }
        // The tool counts MiB; the report prints MB.
        let memory = columns.remove(&(model, "memory")).unwrap_or_default();
        let megabytes = plain_mean(&memory) * 1.048_576;
        values.put(format!("legacy.gpu.{model}.memory"), "MB", megabytes);
    }
    Ok(())
}
