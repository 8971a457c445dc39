//! Llama by shape: tensors, parameter count and `config.json`. Linear layers are stored as `[outputs, inputs]`, and
//! queries and keys are in Hugging Face's half-split order of rotary pairs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Shape, TensorDef, shape_problem};

/// The shapes of a Llama.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlamaSpec {
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Longest context, in tokens.
    pub ctx: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; fewer than `heads` is grouped-query attention.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Epsilon of the RMS norms.
    pub rms_eps: f64,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// Token that begins a text, if the vocabulary has one.
    pub bos: Option<u32>,
    /// Token that ends a text, if the vocabulary has one.
    pub eos: Option<u32>,
}

impl LlamaSpec {
    /// `V·d·(1 or 2) + L·(2·d·h·(H + K) + 3·d·f + 2·d) + d` with head width `h`, `H` query and `K` key-value heads and
    /// feed-forward width `f`; the embedding counts twice where the head is not tied.
    #[must_use]
    pub fn params(&self) -> u64 {
        let [v, l, d, heads, kv, h, f] = [
            self.vocab,
            self.layers,
            self.width,
            self.heads,
            self.kv_heads,
            self.head_dim,
            self.feed_forward,
        ]
        .map(|n| n as u64);
        let embeddings = if self.tied { v * d } else { 2 * v * d };
        embeddings + l * (2 * d * h * (heads + kv) + 3 * d * f + 2 * d) + d
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            feed_forward: self.feed_forward,
            vocab: self.vocab,
            ctx: self.ctx,
            tied: self.tied,
        }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        shape_problem(&self.shape()).or_else(|| {
            (!self.head_dim.is_multiple_of(2))
                .then(|| format!("head width {} is odd, rotary pairs need two", self.head_dim))
        })
    }

    pub(crate) fn tensors(&self) -> Vec<TensorDef> {
        let (d, f) = (self.width, self.feed_forward);
        let (q, kv) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        // As in GPT-2: blocks outweigh the embedding, logits near standard deviation 2.
        let embedding = 1.0 / (d as f64).sqrt();
        let norm = |name: String, mean: f32| {
            TensorDef::around(format!("{name}.weight"), [d], mean, 0.1 * f64::from(mean))
        };
        let linear = |name: String, outputs: usize, inputs: usize, gain: f64| {
            TensorDef::matrix(format!("{name}.weight"), [outputs, inputs], inputs, gain)
        };
        let mut out = vec![TensorDef::around("model.embed_tokens.weight", [self.vocab, d], 0.0, embedding)];
        for layer in 0..self.layers {
            let l = format!("model.layers.{layer}");
            out.push(norm(format!("{l}.input_layernorm"), 1.0));
            out.push(linear(format!("{l}.self_attn.q_proj"), q, d, 1.25));
            out.push(linear(format!("{l}.self_attn.k_proj"), kv, d, 1.25));
            out.push(linear(format!("{l}.self_attn.v_proj"), kv, d, 1.25));
            out.push(linear(format!("{l}.self_attn.o_proj"), d, q, 1.0));
            out.push(norm(format!("{l}.post_attention_layernorm"), 1.0));
            out.push(linear(format!("{l}.mlp.gate_proj"), f, d, 1.25));
            out.push(linear(format!("{l}.mlp.up_proj"), f, d, 1.25));
            out.push(linear(format!("{l}.mlp.down_proj"), d, f, 1.0));
        }
        out.push(norm("model.norm".to_owned(), 2.0));
        if !self.tied {
            out.push(TensorDef::around("lm_head.weight", [self.vocab, d], 0.0, embedding));
        }
        out
    }

    pub(crate) fn config(&self, dtype: &str) -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": self.bos,
            "eos_token_id": self.eos,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "max_position_embeddings": self.ctx,
            "mlp_bias": false,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": self.rms_eps,
            "rope_scaling": null,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied,
            "torch_dtype": dtype,
            "vocab_size": self.vocab,
        })
    }
}
