//! What Hugging Face's tensors are called in GGUF, and how llama.cpp's converter rearranges them: GPT-2's Conv1D
//! matrices are transposed, Llama's query and key rows are interleaved for its rotary kernel, Gemma's norms get one
//! added. Each rearrangement has its exact inverse.

use crate::spec::{Architecture, Family, ModelSpec};

/// A rearrangement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rearrange {
    /// None.
    Keep,
    /// `[inputs, outputs]` to `[outputs, inputs]`.
    Transpose,
    /// Rows of each of so many heads from half-split to interleaved rotary pairs.
    Interleave { heads: usize },
    /// Add one.
    PlusOne,
}

/// A tensor's name in GGUF and its rearrangement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) name: String,
    pub(crate) rearrange: Rearrange,
}

/// The layout in GGUF of the tensor that Hugging Face calls `name`.
pub(crate) fn layout(spec: &ModelSpec, name: &str) -> Option<Layout> {
    let shape = spec.shape();
    let whole = |name: &str| Some(Layout { name: name.to_owned(), rearrange: Rearrange::Keep });
    match name {
        "transformer.wte.weight" | "model.embed_tokens.weight" => return whole("token_embd.weight"),
        "transformer.wpe.weight" => return whole("position_embd.weight"),
        "lm_head.weight" => return whole("output.weight"),
        "transformer.ln_f.weight" => return whole("output_norm.weight"),
        "transformer.ln_f.bias" => return whole("output_norm.bias"),
        "model.norm.weight" => {
            let rearrange =
                if spec.family() == Family::Gemma3 { Rearrange::PlusOne } else { Rearrange::Keep };
            return Some(Layout { name: "output_norm.weight".to_owned(), rearrange });
        }
        _ => {}
    }
    let rest = name.strip_prefix("transformer.h.").or_else(|| name.strip_prefix("model.layers."))?;
    let (layer, part) = rest.split_once('.')?;
    let (part, leaf) = part.rsplit_once('.')?;
    let gemma = matches!(spec.architecture, Architecture::Gemma3(_));
    let norm = if gemma { Rearrange::PlusOne } else { Rearrange::Keep };
    // GPT-2's biases share the names of its matrices and are not rearranged.
    let conv = if leaf == "weight" { Rearrange::Transpose } else { Rearrange::Keep };
    let rotary = |heads| if gemma { Rearrange::Keep } else { Rearrange::Interleave { heads } };
    let (block, rearrange) = match part {
        "ln_1" | "input_layernorm" => ("attn_norm", norm),
        "attn.c_attn" => ("attn_qkv", conv),
        "attn.c_proj" => ("attn_output", conv),
        "ln_2" | "pre_feedforward_layernorm" => ("ffn_norm", norm),
        "mlp.c_fc" => ("ffn_up", conv),
        "mlp.c_proj" => ("ffn_down", conv),
        "self_attn.q_proj" => ("attn_q", rotary(shape.heads)),
        "self_attn.k_proj" => ("attn_k", rotary(shape.kv_heads)),
        "self_attn.v_proj" => ("attn_v", Rearrange::Keep),
        "self_attn.o_proj" => ("attn_output", Rearrange::Keep),
        "self_attn.q_norm" => ("attn_q_norm", norm),
        "self_attn.k_norm" => ("attn_k_norm", norm),
        "post_attention_layernorm" if gemma => ("post_attention_norm", norm),
        "post_attention_layernorm" => ("ffn_norm", norm),
        "mlp.gate_proj" => ("ffn_gate", Rearrange::Keep),
        "mlp.up_proj" => ("ffn_up", Rearrange::Keep),
        "mlp.down_proj" => ("ffn_down", Rearrange::Keep),
        "post_feedforward_layernorm" => ("post_ffw_norm", norm),
        _ => return None,
    };
    Some(Layout { name: format!("blk.{layer}.{block}.{leaf}"), rearrange })
}

impl Layout {
    /// The shape in GGUF, slowest extent first, of Hugging Face's `shape`.
    pub(crate) fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self.rearrange == Rearrange::Transpose {
            shape.reverse();
        }
        shape
    }

    /// Hugging Face's values, of `shape`, as GGUF wants them.
    pub(crate) fn arrange(&self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match self.rearrange {
            Rearrange::Keep => values,
            Rearrange::Transpose => transpose(&values, shape[0], shape[1]),
            Rearrange::Interleave { heads } => permute(&values, shape, heads, true),
            Rearrange::PlusOne => values.into_iter().map(|v| v + 1.0).collect(),
        }
    }

    /// GGUF's values as Hugging Face, whose shape is `shape`, wants them.
    pub(crate) fn restore(&self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match self.rearrange {
            Rearrange::Keep => values,
            Rearrange::Transpose => transpose(&values, shape[1], shape[0]),
            Rearrange::Interleave { heads } => permute(&values, shape, heads, false),
            Rearrange::PlusOne => values.into_iter().map(|v| v - 1.0).collect(),
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`, in tiles that stay in the cache.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; values.len()];
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            for r in row..(row + TILE).min(rows) {
                for c in column..(column + TILE).min(columns) {
                    out[c * rows + r] = values[r * columns + c];
                }
            }
        }
    }
    out
}

/// Moves rows within each head: half-split `(p, j)` to interleaved `(j, p)`, or back; `p` is the half, `j` the pair.
fn permute(values: &[f32], shape: &[usize], heads: usize, interleave: bool) -> Vec<f32> {
    let row = shape[1];
    let head = shape[0] / heads;
    let pairs = head / 2;
    let mut out = Vec::with_capacity(values.len());
    for h in 0..heads {
        for i in 0..head {
            let from = if interleave { (i % 2) * pairs + i / 2 } else { (i % pairs) * 2 + i / pairs };
            let at = (h * head + from) * row;
            out.extend_from_slice(&values[at..at + row]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::models;

    #[test]
    fn rotary_rows_by_hand() {
        // One head of width 6, one column: halves (0 1 2) (3 4 5) become pairs (0 3) (1 4) (2 5).
        let rows = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let out = permute(&rows, &[6, 1], 1, true);
        assert_eq!(out, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(permute(&out, &[6, 1], 1, false), rows);
    }

    #[test]
    fn transpose_by_hand_and_beyond_a_tile() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let values: Vec<f32> = (0..70 * 45).map(|v| v as f32).collect();
        assert_eq!(transpose(&transpose(&values, 70, 45), 45, 70), values);
    }

    #[test]
    fn every_tensor_has_one_name_and_every_rearrangement_is_undone() {
        for spec in models() {
            let mut names = Vec::new();
            for def in spec.tensors() {
                let layout = layout(&spec, &def.name).unwrap_or_else(|| panic!("{}", def.name));
                if def.elements() < 100_000 {
                    let values: Vec<f32> = (0..def.elements()).map(|v| v as f32).collect();
                    let there = layout.arrange(values.clone(), &def.shape);
                    assert_eq!(layout.restore(there, &def.shape), values, "{}", def.name);
                }
                names.push(layout.name);
            }
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", spec.name);
        }
    }
}
