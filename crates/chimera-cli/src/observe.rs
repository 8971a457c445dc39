//! What a file of weights really holds, read from its own header: types of tensors and how many elements each has. A label
//! is not evidence. What an engine makes of a file (a graph it optimises, weights it converts) is not told by the file.

use std::{collections::BTreeMap, path::Path};

use chimera_candle::computed_in;
use chimera_core::ModelRef;
use chimera_harness::Missing;
use chimera_onnx::{Claim, Model};
use chimera_onnxruntime::OnnxRuntimeBackend;
use chimera_records::{Audit, Audited, ModelEntry, PrecisionCount};
use chimera_zoo::{ModelFiles, TypeCount};

/// Looks into the weights of a model.
///
/// # Errors
/// A file whose header cannot be read, in words.
pub fn files(files: &ModelFiles, entry: &ModelEntry, backend: &str) -> Result<Audit, Missing> {
    let path = &files.weights;
    let refused = |reason: String| Missing { reason: format!("{}: {reason}", path.display()) };
    let audit = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gguf") => chimera_zoo::audit_gguf(path),
        Some("safetensors") => chimera_zoo::audit_safetensors(path),
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
    let mut types = audit.map_err(|error| Missing { reason: error.to_string() })?.weights;
    types.sort_by(|a, b| a.kind.cmp(&b.kind));
    let mut kept: Vec<&str> = Vec::new();
    kept.extend(files.manifest.kept_f16.iter().map(String::as_str));
    kept.extend(files.manifest.kept_f32.iter().map(String::as_str));
    let mut note = "types of the tensors in the file's header".to_owned();
    if !kept.is_empty() {
        note.push_str(&format!("; {} matrices were left in a wider type than the rest", kept.len()));
    }
    let mut observed_ok = bears(&entry.variant, &types);
    let mut bytes = Some(files.manifest.bytes_per_decode_token);
    let most = types.iter().max_by_key(|of| of.elements).map_or("", |of| of.kind.as_str());
    if backend == "candle" && computed_in(most) != most {
        let computed = computed_in(most);
        note.push_str(&format!(
            "; the adapter widens {most} to {computed} when it loads, and computes in {computed}"
        ));
        // What is read per token is not what the file holds.
        (observed_ok, bytes) = (false, None);
    }
    Ok(Audit {
        backend: backend.to_owned(),
        model: entry.id.clone(),
        file: file_name(path),
        observed_ok: Some(observed_ok),
        precisions: types
            .into_iter()
            .map(|of| PrecisionCount {
                what: Audited::Weights,
                kind: of.kind,
                count: of.tensors,
                elements: Some(of.elements),
            })
            .collect(),
        weight_bytes_per_token: bytes,
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
fn bears(variant: &str, types: &[TypeCount]) -> bool {
    let claimed = variant.split([' ', '(']).next().unwrap_or_default();
    let largest = types.iter().max_by_key(|of| of.elements);
    largest.is_some_and(|of| of.kind.eq_ignore_ascii_case(claimed))
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
        let path = zoo.ensure("llama-0.1m", Variant::F16Safetensors).unwrap();
        let audit = files(&path, &entry("F16"), "candle").unwrap();
        assert_eq!(
            (audit.observed_ok, audit.weight_bytes_per_token),
            (Some(false), None),
            "{:?}",
            audit.note
        );
        assert_eq!(files(&path, &entry("F16"), "another").unwrap().observed_ok, Some(true));
        // A header that lies about its size is refused.
        let mut bytes = std::fs::read(&path.weights).unwrap();
        bytes[6] = 0xff;
        std::fs::write(&path.weights, bytes).unwrap();
        let refused = files(&path, &entry("F16"), "candle").unwrap_err();
        assert!(refused.reason.contains("claims a header"), "{}", refused.reason);
    }
}
