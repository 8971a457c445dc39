//! TR121's `metrics.csv`: three rows (prefill, decode, both) per call, of which one call is made. Older runs have fewer
//! columns under other names; they keep a role of their own, so that nobody pools them. The primary run's files are
//! copied as well, without the prompts.

use super::{Outputs, from_csv, table};
use crate::{
    ImportError,
    cells::{Table, number},
    source::{At, Entry, Record, Source},
};

const FOLDER: &str = "experiments/tr121/results";
/// Run, role. The sweep's four folders are one run of the report.
const RUNS: &[(&str, &str)] = &[
    ("20251224_002149", "primary"),
    ("20251224_002740", "boundary_batch8"),
    ("20251224_004400", "boundary_gen512"),
    ("20251224_002857", "gemma_family"),
    ("tr121_decode_sweep/20251224_002955/gen_8", "decode_sweep_20251224_002955"),
    ("tr121_decode_sweep/20251224_002955/gen_32", "decode_sweep_20251224_002955"),
    ("tr121_decode_sweep/20251224_002955/gen_64", "decode_sweep_20251224_002955"),
    ("tr121_decode_sweep/20251224_002955/gen_128", "decode_sweep_20251224_002955"),
    ("20251223_220831", "replicate"),
    ("20251223_230615", "replicate"),
    // These log neither a decode time at the target length nor a batch size.
    ("20251223_220110", "OLDSCHEMA_replicate"),
    ("20251223_214754", "OLDSCHEMA_replicate"),
];
const PRIMARY: &str = "20251224_002149";

const COLUMNS: [&str; 30] = [
    "run",
    "role",
    "call_idx",
    "task_idx",
    "is_warmup",
    "rep",
    "backend",
    "backend_kind",
    "batch_size",
    "model",
    "params_millions_config",
    "params_millions_effective",
    "scenario",
    "gen_tokens_target",
    "prompt_tokens_raw",
    "gen_tokens_raw",
    "seq_len",
    "prefill_ms",
    "kv_decode_ms",
    "kv_decode_ms_equiv",
    "prefill_cuda_event_ms",
    "kv_decode_cuda_event_ms",
    "gpu_peak_mb",
    "ollama_wall_ms",
    "ollama_total_duration_ms",
    "ollama_load_ms",
    "ollama_done_reason",
    "hf_load_ms",
    "started_at_unix",
    "status",
];

pub(super) fn read(source: &mut Source) -> Outputs {
    let mut calls = Table::new(COLUMNS);
    for (run, role) in RUNS {
        let Some(entry) = source.file(At::Bulky, &format!("{FOLDER}/{run}/metrics.csv")) else { continue };
        read_run(source, &entry, run, role, &mut calls)?;
    }
    let mut outputs = Vec::from_iter(table(source, "cost_scaling/tr121/tr121_calls.csv", &calls));
    outputs.extend(primary(source)?);
    outputs.extend(architectures(source)?);
    Ok(outputs)
}

fn read_run(
    source: &mut Source,
    entry: &Entry,
    run: &str,
    role: &str,
    into: &mut Table,
) -> Result<(), ImportError> {
    let records = source.csv(entry)?;
    let same =
        |a: &Record, b: &Record| ["task_idx", "call_idx"].iter().all(|column| a.get(column) == b.get(column));
    for call in records.chunk_by(same) {
        let Some(first) = call.first() else { continue };
        let row = call_row(call, run, role).and_then(|row| into.push(row));
        if let Err(reason) = row {
            source.trouble(entry, Some(first.line), &reason);
        }
    }
    Ok(())
}

fn call_row(call: &[Record], run: &str, role: &str) -> Result<Vec<String>, String> {
    let of = |mode: &str| {
        call.iter()
            .find(|row| row.get("mode") == mode)
            .ok_or_else(|| format!("the call has no row of `{mode}`"))
    };
    let (prefill, decode) = (of("prefill")?, of("kv_decode")?);
    of("e2e_kv")?;
    if call.len() != 3 {
        return Err(format!("the call has {} rows instead of three", call.len()));
    }
    COLUMNS
        .iter()
        .map(|column| match *column {
            "run" => Ok(run.to_owned()),
            "role" => Ok(role.to_owned()),
            "params_millions_config" => either(prefill, &["params_millions_config", "params_millions"]),
            "params_millions_effective" => either(prefill, &["params_millions_measured", "params_millions"]),
            "prompt_tokens_raw" => either(prefill, &["prompt_tokens_raw", "prompt_tokens"]),
            "gen_tokens_raw" => generated(decode),
            "batch_size" => {
                either(prefill, &["batch_size"]).map(|size| if size.is_empty() { "1".into() } else { size })
            }
            "prefill_ms" | "kv_decode_ms" | "call_idx" | "task_idx" | "gen_tokens_target" => {
                prefill.number(column)
            }
            text @ ("is_warmup" | "backend" | "backend_kind" | "model" | "scenario"
            | "ollama_done_reason" | "status") => Ok(prefill.get(text).to_owned()),
            optional => either(prefill, &[optional]),
        })
        .collect()
}

/// The first of these columns that is not empty.
fn either(row: &Record, columns: &[&str]) -> Result<String, String> {
    let Some(column) = columns.iter().find(|column| !row.get(column).is_empty()) else {
        return Ok(String::new());
    };
    number(row.get(column)).ok_or_else(|| format!("`{column}` is `{}`: not a number", row.get(column)))
}

/// Tokens that were really generated. Runs that log only the target length still log the time per real token.
fn generated(decode: &Record) -> Result<String, String> {
    if !decode.get("gen_tokens_raw").is_empty() {
        return decode.number("gen_tokens_raw");
    }
    let float = |column: &str| decode.get(column).parse::<f64>().ok();
    match (float("kv_decode_ms"), float("kv_decode_ms_per_token")) {
        (Some(total), Some(each)) if each > 0.0 => Ok(format!("{:.0}", total / each)),
        _ => decode.number("gen_tokens"),
    }
}

/// The primary run's table: as it is, with empty cells for prompts.
fn primary(source: &mut Source) -> Result<Option<super::Output>, ImportError> {
    let Some(entry) = source.file(At::Bulky, &format!("{FOLDER}/{PRIMARY}/metrics.csv")) else {
        return Ok(None);
    };
    let Some(text) = source.text(&entry)? else { return Ok(None) };
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_owned).collect(),
        Err(error) => {
            source.trouble(&entry, Some(1), &error.to_string());
            return Ok(None);
        }
    };
    let mut rows = Table::new(names.clone());
    for record in reader.records() {
        let row = record.map(|record| {
            let cells = names.iter().zip(&record);
            cells.map(|(name, cell)| if name == "prompt" { String::new() } else { cell.to_owned() }).collect()
        });
        match row.map(|row: Vec<String>| rows.push(row)) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => source.trouble(&entry, None, &reason),
            // It was noted when the calls were read.
            Err(_) => {}
        }
    }
    Ok(table(source, &format!("cost_scaling/tr121/primary_{PRIMARY}/metrics.csv"), &rows))
}

/// The models' configurations with the exact number of parameters of a GPT-2 of that shape, smallest first. A model that
/// names no inner width has the default one, four times its width.
fn architectures(source: &mut Source) -> Result<Option<super::Output>, ImportError> {
    let path = format!("{FOLDER}/{PRIMARY}/analysis/hf_model_architecture.csv");
    let files: Vec<Entry> = source.file(At::Bulky, &path).into_iter().collect();
    let mut models: Vec<(u64, Vec<String>)> = Vec::new();
    let mut rows = Table::new([
        "model",
        "n_layer",
        "n_embd",
        "n_head",
        "n_inner",
        "vocab_size",
        "n_positions",
        "params_exact",
    ]);
    from_csv(source, &mut rows, &files, |record, _| {
        let whole = |column: &str| {
            let value =
                record.get(column).parse::<f64>().ok().filter(|value| value.fract() == 0.0 && *value > 0.0);
            let value = value.and_then(|value| format!("{value}").parse::<u64>().ok());
            value.ok_or_else(|| format!("`{column}` is `{}`: not a whole number", record.get(column)))
        };
        let (layers, width, heads) = (whole("n_layer")?, whole("n_embd")?, whole("n_head")?);
        // The tiny model's configuration names none either, and its weights have the default width.
        let inner = if record.get("n_inner").is_empty() { 4 * width } else { whole("n_inner")? };
        let (vocabulary, positions) = (whole("vocab_size")?, whole("n_positions")?);
        let params = gpt2_parameters(layers, width, inner, vocabulary, positions);
        let numbers = [layers, width, heads, inner, vocabulary, positions, params];
        let cells =
            std::iter::once(record.get("model").to_owned()).chain(numbers.map(|number| number.to_string()));
        models.push((params, cells.collect()));
        Ok(None)
    })?;
    models.sort();
    // They have as many cells as the header has names.
    models.into_iter().for_each(|(_, row)| drop(rows.push(row)));
    Ok(table(source, "cost_scaling/tr121/hf_architectures.csv", &rows))
}

/// Embeddings of tokens and positions; per layer attention (4d^2 + 4d), the two matrices of the feed-forward part with
/// their biases, two norms (4d); the last norm. The output head is the token embedding.
fn gpt2_parameters(layers: u64, width: u64, inner: u64, vocabulary: u64, positions: u64) -> u64 {
    let (d, i) = (width, inner);
    vocabulary * d + positions * d + layers * (4 * d * d + 4 * d + 2 * d * i + i + d + 4 * d) + 2 * d
}

#[cfg(test)]
mod tests {
    use super::gpt2_parameters;

    #[test]
    fn the_formula_gives_the_published_sizes() {
        assert_eq!(gpt2_parameters(12, 768, 3072, 50257, 1024), 124_439_808);
        assert_eq!(gpt2_parameters(2, 2, 8, 50257, 1024), 102_714);
    }
}
