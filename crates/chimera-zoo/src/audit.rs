//! What a file of weights holds: how many weights in which type, and what one decode step reads of them. It reads the head of
//! the file and believes no length; graphs in ONNX are `chimera-onnx`'s to audit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ZooError;
use crate::gguf::GgufFile;

/// Weights of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TypeCount {
    /// The type, as the file calls it.
    pub kind: String,
    /// How many tensors.
    pub tensors: u64,
    /// Weights of all.
    pub elements: u64,
    /// Bytes of all; none if the type's size is not known here.
    pub bytes: Option<u64>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileAudit {
    /// By type, most weights first.
    pub weights: Vec<TypeCount>,
    /// Bytes that one decode step at batch 1 reads: every tensor once, one row of tables that are only looked up in. None
    /// where that cannot be told: experts, of which a step uses some, or a type or an embedding that is not known.
    pub weight_bytes_per_token: Option<u64>,
    /// Why it cannot be told.
    pub note: Option<String>,
}

struct Entry {
    name: String,
    kind: String,
    shape: Vec<u64>,
    bytes: Option<u64>,
}

impl Entry {
    fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |n: u64, extent| n.saturating_mul(*extent))
    }
}

/// Audits a GGUF file.
///
/// # Errors
/// As [`GgufFile::open`].
pub fn audit_gguf(path: &Path) -> Result<FileAudit, ZooError> {
    let file = GgufFile::open(path)?;
    let entries = file.tensors().iter().map(|tensor| Entry {
        name: tensor.name.clone(),
        kind: tensor
            .kind()
            .map_or_else(|| format!("ggml type {}", tensor.type_id), |kind| kind.label().to_owned()),
        shape: tensor.shape.iter().map(|extent| *extent as u64).collect(),
        bytes: tensor.kind().and_then(|kind| kind.bytes_of(tensor.elements() as u64)),
    });
    Ok(of(&entries.collect::<Vec<_>>()))
}

/// One tensor in the head of a safetensors file.
#[derive(Deserialize)]
struct Header {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The largest head that the format allows.
const LARGEST_HEAD: u64 = 100_000_000;

/// Audits a safetensors file.
///
/// # Errors
/// [`ZooError::Corrupt`] for a file that is cut short, a head that is none, or tensors that do not fill their bytes;
/// [`ZooError::Io`].
pub fn audit_safetensors(path: &Path) -> Result<FileAudit, ZooError> {
    let corrupt = |detail: String| ZooError::Corrupt {
        path: path.to_path_buf(),
        detail,
        remedy: "obtain the file again".to_owned(),
    };
    let mut file = File::open(path).map_err(ZooError::io("open", path))?;
    let len = file.metadata().map_err(ZooError::io("read", path))?.len();
    let mut size = [0; 8];
    if len < 8 {
        return Err(corrupt("it is shorter than the length of its head".to_owned()));
    }
    file.read_exact(&mut size).map_err(ZooError::io("read", path))?;
    let size = u64::from_le_bytes(size);
    if size > len - 8 || size > LARGEST_HEAD {
        return Err(corrupt(format!("it claims a header of {size} bytes in a file of {len}")));
    }
    let mut head = vec![0; size as usize];
    file.read_exact(&mut head).map_err(ZooError::io("read", path))?;
    let data = len - 8 - size;
    let tensors: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&head).map_err(|error| corrupt(error.to_string()))?;
    let mut entries = Vec::new();
    for (name, value) in tensors.into_iter().filter(|(name, _)| name != "__metadata__") {
        let header: Header =
            serde_json::from_value(value).map_err(|error| corrupt(format!("tensor {name}: {error}")))?;
        let [from, to] = header.data_offsets;
        if from > to || to > data {
            return Err(corrupt(format!("tensor {name} lies outside the file")));
        }
        let entry = Entry { name, kind: header.dtype, shape: header.shape, bytes: Some(to - from) };
        let width = match entry.kind.as_str() {
            "F64" | "I64" | "U64" => Some(8),
            "F32" | "I32" | "U32" => Some(4),
            "F16" | "BF16" | "I16" | "U16" => Some(2),
            "I8" | "U8" | "BOOL" | "F8_E4M3" | "F8_E5M2" => Some(1),
            _ => None,
        };
        if width.is_some_and(|width| entry.elements().checked_mul(width) != Some(to - from)) {
            return Err(corrupt(format!(
                "tensor {}: {} bytes, and {:?} of {} take others",
                entry.name,
                to - from,
                entry.shape,
                entry.kind
            )));
        }
        entries.push(entry);
    }
    Ok(of(&entries))
}

fn of(entries: &[Entry]) -> FileAudit {
    let mut by_kind: BTreeMap<&str, TypeCount> = BTreeMap::new();
    for entry in entries {
        let count = by_kind.entry(&entry.kind).or_insert_with(|| TypeCount {
            kind: entry.kind.clone(),
            tensors: 0,
            elements: 0,
            bytes: Some(0),
        });
        count.tensors += 1;
        count.elements = count.elements.saturating_add(entry.elements());
        count.bytes = count.bytes.zip(entry.bytes).map(|(a, b)| a.saturating_add(b));
    }
    let mut weights: Vec<TypeCount> = by_kind.into_values().collect();
    weights.sort_by_key(|of| std::cmp::Reverse(of.elements));
    let (weight_bytes_per_token, note) = match bytes_per_token(entries) {
        Ok(bytes) => (Some(bytes), None),
        Err(note) => (None, Some(note)),
    };
    FileAudit { weights, weight_bytes_per_token, note }
}

/// Sums what a decode step touches, by the names that llama.cpp and Hugging Face give.
fn bytes_per_token(entries: &[Entry]) -> Result<u64, String> {
    let ends = |entry: &Entry, names: &[&str]| {
        names.iter().any(|name| entry.name == *name || entry.name.ends_with(&format!(".{name}")))
    };
    if let Some(expert) = entries.iter().find(|e| e.name.contains("_exps") || e.name.contains(".experts.")) {
        return Err(format!("{} is of experts, of which a step uses some", expert.name));
    }
    let embeddings = ["token_embd.weight", "embed_tokens.weight", "wte.weight"];
    let positions = ["position_embd.weight", "wpe.weight"];
    if !entries.iter().any(|entry| ends(entry, &embeddings)) {
        return Err("no token embedding is known by its name".to_owned());
    }
    let tied = !entries.iter().any(|entry| {
        ends(entry, &["output.weight", "lm_head.weight"])
            && entry.shape.len() == 2
            && !entry.name.contains("attn")
            && !entry.name.starts_with("blk.")
    });
    entries.iter().try_fold(0_u64, |sum, entry| {
        let bytes =
            entry.bytes.ok_or_else(|| format!("the size of {} ({}) is not known", entry.name, entry.kind))?;
        let looked_up = ends(entry, &positions) || (!tied && ends(entry, &embeddings));
        let rows = if looked_up { entry.shape.first().copied().unwrap_or(1).max(1) } else { 1 };
        Ok(sum.saturating_add(bytes / rows))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Variant, Zoo};

    #[test]
    fn files_hold_what_their_records_say() {
        let dir = tempfile::tempdir().unwrap();
        let zoo = Zoo::open(dir.path()).unwrap();
        for name in ["tiny-gpt2", "llama-0.1m", "llama-1m", "gemma3-1m"] {
            for variant in Variant::ALL {
                let Ok(files) = zoo.ensure(name, variant) else { continue };
                let audit = match variant.container() {
                    crate::Container::Safetensors => audit_safetensors(&files.weights).unwrap(),
                    crate::Container::Gguf => audit_gguf(&files.weights).unwrap(),
                    crate::Container::Onnx => continue,
                };
                let recorded = files.manifest.bytes_per_decode_token;
                assert_eq!(audit.weight_bytes_per_token, Some(recorded), "{name} {variant}");
                assert_eq!(audit.weights.iter().map(|w| w.elements).sum::<u64>(), files.manifest.params);
            }
        }
    }

    #[test]
    fn graphs_hold_what_their_records_say() {
        let dir = tempfile::tempdir().unwrap();
        let zoo = Zoo::open(dir.path()).unwrap();
        for name in ["tiny-gpt2", "llama-0.1m", "llama-1m"] {
            for variant in [Variant::F32Onnx, Variant::F16Onnx, Variant::Int8DynamicOnnx] {
                let files = zoo.ensure(name, variant).unwrap();
                files.verify().unwrap();
                let audit = chimera_onnx::audit(&chimera_onnx::Model::read(&files.weights).unwrap());
                let recorded = files.manifest.bytes_per_decode_token;
                assert_eq!(audit.weight_bytes_per_token, recorded, "{name} {variant}");
            }
        }
    }

    #[test]
    fn damaged_heads_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let write = |head: &str, data: usize| {
            let mut file = (head.len() as u64).to_le_bytes().to_vec();
            file.extend(head.as_bytes());
            file.resize(file.len() + data, 0);
            std::fs::write(&path, file).unwrap();
            audit_safetensors(&path)
        };
        let sound = r#"{"wte.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
        let audit = write(sound, 8).unwrap();
        assert_eq!((audit.weight_bytes_per_token, audit.weights[0].elements), (Some(8), 2));
        for (head, data) in [
            (sound, 7),
            ("{", 0),
            (r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8),
            (r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,8]}}"#, 8),
        ] {
            assert_eq!(write(head, data).unwrap_err().code(), "zoo.corrupt", "{head}");
        }
        std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        assert_eq!(audit_safetensors(&path).unwrap_err().code(), "zoo.corrupt");
        // Experts are not all read.
        let expert = r#"{"blk.0.ffn_up_exps.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let audit = write(expert, 8).unwrap();
        assert!(audit.weight_bytes_per_token.is_none() && audit.note.unwrap().contains("experts"));
    }
}
