//! What TR118 recorded beside its runs: ONNX exports, TensorRT engines, perplexities and differences of logits.

use serde_json::Value;

use super::{Output, Outputs, from_csv, from_json, table};
use crate::{
    ImportError,
    cells::{Table, at, base, cell, cells, text},
    source::{At, Source},
};

const FOLDER: &str = "experiments/TR118/results";
/// Characters that are kept of an engine's error: the rest is a path on somebody's disk.
const ERROR: usize = 120;
/// JSON objects have no order: this is that of the reports.
const BACKENDS: [&str; 5] =
    ["onnxruntime-cpu", "onnxruntime-gpu", "tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8"];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut outputs = Vec::new();
    outputs.extend(exports(source)?);
    outputs.extend(engines(source)?);
    outputs.extend(perplexities(source)?);
    outputs.extend(logits(source)?);
    Ok(outputs)
}

fn is(path: &str, start: &str, end: &str) -> bool {
    base(path).starts_with(start) && path.ends_with(end)
}

fn exports(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut exports = Table::new([
        "run",
        "model",
        "export_time_s",
        "file_size_mb",
        "opset",
        "dynamic_axes",
        "trt_friendly_inputs",
        "reused",
        "initializer_numel",
        "initializer_bytes",
        "ir_version",
    ]);
    let files = source.files(At::December, FOLDER, |path| is(path, "export_metadata", ".json"));
    from_json(source, &mut exports, &files, |value, entry| {
        let mut row = vec![entry.below(FOLDER).to_owned(), base(text(value, "model")?).to_owned()];
        row.extend(cells(
            value,
            &[
                "export_time_s",
                "file_size_mb",
                "opset_version",
                "dynamic_axes",
                "trt_friendly_inputs",
                "reused",
                "onnx_inspect.initializer_numel",
                "onnx_inspect.initializer_bytes_est",
                "onnx_inspect.ir_version",
            ],
        ));
        Ok(vec![row])
    })?;
    Ok(table(source, "backends/tr118/onnx_exports.csv", &exports))
}

fn engines(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut engines = Table::new([
        "run",
        "engine",
        "precision",
        "built",
        "reused",
        "build_time_s",
        "file_size_mb",
        "num_layers",
        "num_profiles",
        "has_int8_tensors",
        "n_float",
        "n_half",
        "n_int64",
        "n_bool",
        "n_int8",
        "calib_source",
        "calib_split",
        "calib_samples",
        "calib_cache_hit",
        "trt_version",
        "error",
    ]);
    let files = source.files(At::December, FOLDER, |path| is(path, "trt_build_metadata", ".json"));
    from_json(source, &mut engines, &files, |value, entry| {
        let list = value.as_array().ok_or("it is no list of engines")?;
        list.iter()
            .map(|engine| {
                let mut row = vec![entry.below(FOLDER).to_owned()];
                row.push(base(text(engine, "output_path")?).to_owned());
                row.extend(cells(
                    engine,
                    &[
                        "precision",
                        "built",
                        "reused",
                        "build_time_s",
                        "file_size_mb",
                        "engine_inspect.num_layers",
                        "engine_inspect.num_profiles",
                        "engine_inspect.has_int8_tensors",
                        "engine_inspect.layer_output_dtype_counts.Float",
                        "engine_inspect.layer_output_dtype_counts.Half",
                        "engine_inspect.layer_output_dtype_counts.Int64",
                        "engine_inspect.layer_output_dtype_counts.Bool",
                        "engine_inspect.layer_output_dtype_counts.Int8",
                        "int8_calibration.source",
                        "int8_calibration.split",
                        "int8_calibration.samples",
                        "int8_calibration.cache_hit_before",
                        "tensorrt_version",
                    ],
                ));
                row.push(cell(at(engine, "error")).chars().take(ERROR).collect());
                Ok(row)
            })
            .collect()
    })?;
    Ok(table(source, "backends/tr118/trt_engines.csv", &engines))
}

/// The run of a file below `FOLDER`: its folder, or the first version's name.
fn run_of(below: &str) -> String {
    match below.split_once("/processed/") {
        Some((run, _)) => run.to_owned(),
        None => "tr118_v1".to_owned(),
    }
}

fn perplexities(source: &mut Source) -> Result<Option<Output>, ImportError> {
    const COLUMNS: [&str; 11] = [
        "backend",
        "perplexity",
        "tokens",
        "delta_frac",
        "pass",
        "threshold",
        "nll_sum",
        "token_count",
        "mean_nll",
        "providers_used",
        "error",
    ];
    let mut rows = Table::new(["run"].into_iter().chain(COLUMNS));
    let files = source.files(At::December, FOLDER, |path| is(path, "perplexity_results", ".csv"));
    from_csv(source, &mut rows, &files, |record, entry| {
        let mut row = vec![run_of(entry.below(FOLDER))];
        for column in COLUMNS {
            row.push(match column {
                "backend" | "pass" | "providers_used" | "error" => record.get(column).to_owned(),
                // The files differ in columns, and failed backends have no numbers.
                _ => record.number(column).unwrap_or_default(),
            });
        }
        if row.get(1).is_none_or(String::is_empty) {
            return Err("there is no `backend`".to_owned());
        }
        Ok(Some(row))
    })?;
    Ok(table(source, "backends/tr118/perplexity.csv", &rows))
}

fn logits(source: &mut Source) -> Result<Option<Output>, ImportError> {
    let mut rows = Table::new(["run", "backend", "mean_abs", "max_abs", "error"]);
    let files = source.files(At::December, FOLDER, |path| is(path, "perplexity_results", ".json"));
    from_json(source, &mut rows, &files, |value, entry| {
        // The first version has none.
        let Some(found) = at(value, "diagnostics.logit_diffs_last_token").and_then(Value::as_object) else {
            return Ok(Vec::new());
        };
        let others = found.keys().map(String::as_str).filter(|name| !BACKENDS.contains(name));
        let order = BACKENDS.into_iter().filter(|name| found.contains_key(*name)).chain(others);
        Ok(order
            .map(|backend| {
                let one = found.get(backend);
                let mut row = vec![run_of(entry.below(FOLDER)), backend.to_owned()];
                row.extend(
                    ["mean_abs", "max_abs", "error"].map(|name| cell(one.and_then(|one| one.get(name)))),
                );
                row
            })
            .collect())
    })?;
    Ok(table(source, "backends/tr118/logit_diffs.csv", &rows))
}
