//! Products of few rows of activations with a matrix on the CPU, which is what decoding consists of. The library's general
//! product runs these on one thread and far below the memory's speed, and some of its quantised ones are not vectorised
//! unless the build is for one CPU alone; for many rows it is the better one. The instruction set is chosen at run time.
//!
//! Activations stay F32 here, also against quantised weights.

mod blocks;
mod full;

use candle_core::{
    CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail, quantized::QTensor,
};
use pulp::{Arch, Simd, WithSimd};
use rayon::{
    iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator},
    slice::{ParallelSlice, ParallelSliceMut},
};

pub(crate) use blocks::Format;

/// Up to this many rows these kernels are faster than the general product.
pub(crate) const MOST_ROWS: usize = 16;

/// Below this many multiplications a second thread costs more than it saves.
const LEAST_PARALLEL: usize = 1 << 17;

/// Rows of activations that share a look at the weights.
const TILE: usize = 4;

/// `x` times the transpose of an F32 matrix of rows of outputs.
pub(crate) struct Full<'a>(pub(crate) &'a Tensor);

impl CustomOp1 for Full<'_> {
    fn name(&self) -> &'static str {
        "multiply-few-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = self.0.dims2()?;
        let (x, shape) = activations(storage, layout, inputs, outputs)?;
        let (guard, weight_layout) = self.0.storage_and_layout();
        let Storage::Cpu(weight) = &*guard else { bail!("weights are not on the CPU") };
        let Some((begin, end)) = weight_layout.contiguous_offsets() else {
            bail!("weights are not contiguous")
        };
        let weight = &weight.as_slice::<f32>()?[begin..end];
        let mut out = vec![0f32; x.len() / inputs * outputs];
        split(x.len() * outputs, &mut out, outputs, &|first, columns| {
            Arch::new().dispatch(full::Share { weight: &weight[first * inputs..], x, inputs, columns });
        });
        Ok((CpuStorage::F32(out), shape))
    }
}

/// `x` times the transpose of a quantised matrix of rows of outputs.
pub(crate) struct Quantised<'a> {
    pub(crate) weight: &'a QTensor,
    pub(crate) format: Format,
}

impl CustomOp1 for Quantised<'_> {
    fn name(&self) -> &'static str {
        "multiply-few-rows-quantised"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = self.weight.shape().dims2()?;
        let (x, shape) = activations(storage, layout, inputs, outputs)?;
        let weight = self.weight.data()?;
        let row = self.format.row_bytes(inputs);
        if weight.len() != row * outputs {
            bail!("{} bytes of {:?} for {outputs} rows of {inputs}", weight.len(), self.format);
        }
        let sums = blocks::sums(x);
        let mut out = vec![0f32; x.len() / inputs * outputs];
        split(x.len() * outputs, &mut out, outputs, &|first, columns| {
            let weight = &weight[first * row..];
            Arch::new().dispatch(blocks::Share {
                format: self.format,
                weight,
                x,
                sums: &sums,
                inputs,
                columns,
            });
        });
        Ok((CpuStorage::F32(out), shape))
    }
}

/// A quantised matrix as F32, on all threads.
pub(crate) fn widen(weight: &QTensor, format: Format) -> Result<Tensor> {
    let (outputs, inputs) = weight.shape().dims2()?;
    let bytes = weight.data()?;
    let row = format.row_bytes(inputs);
    if bytes.len() != row * outputs {
        bail!("{} bytes of {format:?} for {outputs} rows of {inputs}", bytes.len());
    }
    let mut out = vec![0f32; outputs * inputs];
    let rows = outputs.div_ceil(rayon::current_num_threads() * 4);
    out.par_chunks_mut(rows * inputs)
        .zip(bytes.par_chunks(rows * row))
        .for_each(|(out, weight)| Arch::new().dispatch(blocks::Widen { format, weight, out }));
    Tensor::from_vec(out, (outputs, inputs), &Device::Cpu)
}

/// The activations of an operation and the shape of its result.
fn activations<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    inputs: usize,
    outputs: usize,
) -> Result<(&'a [f32], Shape)> {
    let Some((begin, end)) = layout.contiguous_offsets() else { bail!("activations are not contiguous") };
    let mut dims = layout.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == inputs => *last = outputs,
        _ => bail!("activations of shape {:?} do not fit a matrix of {inputs} inputs", layout.dims()),
    }
    Ok((&storage.as_slice::<f32>()?[begin..end], Shape::from(dims)))
}

/// Parts of the result: for each row of activations, a range of outputs.
type Columns<'a> = Vec<&'a mut [f32]>;

/// Splits the outputs over the threads; `compute` gets the first output of a range and that range of every row.
fn split(work: usize, out: &mut [f32], outputs: usize, compute: &(dyn Fn(usize, Columns<'_>) + Sync)) {
    let threads = rayon::current_num_threads();
    if threads == 1 || work < LEAST_PARALLEL {
        return compute(0, out.chunks_mut(outputs).collect());
    }
    // More shares than threads, so that a thread that is not given its core in time leaves its part to the others.
    let size = outputs.div_ceil(threads * 4);
    let mut shares: Vec<Columns<'_>> = (0..outputs.div_ceil(size)).map(|_| Vec::new()).collect();
    for row in out.chunks_mut(outputs) {
        for (share, part) in shares.iter_mut().zip(row.chunks_mut(size)) {
            share.push(part);
        }
    }
    shares.into_par_iter().enumerate().for_each(|(index, columns)| compute(index * size, columns));
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::*;

    fn random(shape: (usize, usize), seed: usize) -> Tensor {
        let value = |n: usize| (((n + seed) * 2_654_435_761) % 1009) as f32 / 500.0 - 1.0;
        Tensor::from_vec((0..shape.0 * shape.1).map(value).collect(), shape, &Device::Cpu).unwrap()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f32 {
        assert_eq!(a.dims(), b.dims());
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn full_products_agree_with_the_library() {
        // Shapes below and above the parallel limit, with and without rests.
        for (rows, inputs, outputs) in [(1, 3, 5), (1, 64, 64), (3, 80, 33), (2, 257, 1030), (7, 100, 999)] {
            let (x, w) = (random((rows, inputs), 1), random((outputs, inputs), 2));
            let expected = x.matmul(&w.t().unwrap()).unwrap();
            assert!(worst(&x.apply_op1_no_bwd(&Full(&w)).unwrap(), &expected) < 1e-4);
        }
    }

    #[test]
    fn quantised_products_are_those_of_the_dequantised_weights() {
        for (kind, format) in [
            (GgmlDType::Q4_0, Format::Q4_0),
            (GgmlDType::Q4_1, Format::Q4_1),
            (GgmlDType::Q8_0, Format::Q8_0),
        ] {
            for (rows, inputs, outputs) in [(1, 32, 3), (1, 96, 64), (5, 160, 33), (6, 288, 1030)] {
                let (x, w) = (random((rows, inputs), 3), random((outputs, inputs), 4));
                let weight = QTensor::quantize(&w, kind).unwrap();
                let exact = weight.dequantize(&Device::Cpu).unwrap();
                assert!(worst(&widen(&weight, format).unwrap(), &exact) < 1e-6);
                let expected = x.matmul(&exact.t().unwrap()).unwrap();
                let got = x.apply_op1_no_bwd(&Quantised { weight: &weight, format }).unwrap();
                assert!(worst(&got, &expected) < 1e-4, "{kind:?}: {}", worst(&got, &expected));
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, w) = (random((1, 4), 1), random((3, 5), 2));
        assert!(x.apply_op1_no_bwd(&Full(&w)).is_err());
        let w = random((5, 3), 2);
        assert!(x.apply_op1_no_bwd(&Full(&w.t().unwrap())).is_err());
    }
}
