//! Matrices as they lie in memory, full or quantised, and the two things done with them: rows are looked up, and
//! activations are multiplied by them.

use std::sync::Arc;

use candle_core::{Module, Result, Tensor, quantized::QTensor};

/// Rows of outputs (or of a table), columns of inputs.
#[derive(Debug, Clone)]
pub(crate) enum Matrix {
    /// F32.
    Full(Tensor),
    /// Blocks of ggml.
    Quantised(Arc<QTensor>),
}

impl Matrix {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Full(tensor) => tensor.dims()[0],
            Self::Quantised(tensor) => tensor.shape().dims()[0],
        }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Full(tensor) => (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64,
            Self::Quantised(tensor) => tensor.storage_size_in_bytes() as u64,
        }
    }

    /// Rows `ids` of the table, one more dimension than `ids` has. Only these rows are dequantised.
    pub(crate) fn lookup(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Full(table) => {
                let mut shape = ids.dims().to_vec();
                shape.push(table.dims()[1]);
                table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
            }
            Self::Quantised(table) => table.embedding(ids),
        }
    }
}

/// Activations times a matrix, plus a bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    matrix: Matrix,
    bias: Option<Tensor>,
}

impl Linear {
    pub(crate) fn new(matrix: Matrix, bias: Option<Tensor>) -> Self {
        Self { matrix, bias }
    }

    /// The last dimension of `x` goes from inputs to outputs.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.matrix {
            Matrix::Full(weight) => multiply(x, weight)?,
            Matrix::Quantised(weight) => x.apply_op1_no_bwd(weight.as_ref())?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// Several maps of the same activations, which the library can then round once.
    pub(crate) fn forward_all<const N: usize>(maps: [&Self; N], x: &Tensor) -> Result<[Tensor; N]> {
        let quantised: Vec<&QTensor> = maps
            .iter()
            .filter_map(|map| match &map.matrix {
                Matrix::Quantised(tensor) => Some(tensor.as_ref()),
                Matrix::Full(_) => None,
            })
            .collect();
        if quantised.len() == N
            && x.elem_count() == x.dims().last().copied().unwrap_or(0)
            && let Some(outputs) = QTensor::gemv_fused_shared_lhs(&quantised, x)?
            && let Ok(outputs) = <[Tensor; N]>::try_from(outputs)
        {
            return Ok(outputs);
        }
        let outputs = maps.iter().map(|map| map.forward(x)).collect::<Result<Vec<_>>>()?;
        <[Tensor; N]>::try_from(outputs).map_err(|_| candle_core::Error::msg("as many outputs as maps"))
    }
}

fn multiply(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let rows = x.elem_count() / inputs;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    x.reshape((rows, inputs))?.matmul(&weight.t()?)?.reshape(shape)
}

/// What is done to activations before a linear map so that their size does not matter.
#[derive(Debug, Clone)]
pub(crate) enum Norm {
    Layer { weight: Tensor, bias: Tensor, epsilon: f32 },
    Rms { weight: Tensor, epsilon: f32 },
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer { weight, bias, epsilon } => {
                candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, *epsilon)
            }
            Self::Rms { weight, epsilon } => candle_nn::ops::rms_norm(&x.contiguous()?, weight, *epsilon),
        }
    }
}
