//! Llama (Touvron et al. 2023): rotary positions, RMS norms before each half of a block, grouped queries, gated SiLU.

use candle_core::{Module, Result, Tensor};

use crate::{
    attention::{Cache, Rotation},
    config::Config,
    error::LoadError,
    linear::{Linear, Matrix, Norm},
    weights::Weights,
};

#[derive(Debug)]
pub(crate) struct Llama {
    pub(crate) tokens: Matrix,
    blocks: Vec<Block>,
    norm: Norm,
    pub(crate) head: Linear,
}

#[derive(Debug)]
struct Block {
    attention_norm: Norm,
    q: Linear,
    k: Linear,
    v: Linear,
    output: Linear,
    feed_norm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Llama {
    pub(crate) fn load(weights: &mut Weights<'_>, config: &Config) -> std::result::Result<Self, LoadError> {
        let width = config.width;
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let tokens = weights.embedding("token_embd.weight", config.vocabulary, width)?;
        let norm = |weights: &mut Weights<'_>, name: &str| -> std::result::Result<Norm, LoadError> {
            let weight = weights.vector(&format!("{name}.weight"), width)?;
            Ok(Norm::Rms { weight, epsilon: config.epsilon as f32 })
        };
        let blocks = (0..config.layers)
            .map(|index| {
                let name = |part: &str| format!("blk.{index}.{part}");
                Ok(Block {
                    attention_norm: norm(weights, &name("attn_norm"))?,
                    q: weights.linear(&name("attn_q"), queries, width)?,
                    k: weights.linear(&name("attn_k"), keys, width)?,
                    v: weights.linear(&name("attn_v"), keys, width)?,
                    output: weights.linear(&name("attn_output"), width, queries)?,
                    feed_norm: norm(weights, &name("ffn_norm"))?,
                    gate: weights.linear(&name("ffn_gate"), config.feed_forward, width)?,
                    up: weights.linear(&name("ffn_up"), config.feed_forward, width)?,
                    down: weights.linear(&name("ffn_down"), width, config.feed_forward)?,
                })
            })
            .collect::<std::result::Result<Vec<_>, LoadError>>()?;
        let norm = norm(weights, "output_norm")?;
        let head = weights.head(&tokens)?;
        Ok(Self { tokens, blocks, norm, head })
    }

    pub(crate) fn forward(&self, ids: &Tensor, cache: &mut Cache, config: &Config) -> Result<Tensor> {
        let (lanes, count) = ids.dims2()?;
        let positions = cache.positions(count, config.context - 1);
        let bases = (config.rope_base, config.rope_factor);
        let rotation = Rotation::new(&positions, lanes, config.head_dim, bases, ids.device())?;
        let view = cache.view(count, None, ids.device())?;
        let mut x = self.tokens.lookup(ids)?;
        let heads = |x: &Tensor, n: usize| x.reshape((lanes, count, n, config.head_dim));
        for (index, block) in self.blocks.iter().enumerate() {
            let normed = block.attention_norm.forward(&x)?;
            let [q, k, v] = Linear::forward_all([&block.q, &block.k, &block.v], &normed)?;
            let q = rotation.turn(&heads(&q, config.heads)?)?;
            let k = rotation.turn(&heads(&k, config.kv_heads)?)?;
            let v = heads(&v, config.kv_heads)?;
            let attended = cache.attend(index, (&q, &k, &v), &view, config.attention_scale)?;
            x = (x + block.output.forward(&attended)?)?;
            let normed = block.feed_norm.forward(&x)?;
            let [gate, up] = Linear::forward_all([&block.gate, &block.up], &normed)?;
            x = (x + block.down.forward(&(gate.silu()? * up)?)?)?;
        }
        self.norm.forward(&x)
    }
}
