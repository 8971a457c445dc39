//! Weights by one set of names, GGUF's, whichever container they come from, and the sums that are known once all are
//! read. Where the containers disagree on layout, this module settles it: matrices are rows of outputs, rotary pairs are
//! halves, and norms multiply by what is stored.

use std::{borrow::Cow, sync::Arc};

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QStorage, QTensor},
};
use chimera_engine::files::{
    Encoding,
    gguf::{Description, GgufFile},
};

use crate::{
    config::{Architecture, Config},
    error::LoadError,
    file::safetensors::{SafetensorsFile, bf16s, f16s, f32s},
    linear::{Linear, Matrix},
};

enum Source {
    Safetensors(SafetensorsFile),
    Gguf(GgufFile),
}

/// What the weights amount to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Weights read, each once.
    pub(crate) parameters: u64,
    /// Bytes in memory that one decode step reads.
    pub(crate) bytes_per_token: u64,
    /// Elements of matrices by the type they are stored in.
    stored: Vec<(&'static str, u64)>,
}

impl Tally {
    fn add(&mut self, elements: usize, stored: &'static str, matrix: bool) {
        self.parameters += elements as u64;
        if matrix {
            match self.stored.iter_mut().find(|(name, _)| *name == stored) {
                Some((_, sum)) => *sum += elements as u64,
                None => self.stored.push((stored, elements as u64)),
            }
        }
    }

    /// The type that most weights in matrices are stored in.
    pub(crate) fn precision(&self) -> Option<&'static str> {
        self.stored.iter().max_by_key(|(_, sum)| *sum).map(|(name, _)| *name)
    }
}

/// Reads weights one by one.
pub(crate) struct Weights<'a> {
    source: Source,
    config: &'a Config,
    device: &'a Device,
    pub(crate) tally: Tally,
}

impl<'a> Weights<'a> {
    pub(crate) fn safetensors(file: SafetensorsFile, config: &'a Config, device: &'a Device) -> Self {
        Self { source: Source::Safetensors(file), config, device, tally: Tally::default() }
    }

    pub(crate) fn gguf(file: GgufFile, config: &'a Config, device: &'a Device) -> Self {
        Self { source: Source::Gguf(file), config, device, tally: Tally::default() }
    }

    /// A table whose rows are looked up. It counts one row per token here; a head that shares it counts the rest.
    pub(crate) fn embedding(
        &mut self,
        name: &str,
        rows: Option<usize>,
        width: usize,
    ) -> Result<Matrix, LoadError> {
        let matrix = self.matrix(name, rows, width)?;
        self.tally.bytes_per_token += matrix.bytes() / matrix.rows() as u64;
        Ok(matrix)
    }

    /// The output head: a matrix of its own, or else the embedding.
    pub(crate) fn head(&mut self, embedding: &Matrix) -> Result<Linear, LoadError> {
        const NAME: &str = "output";
        let matrix = if self.has(&format!("{NAME}.weight")) {
            let matrix = self.matrix(&format!("{NAME}.weight"), Some(embedding.rows()), self.config.width)?;
            self.tally.bytes_per_token += matrix.bytes();
            matrix
        } else {
            self.tally.bytes_per_token += embedding.bytes() - embedding.bytes() / embedding.rows() as u64;
            embedding.clone()
        };
        Ok(Linear::new(matrix, None))
    }

    /// A linear map; `name` without `.weight`.
    pub(crate) fn linear(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, LoadError> {
        let matrix = self.matrix(&format!("{name}.weight"), Some(outputs), inputs)?;
        self.tally.bytes_per_token += matrix.bytes();
        let bias = format!("{name}.bias");
        // Only GPT-2 has biases: a Llama with some is another model.
        let bias = match (self.config.architecture, self.has(&bias)) {
            (Architecture::Gpt2, _) => Some(self.vector(&bias, outputs)?),
            (_, false) => None,
            (_, true) => return Err(LoadError::unsupported(format!("biases ({bias})"))),
        };
        Ok(Linear::new(matrix, bias))
    }

    /// A vector of `length` values.
    pub(crate) fn vector(&mut self, name: &str, length: usize) -> Result<Tensor, LoadError> {
        let (mut values, shape, stored) = self.read(name)?;
        self.expect(name, &shape, &[length])?;
        self.tally.add(length, stored, false);
        self.tally.bytes_per_token += length as u64 * 4;
        // Gemma's safetensors store the difference to one, its GGUF files the factor itself.
        if self.config.architecture == Architecture::Gemma3 && matches!(self.source, Source::Safetensors(_)) {
            values.iter_mut().for_each(|v| *v += 1.0);
        }
        Ok(Tensor::from_vec(values, length, self.device)?)
    }

    fn matrix(&mut self, name: &str, rows: Option<usize>, columns: usize) -> Result<Matrix, LoadError> {
        if let Source::Gguf(file) = &self.source
            && let Some(tensor) = file.tensor(name).cloned()
            && !matches!(tensor.kind.name, "F32" | "F16" | "BF16")
        {
            return self.quantised(name, &tensor, rows, columns);
        }
        let (values, shape, stored) = self.read(name)?;
        let transposed = self.is_transposed(name);
        let (values, rows) = match *shape.as_slice() {
            [r, c] if !transposed && c == columns => (values, check_rows(r, rows)),
            [c, r] if transposed && c == columns => (transpose(&values, c, r), check_rows(r, rows)),
            _ => (values, None),
        };
        let rows = rows.ok_or_else(|| self.invalid(format!("tensor {name} has the shape {shape:?}")))?;
        self.tally.add(values.len(), stored, true);
        let values = match self.rotary_heads(name) {
            Some(heads) => unpermute(&values, columns, heads, rows / heads.max(1)),
            None => values,
        };
        Ok(Matrix::Full(Tensor::from_vec(values, (rows, columns), self.device)?))
    }

    fn quantised(
        &mut self,
        name: &str,
        tensor: &Description,
        rows: Option<usize>,
        columns: usize,
    ) -> Result<Matrix, LoadError> {
        let rows = match *tensor.shape.as_slice() {
            [r, c] if c == columns => check_rows(r, rows),
            _ => None,
        };
        let rows =
            rows.ok_or_else(|| self.invalid(format!("tensor {name} has the shape {:?}", tensor.shape)))?;
        let Source::Gguf(file) = &self.source else {
            return Err(self.invalid(format!("tensor {name} is quantised outside GGUF")));
        };
        let bytes = file.bytes(tensor)?;
        let bytes = match self.rotary_heads(name) {
            Some(heads) => unpermute(&bytes, bytes.len() / rows, heads, rows / heads.max(1)),
            None => bytes,
        };
        self.tally.add(rows * columns, tensor.kind.name, true);
        let storage = QStorage::from_data(Cow::Owned(bytes), self.device, dtype(name, tensor.kind)?)?;
        Ok(Matrix::Quantised(Arc::new(QTensor::new(storage, (rows, columns))?)))
    }

    fn read(&mut self, name: &str) -> Result<(Vec<f32>, Vec<usize>, &'static str), LoadError> {
        match &mut self.source {
            Source::Safetensors(file) => {
                let translated = translate(self.config.architecture, name);
                // Files saved from a model with a head have this prefix, files of the model below it do not.
                let prefixed = format!("transformer.{translated}");
                let read = file.read(if file.has(&prefixed) { &prefixed } else { &translated })?;
                Ok((read.values, read.shape, read.stored))
            }
            Source::Gguf(file) => {
                let tensor = file
                    .tensor(name)
                    .ok_or_else(|| LoadError::invalid(file.path(), format!("tensor {name} is missing")))?;
                let bytes = file.bytes(tensor)?;
                let values = match dtype(name, tensor.kind)? {
                    GgmlDType::F32 => f32s(&bytes),
                    GgmlDType::F16 => f16s(&bytes),
                    GgmlDType::BF16 => bf16s(&bytes),
                    // Vectors are rarely quantised; the library knows all kinds.
                    kind => {
                        let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, kind)?;
                        let tensor = QTensor::new(storage, tensor.shape.as_slice())?;
                        tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?
                    }
                };
                Ok((values, tensor.shape.clone(), tensor.kind.name))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        match &self.source {
            Source::Safetensors(file) => {
                let translated = translate(self.config.architecture, name);
                file.has(&translated) || file.has(&format!("transformer.{translated}"))
            }
            Source::Gguf(file) => file.tensor(name).is_some(),
        }
    }

    /// GPT-2's safetensors keep the linear maps of blocks as columns of outputs (`Conv1D`).
    fn is_transposed(&self, name: &str) -> bool {
        matches!(self.source, Source::Safetensors(_))
            && self.config.architecture == Architecture::Gpt2
            && name.starts_with("blk.")
    }

    /// Llama's GGUF files keep the rows of queries and keys in the order of interleaved rotary pairs.
    fn rotary_heads(&self, name: &str) -> Option<usize> {
        if !matches!(self.source, Source::Gguf(_)) || self.config.architecture != Architecture::Llama {
            return None;
        }
        if name.ends_with(".attn_q.weight") {
            Some(self.config.heads)
        } else if name.ends_with(".attn_k.weight") {
            Some(self.config.kv_heads)
        } else {
            None
        }
    }

    fn expect(&self, name: &str, shape: &[usize], expected: &[usize]) -> Result<(), LoadError> {
        if shape == expected {
            return Ok(());
        }
        Err(self.invalid(format!("tensor {name} has the shape {shape:?}, not {expected:?}")))
    }

    fn invalid(&self, what: String) -> LoadError {
        let path = match &self.source {
            Source::Safetensors(file) => file.path(),
            Source::Gguf(file) => file.path(),
        };
        LoadError::invalid(path, what)
    }
}

/// The type that weights of a stored type are computed in. 16-bit floats are widened when they are read; blocks of integers stay
/// as they are.
#[must_use]
pub fn computed_in(stored: &str) -> &str {
    match stored {
        "F16" | "BF16" => "F32",
        other => other,
    }
}

/// The library's name of a type, if it computes with it.
fn dtype(name: &str, encoding: Encoding) -> Result<GgmlDType, LoadError> {
    Ok(match encoding.name {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "BF16" => GgmlDType::BF16,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        other => return Err(LoadError::unsupported(format!("tensor {name} of type {other}"))),
    })
}

fn check_rows(found: usize, expected: Option<usize>) -> Option<usize> {
    (found > 0 && expected.is_none_or(|e| e == found)).then_some(found)
}

/// Rows become columns, in tiles that fit the first cache.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut out = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for column in left..columns.min(left + TILE) {
                for row in top..rows.min(top + TILE) {
                    out[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    out
}

/// Moves rows from interleaved rotary pairs (0, 1), (2, 3), … to pairs of halves (0, d/2), (1, d/2 + 1), …, head by head.
/// Attention scores are sums over a head's rows, so queries and keys that move alike give the same scores.
fn unpermute<T: Copy>(values: &[T], row: usize, heads: usize, head_dim: usize) -> Vec<T> {
    let half = head_dim / 2;
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for index in 0..head_dim {
            let from = head * head_dim + (index % half) * 2 + index / half;
            out.extend_from_slice(&values[from * row..(from + 1) * row]);
        }
    }
    out
}

/// GGUF's name of a tensor as safetensors have it.
fn translate(architecture: Architecture, name: &str) -> String {
    let gpt2 = architecture == Architecture::Gpt2;
    let (block, part) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((index, part)) => (Some(index), part),
        None => (None, name),
    };
    let (part, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
    let part = match (architecture, part) {
        (Architecture::Gpt2, "token_embd") => "wte",
        (Architecture::Gpt2, "position_embd") => "wpe",
        (Architecture::Gpt2, "attn_norm") => "ln_1",
        (Architecture::Gpt2, "attn_qkv") => "attn.c_attn",
        (Architecture::Gpt2, "attn_output") => "attn.c_proj",
        (Architecture::Gpt2, "ffn_norm") => "ln_2",
        (Architecture::Gpt2, "ffn_up") => "mlp.c_fc",
        (Architecture::Gpt2, "ffn_down") => "mlp.c_proj",
        (Architecture::Gpt2, "output_norm") => "ln_f",
        (_, "output") => "lm_head",
        (_, "token_embd") => "model.embed_tokens",
        (_, "output_norm") => "model.norm",
        (_, "attn_norm") => "input_layernorm",
        (_, "attn_q") => "self_attn.q_proj",
        (_, "attn_k") => "self_attn.k_proj",
        (_, "attn_v") => "self_attn.v_proj",
        (_, "attn_output") => "self_attn.o_proj",
        (_, "attn_q_norm") => "self_attn.q_norm",
        (_, "attn_k_norm") => "self_attn.k_norm",
        (Architecture::Llama, "ffn_norm") => "post_attention_layernorm",
        (Architecture::Gemma3, "ffn_norm") => "pre_feedforward_layernorm",
        (_, "post_attention_norm") => "post_attention_layernorm",
        (_, "post_ffw_norm") => "post_feedforward_layernorm",
        (_, "ffn_gate") => "mlp.gate_proj",
        (_, "ffn_up") => "mlp.up_proj",
        (_, "ffn_down") => "mlp.down_proj",
        (_, other) => other,
    };
    match block {
        Some(index) if gpt2 => format!("h.{index}.{part}.{kind}"),
        Some(index) => format!("model.layers.{index}.{part}.{kind}"),
        None => format!("{part}.{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        use Architecture::{Gemma3, Gpt2, Llama};
        for (architecture, ours, theirs) in [
            (Gpt2, "blk.3.attn_qkv.bias", "h.3.attn.c_attn.bias"),
            (Gpt2, "output_norm.weight", "ln_f.weight"),
            (Llama, "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            (Gemma3, "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight"),
            (Gemma3, "blk.0.post_attention_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            (Llama, "output.weight", "lm_head.weight"),
        ] {
            assert_eq!(translate(architecture, ours), theirs);
        }
    }

    #[test]
    fn rows_move_as_rotary_pairs_do() {
        // Two heads of four rows, one value each: interleaved order in, halves out.
        let rows = [0, 1, 2, 3, 10, 11, 12, 13];
        assert_eq!(unpermute(&rows, 1, 2, 4), [0, 2, 1, 3, 10, 12, 11, 13]);
        let wide: Vec<f32> = (0..40 * 70u16).map(f32::from).collect();
        let back = transpose(&transpose(&wide, 40, 70), 70, 40);
        assert_eq!(back, wide);
        assert_eq!(transpose(&wide, 40, 70)[40], wide[1]);
    }
}
