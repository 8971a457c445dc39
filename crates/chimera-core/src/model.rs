//! Which model, how it is loaded, and what is known of it once it is resident. Finding or making files is not here.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

/// Which model to load: a name, and the file or folder it lives in where the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// Name used in designs and records.
    pub name: Arc<str>,
    /// Weights on this machine (a `.gguf` file, or a folder with `config.json` and `model.safetensors`). Servers that
    /// keep their own store are asked by name.
    pub path: Option<PathBuf>,
}

impl ModelRef {
    /// A model that the backend finds by name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), path: None }
    }

    /// A model whose weights are at `path`.
    pub fn at(name: impl Into<Arc<str>>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), path: Some(path.into()) }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// How a model is made resident.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Context window in tokens; `None` takes the model's own.
    pub context: Option<u32>,
}

/// Exact parameter counts. Of a mixture of experts only some are active for one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// All weights, tied ones once.
    pub total: u64,
    /// Weights that take part in one token's forward pass; equal to `total` for dense models.
    pub active: u64,
}

/// What is known of a resident model. `None` means that the backend does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Name it was asked by.
    pub name: String,
    /// SHA-256 of the weights, or the digest that the server gives.
    pub digest: Option<String>,
    /// Parameter counts.
    pub parameters: Option<Parameters>,
    /// Transformer blocks.
    pub layers: Option<u32>,
    /// Width of the residual stream.
    pub width: Option<u32>,
    /// Attention heads.
    pub heads: Option<u32>,
    /// Key/value heads.
    pub kv_heads: Option<u32>,
    /// Vocabulary size.
    pub vocabulary: Option<u32>,
    /// Longest context in tokens.
    pub context: Option<u32>,
    /// Precision of the weights as stored, `F32` or `Q4_1` for instance.
    pub quantisation: Option<String>,
    /// Bytes of weights that one decode step reads (the embedding counts one row, a tied head all rows).
    pub weight_bytes_per_token: Option<u64>,
    /// Whether it brings a chat template that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<bool>,
    /// Bytes that one more context position adds to the KV cache of one sequence.
    pub kv_bytes_per_position: Option<u64>,
}

impl ModelInfo {
    /// Nothing but a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Raw logits of a model over a sequence, one row per token: row `i` is what the model holds of the token that follows
/// tokens `0..=i`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// Rows one after the other, each of [`Logits::vocabulary`] values.
    pub values: Vec<f32>,
    /// Values per row.
    pub vocabulary: usize,
}

impl Logits {
    /// Row `index`; `None` beyond the last.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        let start = index.checked_mul(self.vocabulary)?;
        self.values.get(start..start.checked_add(self.vocabulary)?).filter(|row| !row.is_empty())
    }

    /// Number of whole rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.vocabulary).unwrap_or(0)
    }
}

/// How well a model predicts a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Natural-log probability of token `i + 1` given tokens `0..=i`; one shorter than the sequence.
    pub log_probabilities: Vec<f32>,
}

impl Score {
    /// Perplexity, exp of the mean negative log probability; `None` for a sequence of fewer than two tokens.
    #[must_use]
    pub fn perplexity(&self) -> Option<f64> {
        let n = self.log_probabilities.len();
        if n == 0 {
            return None;
        }
        let sum: f64 = self.log_probabilities.iter().map(|&p| f64::from(p)).sum();
        Some((-sum / n as f64).exp())
    }
}
