//! Constants of a graph: element types, and tensors whose values are in memory, in a file, or given when the model is
//! written, so that a large model never lies in memory whole.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};

use crate::error::{OnnxError, Result};

/// The element types of `TensorProto.DataType` whose values are read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DataType {
    /// binary32.
    F32,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// One byte, 0 or 1.
    Bool,
    /// binary16.
    F16,
    /// binary64.
    F64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// bfloat16.
    BF16,
    /// Eight-bit float, 4 bits of exponent, finite.
    F8E4M3FN,
    /// Eight-bit float, 4 bits of exponent, finite, no negative zero.
    F8E4M3FNUZ,
    /// Eight-bit float, 5 bits of exponent.
    F8E5M2,
    /// Eight-bit float, 5 bits of exponent, finite, no negative zero.
    F8E5M2FNUZ,
    /// Unsigned nibbles, two a byte.
    U4,
    /// Signed nibbles, two a byte.
    I4,
}

impl DataType {
    /// Every one.
    pub const ALL: [Self; 19] = [
        Self::F32,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::Bool,
        Self::F16,
        Self::F64,
        Self::U32,
        Self::U64,
        Self::BF16,
        Self::F8E4M3FN,
        Self::F8E4M3FNUZ,
        Self::F8E5M2,
        Self::F8E5M2FNUZ,
        Self::U4,
        Self::I4,
    ];

    /// The number in a file.
    #[must_use]
    pub fn id(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::U16 => 4,
            Self::I16 => 5,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
            Self::U32 => 12,
            Self::U64 => 13,
            Self::BF16 => 16,
            Self::F8E4M3FN => 17,
            Self::F8E4M3FNUZ => 18,
            Self::F8E5M2 => 19,
            Self::F8E5M2FNUZ => 20,
            Self::U4 => 21,
            Self::I4 => 22,
        }
    }

    /// The type of a number in a file.
    #[must_use]
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The name in reports, such as `F32`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::Bool => "BOOL",
            Self::F16 => "F16",
            Self::F64 => "F64",
            Self::U32 => "U32",
            Self::U64 => "U64",
            Self::BF16 => "BF16",
            Self::F8E4M3FN => "F8E4M3FN",
            Self::F8E4M3FNUZ => "F8E4M3FNUZ",
            Self::F8E5M2 => "F8E5M2",
            Self::F8E5M2FNUZ => "F8E5M2FNUZ",
            Self::U4 => "U4",
            Self::I4 => "I4",
        }
    }

    /// Bits of one element.
    #[must_use]
    pub fn bits(self) -> u64 {
        match self {
            Self::U4 | Self::I4 => 4,
            Self::U8
            | Self::I8
            | Self::Bool
            | Self::F8E4M3FN
            | Self::F8E4M3FNUZ
            | Self::F8E5M2
            | Self::F8E5M2FNUZ => 8,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 16,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::I64 | Self::F64 | Self::U64 => 64,
        }
    }

    /// Whether it is a floating-point type of 16 bits or more.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64)
    }

    /// Whether it is a quantised integer: eight bits or fewer.
    #[must_use]
    pub fn is_small_integer(self) -> bool {
        matches!(self, Self::U8 | Self::I8 | Self::U4 | Self::I4)
    }

    /// Bytes of so many elements; `None` if that overflows.
    #[must_use]
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        elements.checked_mul(self.bits()).map(|bits| bits.div_ceil(8))
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// Where a tensor's bytes are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Data {
    /// In memory.
    Memory(Bytes),
    /// In a file: the model's own, or one beside it.
    File {
        /// The file.
        path: Arc<Path>,
        /// The first byte.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// With the caller, who gives them when the model is written.
    Deferred,
}

/// A constant of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The name that nodes use.
    pub name: String,
    /// Extents, the slowest first.
    pub dims: Vec<u64>,
    /// The element type.
    pub kind: DataType,
    /// The values, little-endian and in row-major order.
    pub data: Data,
}

impl Tensor {
    /// A tensor in memory.
    #[must_use]
    pub fn new(name: impl Into<String>, dims: &[u64], kind: DataType, data: impl Into<Bytes>) -> Self {
        Self { name: name.into(), dims: dims.to_vec(), kind, data: Data::Memory(data.into()) }
    }

    /// A tensor whose bytes come when the model is written.
    #[must_use]
    pub fn deferred(name: impl Into<String>, dims: &[u64], kind: DataType) -> Self {
        Self { name: name.into(), dims: dims.to_vec(), kind, data: Data::Deferred }
    }

    /// Floats as a tensor of a floating-point type; a type that is none is taken as F32.
    #[must_use]
    pub fn floats(name: impl Into<String>, dims: &[u64], kind: DataType, values: &[f32]) -> Self {
        let kind = if kind.is_float() { kind } else { DataType::F32 };
        Self::new(name, dims, kind, float_bytes(kind, values))
    }

    /// Integers as a tensor of 64-bit integers.
    #[must_use]
    pub fn i64s(name: impl Into<String>, dims: &[u64], values: &[i64]) -> Self {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(name, dims, DataType::I64, data)
    }

    /// The number of elements. Saturates; a tensor that was read was checked not to.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().fold(1, |n: u64, d| n.saturating_mul(*d))
    }

    /// The number of bytes of its values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.kind.bytes_of(self.elements()).unwrap_or(u64::MAX)
    }

    /// Its bytes, read if they are in a file.
    ///
    /// # Errors
    /// [`OnnxError::Io`]; [`OnnxError::NotPossible`] for a deferred tensor; [`OnnxError::Corrupt`] if the number of bytes is
    /// not what the shape says.
    pub fn load(&self) -> Result<Bytes> {
        let data = match &self.data {
            Data::Memory(data) => data.clone(),
            Data::File { path, offset, bytes } => {
                let mut file = File::open(path).map_err(OnnxError::io("open", path))?;
                let mut data = vec![0; *bytes as usize];
                file.seek(SeekFrom::Start(*offset)).map_err(OnnxError::io("read", path))?;
                file.read_exact(&mut data).map_err(OnnxError::io("read", path))?;
                data.into()
            }
            Data::Deferred => {
                return Err(OnnxError::NotPossible {
                    what: format!("reading tensor {}", self.name),
                    reason: "its values are given only when the model is written".to_owned(),
                });
            }
        };
        self.check(data.len())?;
        Ok(data)
    }

    /// Refuses a number of bytes that the shape does not give.
    pub(crate) fn check(&self, found: usize) -> Result<()> {
        if found as u64 == self.bytes() {
            return Ok(());
        }
        Err(OnnxError::Corrupt {
            file: format!("tensor {}", self.name),
            detail: format!(
                "it has {found} bytes, and {:?} of {} take {}",
                self.dims,
                self.kind,
                self.bytes()
            ),
        })
    }

    /// Its values as floats.
    ///
    /// # Errors
    /// As [`Tensor::load`]; [`OnnxError::NotPossible`] for a type that is not F32, F16, BF16 or F64.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let data = self.load()?;
        floats_of(self.kind, &data).ok_or_else(|| OnnxError::NotPossible {
            what: format!("reading tensor {} as floats", self.name),
            reason: format!("it is {}", self.kind),
        })
    }

    /// Its values as 64-bit integers.
    ///
    /// # Errors
    /// As [`Tensor::load`]; [`OnnxError::NotPossible`] for a type that is not I64 or I32.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        let data = self.load()?;
        match self.kind {
            DataType::I64 => Ok(data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
            DataType::I32 => {
                Ok(data.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect())
            }
            _ => Err(OnnxError::NotPossible {
                what: format!("reading tensor {} as integers", self.name),
                reason: format!("it is {}", self.kind),
            }),
        }
    }
}

/// Floats as little-endian bytes of a floating-point type, rounded to nearest, ties to even.
#[must_use]
pub fn float_bytes(kind: DataType, values: &[f32]) -> Vec<u8> {
    match kind {
        DataType::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        DataType::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        DataType::F64 => values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn floats_of(kind: DataType, data: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        DataType::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DataType::F16 => data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        DataType::BF16 => data.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        DataType::F64 => data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_numbers_once() {
        for kind in DataType::ALL {
            assert_eq!(DataType::from_id(kind.id()), Some(kind));
        }
        // string, complex64 and what is not assigned.
        for id in [-1, 0, 8, 14, 15, 99] {
            assert_eq!(DataType::from_id(id), None);
        }
    }

    #[test]
    fn values_survive_and_a_wrong_length_does_not() {
        for kind in [DataType::F32, DataType::F16, DataType::BF16, DataType::F64] {
            let tensor = Tensor::floats("x", &[2, 2], kind, &[1.0, -0.5, 0.0, 2.0]);
            assert_eq!(tensor.to_f32().unwrap(), [1.0, -0.5, 0.0, 2.0], "{kind}");
        }
        assert_eq!(Tensor::i64s("n", &[2], &[-1, i64::MAX]).to_i64().unwrap(), [-1, i64::MAX]);
        let short = Tensor::new("x", &[3], DataType::F32, vec![0; 8]);
        assert_eq!(short.load().unwrap_err().code(), "onnx.corrupt");
        // Two nibbles share a byte.
        assert_eq!(DataType::I4.bytes_of(3), Some(2));
        assert_eq!(DataType::F32.bytes_of(u64::MAX), None);
    }

    #[test]
    fn deferred_values_cannot_be_read() {
        let tensor = Tensor::deferred("x", &[3], DataType::F32);
        assert_eq!(tensor.load().unwrap_err().code(), "onnx.not_possible");
    }
}
