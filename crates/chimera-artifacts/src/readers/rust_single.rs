//! One agent in Rust: one JSON file per configuration with a `baseline` and a `chimera` arm. The first version made one
//! call per run and lists them under `individual_runs`; the second lists the calls of its two stages under `llm_calls`.

use serde_json::Value;

use super::{Output, Outputs, from_json, part, table};
use crate::{
    ImportError,
    cells::{Table, at, cell, cells, chars, list, need, text},
    source::{At, Source},
};

const ARMS: [&str; 2] = ["baseline", "chimera"];
const OPTIONS: [&str; 3] = ["configuration.num_gpu", "configuration.num_ctx", "configuration.temperature"];
const CALL: [&str; 7] = [
    "eval_duration_ms",
    "load_duration_ms",
    "prompt_eval_duration_ms",
    "throughput_tokens_per_sec",
    "tokens_generated",
    "total_duration_ms",
    "ttft_ms",
];
const WORKFLOW: [&str; 4] = ["analysis_seconds", "ingest_seconds", "report_seconds", "total_seconds"];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    outputs.extend(calls(source)?);
    outputs.extend(micro(source)?);
    outputs.extend(cross_model(source)?);
    Ok(outputs)
}

/// TR111 v2: a row per call.
fn calls(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut calls = Table::new(
        [
            "config",
            "arm",
            "num_gpu",
            "num_ctx",
            "temperature",
            "run",
            "stage",
            "prompt_chars",
            "response_chars",
        ]
        .into_iter()
        .chain(CALL)
        .chain([
            "benchmark_data_count",
            "wf_analysis_seconds",
            "wf_ingest_seconds",
            "wf_report_seconds",
            "wf_total_seconds",
            "arm_timestamp",
            "rust_version",
        ]),
    );
    let folder = "data/research/tr109_rust_full";
    let files = source.files(At::Bulky, folder, |path| path.ends_with("/data/metrics.json"));
    from_json(source, &mut calls, &files, |value, entry| {
        let config = part(entry.below(folder), 0)?;
        each_call(value, |arm_name, arm, call, run| {
            let mut row = vec![config.clone(), arm_name.to_owned()];
            row.extend(cells(arm, &OPTIONS));
            row.push(need(call, "run_number")?);
            row.push(text(call, "stage")?.to_owned());
            row.push(chars(call, "prompt"));
            row.push(chars(call, "response"));
            row.extend(metrics(call, "metrics.")?);
            row.push(cell(run.and_then(|run| at(run, "benchmark_data_count"))));
            row.extend(WORKFLOW.map(|name| cell(run.and_then(|run| at(run, &format!("workflow.{name}"))))));
            row.extend(cells(arm, &["timestamp", "system_info.rust_version"]));
            Ok(row)
        })
    })?;
    Ok(table(source, "agents/tr111/rust_agent_calls.csv", &calls))
}

/// TR111 v1: a row per run of one call. Two folders of trials before it are left out.
fn micro(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut runs = Table::new(
        ["dir", "arm", "num_gpu", "num_ctx", "temperature", "run"]
            .into_iter()
            .chain(CALL)
            .chain(["timestamp"]),
    );
    let folder = "src/rust/demo_agent";
    let files = source.files(At::Head, folder, |path| {
        (path.starts_with("Demo_rust_agent_sweep/") || path.starts_with("Demo_rust_agent_tr109_"))
            && path.ends_with("/data/metrics.json")
    });
    from_json(source, &mut runs, &files, |value, entry| {
        let below = entry.below(folder);
        let dir = below.strip_suffix("/data/metrics.json").unwrap_or(below);
        let mut rows = Vec::new();
        for name in ARMS {
            let arm = at(value, name).ok_or_else(|| format!("there is no `{name}`"))?;
            for (index, run) in list(arm, "individual_runs")?.iter().enumerate() {
                let mut row = vec![dir.to_owned(), name.to_owned()];
                row.extend(cells(arm, &OPTIONS));
                row.push((index + 1).to_string());
                row.extend(metrics(run, "")?);
                row.push(cell(at(arm, "timestamp")));
                rows.push(row);
            }
        }
        Ok(rows)
    })?;
    Ok(table(source, "agents/tr111/rust_microbench_v1_runs.csv", &runs))
}

/// TR116: as TR111 v2, for three models.
fn cross_model(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut calls = Table::new(
        [
            "runtime",
            "model",
            "config",
            "arm",
            "num_gpu",
            "num_ctx",
            "temperature",
            "run",
            "stage",
            "prompt_chars",
            "files",
        ]
        .into_iter()
        .chain(CALL)
        .chain(["timestamp"]),
    );
    let folder = "experiments/TR116/results/single/rust";
    let files = source.files(At::Bulky, folder, |path| path.ends_with("/data/metrics.json"));
    from_json(source, &mut calls, &files, |value, entry| {
        let config = part(entry.below(folder), 1)?;
        each_call(value, |arm_name, arm, call, run| {
            let model = text(arm, "model")?.to_owned();
            let mut row = vec!["rust".to_owned(), model, config.clone(), arm_name.to_owned()];
            row.extend(cells(arm, &OPTIONS));
            row.push(need(call, "run_number")?);
            row.push(text(call, "stage")?.to_owned());
            row.push(chars(call, "prompt"));
            row.push(cell(run.and_then(|run| at(run, "benchmark_data_count"))));
            row.extend(metrics(call, "metrics.")?);
            row.push(cell(at(arm, "timestamp")));
            Ok(row)
        })
    })?;
    Ok(table(source, "agents/tr116/rust_single_calls.csv", &calls))
}

/// A row for each call of each arm, with the run it belongs to.
fn each_call(
    value: &Value,
    row: impl Fn(&str, &Value, &Value, Option<&Value>) -> Result<Vec<String>, String>,
) -> Result<Vec<Vec<String>>, String> {
    let mut rows = Vec::new();
    for name in ARMS {
        let arm = at(value, name).ok_or_else(|| format!("there is no `{name}`"))?;
        for call in list(arm, "llm_calls")? {
            let number = at(call, "run_number");
            let run = list(arm, "workflow_runs")?.iter().find(|run| at(run, "run_number") == number);
            rows.push(row(name, arm, call, run)?);
        }
    }
    Ok(rows)
}

fn metrics(call: &Value, before: &str) -> Result<Vec<String>, String> {
    CALL.iter().map(|name| need(call, &format!("{before}{name}"))).collect()
}
