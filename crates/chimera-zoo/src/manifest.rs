//! The record beside each model: what it is, where its weights come from, how large its files are and what one decode
//! step reads of them. It is written last, and it is what a file is checked against.

use serde::{Deserialize, Serialize};

use crate::spec::{Family, Shape};
use crate::variant::Variant;

/// The version of this record's format.
pub const MANIFEST_FORMAT: u32 = 1;

/// Where the weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// The seeded generator.
    Generated {
        /// The version of the generator.
        generator: u32,
        /// The seed.
        seed: u64,
    },
    /// Dequantised from another file.
    Converted {
        /// That file's name, without folders.
        file: String,
        /// That file's SHA-256.
        sha256: String,
        /// How most of that file's weights are stored, such as `Q4_1`.
        encoding: String,
    },
    /// Taken as it is from a publisher.
    Published {
        /// What it was taken from, such as a package and its version or a hub id.
        publisher: String,
    },
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The name within the model's folder.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// The record of one model in one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] of the writer.
    pub format: u32,
    /// The model's name.
    pub name: String,
    /// The architecture's family.
    pub family: Family,
    /// The container and encoding; none where a publisher's file is none of ours.
    pub variant: Option<Variant>,
    /// The name of this arm in tables: `F32`, `Q4_1 (original)`, `Q8_0 from Q4_1`.
    pub arm: String,
    /// Where the weights come from.
    pub origin: Origin,
    /// `generated`, or the licence of real weights.
    pub licence: String,
    /// Exact number of weights; a tied head counts once.
    pub params: u64,
    /// The shapes.
    pub shape: Shape,
    /// The weights file, by name.
    pub weights: String,
    /// Every file but this record.
    pub files: Vec<FileEntry>,
    /// Stored bytes that one decode step at batch 1 must read: every tensor once, but only one row of the token and
    /// position embeddings unless the tied head reads all. The KV cache is not counted.
    pub bytes_per_decode_token: u64,
    /// How many tensors are stored in each type.
    pub tensor_types: Vec<(String, u64)>,
    /// Matrices of a quantised variant that stayed F16, because their rows do not divide by 32.
    pub kept_f16: Vec<String>,
    /// Matrices of a variant that is not F32 that stayed F32, by llama.cpp's rule for position embeddings.
    pub kept_f32: Vec<String>,
    /// Whether the files hold a tokenizer.
    pub tokenizer: bool,
}

impl Manifest {
    /// The record of one file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.name == name)
    }

    /// Size of the weights file in bytes.
    #[must_use]
    pub fn weights_bytes(&self) -> Option<u64> {
        self.file(&self.weights).map(|f| f.bytes)
    }

    /// SHA-256 of the weights file: the model's digest.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.file(&self.weights).map(|f| f.sha256.as_str())
    }
}
