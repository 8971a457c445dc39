//! Gemma 3 (text) by shape: tensors, parameter count and `config.json`. Norm weights are stored less one, as Hugging
//! Face does: the model multiplies by `1 + w`. The embedding is multiplied by the root of the width when it is read.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Init, Shape, TensorDef, shape_problem};

/// The shapes of a Gemma 3 text model. The head is always the embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gemma3Spec {
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
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of one head; it need not be `width / heads`.
    pub head_dim: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Tokens that a local block sees.
    pub sliding_window: usize,
    /// Every so many blocks one sees the whole context: block `i` does if `(i + 1)` divides by this.
    pub sliding_window_pattern: usize,
    /// Base of the rotary frequencies of global blocks.
    pub rope_theta: f64,
    /// Base of the rotary frequencies of local blocks.
    pub rope_local_theta: f64,
    /// Epsilon of the RMS norms.
    pub rms_eps: f64,
    /// Token that begins a text, if the vocabulary has one.
    pub bos: Option<u32>,
    /// Token that ends a text, if the vocabulary has one.
    pub eos: Option<u32>,
}

impl Gemma3Spec {
    /// `V·d + L·(2·d·h·(H + K) + 3·d·f + 4·d + 2·h) + d` with head width `h`, `H` query and `K` key-value heads and
    /// feed-forward width `f`.
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
        v * d + l * (2 * d * h * (heads + kv) + 3 * d * f + 4 * d + 2 * h) + d
    }

    /// Whether block `layer` sees the whole context.
    #[must_use]
    pub fn is_global(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.sliding_window_pattern)
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
            tied: true,
        }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        shape_problem(&self.shape()).or_else(|| {
            if !self.head_dim.is_multiple_of(2) {
                return Some(format!("head width {} is odd, rotary pairs need two", self.head_dim));
            }
            (self.sliding_window == 0 || self.sliding_window_pattern == 0)
                .then(|| "the sliding window or its pattern is zero".to_owned())
        })
    }

    pub(crate) fn tensors(&self) -> Vec<TensorDef> {
        let (d, f, h) = (self.width, self.feed_forward, self.head_dim);
        let (q, kv) = (self.heads * h, self.kv_heads * h);
        // With a tied head the model repeats its last token for ever unless the blocks outweigh the embedding, which the
        // reader multiplies by sqrt(d): the residual stream starts at a quarter of the unit variance that each norm
        // after a part adds. The final norm brings logits back to a standard deviation near 2.
        let embedding = 0.25 / (d as f64).sqrt();
        let norm = |name: String, width: usize, mean: f32| TensorDef {
            name: format!("{name}.weight"),
            shape: vec![width],
            init: Init::AroundLessOne { mean, std: 0.1 * f64::from(mean) },
        };
        let linear = |name: String, outputs: usize, inputs: usize, gain: f64| {
            TensorDef::matrix(format!("{name}.weight"), [outputs, inputs], inputs, gain)
        };
        let mut out = vec![TensorDef::around("model.embed_tokens.weight", [self.vocab, d], 0.0, embedding)];
        for layer in 0..self.layers {
            let l = format!("model.layers.{layer}");
            out.push(norm(format!("{l}.input_layernorm"), d, 1.0));
            out.push(linear(format!("{l}.self_attn.q_proj"), q, d, 1.0));
            out.push(linear(format!("{l}.self_attn.k_proj"), kv, d, 1.0));
            out.push(linear(format!("{l}.self_attn.v_proj"), kv, d, 1.0));
            out.push(linear(format!("{l}.self_attn.o_proj"), d, q, 1.0));
            out.push(norm(format!("{l}.self_attn.q_norm"), h, 1.0));
            out.push(norm(format!("{l}.self_attn.k_norm"), h, 1.0));
            out.push(norm(format!("{l}.post_attention_layernorm"), d, 1.0));
            out.push(norm(format!("{l}.pre_feedforward_layernorm"), d, 1.0));
            out.push(linear(format!("{l}.mlp.gate_proj"), f, d, 1.25));
            out.push(linear(format!("{l}.mlp.up_proj"), f, d, 1.25));
            out.push(linear(format!("{l}.mlp.down_proj"), d, f, 1.0));
            out.push(norm(format!("{l}.post_feedforward_layernorm"), d, 1.0));
        }
        out.push(norm("model.norm".to_owned(), d, 8.0));
        out
    }

    pub(crate) fn config(&self, dtype: &str) -> Value {
        let layer_types: Vec<&str> = (0..self.layers)
            .map(|l| if self.is_global(l) { "full_attention" } else { "sliding_attention" })
            .collect();
        json!({
            "architectures": ["Gemma3ForCausalLM"],
            "model_type": "gemma3_text",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "attn_logit_softcapping": null,
            "bos_token_id": self.bos,
            "eos_token_id": self.eos,
            "final_logit_softcapping": null,
            "head_dim": self.head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "layer_types": layer_types,
            "max_position_embeddings": self.ctx,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "query_pre_attn_scalar": self.head_dim,
            "rms_norm_eps": self.rms_eps,
            "rope_local_base_freq": self.rope_local_theta,
            "rope_scaling": null,
            "rope_theta": self.rope_theta,
            "sliding_window": self.sliding_window,
            "sliding_window_pattern": self.sliding_window_pattern,
            "tie_word_embeddings": true,
            "torch_dtype": dtype,
            "vocab_size": self.vocab,
        })
    }
}
