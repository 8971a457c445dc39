//! Two concurrent agents in Rust: one JSON file per run with `collector`, `insight` and `summary`. The same layout in all
//! reports; older binaries made one call per agent and list it under `individual_runs`, newer ones two under `llm_calls`.

use serde_json::Value;

use super::{Output, Outputs, from_json, part, table};
use crate::{
    ImportError,
    cells::{Table, at, cell, need, text},
    source::{At, Entry, Source},
};

const CALL: [&str; 7] = [
    "ttft_ms",
    "tokens_generated",
    "eval_duration_ms",
    "prompt_eval_duration_ms",
    "load_duration_ms",
    "total_duration_ms",
    "throughput_tokens_per_sec",
];
const SUMMARY: [&str; 6] = [
    "concurrent_wall_time_s",
    "sequential_estimated_s",
    "concurrency_speedup",
    "efficiency_percent",
    "throughput_delta",
    "ttft_delta_ms",
];

/// One report's runs.
struct Layout {
    to: &'static str,
    at: At,
    folder: &'static str,
    /// Whether a path below the folder is a run's.
    wanted: fn(&str) -> bool,
    /// Columns before the agents'; `scenario` and `run` come from the file.
    lead: &'static [&'static str],
    /// Their values from the path below the folder, without scenario and run.
    labels: fn(&str) -> Result<Vec<String>, String>,
    /// Where the file's number says nothing: the part of the path that numbers the run.
    run_part: Option<usize>,
    calls: usize,
}

const LAYOUTS: &[Layout] = &[
    Layout {
        to: "agents/tr113/rust_multiagent_single_ollama_runs.csv",
        at: At::Head,
        folder: "src/rust/demo_multiagent/Demo_rust_multiagent_results",
        wanted: is_metrics,
        lead: &["config", "scenario", "run"],
        labels: |path| Ok(vec![part(path, 0)?]),
        run_part: None,
        calls: 1,
    },
    Layout {
        to: "agents/tr114/rust_multiagent_dual_runs.csv",
        at: At::Bulky,
        folder: "data/research/tr110_rust_full",
        wanted: is_metrics,
        lead: &["config", "dir", "scenario", "run"],
        labels: |path| Ok(vec![part(path, 1)?, part(path, 0)?]),
        run_part: None,
        calls: 2,
    },
    Layout {
        to: "agents/tr114/rust_multiagent_tr110_v1_runs.csv",
        at: At::Head,
        folder: "src/rust/demo_multiagent",
        wanted: |path| path.starts_with("Demo_rust_multiagent_results_tr110") && is_metrics(path),
        lead: &["dataset", "phase", "config", "scenario", "run"],
        labels: |path| {
            Ok(vec![part(path, 0)?, part(path, 1)?, format!("{}/{}", part(path, 2)?, part(path, 3)?)])
        },
        run_part: None,
        calls: 1,
    },
    Layout {
        to: "agents/tr115/rust_runtime_runs.csv",
        at: At::Runtimes,
        folder: "experiments/TR115_runtime_optimization/results_v2",
        wanted: is_metrics,
        lead: &["runtime", "config", "run_dir", "scenario", "run"],
        labels: |path| {
            let runtime = part(path, 0)?;
            Ok(vec![runtime.trim_start_matches("runtime-").to_owned(), part(path, 1)?, part(path, 2)?])
        },
        // Every run was a process of its own, in which it was the first.
        run_part: Some(2),
        calls: 2,
    },
    Layout {
        to: "agents/tr116/rust_multi_runs.csv",
        at: At::Bulky,
        folder: "experiments/TR116/results/multi/rust",
        wanted: is_metrics,
        lead: &["runtime", "config", "scenario", "run"],
        labels: |path| Ok(vec!["rust".to_owned(), part(path, 1)?]),
        run_part: None,
        calls: 2,
    },
    Layout {
        to: "agents/tr117ma/rust_phase2_runs.csv",
        at: At::Bulky,
        folder: "experiments/TR117_multiagent/results/suite_run/phase2",
        wanted: is_metrics,
        lead: &["phase", "config", "scenario", "run"],
        // The folder names the model only; all runs have one configuration, which the column spells out.
        labels: |_| Ok(vec!["phase2".to_owned(), "chimera_homo_gpu80_ctx512_temp1.0".to_owned()]),
        run_part: None,
        calls: 2,
    },
];

fn is_metrics(path: &str) -> bool {
    path.ends_with("/metrics.json")
}

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    for layout in LAYOUTS {
        outputs.extend(runs(source, layout)?);
    }
    Ok(outputs)
}

fn runs(source: &mut Source, layout: &Layout) -> Result<Option<Output>, ImportError> {
    let mut runs = Table::new(header(layout));
    let files = source.files(layout.at, layout.folder, layout.wanted);
    from_json(source, &mut runs, &files, |value, entry| Ok(vec![row(layout, value, entry)?]))?;
    Ok(table(source, layout.to, &runs))
}

fn header(layout: &Layout) -> Vec<String> {
    let agent = |letter: char| {
        let mut names: Vec<String> =
            ["url", "num_gpu", "num_ctx", "temperature", "execution_time_s"].map(str::to_owned).to_vec();
        let mut full: Vec<String> = names.drain(..).map(|name| format!("{letter}_{name}")).collect();
        for number in 1..=layout.calls {
            full.extend(CALL.iter().map(|name| format!("{letter}{number}_{name}")));
        }
        full.extend(["timestamp", "files", "ingest_s"].map(|name| format!("{letter}_{name}")));
        full
    };
    let mut names: Vec<String> = layout.lead.iter().map(|name| (*name).to_owned()).collect();
    names.extend(agent('a'));
    names.push("model".to_owned());
    names.extend(agent('b'));
    names.extend(SUMMARY.map(str::to_owned));
    names.push("resource_contention_detected".to_owned());
    names
}

fn row(layout: &Layout, value: &Value, entry: &Entry) -> Result<Vec<String>, String> {
    let mut row = (layout.labels)(entry.below(layout.folder))?;
    row.push(text(value, "scenario")?.to_owned());
    let number = need(value, "run_number")?;
    row.push(match layout.run_part {
        None => number,
        Some(index) => {
            let folder = part(entry.below(layout.folder), index)?;
            let digits = folder.trim_start_matches("run_");
            digits.parse::<u32>().map_err(|_| format!("`{folder}` numbers no run"))?.to_string()
        }
    });
    row.extend(agent(layout, value, "collector")?);
    row.push(text(value, "collector.config.model")?.to_owned());
    row.extend(agent(layout, value, "insight")?);
    for name in SUMMARY {
        row.push(need(value, &format!("summary.{name}"))?);
    }
    row.push(cell(at(value, "summary.resource_contention_detected")));
    Ok(row)
}

fn agent(layout: &Layout, value: &Value, name: &str) -> Result<Vec<String>, String> {
    let get = |path: &str| at(value, &format!("{name}.{path}"));
    let mut row = vec![text(value, &format!("{name}.config.base_url"))?.to_owned()];
    row.extend(
        ["num_gpu", "num_ctx", "temperature"].map(|option| cell(get(&format!("config.options.{option}")))),
    );
    row.push(need(value, &format!("{name}.execution_time_s"))?);
    for index in 0..layout.calls {
        let call = match get(&format!("result.llm_calls.{index}.metrics")) {
            Some(_) => format!("{name}.result.llm_calls.{index}.metrics"),
            None => format!("{name}.result.individual_runs.{index}"),
        };
        for metric in CALL {
            row.push(need(value, &format!("{call}.{metric}"))?);
        }
    }
    row.extend(
        ["timestamp", "benchmark_data_count", "workflow.ingest_seconds"]
            .map(|path| cell(get(&format!("result.{path}")))),
    );
    Ok(row)
}
