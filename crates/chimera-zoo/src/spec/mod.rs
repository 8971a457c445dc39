//! What a model is, apart from its weights: architecture, shapes, tensor names and the configuration file. The names
//! and layouts are Hugging Face's. Nothing here computes a logit.

mod catalogue;
mod gemma3;
mod gpt2;
mod llama;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ZooError;

pub use catalogue::{TR121_FAMILY, model_names, models};
pub use gemma3::Gemma3Spec;
pub use gpt2::Gpt2Spec;
pub use llama::LlamaSpec;

/// The architecture's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Family {
    /// GPT-2: learned positions, layer norm, GELU, one fused attention projection.
    Gpt2,
    /// Llama: rotary positions, RMS norm, SwiGLU, grouped queries.
    Llama,
    /// Gemma 3 text: as Llama, with q/k norms, norms before and after each part, sliding windows and GeGLU.
    Gemma3,
}

impl Family {
    /// The name in `config.json` and in GGUF's `general.architecture`: `gpt2`, `llama` or `gemma3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Gemma3 => "gemma3",
        }
    }
}

/// A family with its shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Architecture {
    /// A GPT-2.
    Gpt2(Gpt2Spec),
    /// A Llama.
    Llama(LlamaSpec),
    /// A Gemma 3 text model.
    Gemma3(Gemma3Spec),
}

/// How the values of a generated tensor are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// Bell-shaped around `mean`, standard deviation `std`, within 3.47 of it.
    Around {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        std: f64,
    },
    /// As `Around`, less one: the model adds the one back, and both steps are exact in binary32 for means from 1.
    AroundLessOne {
        /// The mean before one is taken off.
        mean: f32,
        /// The standard deviation.
        std: f64,
    },
}

/// One tensor of a model, by Hugging Face's name and layout.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorDef {
    /// The name in the safetensors file.
    pub name: String,
    /// Extents, the slowest first.
    pub shape: Vec<usize>,
    /// How the generator draws it.
    pub init: Init,
}

impl TensorDef {
    /// A bell-shaped tensor.
    pub(crate) fn around(name: impl Into<String>, shape: impl Into<Vec<usize>>, mean: f32, std: f64) -> Self {
        Self { name: name.into(), shape: shape.into(), init: Init::Around { mean, std } }
    }

    /// A matrix whose product with a vector of unit variance has variance `gain²`, given how many inputs it sums.
    pub(crate) fn matrix(name: String, shape: [usize; 2], inputs: usize, gain: f64) -> Self {
        Self::around(name, shape, 0.0, gain / (inputs as f64).sqrt())
    }

    /// The number of values.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A named model: an architecture, and the seed of its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The name, such as `gpt2-25m`.
    pub name: String,
    /// The seed of the generator.
    pub seed: u64,
    /// The architecture and its shapes.
    pub architecture: Architecture,
}

impl ModelSpec {
    /// The family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.architecture {
            Architecture::Gpt2(_) => Family::Gpt2,
            Architecture::Llama(_) => Family::Llama,
            Architecture::Gemma3(_) => Family::Gemma3,
        }
    }

    /// Every tensor, in the order in which it is written.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorDef> {
        match &self.architecture {
            Architecture::Gpt2(s) => s.tensors(),
            Architecture::Llama(s) => s.tensors(),
            Architecture::Gemma3(s) => s.tensors(),
        }
    }

    /// The exact number of weights, in closed form.
    #[must_use]
    pub fn params(&self) -> u64 {
        match &self.architecture {
            Architecture::Gpt2(s) => s.params(),
            Architecture::Llama(s) => s.params(),
            Architecture::Gemma3(s) => s.params(),
        }
    }

    /// The shapes that every family has.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match &self.architecture {
            Architecture::Gpt2(s) => s.shape(),
            Architecture::Llama(s) => s.shape(),
            Architecture::Gemma3(s) => s.shape(),
        }
    }

    /// The content of `config.json`; `dtype` is `float32` or `float16`.
    #[must_use]
    pub fn config(&self, dtype: &str) -> Value {
        match &self.architecture {
            Architecture::Gpt2(s) => s.config(dtype),
            Architecture::Llama(s) => s.config(dtype),
            Architecture::Gemma3(s) => s.config(dtype),
        }
    }

    /// Checks that the shapes describe a model.
    ///
    /// # Errors
    /// [`ZooError::InvalidSpec`] with what does not fit.
    pub fn validate(&self) -> Result<(), ZooError> {
        let detail = match &self.architecture {
            Architecture::Gpt2(s) => s.problem(),
            Architecture::Llama(s) => s.problem(),
            Architecture::Gemma3(s) => s.problem(),
        };
        match detail {
            None => Ok(()),
            Some(detail) => Err(ZooError::InvalidSpec { model: self.name.clone(), detail }),
        }
    }
}

/// The shapes that every family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Longest context in tokens.
    pub ctx: usize,
    /// Whether the output head is the embedding.
    pub tied: bool,
}

/// What is common to the checks of every family.
pub(crate) fn shape_problem(s: &Shape) -> Option<String> {
    let extents = [
        ("layers", s.layers),
        ("width", s.width),
        ("heads", s.heads),
        ("kv_heads", s.kv_heads),
        ("head_dim", s.head_dim),
        ("feed_forward", s.feed_forward),
        ("vocab", s.vocab),
        ("ctx", s.ctx),
    ];
    if let Some((name, _)) = extents.iter().find(|(_, n)| *n == 0) {
        return Some(format!("{name} is zero"));
    }
    if !s.heads.is_multiple_of(s.kv_heads) {
        return Some(format!("{} heads do not divide into {} key-value heads", s.heads, s.kv_heads));
    }
    None
}
