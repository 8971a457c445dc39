//! GPT-2 by shape: tensors, parameter count and `config.json`. Linear layers are Hugging Face's Conv1D, stored as
//! `[inputs, outputs]`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Shape, TensorDef, shape_problem};

/// The shapes of a GPT-2. The feed-forward part is four times the width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpt2Spec {
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Longest context, in tokens: the rows of the learned positions.
    pub ctx: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Heads.
    pub heads: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Whether the output head is the embedding, as in every published GPT-2.
    pub tied: bool,
}

impl Gpt2Spec {
    /// GPT-2's own vocabulary and context with the given shape, head tied.
    #[must_use]
    pub const fn new(layers: usize, width: usize, heads: usize) -> Self {
        Self { vocab: 50_257, ctx: 1024, layers, width, heads, layer_norm_eps: 1e-5, tied: true }
    }

    /// `V·d + ctx·d + L·(12·d² + 13·d) + 2·d`, and `V·d` more where the head is not tied: per block `3d²+3d` and
    /// `d²+d` for attention, `8d²+5d` for the feed-forward part and `4d` for two norms.
    #[must_use]
    pub fn params(&self) -> u64 {
        let [v, c, l, d] = [self.vocab, self.ctx, self.layers, self.width].map(|n| n as u64);
        let head = if self.tied { 0 } else { v * d };
        v * d + c * d + l * (12 * d * d + 13 * d) + 2 * d + head
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            kv_heads: self.heads,
            head_dim: self.width / self.heads.max(1),
            feed_forward: 4 * self.width,
            vocab: self.vocab,
            ctx: self.ctx,
            tied: self.tied,
        }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        shape_problem(&self.shape()).or_else(|| {
            (!self.width.is_multiple_of(self.heads))
                .then(|| format!("width {} does not divide into {} heads", self.width, self.heads))
        })
    }

    pub(crate) fn tensors(&self) -> Vec<TensorDef> {
        let d = self.width;
        // With a tied head the model repeats its last token for ever unless the blocks outweigh the embedding in the
        // residual stream; the final norm brings logits back to a standard deviation near 2.
        let embedding = 1.0 / (d as f64).sqrt();
        let norm = |out: &mut Vec<TensorDef>, name: String, mean: f32| {
            out.push(TensorDef::around(format!("{name}.weight"), [d], mean, 0.1 * f64::from(mean)));
            out.push(TensorDef::around(format!("{name}.bias"), [d], 0.0, 0.02));
        };
        let linear = |out: &mut Vec<TensorDef>, name: String, inputs: usize, outputs: usize, gain: f64| {
            out.push(TensorDef::matrix(format!("{name}.weight"), [inputs, outputs], inputs, gain));
            out.push(TensorDef::around(format!("{name}.bias"), [outputs], 0.0, 0.02));
        };
        let mut out = vec![
            TensorDef::around("transformer.wte.weight", [self.vocab, d], 0.0, embedding),
            TensorDef::around("transformer.wpe.weight", [self.ctx, d], 0.0, 2.0 * embedding),
        ];
        for layer in 0..self.layers {
            let h = format!("transformer.h.{layer}");
            norm(&mut out, format!("{h}.ln_1"), 1.0);
            linear(&mut out, format!("{h}.attn.c_attn"), d, 3 * d, 1.25);
            linear(&mut out, format!("{h}.attn.c_proj"), d, d, 1.0);
            norm(&mut out, format!("{h}.ln_2"), 1.0);
            linear(&mut out, format!("{h}.mlp.c_fc"), d, 4 * d, 1.25);
            linear(&mut out, format!("{h}.mlp.c_proj"), 4 * d, d, 1.0);
        }
        norm(&mut out, "transformer.ln_f".to_owned(), 2.0);
        if !self.tied {
            out.push(TensorDef::around("lm_head.weight", [self.vocab, d], 0.0, embedding));
        }
        out
    }

    pub(crate) fn config(&self, dtype: &str) -> Value {
        json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": "gelu_new",
            "attn_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "bos_token_id": self.vocab - 1,
            "eos_token_id": self.vocab - 1,
            "layer_norm_epsilon": self.layer_norm_eps,
            "n_ctx": self.ctx,
            "n_positions": self.ctx,
            "n_embd": self.width,
            "n_head": self.heads,
            "n_inner": null,
            "n_layer": self.layers,
            "scale_attn_weights": true,
            "tie_word_embeddings": self.tied,
            "torch_dtype": dtype,
            "vocab_size": self.vocab,
        })
    }
}
