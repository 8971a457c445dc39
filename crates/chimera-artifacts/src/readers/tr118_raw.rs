//! TR118's JSON lines: one record per repetition with the latencies of its prompts. Records become `runs.csv`, prompts
//! `samples.csv`, files `files.csv`. Times keep four decimals of a millisecond.

use serde_json::Value;

use super::{Outputs, made};
use crate::{
    ImportError,
    cells::{Table, at, base, cell, rounded, text},
    source::{At, Entry, Source},
};

const FOLDER: &str = "experiments/TR118/results";
/// The two final runs of the first version. What lies beside them are trials of a harness that was being written.
const FINAL: [&str; 2] = ["_1765596906.jsonl", "_1765601222.jsonl"];
/// The runs whose prefill records are the nine points of the published fit.
const FIT: [&str; 9] = [
    "1765651895",
    "1765652089",
    "1765657995",
    "1766111615",
    "1766019210",
    "1765660128",
    "1766019377",
    "1765753143",
    "1765753713",
];
/// Parameters of the models, by the formula of GPT-2 on their configurations; the names mislead (`gpt2-1m` has 11 million).
const PARAMETERS: [(&str, u64); 9] = [
    ("tiny-gpt2", 102_714),
    ("gpt2-5m", 5_036_720),
    ("gpt2-1m", 11_180_928),
    ("gpt2-25m", 25_016_064),
    ("gpt2-45m", 45_171_200),
    ("gpt2-50m", 51_475_968),
    ("gpt2-75m", 74_824_704),
    ("gpt2-100m", 96_088_320),
    ("gpt2", 124_439_808),
];
const RESOURCES: [&str; 13] = [
    "samples",
    "duration_s",
    "gpu_memory_mean_mb",
    "gpu_memory_peak_mb",
    "gpu_memory_total_mb",
    "gpu_utilization_mean_pct",
    "gpu_power_mean_watts",
    "gpu_power_peak_watts",
    "gpu_temperature_mean_c",
    "gpu_temperature_peak_c",
    "cpu_memory_mean_mb",
    "cpu_memory_peak_mb",
    "cpu_utilization_mean_pct",
];

struct Tables {
    files: Table,
    runs: Table,
    samples: Table,
}

pub(super) fn read(source: &mut Source) -> Outputs {
    let key = ["file_id", "mode", "backend", "scenario", "rep", "batch", "seq_len"];
    let mut tables = Tables {
        files: Table::new(["file_id", "file", "model", "params", "mode", "rows", "in_published_fit"]),
        runs: Table::new(
            key.into_iter().chain(["status", "degraded_count", "reason", "warmup_ms"]).chain(RESOURCES),
        ),
        samples: Table::new(key.into_iter().chain([
            "prompt_idx",
            "latency_ms",
            "ttft_ms",
            "tokens",
            "throughput_tok_s",
        ])),
    };
    let files = source.files(At::December, FOLDER, |path| {
        let file = base(path);
        file.starts_with("bench_")
            && file.ends_with(".jsonl")
            && (!path.starts_with("raw/") || FINAL.iter().any(|end| file.ends_with(end)))
    });
    for (id, entry) in files.iter().enumerate() {
        read_file(source, entry, id, &mut tables)?;
    }
    let sources = source.take_read();
    let outputs = [
        made("backends/tr118/files.csv", &tables.files, &sources),
        made("backends/tr118/runs.csv", &tables.runs, &sources),
        made("backends/tr118/samples.csv", &tables.samples, &sources),
    ];
    Ok(outputs.into_iter().flatten().collect())
}

fn read_file(source: &mut Source, entry: &Entry, id: usize, tables: &mut Tables) -> Result<(), ImportError> {
    let records = source.json_lines(entry)?;
    let mut rows = 0_u64;
    let mut first: Option<(String, String)> = None;
    for (number, _, value) in &records {
        match record(value, id, tables) {
            Ok((model, mode)) => {
                first.get_or_insert((model, mode));
                rows += 1;
            }
            Err(reason) => source.trouble(entry, Some(*number), &reason),
        }
    }
    let Some((model, mode)) = first else { return Ok(()) };
    let params = PARAMETERS.iter().find(|(name, _)| *name == model).map(|(_, count)| count.to_string());
    let fitted = mode == "prefill" && FIT.iter().any(|run| base(entry.path()).contains(run));
    let fitted = if fitted { "True" } else { "False" };
    let row = vec![
        id.to_string(),
        entry.below(FOLDER).to_owned(),
        model,
        params.unwrap_or_default(),
        mode,
        rows.to_string(),
        fitted.to_owned(),
    ];
    if let Err(reason) = tables.files.push(row) {
        source.trouble(entry, None, &reason);
    }
    Ok(())
}

/// Adds a record's rows; its model and mode.
fn record(value: &Value, id: usize, tables: &mut Tables) -> Result<(String, String), String> {
    let mode = text(value, "spec.mode")?.to_owned();
    let model = base(text(value, "spec.model")?).to_owned();
    let mut key = vec![id.to_string(), mode.clone()];
    key.push(text(value, "spec.backend")?.to_owned());
    key.push(text(value, "spec.scenario")?.to_owned());
    key.extend(["repetition", "batch_size", "seq_len"].map(|name| cell(at(value, &format!("spec.{name}")))));

    let floats = |name: &str| -> Vec<f64> {
        at(value, name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let (latencies, ttfts) = (floats("latencies_ms"), floats("ttft_ms"));
    let rates = floats("throughput_tok_s");
    if rates.len() != latencies.len() || (!ttfts.is_empty() && ttfts.len() != latencies.len()) {
        return Err("its lists of latencies, first tokens and rates differ in length".to_owned());
    }
    let short = |float: Option<&f64>| float.map_or_else(String::new, |float| rounded(*float, 4));
    for (index, latency) in latencies.iter().enumerate() {
        let mut row = key.clone();
        row.push(index.to_string());
        row.push(rounded(*latency, 4));
        row.push(short(ttfts.get(index)));
        row.push(cell(at(value, &format!("tokens_processed.{index}"))));
        row.push(short(rates.get(index)));
        tables.samples.push(row)?;
    }

    let mut reasons: Vec<String> = Vec::new();
    for reason in at(value, "degraded_reasons").and_then(Value::as_array).into_iter().flatten() {
        let reason = cell(Some(reason));
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    key.push(text(value, "status")?.to_owned());
    key.push(cell(at(value, "degraded_count")));
    key.push(reasons.join(";"));
    let warmups: Vec<String> = floats("warmup_latencies_ms").iter().map(|float| rounded(*float, 4)).collect();
    key.push(warmups.join(";"));
    key.extend(RESOURCES.map(|name| cell(at(value, &format!("resource_metrics.{name}")))));
    tables.runs.push(key)?;
    Ok((model, mode))
}
