//! The forms in which one set of weights is written: a container and an encoding. A variant says nothing of the
//! model; whether it can exist for one is the writers' business.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ZooError;

/// The kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Container {
    /// `model.safetensors` beside `config.json`, with Hugging Face's names and layouts.
    Safetensors,
    /// One `.gguf` file with llama.cpp's names, layouts and metadata.
    Gguf,
    /// `model.onnx` beside `config.json`: a graph with the KV cache as inputs and outputs, under Optimum's names.
    Onnx,
}

/// How matrices are stored. Vectors stay F32 in GGUF whatever the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Encoding {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// ggml's blocks of 32: one F16 scale and 32 signed bytes, 8.5 bits a weight.
    Q8_0,
    /// ggml's blocks of 32: one F16 scale and 32 nibbles, 4.5 bits a weight.
    Q4_0,
    /// Signed bytes, one F32 scale an output channel; activations are quantised anew in every run.
    Int8Dynamic,
}

impl Encoding {
    /// The name as it is written in reports: `F32`, `F16`, `Q8_0`, `Q4_0`, `INT8 dynamic`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Int8Dynamic => "INT8 dynamic",
        }
    }
}

/// A container and an encoding that go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Variant {
    /// Safetensors, F32 throughout.
    F32Safetensors,
    /// Safetensors, F16 throughout.
    F16Safetensors,
    /// GGUF, F32 throughout.
    F32Gguf,
    /// GGUF, matrices F16.
    F16Gguf,
    /// GGUF, matrices Q8_0 where rows divide by 32.
    Q8Gguf,
    /// GGUF, matrices Q4_0 where rows divide by 32.
    Q4Gguf,
    /// ONNX, F32 throughout.
    F32Onnx,
    /// ONNX, weights, activations and cache F16; logits F32.
    F16Onnx,
    /// ONNX, products with weights in integers, made of `onnx-f32`; everything else F32.
    Int8DynamicOnnx,
}

impl Variant {
    /// All of them, in the order of this enum.
    pub const ALL: [Self; 9] = [
        Self::F32Safetensors,
        Self::F16Safetensors,
        Self::F32Gguf,
        Self::F16Gguf,
        Self::Q8Gguf,
        Self::Q4Gguf,
        Self::F32Onnx,
        Self::F16Onnx,
        Self::Int8DynamicOnnx,
    ];

    /// The kind of file.
    #[must_use]
    pub fn container(self) -> Container {
        match self {
            Self::F32Safetensors | Self::F16Safetensors => Container::Safetensors,
            Self::F32Gguf | Self::F16Gguf | Self::Q8Gguf | Self::Q4Gguf => Container::Gguf,
            Self::F32Onnx | Self::F16Onnx | Self::Int8DynamicOnnx => Container::Onnx,
        }
    }

    /// How matrices are stored.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        match self {
            Self::F32Safetensors | Self::F32Gguf | Self::F32Onnx => Encoding::F32,
            Self::F16Safetensors | Self::F16Gguf | Self::F16Onnx => Encoding::F16,
            Self::Q8Gguf => Encoding::Q8_0,
            Self::Q4Gguf => Encoding::Q4_0,
            Self::Int8DynamicOnnx => Encoding::Int8Dynamic,
        }
    }

    /// The variant of a container and an encoding, if they go together.
    #[must_use]
    pub fn of(container: Container, encoding: Encoding) -> Option<Self> {
        Self::ALL.into_iter().find(|v| (v.container(), v.encoding()) == (container, encoding))
    }

    /// The name used on command lines, in folders and in records, such as `safetensors-f32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32Safetensors => "safetensors-f32",
            Self::F16Safetensors => "safetensors-f16",
            Self::F32Gguf => "gguf-f32",
            Self::F16Gguf => "gguf-f16",
            Self::Q8Gguf => "gguf-q8_0",
            Self::Q4Gguf => "gguf-q4_0",
            Self::F32Onnx => "onnx-f32",
            Self::F16Onnx => "onnx-f16",
            Self::Int8DynamicOnnx => "onnx-int8-dynamic",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Variant {
    type Err = ZooError;

    fn from_str(text: &str) -> Result<Self, ZooError> {
        Self::ALL.into_iter().find(|v| v.name() == text).ok_or_else(|| ZooError::UnknownVariant {
            name: text.to_owned(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

impl TryFrom<String> for Variant {
    type Error = ZooError;

    fn try_from(text: String) -> Result<Self, ZooError> {
        text.parse()
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> Self {
        variant.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_a_wrong_one_lists_the_right_ones() {
        for v in Variant::ALL {
            assert_eq!(v.name().parse::<Variant>().unwrap(), v);
        }
        let error = "gguf-q9".parse::<Variant>().unwrap_err();
        assert_eq!(error.code(), "zoo.unknown_variant");
        assert!(error.to_string().contains("gguf-q8_0"), "{error}");
    }
}
