//! The safetensors writer: header first, then each tensor as it comes from its source, so that a model never lies in
//! memory whole. Reading is left to the `safetensors` crate.

use std::path::Path;

use half::f16;
use serde_json::Value;

use crate::error::ZooError;
use crate::hash::HashedFile;
use crate::spec::ModelSpec;
use crate::variant::Encoding;
use crate::weights::TensorSource;

/// What a writer tells of one tensor that it wrote.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    /// The name in the file.
    pub(crate) name: String,
    /// The name of its type in the file.
    pub(crate) stored: &'static str,
    /// Its bytes in the file.
    pub(crate) bytes: u64,
}

/// Values as little-endian bytes.
pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Values rounded to binary16 (to nearest, ties to even) as little-endian bytes.
pub(crate) fn f16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
}

/// Writes `spec`'s weights, in `encoding` (F32 or F16), to `path`. Gives the size, the SHA-256 and what was written.
pub(crate) fn write(
    path: &Path,
    spec: &ModelSpec,
    source: &dyn TensorSource,
    encoding: Encoding,
) -> Result<(u64, String, Vec<Written>), ZooError> {
    let (dtype, width) = match encoding {
        Encoding::F32 => ("F32", 4_u64),
        Encoding::F16 => ("F16", 2),
        Encoding::Q8_0 | Encoding::Q4_0 | Encoding::Int8Dynamic => {
            return Err(ZooError::Unsupported {
                path: path.to_path_buf(),
                what: format!("{} in safetensors", encoding.label()),
            });
        }
    };
    let tensors = spec.tensors();
    // By hand: the order of a JSON object's keys is a build feature of its crate, and these bytes are hashed.
    let mut header = r#"{"__metadata__":{"format":"pt"}"#.to_owned();
    let mut written = Vec::with_capacity(tensors.len());
    let mut offset = 0_u64;
    for def in &tensors {
        let bytes = def.elements() as u64 * width;
        let end = offset + bytes;
        let (name, shape) = (Value::from(def.name.as_str()), Value::from(def.shape.clone()));
        header.push_str(&format!(
            r#",{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{offset},{end}]}}"#
        ));
        written.push(Written { name: def.name.clone(), stored: dtype, bytes });
        offset = end;
    }
    header.push('}');
    let mut text = header.into_bytes();
    // The format asks for data aligned to eight bytes and allows spaces after the header.
    text.resize(text.len().next_multiple_of(8), b' ');

    let mut file = HashedFile::create(path)?;
    file.write(&(text.len() as u64).to_le_bytes())?;
    file.write(&text)?;
    for def in &tensors {
        let values = source.values(def)?;
        let data = if encoding == Encoding::F32 { f32_bytes(&values) } else { f16_bytes(&values) };
        file.write(&data)?;
    }
    let (bytes, sha) = file.finish()?;
    Ok((bytes, sha, written))
}
