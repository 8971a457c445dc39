//! One set of weights to the files of one variant, with their record. It knows every writer and no folder but the one
//! that it is given.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::ZooError;
use crate::gguf;
use crate::manifest::{FileEntry, MANIFEST_FORMAT, Manifest, Origin};
use crate::onnx::{self, COSINES, SINES};
use crate::safetensors::{self, Written};
use crate::spec::{Family, ModelSpec};
use crate::store::{GENERATOR_VERSION, write_file};
use crate::tokenizer::Tokenizer;
use crate::variant::{Container, Encoding, Variant};
use crate::weights::{Generated, TensorSource};

/// A writer of one file beside `config.json`: gives the file's size, its SHA-256 and what was written.
type WholeWriter =
    fn(&Path, &ModelSpec, &dyn TensorSource, Encoding) -> Result<(u64, String, Vec<Written>), ZooError>;

/// What to write.
pub(crate) struct Job<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) source: Box<dyn TensorSource + 'a>,
    pub(crate) variant: Variant,
    pub(crate) arm: String,
    pub(crate) origin: Origin,
    pub(crate) licence: String,
    pub(crate) tokenizer: Option<Tokenizer>,
}

impl<'a> Job<'a> {
    /// Generated weights.
    pub(crate) fn generated(spec: &'a ModelSpec, variant: Variant) -> Result<Self, ZooError> {
        Ok(Self {
            spec,
            source: Box::new(Generated::new(spec)),
            variant,
            arm: variant.encoding().label().to_owned(),
            origin: Origin::Generated { generator: GENERATOR_VERSION, seed: spec.seed },
            licence: "generated".to_owned(),
            tokenizer: Tokenizer::generated(spec.shape().vocab)?,
        })
    }
}

/// [`ZooError::Skipped`] if `variant` cannot exist for the model.
pub(crate) fn refuse_what_cannot_exist(spec: &ModelSpec, variant: Variant) -> Result<(), ZooError> {
    let reason = match variant.container() {
        Container::Safetensors => None,
        Container::Gguf => gguf::reason_to_skip(spec, variant.encoding()),
        Container::Onnx => onnx::reason_to_skip(spec, variant.encoding()),
    };
    match reason {
        None => Ok(()),
        Some(reason) => Err(ZooError::Skipped { model: spec.name.clone(), variant, reason }),
    }
}

/// Writes the model's files into `dir` and gives the record, which the caller writes last.
pub(crate) fn write_model(dir: &Path, job: &Job<'_>) -> Result<Manifest, ZooError> {
    let spec = job.spec;
    let mut files = Vec::new();
    let mut kept = gguf::Kept::default();
    let (weights, written) = match job.variant.container() {
        container @ (Container::Safetensors | Container::Onnx) => {
            let encoding = job.variant.encoding();
            let (name, write): (_, WholeWriter) = match container {
                Container::Onnx => ("model.onnx", onnx::write),
                _ => ("model.safetensors", safetensors::write),
            };
            let name = name.to_owned();
            let (bytes, sha256, written) = write(&dir.join(&name), spec, job.source.as_ref(), encoding)?;
            files.push(FileEntry { name: name.clone(), bytes, sha256 });
            let dtype = if encoding == Encoding::F32 { "float32" } else { "float16" };
            files.push(write_file(dir, "config.json", &json_text(spec.config(dtype)))?);
            if let Some(json) = job.tokenizer.as_ref().and_then(|t| t.json.clone()) {
                files.push(write_file(dir, "tokenizer.json", &json_text(json))?);
            }
            (name, written)
        }
        Container::Gguf => {
            let encoding = job.variant.encoding();
            let name = format!("{}-{}.gguf", spec.name, encoding.label());
            let mut metadata = gguf::meta::metadata(spec, encoding, &job.licence);
            metadata.extend(job.tokenizer.iter().flat_map(|t| t.keys.iter().cloned()));
            let path = dir.join(&name);
            let (bytes, sha256, written, not_as_asked) =
                gguf::write(&path, spec, job.source.as_ref(), encoding, &metadata)?;
            kept = not_as_asked;
            files.push(FileEntry { name: name.clone(), bytes, sha256 });
            (name, written)
        }
    };
    let tokenizer = match job.variant.container() {
        Container::Safetensors | Container::Onnx => files.iter().any(|f| f.name == "tokenizer.json"),
        Container::Gguf => job.tokenizer.is_some(),
    };
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        name: spec.name.clone(),
        family: spec.family(),
        variant: Some(job.variant),
        arm: job.arm.clone(),
        origin: job.origin.clone(),
        licence: job.licence.clone(),
        params: spec.params(),
        shape: spec.shape(),
        weights,
        files,
        bytes_per_decode_token: bytes_per_decode_token(spec, &written),
        tensor_types: count_types(&written),
        kept_f16: kept.f16,
        kept_f32: kept.f32,
        tokenizer,
    })
}

/// How many tensors are stored in each type, by name.
pub(crate) fn count_types(written: &[Written]) -> Vec<(String, u64)> {
    let mut types = BTreeMap::new();
    for w in written {
        *types.entry(w.stored.to_owned()).or_insert(0) += 1;
    }
    types.into_iter().collect()
}

/// JSON as text, keys sorted whatever the build of the JSON crate does, because the bytes are hashed.
pub(crate) fn json_text(value: Value) -> Vec<u8> {
    format!("{:#}\n", sorted(value)).into_bytes()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Sums the stored bytes of what one decode step touches; see [`Manifest::bytes_per_decode_token`].
pub(crate) fn bytes_per_decode_token(spec: &ModelSpec, written: &[Written]) -> u64 {
    let shape = spec.shape();
    written
        .iter()
        .map(|w| match w.name.as_str() {
            "transformer.wte.weight" | "model.embed_tokens.weight" | "token_embd.weight" if !shape.tied => {
                w.bytes / shape.vocab as u64
            }
            "transformer.wpe.weight" | "position_embd.weight" if spec.family() == Family::Gpt2 => {
                w.bytes / shape.ctx as u64
            }
            COSINES | SINES => w.bytes / shape.ctx as u64,
            _ => w.bytes,
        })
        .sum()
}
