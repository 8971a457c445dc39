//! TR117's suite on the event loop: a JSON file per run and buffer size (phase 1) or throttle (phase 3), with CSV traces
//! of loop lag, of chunks, and of `nvidia-smi` (phase 2).

use super::{Outputs, from_csv, from_json, part, table};
use crate::{
    cells::{Table, at, cell, need, number, text},
    source::{At, Source},
};

const FOLDER: &str = "experiments/TR117_multiagent/results/suite_run";

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    outputs.extend(runs(source)?);

    let mut lag = Table::new(["condition", "timestamp", "lag_ms"]);
    let files = source
        .files(At::Bulky, FOLDER, |path| path.starts_with("phase1/") && path.ends_with("/loop_lag.csv"));
    from_csv(source, &mut lag, &files, |row, entry| {
        Ok(Some(vec![part(entry.below(FOLDER), 2)?, row.number("timestamp")?, row.number("lag_ms")?]))
    })?;
    outputs.extend(table(source, "agents/tr117ma/loop_lag.csv", &lag));

    let mut chunks =
        Table::new(["condition", "timestamp", "agent_id", "chunk_index", "bytes", "gap_ms", "parse_ms"]);
    let files = source
        .files(At::Bulky, FOLDER, |path| path.starts_with("phase1/") && path.ends_with("/chunk_metrics.csv"));
    from_csv(source, &mut chunks, &files, |row, entry| {
        let mut cells =
            vec![part(entry.below(FOLDER), 2)?, row.number("timestamp")?, row.get("agent_id").to_owned()];
        for column in ["chunk_index", "bytes", "gap_ms", "parse_ms"] {
            cells.push(row.number(column)?);
        }
        Ok(Some(cells))
    })?;
    outputs.extend(table(source, "agents/tr117ma/chunk_metrics.csv", &chunks));

    let mut gpu = Table::new(["model", "timestamp", "power_w", "util_pct", "mem_mib"]);
    let files = source
        .files(At::Bulky, FOLDER, |path| path.starts_with("phase2/") && path.ends_with("/gpu_metrics.csv"));
    from_csv(source, &mut gpu, &files, |row, entry| {
        let mut cells = vec![part(entry.below(FOLDER), 1)?, row.get("timestamp").to_owned()];
        for (column, unit) in
            [("power.draw [W]", "W"), ("utilization.gpu [%]", "%"), ("memory.used [MiB]", "MiB")]
        {
            let shown = row.get(column);
            let bare = shown.strip_suffix(unit).map(str::trim_end).filter(|bare| !bare.is_empty());
            let value = bare.and_then(number);
            cells.push(value.ok_or_else(|| format!("`{column}` is `{shown}`: not a number of {unit}"))?);
        }
        Ok(Some(cells))
    })?;
    outputs.extend(table(source, "agents/tr117ma/gpu_metrics.csv", &gpu));
    Ok(outputs)
}

fn runs(source: &mut Source) -> Result<Option<super::Output>, crate::ImportError> {
    let shared = ["tokens_generated", "throughput_tokens_per_sec", "ttft_ms", "total_duration_ms"];
    let server = ["eval_count", "eval_duration", "prompt_eval_duration"];
    let mut header: Vec<String> =
        ["phase", "condition", "run", "scenario", "read_buffer_size", "throttle_rate"]
            .map(str::to_owned)
            .to_vec();
    for letter in ["a", "b"] {
        header.extend(shared.iter().chain(&server).map(|name| format!("{letter}_{name}")));
    }
    header
        .extend(["concurrent_wall_time_ms", "concurrency_speedup", "efficiency_percent"].map(str::to_owned));
    let mut runs = Table::new(header);
    let files = source.files(At::Bulky, FOLDER, |path| {
        let file = path.rsplit('/').next().unwrap_or_default();
        (path.starts_with("phase1/") || path.starts_with("phase3/"))
            && file.starts_with("run_")
            && file.ends_with(".json")
    });
    from_json(source, &mut runs, &files, |value, entry| {
        let below = entry.below(FOLDER);
        let mut row = vec![part(below, 0)?, part(below, 2)?, need(value, "run_number")?];
        row.push(text(value, "scenario")?.to_owned());
        row.push(cell(at(value, "read_buffer_size")));
        row.push(cell(at(value, "throttle_rate")));
        for name in ["collector", "insight"] {
            for metric in shared.iter().chain(&server) {
                row.push(need(value, &format!("{name}.metrics.{metric}"))?);
            }
        }
        for name in ["concurrent_wall_time_ms", "concurrency_speedup", "efficiency_percent"] {
            row.push(need(value, name)?);
        }
        Ok(vec![row])
    })?;
    Ok(table(source, "agents/tr117ma/python_phase1_phase3_runs.csv", &runs))
}
