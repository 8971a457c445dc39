//! What a file of weights really holds, read from its own header: types of tensors and how many elements each has. A label
//! is not evidence. What an engine makes of a file (a graph it optimises, weights it converts) is not told by the file.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use chimera_core::ModelRef;
use chimera_harness::Missing;
use chimera_onnx::{Claim, Model};
use chimera_onnxruntime::OnnxRuntimeBackend;
use chimera_records::{Audit, Audited, ModelEntry, PrecisionCount};
use chimera_zoo::{GgufFile, ModelFiles};
use serde_json::Value;

/// A safetensors header is a list of tensors; one of this size is none.
const LARGEST_HEADER: u64 = 100 << 20;

/// Tensors and their elements, by the type that the file names.
type Types = BTreeMap<String, (u64, u64)>;

/// Looks into the weights of a model.
///
/// # Errors
/// A file whose header cannot be read, in words.
pub fn files(files: &ModelFiles, entry: &ModelEntry, backend: &str) -> Result<Audit, Missing> {
    let path = &files.weights;
    let refused = |reason: String| Missing { reason: format!("{}: {reason}", path.display()) };
    let types = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gguf") => gguf(path).map_err(refused)?,
        Some("safetensors") => safetensors(path).map_err(refused)?,
        Some("onnx") => {
            let model = Model::read(path).map_err(|error| refused(error.to_string()))?;
            let note = "the graph in the file; what an engine makes of it is not told by the file";
            return Ok(graph(
                &model,
                &file_name(path),
                entry,
                backend,
                note,
                Some(files.manifest.bytes_per_decode_token),
            ));
        }
        _ => return Err(refused("none of GGUF, safetensors and ONNX".to_owned())),
    };
    let mut kept: Vec<&str> = Vec::new();
    kept.extend(files.manifest.kept_f16.iter().map(String::as_str));
    kept.extend(files.manifest.kept_f32.iter().map(String::as_str));
    let mut note = "types of the tensors in the file's header".to_owned();
    if !kept.is_empty() {
        note.push_str(&format!("; {} matrices were left in a wider type than the rest", kept.len()));
    }
    Ok(Audit {
        backend: backend.to_owned(),
        model: entry.id.clone(),
        file: file_name(path),
        observed_ok: Some(bears(&entry.variant, &types)),
        precisions: types
            .into_iter()
            .map(|(kind, (count, elements))| PrecisionCount {
                what: Audited::Weights,
                kind,
                count,
                elements: Some(elements),
            })
            .collect(),
        weight_bytes_per_token: Some(files.manifest.bytes_per_decode_token),
        claimed: entry.variant.clone(),
        note: Some(note),
    })
}

/// Looks into what ONNX Runtime makes of a model's graph: the graph that it wrote after its own optimisation, which is the one
/// that runs.
///
/// # Errors
/// A graph or a library that cannot be used, in words.
pub fn optimised(
    engine: &OnnxRuntimeBackend,
    files: &ModelFiles,
    entry: &ModelEntry,
    backend: &str,
) -> Result<Audit, Missing> {
    let folder = tempfile::tempdir()
        .map_err(|error| Missing { reason: format!("no folder for the optimised graph: {error}") })?;
    let to = folder.path().join("optimised.onnx");
    let observed = engine
        .optimised(&ModelRef::at(entry.id.as_str(), &files.dir), &to)
        .map_err(|error| Missing { reason: error.to_string() })?;
    let model = Model::read(&to).map_err(|error| Missing { reason: error.to_string() })?;
    let note = format!(
        "the graph as the engine optimised it: {} products with weights in integers, {} in floats",
        observed.integer_products, observed.float_products
    );
    let bytes = Some(files.manifest.bytes_per_decode_token);
    let mut audit = graph(&model, "optimised.onnx", entry, backend, &note, bytes);
    if claim(&entry.variant) == Some(Claim::Int8) {
        audit.observed_ok = Some(observed.is_int8());
    }
    Ok(audit)
}

/// What a graph holds, beside what is claimed of it.
fn graph(
    model: &Model,
    file: &str,
    entry: &ModelEntry,
    backend: &str,
    note: &str,
    weight_bytes_per_token: Option<u64>,
) -> Audit {
    let audit = chimera_onnx::audit(model);
    let refuted = claim(&entry.variant).map(|claim| audit.refute(claim));
    let weights = audit.weights.iter().map(|weights| PrecisionCount {
        what: Audited::Weights,
        kind: weights.kind.clone(),
        count: weights.tensors,
        elements: Some(weights.elements),
    });
    let mut products: BTreeMap<String, u64> = BTreeMap::new();
    for product in audit.products.iter().filter(|product| product.constant) {
        *products.entry(format!("{} {}", product.operator, product.precision)).or_default() += 1;
    }
    let operators = products.into_iter().map(|(kind, count)| PrecisionCount {
        what: Audited::Operators,
        kind,
        count,
        elements: None,
    });
    let why = refuted.as_ref().and_then(Option::as_ref).map_or_else(String::new, |why| format!("; {why}"));
    Audit {
        backend: backend.to_owned(),
        model: entry.id.clone(),
        file: file.to_owned(),
        precisions: weights.chain(operators).collect(),
        weight_bytes_per_token,
        claimed: entry.variant.clone(),
        observed_ok: refuted.map(|why| why.is_none()),
        note: Some(format!("{note}{why}")),
    }
}

/// What a precision claims of a graph.
fn claim(variant: &str) -> Option<Claim> {
    match variant.split([' ', '(']).next() {
        Some("F32") => Some(Claim::F32),
        Some("F16") => Some(Claim::F16),
        Some("INT8") => Some(Claim::Int8),
        _ => None,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Whether the type that a variant claims holds more elements than any other. Norms and biases stay wide in every
/// quantised file, so they cannot be asked for it.
fn bears(variant: &str, types: &Types) -> bool {
    let claimed = variant.split([' ', '(']).next().unwrap_or_default();
    let largest = types.iter().max_by_key(|(_, (_, elements))| *elements);
    largest.is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(claimed))
}

fn gguf(path: &Path) -> Result<Types, String> {
    let file = GgufFile::open(path).map_err(|error| error.to_string())?;
    let mut types = Types::new();
    for tensor in file.tensors() {
        let kind =
            tensor.kind().map_or_else(|| format!("type {}", tensor.type_id), |kind| kind.label().to_owned());
        let (count, elements) = types.entry(kind).or_default();
        *count += 1;
        *elements += tensor.elements() as u64;
    }
    Ok(types)
}

fn safetensors(path: &Path) -> Result<Types, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(said)?;
    let whole = file.metadata().map_err(said)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(said)?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER || length.saturating_add(8) > whole {
        return Err(format!("it claims a header of {length} bytes in a file of {whole}"));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(said)?;
    let header: BTreeMap<String, Value> =
        serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let mut types = Types::new();
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let odd = || format!("tensor {name} has no type or no shape");
        let kind = tensor.get("dtype").and_then(Value::as_str).ok_or_else(odd)?;
        let shape = tensor.get("shape").and_then(Value::as_array).ok_or_else(odd)?;
        let sides: Option<Vec<u64>> = shape.iter().map(Value::as_u64).collect();
        let product = sides.ok_or_else(odd)?.iter().try_fold(1_u64, |all, side| all.checked_mul(*side));
        let (count, elements) = types.entry(kind.to_owned()).or_default();
        *count += 1;
        *elements = elements.saturating_add(product.ok_or_else(odd)?);
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use chimera_zoo::{Variant, Zoo};

    use super::*;

    fn entry(variant: &str) -> ModelEntry {
        let text = |text: &str| text.to_owned();
        ModelEntry {
            id: text("m"),
            source: text("llama-0.1m"),
            variant: text(variant),
            family: text("llama"),
            optional: false,
        }
    }

    #[test]
    fn headers_say_what_files_hold_whatever_is_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let zoo = Zoo::open(folder.path()).unwrap();
        let made = zoo.ensure("llama-0.1m", Variant::F32Safetensors).unwrap();
        let audit = files(&made, &entry("F32"), "candle").unwrap();
        let elements: u64 = audit.precisions.iter().filter_map(|of| of.elements).sum();
        assert_eq!((elements, audit.observed_ok), (106_816, Some(true)));
        assert_eq!(files(&made, &entry("Q8_0"), "candle").unwrap().observed_ok, Some(false));
        let made = zoo.ensure("llama-0.1m", Variant::Q8Gguf).unwrap();
        let audit = files(&made, &entry("Q8_0 from Q4_1"), "llamacpp").unwrap();
        assert_eq!(audit.observed_ok, Some(true), "{:?}", audit.precisions);
        assert!(audit.precisions.iter().any(|of| of.kind == "F32"), "norms stay wide");
        // A header that lies about its size is refused.
        let path = zoo.ensure("llama-0.1m", Variant::F16Safetensors).unwrap();
        let mut bytes = std::fs::read(&path.weights).unwrap();
        bytes[6] = 0xff;
        std::fs::write(&path.weights, bytes).unwrap();
        let refused = files(&path, &entry("F16"), "candle").unwrap_err();
        assert!(refused.reason.contains("claims a header"), "{}", refused.reason);
    }
}
