//! The architectures. Each takes token ids and a cache and gives the normed activations of its last block; looking up
//! tables, reading files and choosing tokens happen elsewhere.

mod gemma3;
mod gpt2;
mod llama;

use candle_core::{Result, Tensor};

pub(crate) use gemma3::Gemma3;
pub(crate) use gpt2::Gpt2;
pub(crate) use llama::Llama;

use crate::{
    attention::Cache,
    config::{Architecture, Config},
    error::LoadError,
    linear::Linear,
    weights::Weights,
};

/// A model of any architecture.
#[derive(Debug)]
pub(crate) enum Network {
    Gpt2(Gpt2),
    Llama(Llama),
    Gemma3(Gemma3),
}

impl Network {
    pub(crate) fn load(weights: &mut Weights<'_>, config: &Config) -> std::result::Result<Self, LoadError> {
        Ok(match config.architecture {
            Architecture::Gpt2 => Self::Gpt2(Gpt2::load(weights, config)?),
            Architecture::Llama => Self::Llama(Llama::load(weights, config)?),
            Architecture::Gemma3 => Self::Gemma3(Gemma3::load(weights, config)?),
        })
    }

    /// Activations after the last norm, shape (lanes, columns, width). Columns are written to the cache.
    pub(crate) fn forward(&self, ids: &Tensor, cache: &mut Cache, config: &Config) -> Result<Tensor> {
        match self {
            Self::Gpt2(model) => model.forward(ids, cache, config),
            Self::Llama(model) => model.forward(ids, cache, config),
            Self::Gemma3(model) => model.forward(ids, cache, config),
        }
    }

    /// The map from activations to logits.
    pub(crate) fn head(&self) -> &Linear {
        match self {
            Self::Gpt2(model) => &model.head,
            Self::Llama(model) => &model.head,
            Self::Gemma3(model) => &model.head,
        }
    }

    /// Number of token ids.
    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Self::Gpt2(model) => model.tokens.rows(),
            Self::Llama(model) => model.tokens.rows(),
            Self::Gemma3(model) => model.tokens.rows(),
        }
    }
}
