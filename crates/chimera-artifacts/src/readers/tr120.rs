//! TR120's runs on compiled graphs: `metrics.csv` per run and mode, with the compile settings of its run files and the
//! counters of Dynamo. Latencies keep six decimals of a millisecond.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Outputs, made};
use crate::{
    ImportError,
    cells::{Table, at, cell, rounded},
    source::{At, Entry, Source},
};

const FOLDER: &str = "experiments/TR120/results";
/// Folder of the runs, environment.
const PLACES: [(&str, &str); 2] =
    [("tr120_root_cause", "windows"), ("tr120_root_cause_triton", "triton-docker")];
const COMPILED: &str = "/runs/";

/// The files of a run in a mode.
struct Mode {
    run: String,
    name: String,
    env: &'static str,
    metrics: Entry,
}

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut samples =
        Table::new(["run_id", "mode", "backend", "scenario", "idx", "latency_ms", "cuda_event_ms", "tokens"]);
    let mut runs = Table::new([
        "run_id",
        "mode",
        "rows",
        "env",
        "torch",
        "dynamic",
        "compile_mode",
        "disable_cudagraphs",
        "compile_backend_actual",
        "fallback_from",
        "compile_wrapper_ms",
        "dynamo_unique_graphs",
        "dynamo_calls_captured",
        "frames_total",
        "frames_ok",
        "recompile_limit_reached",
        "counters_file",
        "counters_empty",
        "padding_inferred",
        "prefill_graph_seq_lens",
    ]);
    let mut of_samples = Vec::new();
    let mut of_runs = Vec::new();
    for (place, env) in PLACES {
        let folder = format!("{FOLDER}/{place}");
        let all = source.files(At::December, &folder, |_| true);
        let find = |path: &str| all.iter().find(|entry| entry.below(&folder) == path);
        for entry in all.iter().filter(|entry| entry.path().ends_with("/metrics.csv")) {
            let mut parts = entry.below(&folder).split('/');
            let (Some(run), Some(name)) = (parts.next(), parts.next()) else { continue };
            let mode = Mode { run: run.to_owned(), name: name.to_owned(), env, metrics: entry.clone() };
            let rows = read_samples(source, &mode, &mut samples)?;
            of_samples.extend(source.take_read());
            let start = format!("{run}/{name}{COMPILED}");
            let run_file = all.iter().find(|entry| {
                let below = entry.below(&folder);
                below.starts_with(&start) && below.contains("/transformers-gpu-compile/")
            });
            let files = RunFiles {
                manifest: find(&format!("{run}/manifest.json")),
                run: run_file,
                counters: find(&format!("{run}/{name}/dynamo_counters.json")),
                prefill: find(&format!("{run}/prefill/dynamo_counters.json")),
            };
            let row = read_run(source, &mode, rows, &files)?;
            if let Err(reason) = runs.push(row) {
                source.trouble(entry, None, &reason);
            }
            of_runs.extend(source.take_read());
        }
    }
    let outputs = [
        made("backends/tr120/samples.csv", &samples, &of_samples),
        made("backends/tr120/runs.csv", &runs, &of_runs),
    ];
    Ok(outputs.into_iter().flatten().collect())
}

fn read_samples(source: &mut Source, mode: &Mode, into: &mut Table) -> Result<u64, ImportError> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut rows = 0;
    for record in source.csv(&mode.metrics)? {
        let (backend, scenario) = (record.get("backend").to_owned(), record.get("scenario").to_owned());
        let index = counts.entry((backend.clone(), scenario.clone())).or_insert(0);
        let row = (|| {
            Ok(vec![
                mode.run.clone(),
                mode.name.clone(),
                backend,
                scenario,
                index.to_string(),
                milliseconds(&record.number("latency_ms")?),
                // Older runs have no such column.
                milliseconds(&record.number("cuda_event_ms").unwrap_or_default()),
                record.number("tokens")?,
            ])
        })();
        match row.and_then(|row| into.push(row)) {
            Ok(()) => {
                *index += 1;
                rows += 1;
            }
            Err(reason) => source.trouble(&mode.metrics, Some(record.line), &reason),
        }
    }
    Ok(rows)
}

fn milliseconds(number: &str) -> String {
    number.parse().map_or_else(|_| String::new(), |float| rounded(float, 6))
}

struct RunFiles<'e> {
    manifest: Option<&'e Entry>,
    run: Option<&'e Entry>,
    counters: Option<&'e Entry>,
    prefill: Option<&'e Entry>,
}

fn read_run(
    source: &mut Source,
    mode: &Mode,
    rows: u64,
    files: &RunFiles<'_>,
) -> Result<Vec<String>, ImportError> {
    let mut json = |entry: Option<&Entry>| -> Result<Value, ImportError> {
        Ok(match entry {
            Some(entry) => source.json(entry)?.unwrap_or_default(),
            None => Value::Null,
        })
    };
    let (manifest, run) = (json(files.manifest)?, json(files.run)?);
    let (counters, prefill) = (json(files.counters)?, json(files.prefill)?);
    let lengths = graph_lengths(&prefill);
    let padding = match lengths.as_slice() {
        [] => "",
        all if all.iter().all(|length| length % 8 == 0) => "padded8",
        _ => "varlen",
    };
    let setting = |name: &str| cell(at(&manifest, &format!("torch_compile_config.{name}")));
    let compile = |name: &str| cell(at(&run, &format!("compile.{name}")));
    let counter = |path: &str| cell(at(&counters, &format!("dynamo_counters.{path}")));
    let empty =
        at(&counters, "dynamo_counters").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty);
    let truth = |yes: bool| if yes { "True" } else { "False" }.to_owned();
    Ok(vec![
        mode.run.clone(),
        mode.name.clone(),
        rows.to_string(),
        mode.env.to_owned(),
        cell(at(&manifest, "torch.version")),
        setting("dynamic"),
        setting("mode"),
        setting("disable_cudagraphs"),
        compile("backend"),
        compile("fallback_from"),
        compile("compile_wrapper_ms"),
        counter("stats.unique_graphs"),
        counter("stats.calls_captured"),
        counter("frames.total"),
        counter("frames.ok"),
        counter("unimplemented.recompile_limit reached"),
        truth(files.counters.is_some()),
        truth(empty),
        padding.to_owned(),
        lengths.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
    ])
}

/// The sequence lengths for which a prefill graph was compiled, told by the shapes of one matrix product of the model
/// (`addmm`, rows x 6 x 2).
fn graph_lengths(counters: &Value) -> Vec<u64> {
    let shapes = at(counters, "dynamo_counters.aten_mm_info").and_then(Value::as_object);
    let mut lengths: Vec<u64> = shapes
        .into_iter()
        .flatten()
        .filter_map(|(name, _)| name.strip_prefix("aten.addmm_")?.strip_suffix("_6_2")?.parse().ok())
        .collect();
    lengths.sort_unstable();
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_from_one_product_in_order() {
        let counters = serde_json::json!({"dynamo_counters": {"aten_mm_info": {
            "aten.addmm_16_6_2": 2, "aten.addmm_8_6_2": 2, "aten.mm_8_2_2": 2, "aten.addmm_s0_6_2": 1,
        }}});
        assert_eq!(graph_lengths(&counters), [8, 16]);
        assert!(graph_lengths(&Value::Null).is_empty());
    }
}
