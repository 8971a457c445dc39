//! Agents in Python: the sweep of one agent (TR109), pairs of agents (TR110), and both for three models (TR116), where
//! TTFT is prompt evaluation only. What one column means differs between them; the columns' names say it.

use serde_json::Value;

use super::{Output, Outputs, from_json, part, table};
use crate::{
    ImportError,
    cells::{Table, at, cell, cells, chars, need, text},
    source::{At, Source},
};

const ARMS: [&str; 2] = ["baseline", "chimera"];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    outputs.extend(sweep(source)?);
    outputs.extend(super::report_quality::read(source)?);
    outputs.extend(pairs(source)?);
    outputs.extend(cross_model(source)?);
    outputs.extend(cross_model_pairs(source)?);
    Ok(outputs)
}

/// TR109: a row per arm of a run.
fn sweep(source: &mut Source) -> Result<Option<Output>, ImportError> {
    const OPTIONS: [&str; 6] = ["num_gpu", "num_ctx", "temperature", "top_p", "top_k", "repeat_penalty"];
    const TOTALS: [&str; 7] = [
        "total_requests",
        "total_duration_ms",
        "total_tokens_generated",
        "average_ttft_ms",
        "average_tokens_per_second",
        "p95_ttft_ms",
        "p95_tokens_per_second",
    ];
    let mut arms = Table::new(["config", "run", "arm"].into_iter().chain(OPTIONS).chain(TOTALS).chain([
        "benchmark_data_count",
        "execution_time_s",
        "start_time",
        "end_time",
        "report_words",
    ]));
    let folder = "benchmarks/python/chimera_sweep";
    let files = source.files(At::Head, folder, |path| path.ends_with("/data/metrics.json"));
    from_json(source, &mut arms, &files, |value, entry| {
        let config = part(entry.below(folder), 0)?.trim_start_matches("run_").to_owned();
        each_arm(value, |run, name, arm| {
            let mut row = vec![config.clone(), need(run, "run_number")?, name.to_owned()];
            row.extend(OPTIONS.map(|option| cell(at(arm, &format!("metrics.configuration.{option}")))));
            for total in TOTALS {
                row.push(need(arm, &format!("metrics.aggregate_metrics.{total}"))?);
            }
            row.extend(cells(arm, &["benchmark_data_count", "execution_time", "start_time", "end_time"]));
            row.push(text(arm, "report")?.split_whitespace().count().to_string());
            Ok(row)
        })
    })?;
    Ok(table(source, "agents/tr109/python_agent_sweep.csv", &arms))
}

/// TR110: a row per run of two agents. The scenario is told by their types and options, as the runs do not name it.
fn pairs(source: &mut Source) -> Result<Option<Output>, ImportError> {
    const TOTALS: [&str; 5] = [
        "total_requests",
        "total_tokens_generated",
        "total_duration_ms",
        "average_tokens_per_second",
        "average_ttft_ms",
    ];
    let agent = |letter: &str| {
        [
            "agent_type",
            "num_gpu",
            "num_ctx",
            "temperature",
            "requests",
            "tokens",
            "llm_duration_ms",
            "avg_tok_s",
            "avg_ttft_ms",
        ]
        .map(|name| format!("{letter}_{name}"))
    };
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let mut header =
        names(&["test", "phase", "test_id", "scenario", "run", "collector_ollama_url", "insight_ollama_url"]);
    header.extend(agent("a"));
    header.extend(agent("b"));
    header.extend(names(&[
        "a_execution_time_s",
        "b_execution_time_s",
        "concurrent_wall_time_s",
        "sequential_estimated_time_s",
        "concurrency_speedup",
        "resource_contention_detected",
        "throughput_delta",
        "ttft_delta_ms",
    ]));
    let mut runs = Table::new(header);
    let folder = "src/python/banterhearts/demo_multiagent/comprehensive_test_results";
    let files = source.files(At::PythonPairs, folder, |path| path.ends_with("/metrics.json"));
    from_json(source, &mut runs, &files, |value, entry| {
        let test = part(entry.below(folder), 0)?;
        let mut numbers = test.split('_').filter_map(|word| word.parse::<u32>().ok());
        let (Some(phase), Some(id)) = (numbers.next(), numbers.next()) else {
            return Err(format!("`{test}` names no phase and test"));
        };
        let mut row = vec![test, phase.to_string(), id.to_string(), scenario(value).to_owned()];
        row.push(need(value, "summary.run_number")?);
        row.extend(cells(value, &["summary.collector_ollama_url", "summary.insight_ollama_url"]));
        for name in ["collector", "insight"] {
            row.push(text(value, &format!("{name}.agent_type"))?.to_owned());
            row.extend(
                ["num_gpu", "num_ctx", "temperature"]
                    .map(|option| cell(at(value, &format!("{name}.configuration.{option}")))),
            );
            for total in TOTALS {
                row.push(need(value, &format!("{name}.aggregate_metrics.{total}"))?);
            }
        }
        for path in [
            "collector_execution_time",
            "insight_execution_time",
            "summary.concurrent_wall_time",
            "summary.sequential_estimated_time",
            "summary.concurrency_speedup",
        ] {
            row.push(need(value, path)?);
        }
        row.push(cell(at(value, "summary.resource_contention_detected")));
        row.push(need(value, "summary.throughput_delta")?);
        row.push(need(value, "summary.ttft_delta_ms")?);
        Ok(vec![row])
    })?;
    Ok(table(source, "agents/tr110/python_multiagent_runs.csv", &runs))
}

fn scenario(run: &Value) -> &'static str {
    let (a, b) = (at(run, "collector.configuration"), at(run, "insight.configuration"));
    if a.and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        "baseline_vs_chimera"
    } else if a == b {
        "chimera_homo"
    } else {
        "chimera_hetero"
    }
}

/// TR116, one agent: a row per arm of a run. Files are counted in the analysis.
fn cross_model(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut arms = Table::new([
        "runtime",
        "model",
        "config",
        "arm",
        "num_gpu",
        "num_ctx",
        "temperature",
        "run",
        "files",
        "requests",
        "tokens",
        "avg_tok_s",
        "avg_ttft_ms_prompt_eval_only",
        "sum_eval_plus_prompt_ms",
        "execution_s",
    ]);
    let folder = "experiments/TR116/results/single/python";
    let files = source.files(At::Bulky, folder, |path| path.ends_with("/data/metrics.json"));
    from_json(source, &mut arms, &files, |value, entry| {
        let config = part(entry.below(folder), 1)?;
        each_arm(value, |run, name, arm| {
            let mut row =
                vec!["python".to_owned(), text(arm, "model")?.to_owned(), config.clone(), name.to_owned()];
            row.extend(cells(arm, &["config.num_gpu", "config.num_ctx", "config.temperature"]));
            row.push(need(run, "run_number")?);
            row.push(cell(at(arm, "analysis.performance_metrics.total_files_analyzed")));
            for total in [
                "request_count",
                "total_tokens_generated",
                "average_tokens_per_second",
                "average_ttft_ms",
                "total_duration_ms",
            ] {
                row.push(need(arm, &format!("metrics.aggregate_metrics.{total}"))?);
            }
            row.push(need(arm, "metrics.execution_summary.duration_seconds")?);
            Ok(row)
        })
    })?;
    Ok(table(source, "agents/tr116/python_single_runs.csv", &arms))
}

/// TR116, two agents: a row per run. Times of an agent are server times without loading, except its wall clock.
fn cross_model_pairs(source: &mut Source) -> Result<Option<Output>, ImportError> {
    const METRICS: [&str; 5] =
        ["tokens_generated", "throughput_tokens_per_sec", "ttft_ms", "total_duration_ms", "wall_clock_ms"];
    const RUN: [&str; 6] = [
        "concurrent_wall_time_ms",
        "sequential_estimate_ms",
        "concurrency_speedup",
        "efficiency_percent",
        "throughput_delta",
        "ttft_delta_ms",
    ];
    let mut header: Vec<String> = ["model_dir", "config", "scenario", "run"].map(str::to_owned).to_vec();
    for letter in ["a", "b"] {
        let own = ["url", "num_gpu", "num_ctx", "temperature", "response_chars"];
        header.extend(own.iter().chain(&METRICS).map(|name| format!("{letter}_{name}")));
    }
    header.extend(RUN.map(str::to_owned));
    let mut runs = Table::new(header);
    let folder = "experiments/TR116/results/multi/python";
    let files = source.files(At::Bulky, folder, |path| path.ends_with("/metrics.json"));
    from_json(source, &mut runs, &files, |value, entry| {
        let below = entry.below(folder);
        let mut row = vec![part(below, 0)?, part(below, 2)?, text(value, "scenario")?.to_owned()];
        row.push(need(value, "run_number")?);
        for name in ["collector", "insight"] {
            row.push(text(value, &format!("{name}.base_url"))?.to_owned());
            row.extend(
                ["num_gpu", "num_ctx", "temperature"]
                    .map(|option| cell(at(value, &format!("{name}.options.{option}")))),
            );
            row.push(chars(value, &format!("{name}.response")));
            for metric in METRICS {
                row.push(need(value, &format!("{name}.metrics.{metric}"))?);
            }
        }
        for name in RUN {
            row.push(need(value, name)?);
        }
        Ok(vec![row])
    })?;
    Ok(table(source, "agents/tr116/python_multi_runs.csv", &runs))
}

/// A row for each arm of each run of a list of runs.
pub(super) fn each_arm(
    value: &Value,
    row: impl Fn(&Value, &str, &Value) -> Result<Vec<String>, String>,
) -> Result<Vec<Vec<String>>, String> {
    let mut rows = Vec::new();
    for run in value.as_array().ok_or("it is no list of runs")? {
        for name in ARMS {
            let arm =
                at(run, &format!("{name}_results")).ok_or_else(|| format!("there is no `{name}_results`"))?;
            rows.push(row(run, name, arm)?);
        }
    }
    Ok(rows)
}
