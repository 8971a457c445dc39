//! Gemma 3 (Google 2025, text part): RMS norms before and after each half of a block and on every head of queries and
//! keys, rotary positions of two bases, a sliding window in most layers, gated GELU, a tied head.

use candle_core::{Module, Result, Tensor};

use crate::{
    attention::{Cache, Rotation},
    config::Config,
    error::LoadError,
    linear::{Linear, Matrix, Norm},
    weights::Weights,
};

#[derive(Debug)]
pub(crate) struct Gemma3 {
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
    q_norm: Norm,
    k_norm: Norm,
    output: Linear,
    attention_post_norm: Norm,
    feed_norm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
    feed_post_norm: Norm,
}

impl Gemma3 {
    pub(crate) fn load(weights: &mut Weights<'_>, config: &Config) -> std::result::Result<Self, LoadError> {
        let width = config.width;
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let tokens = weights.embedding("token_embd.weight", config.vocabulary, width)?;
        let norm = |weights: &mut Weights<'_>, name: &str, width| -> std::result::Result<Norm, LoadError> {
            let weight = weights.vector(&format!("{name}.weight"), width)?;
            Ok(Norm::Rms { weight, epsilon: config.epsilon as f32 })
        };
        let blocks = (0..config.layers)
            .map(|index| {
                let name = |part: &str| format!("blk.{index}.{part}");
                Ok(Block {
                    attention_norm: norm(weights, &name("attn_norm"), width)?,
                    q: weights.linear(&name("attn_q"), queries, width)?,
                    k: weights.linear(&name("attn_k"), keys, width)?,
                    v: weights.linear(&name("attn_v"), keys, width)?,
                    q_norm: norm(weights, &name("attn_q_norm"), config.head_dim)?,
                    k_norm: norm(weights, &name("attn_k_norm"), config.head_dim)?,
                    output: weights.linear(&name("attn_output"), width, queries)?,
                    attention_post_norm: norm(weights, &name("post_attention_norm"), width)?,
                    feed_norm: norm(weights, &name("ffn_norm"), width)?,
                    gate: weights.linear(&name("ffn_gate"), config.feed_forward, width)?,
                    up: weights.linear(&name("ffn_up"), config.feed_forward, width)?,
                    down: weights.linear(&name("ffn_down"), width, config.feed_forward)?,
                    feed_post_norm: norm(weights, &name("post_ffw_norm"), width)?,
                })
            })
            .collect::<std::result::Result<Vec<_>, LoadError>>()?;
        let norm = norm(weights, "output_norm", width)?;
        let head = weights.head(&tokens)?;
        Ok(Self { tokens, blocks, norm, head })
    }

    pub(crate) fn forward(&self, ids: &Tensor, cache: &mut Cache, config: &Config) -> Result<Tensor> {
        let (lanes, count) = ids.dims2()?;
        let device = ids.device();
        let positions = cache.positions(count, config.context - 1);
        let rotation =
            |base, factor| Rotation::new(&positions, lanes, config.head_dim, (base, factor), device);
        let global = (rotation(config.rope_base, config.rope_factor)?, cache.view(count, None, device)?);
        let local = (rotation(config.rope_local_base, 1.0)?, cache.view(count, config.window, device)?);
        let heads = |x: &Tensor, n: usize| x.reshape((lanes, count, n, config.head_dim));

        let mut x = (self.tokens.lookup(ids)? * (config.width as f64).sqrt())?;
        for (index, block) in self.blocks.iter().enumerate() {
            let (rotation, view) = if config.sees_all(index) { &global } else { &local };
            let normed = block.attention_norm.forward(&x)?;
            let [q, k, v] = Linear::forward_all([&block.q, &block.k, &block.v], &normed)?;
            let q = rotation.turn(&block.q_norm.forward(&heads(&q, config.heads)?)?)?;
            let k = rotation.turn(&block.k_norm.forward(&heads(&k, config.kv_heads)?)?)?;
            let v = heads(&v, config.kv_heads)?;
            let attended = cache.attend(index, (&q, &k, &v), view, config.attention_scale)?;
            x = (x + block.attention_post_norm.forward(&block.output.forward(&attended)?)?)?;
            let normed = block.feed_norm.forward(&x)?;
            let [gate, up] = Linear::forward_all([&block.gate, &block.up], &normed)?;
            let fed = block.down.forward(&(gate.gelu()? * up)?)?;
            x = (x + block.feed_post_norm.forward(&fed)?)?;
        }
        self.norm.forward(&x)
    }
}
