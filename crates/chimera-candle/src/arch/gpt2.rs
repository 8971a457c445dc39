//! GPT-2 (Radford et al. 2019): learned positions, layer norms before each half of a block, biases everywhere, GELU by
//! its tanh approximation.

use candle_core::{Module, Result, Tensor};

use crate::{
    attention::Cache,
    config::Config,
    error::LoadError,
    linear::{Linear, Matrix, Norm},
    weights::Weights,
};

#[derive(Debug)]
pub(crate) struct Gpt2 {
    pub(crate) tokens: Matrix,
    positions: Matrix,
    blocks: Vec<Block>,
    norm: Norm,
    pub(crate) head: Linear,
}

#[derive(Debug)]
struct Block {
    attention_norm: Norm,
    qkv: Linear,
    output: Linear,
    feed_norm: Norm,
    up: Linear,
    down: Linear,
}

impl Gpt2 {
    pub(crate) fn load(weights: &mut Weights<'_>, config: &Config) -> std::result::Result<Self, LoadError> {
        let width = config.width;
        let tokens = weights.embedding("token_embd.weight", config.vocabulary, width)?;
        let positions = weights.embedding("position_embd.weight", Some(config.context), width)?;
        let norm = |weights: &mut Weights<'_>, name: &str| -> std::result::Result<Norm, LoadError> {
            Ok(Norm::Layer {
                weight: weights.vector(&format!("{name}.weight"), width)?,
                bias: weights.vector(&format!("{name}.bias"), width)?,
                epsilon: config.epsilon as f32,
            })
        };
        let blocks = (0..config.layers)
            .map(|index| {
                let name = |part: &str| format!("blk.{index}.{part}");
                Ok(Block {
                    attention_norm: norm(weights, &name("attn_norm"))?,
                    qkv: weights.linear(&name("attn_qkv"), 3 * width, width)?,
                    output: weights.linear(&name("attn_output"), width, width)?,
                    feed_norm: norm(weights, &name("ffn_norm"))?,
                    up: weights.linear(&name("ffn_up"), config.feed_forward, width)?,
                    down: weights.linear(&name("ffn_down"), width, config.feed_forward)?,
                })
            })
            .collect::<std::result::Result<Vec<_>, LoadError>>()?;
        let norm = norm(weights, "output_norm")?;
        let head = weights.head(&tokens)?;
        Ok(Self { tokens, positions, blocks, norm, head })
    }

    pub(crate) fn forward(&self, ids: &Tensor, cache: &mut Cache, config: &Config) -> Result<Tensor> {
        let (lanes, count) = ids.dims2()?;
        let positions = cache.positions(count, config.context - 1);
        let positions = Tensor::from_vec(positions, (lanes, count), ids.device())?;
        let view = cache.view(count, None, ids.device())?;
        let mut x = (self.tokens.lookup(ids)? + self.positions.lookup(&positions)?)?;
        let heads = (lanes, count, config.heads, config.head_dim);
        for (index, block) in self.blocks.iter().enumerate() {
            let qkv = block.qkv.forward(&block.attention_norm.forward(&x)?)?;
            let part = |n: usize| qkv.narrow(2, n * config.width, config.width)?.reshape(heads);
            let (q, k, v) = (part(0)?, part(1)?, part(2)?);
            let attended = cache.attend(index, (&q, &k, &v), &view, config.attention_scale)?;
            x = (x + block.output.forward(&attended)?)?;
            let fed = block.up.forward(&block.feed_norm.forward(&x)?)?.gelu()?;
            x = (x + block.down.forward(&fed)?)?;
        }
        self.norm.forward(&x)
    }
}
