//! The table of calls and that of architectures, as rows that can be believed: a call without its times is a failure, a
//! row of the old schema is refused, a label that contradicts its row is an error.

use std::collections::{BTreeMap, BTreeSet};

use super::{CALLS, SHAPES};
use crate::{Artifacts, ReplayError, Row};

/// What a call took, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Prompt evaluation.
    pub(super) prefill: f64,
    /// Decode of the tokens that were asked for: extrapolated where generation stopped early.
    pub(super) decode: f64,
    /// Decode as it happened.
    pub(super) decode_raw: f64,
    /// Prefill and decode between two events on the device.
    pub(super) events: Option<(f64, f64)>,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Short name of the run.
    pub(super) run: String,
    /// Number in the run: the order of execution.
    pub(super) order: u32,
    /// Whether it came before the measured ones of its cell.
    pub(super) warm: bool,
    /// `cpu`, `gpu` or `ollama`.
    pub(super) backend: &'static str,
    pub(super) batch: u32,
    pub(super) model: String,
    /// Parameters in millions.
    pub(super) millions: f64,
    pub(super) scenario: String,
    /// Tokens asked for.
    pub(super) target: f64,
    /// Prompt tokens of all lanes together.
    pub(super) prompt: f64,
    /// Tokens that came, per lane.
    pub(super) generated: f64,
    /// Model load that the server reports for this call.
    pub(super) load: Option<f64>,
    /// Model load into the process, on the call that had to.
    pub(super) own_load: Option<f64>,
    /// Absent for a failed call.
    pub(super) timing: Option<Timing>,
}

impl Call {
    /// Backend with its batch: the group of a published fit.
    pub(super) fn arm(&self) -> &'static str {
        if self.batch == 1 { self.backend } else { "gpu_bs8" }
    }

    /// Whether the server could stop before the tokens that were asked for.
    pub(super) fn is_served(&self) -> bool {
        self.backend == "ollama"
    }
}

/// Dimensions of a local model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) layers: f64,
    pub(super) width: f64,
    pub(super) parameters: f64,
    pub(super) vocabulary: f64,
    pub(super) positions: f64,
}

/// Both tables.
pub(super) struct Data {
    /// In the order of the file.
    pub(super) calls: Vec<Call>,
    pub(super) shapes: BTreeMap<String, Shape>,
    /// Rows of runs with the old schema, which are in nothing.
    pub(super) refused: usize,
}

/// Short name of a model.
fn model(name: &str) -> String {
    name.trim_start_matches("models/").to_owned()
}

pub(super) fn read(data: &Artifacts) -> Result<Data, ReplayError> {
    let shapes = shapes(data)?;
    let columns = [
        "run",
        "role",
        "call_idx",
        "is_warmup",
        "backend",
        "batch_size",
        "model",
        "params_millions_effective",
        "scenario",
        "gen_tokens_target",
        "prompt_tokens_raw",
        "gen_tokens_raw",
        "prefill_ms",
        "kv_decode_ms",
        "kv_decode_ms_equiv",
        "prefill_cuda_event_ms",
        "kv_decode_cuda_event_ms",
        "ollama_load_ms",
        "hf_load_ms",
        "status",
    ];
    let table = data.table(CALLS, &columns)?;
    let mut found = Data { calls: Vec::new(), shapes, refused: 0 };
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in table.rows() {
        let (run, role) = (row.text("run")?, row.text("role")?);
        if role.starts_with("OLDSCHEMA") {
            found.refused += 1;
            continue;
        }
        let call = call(&row, short(&row, run, role)?, &found.shapes)?;
        let known = names.entry(call.run.clone()).or_insert(run);
        if *known != run {
            return Err(row.malformed(format!("`{run}` and `{known}` both call themselves {role}")));
        }
        if !seen.insert((run, call.order)) {
            return Err(row.malformed(format!("call {} of run {run} comes twice", call.order)));
        }
        found.calls.push(call);
    }
    Ok(found)
}

fn short(row: &Row<'_>, run: &str, role: &str) -> Result<String, ReplayError> {
    Ok(match role {
        "primary" => "primary".to_owned(),
        "boundary_batch8" => "batch8".to_owned(),
        "boundary_gen512" => "gen512".to_owned(),
        "gemma_family" => "gemma".to_owned(),
        "replicate" => format!("replicate-{run}"),
        _ if role.starts_with("decode_sweep") => format!("sweep{}", row.text("gen_tokens_target")?),
        _ => return Err(row.malformed(format!("`{role}` is no role of a run of this report"))),
    })
}

fn call(row: &Row<'_>, run: String, shapes: &BTreeMap<String, Shape>) -> Result<Call, ReplayError> {
    let (backend, labelled) = match row.text("backend")? {
        "hf_cpu_fp32" => ("cpu", None),
        "hf_gpu_fp16" => ("gpu", None),
        "hf_gpu_fp16_bs1" => ("gpu", Some(1)),
        "hf_gpu_fp16_bs8" => ("gpu", Some(8)),
        "ollama" => ("ollama", None),
        other => return Err(row.malformed(format!("`{other}` is no backend of this report"))),
    };
    let batch = row.number("batch_size")? as u32;
    if batch != labelled.unwrap_or(1) {
        return Err(row.malformed(format!("a batch of {batch} under the label `{}`", row.text("backend")?)));
    }
    let name = model(row.text("model")?);
    let millions = row.number("params_millions_effective")?;
    if backend != "ollama" {
        let Some(shape) = shapes.get(&name) else {
            return Err(row.malformed(format!("the architecture of `{name}` is not in its table")));
        };
        if (millions * 1e6 - shape.parameters).abs() > 0.5 {
            let true_count = shape.parameters;
            return Err(row.malformed(format!(
                "`{name}` is labelled with {millions} million parameters and has {true_count}"
            )));
        }
    }
    Ok(Call {
        run,
        order: row.number("call_idx")? as u32,
        warm: row.flag("is_warmup")?,
        backend,
        batch,
        model: name,
        millions,
        scenario: row.text("scenario")?.to_owned(),
        target: row.number("gen_tokens_target")?,
        prompt: row.maybe("prompt_tokens_raw")?.unwrap_or(0.0),
        generated: row.maybe("gen_tokens_raw")?.unwrap_or(0.0) / f64::from(batch),
        load: row.maybe("ollama_load_ms")?,
        own_load: row.maybe("hf_load_ms")?,
        timing: timing(row)?,
    })
}

/// The times of a call that ended well and has them.
fn timing(row: &Row<'_>) -> Result<Option<Timing>, ReplayError> {
    let (prefill, raw) = (row.maybe("prefill_ms")?, row.maybe("kv_decode_ms")?);
    let events = row.maybe("prefill_cuda_event_ms")?.zip(row.maybe("kv_decode_cuda_event_ms")?);
    let equivalent = row.maybe("kv_decode_ms_equiv")?;
    let tokens = row.maybe("gen_tokens_raw")?.is_some_and(|tokens| tokens > 0.0);
    let Some((prefill, decode_raw)) =
        prefill.zip(raw).filter(|_| tokens && matches!(row.text("status"), Ok("ok")))
    else {
        return Ok(None);
    };
    let timing = Timing { prefill, decode: equivalent.unwrap_or(decode_raw), decode_raw, events };
    if prefill > 0.0 && timing.decode > 0.0 && decode_raw > 0.0 {
        Ok(Some(timing))
    } else {
        Err(row.malformed(format!(
            "{prefill} ms and {decode_raw} ms are not durations of a call that ended well"
        )))
    }
}

fn shapes(data: &Artifacts) -> Result<BTreeMap<String, Shape>, ReplayError> {
    let columns = ["model", "n_layer", "n_embd", "vocab_size", "n_positions", "params_exact"];
    let table = data.table(SHAPES, &columns)?;
    let mut shapes = BTreeMap::new();
    for row in table.rows() {
        let shape = Shape {
            layers: row.number("n_layer")?,
            width: row.number("n_embd")?,
            parameters: row.number("params_exact")?,
            vocabulary: row.number("vocab_size")?,
            positions: row.number("n_positions")?,
        };
        let counted = shape.count();
        if (counted - shape.parameters).abs() > 0.5 {
            return Err(row
                .malformed(format!("these dimensions make {counted} parameters, not {}", shape.parameters)));
        }
        shapes.insert(model(row.text("model")?), shape);
    }
    Ok(shapes)
}

impl Shape {
    /// Parameters of the blocks and of the last normalisation.
    fn body(&self) -> f64 {
        self.layers * (12.0 * self.width * self.width + 13.0 * self.width) + 2.0 * self.width
    }

    /// Parameters of a GPT-2 of these dimensions with a tied head.
    fn count(&self) -> f64 {
        (self.vocabulary + self.positions) * self.width + self.body()
    }

    /// Parameters that one decode step reads: all of the head, one row of each embedding.
    pub(super) fn read_per_token(&self) -> f64 {
        self.vocabulary * self.width + self.body() + 2.0 * self.width
    }
}
