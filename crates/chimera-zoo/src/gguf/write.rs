//! The writer: head first, then each tensor as it comes from its source, padded to the alignment. Matrices are stored
//! as asked where their rows allow it; vectors stay F32, and so do position embeddings, by llama.cpp's rule.

use std::path::Path;

use super::names::{Layout, layout};
use super::value::{Value, encode_string};
use super::{ALIGNMENT, MAGIC, VERSION};
use crate::error::ZooError;
use crate::hash::HashedFile;
use crate::quant::{BLOCK, GgmlType, quantise_q4_0, quantise_q8_0};
use crate::safetensors::{Written, f16_bytes, f32_bytes};
use crate::spec::{ModelSpec, TensorDef};
use crate::variant::Encoding;
use crate::weights::TensorSource;

/// Matrices that are not stored as asked.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Stayed F16 because rows do not divide into blocks.
    pub(crate) f16: Vec<String>,
    /// Stayed F32 by llama.cpp's rule.
    pub(crate) f32: Vec<String>,
}

/// One tensor, decided.
struct Plan {
    def: TensorDef,
    layout: Layout,
    shape: Vec<usize>,
    kind: GgmlType,
}

/// Decides how each tensor is stored. [`ZooError::Skipped`]'s reason is the error's text where a quantised encoding
/// finds no row to quantise.
fn plan(spec: &ModelSpec, encoding: Encoding) -> Result<(Vec<Plan>, Kept), String> {
    if encoding == Encoding::Int8Dynamic {
        return Err(format!("{} is a form of graphs, and GGUF holds none", encoding.label()));
    }
    let mut kept = Kept::default();
    let mut quantised = 0_usize;
    let mut plans = Vec::new();
    for def in spec.tensors() {
        let layout = layout(spec, &def.name).ok_or_else(|| format!("GGUF has no name for {}", def.name))?;
        let shape = layout.shape(&def.shape);
        let row = shape.last().copied().unwrap_or(1);
        let kind = match encoding {
            Encoding::F32 => GgmlType::F32,
            _ if shape.len() < 2 => GgmlType::F32,
            _ if layout.name == "position_embd.weight" => {
                kept.f32.push(layout.name.clone());
                GgmlType::F32
            }
            Encoding::F16 => GgmlType::F16,
            Encoding::Q8_0 | Encoding::Q4_0 if !row.is_multiple_of(BLOCK) => {
                kept.f16.push(layout.name.clone());
                GgmlType::F16
            }
            Encoding::Q8_0 | Encoding::Q4_0 => {
                quantised += 1;
                if encoding == Encoding::Q8_0 { GgmlType::Q8_0 } else { GgmlType::Q4_0 }
            }
            Encoding::Int8Dynamic => GgmlType::F32,
        };
        plans.push(Plan { def, layout, shape, kind });
    }
    if matches!(encoding, Encoding::Q8_0 | Encoding::Q4_0) && quantised == 0 {
        return Err(format!(
            "no row of any matrix divides by {BLOCK}, so nothing can be {}",
            encoding.label()
        ));
    }
    Ok((plans, kept))
}

/// Why `encoding` cannot exist for the model, if it cannot.
pub(crate) fn reason_to_skip(spec: &ModelSpec, encoding: Encoding) -> Option<String> {
    plan(spec, encoding).err()
}

/// Writes `spec`'s weights to `path` with the given metadata. Gives the size, the SHA-256, what was written under which
/// name, and what is not stored as asked.
pub(crate) fn write(
    path: &Path,
    spec: &ModelSpec,
    source: &dyn TensorSource,
    encoding: Encoding,
    metadata: &[(String, Value)],
) -> Result<(u64, String, Vec<Written>, Kept), ZooError> {
    let (plans, kept) =
        plan(spec, encoding).map_err(|detail| ZooError::InvalidSpec { model: spec.name.clone(), detail })?;
    let mut head = Vec::new();
    head.extend(MAGIC.to_le_bytes());
    head.extend(VERSION.to_le_bytes());
    head.extend((plans.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        encode_string(key, &mut head);
        head.extend(value.type_id().to_le_bytes());
        value.encode(&mut head);
    }
    let mut offset = 0_u64;
    let mut written = Vec::with_capacity(plans.len());
    for p in &plans {
        encode_string(&p.layout.name, &mut head);
        head.extend((p.shape.len() as u32).to_le_bytes());
        for extent in p.shape.iter().rev() {
            head.extend((*extent as u64).to_le_bytes());
        }
        head.extend(p.kind.id().to_le_bytes());
        head.extend(offset.to_le_bytes());
        // Rows divide into blocks, or `plan` chose a type without blocks.
        let bytes = p.kind.bytes_of(p.def.elements() as u64).unwrap_or_default();
        written.push(Written { name: p.layout.name.clone(), stored: p.kind.label(), bytes });
        offset += bytes.next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT as usize), 0);

    let mut file = HashedFile::create(path)?;
    file.write(&head)?;
    for p in &plans {
        let values = p.layout.arrange(source.values(&p.def)?, &p.def.shape);
        let mut data = match p.kind {
            GgmlType::F32 => f32_bytes(&values),
            GgmlType::F16 => f16_bytes(&values),
            kind => {
                let mut data = Vec::new();
                if kind == GgmlType::Q8_0 {
                    quantise_q8_0(&values, &mut data);
                } else {
                    quantise_q4_0(&values, &mut data);
                }
                data
            }
        };
        data.resize(data.len().next_multiple_of(ALIGNMENT as usize), 0);
        file.write(&data)?;
    }
    let (bytes, sha) = file.finish()?;
    Ok((bytes, sha, written, kept))
}
