//! Products of few rows of activations with an F32 matrix on the CPU, which is what decoding consists of. The library's
//! general product runs these on one thread and far below the memory's speed; for many rows it is the better one. The
//! instruction set is chosen at run time.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail, utils::barrier_pool,
};
use pulp::{Arch, Simd, WithSimd};

/// Up to this many rows this kernel is faster than the general product.
const MOST_ROWS: usize = 16;

/// Below this many multiplications a second thread costs more than it saves.
const LEAST_PARALLEL: usize = 1 << 17;

/// Whether to multiply here.
pub(crate) fn is_worthwhile(device: &Device, rows: usize) -> bool {
    device.is_cpu() && rows <= MOST_ROWS
}

/// `x` times the transpose of a matrix of rows of outputs.
pub(crate) struct Multiply<'a> {
    weight: &'a Tensor,
}

impl<'a> Multiply<'a> {
    pub(crate) fn new(weight: &'a Tensor) -> Self {
        Self { weight }
    }
}

impl CustomOp1 for Multiply<'_> {
    fn name(&self) -> &'static str {
        "multiply-few-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = self.weight.dims2()?;
        let Some((begin, end)) = layout.contiguous_offsets() else { bail!("activations are not contiguous") };
        let x = &storage.as_slice::<f32>()?[begin..end];
        let (guard, weight_layout) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*guard else { bail!("weights are not on the CPU") };
        let Some((begin, end)) = weight_layout.contiguous_offsets() else {
            bail!("weights are not contiguous")
        };
        let weight = &weight.as_slice::<f32>()?[begin..end];

        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => bail!("activations of shape {:?} do not fit a matrix of {inputs} inputs", layout.dims()),
        }
        let rows = x.len() / inputs;
        let mut out = vec![0f32; rows * outputs];
        multiply(weight, x, &mut out, inputs);
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

/// `out[r][o] = sum over i of x[r][i] * weight[o][i]`, split over the threads by outputs.
fn multiply(weight: &[f32], x: &[f32], out: &mut [f32], inputs: usize) {
    let (rows, outputs) = (x.len() / inputs, weight.len() / inputs);
    let pool = barrier_pool();
    let threads = pool.n_workers() + 1;
    if threads == 1 || weight.len() * rows < LEAST_PARALLEL {
        let columns: Vec<&mut [f32]> = out.chunks_mut(outputs).collect();
        return Arch::new().dispatch(Share { weight, x, inputs, columns });
    }
    // Each share is a range of outputs of every row. A share has one taker, so its lock is never waited for.
    let size = outputs.div_ceil(threads * 4).next_multiple_of(4);
    let mut shares: Vec<Vec<&mut [f32]>> =
        (0..outputs.div_ceil(size)).map(|_| Vec::with_capacity(rows)).collect();
    for row in out.chunks_mut(outputs) {
        for (share, part) in shares.iter_mut().zip(row.chunks_mut(size)) {
            share.push(part);
        }
    }
    let shares: Vec<Mutex<Vec<&mut [f32]>>> = shares.into_iter().map(Mutex::new).collect();
    pool.execute_chunked(shares.len(), |range| {
        for index in range {
            let columns = std::mem::take(&mut *shares[index].lock().unwrap_or_else(PoisonError::into_inner));
            let weight = &weight[index * size * inputs..];
            Arch::new().dispatch(Share { weight, x, inputs, columns });
        }
    });
}

/// Some outputs of every row.
struct Share<'a, 'b> {
    weight: &'a [f32],
    x: &'a [f32],
    inputs: usize,
    columns: Vec<&'b mut [f32]>,
}

impl WithSimd for Share<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let count = self.columns.first().map_or(0, |c| c.len());
        for output in 0..count {
            let weight = &self.weight[output * self.inputs..(output + 1) * self.inputs];
            for (column, x) in self.columns.iter_mut().zip(self.x.chunks_exact(self.inputs)) {
                column[output] = dot(simd, weight, x);
            }
        }
    }
}

/// Sum of products, in four chains so that additions overlap.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = S::as_simd_f32s(a);
    let (b, b_rest) = S::as_simd_f32s(b);
    let mut sums = [simd.splat_f32s(0.0); 4];
    let (a4, a1) = a.as_chunks::<4>();
    let (b4, b1) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for lane in 0..4 {
            sums[lane] = simd.mul_add_f32s(a[lane], b[lane], sums[lane]);
        }
    }
    for (&a, &b) in a1.iter().zip(b1) {
        sums[0] = simd.mul_add_f32s(a, b, sums[0]);
    }
    let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    simd.reduce_sum_f32s(sum) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_those_of_f64() {
        // Shapes below and above the parallel limit, with and without rests.
        for (rows, inputs, outputs) in [(1, 3, 5), (1, 64, 64), (3, 80, 33), (2, 257, 1030), (16, 100, 999)] {
            let value = |n: usize| ((n * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
            let weight: Vec<f32> = (0..inputs * outputs).map(value).collect();
            let x: Vec<f32> = (0..rows * inputs).map(|n| value(n + 7)).collect();
            let mut out = vec![0.0; rows * outputs];
            multiply(&weight, &x, &mut out, inputs);
            for r in 0..rows {
                for o in 0..outputs {
                    let exact: f64 = (0..inputs)
                        .map(|i| f64::from(x[r * inputs + i]) * f64::from(weight[o * inputs + i]))
                        .sum();
                    let got = f64::from(out[r * outputs + o]);
                    assert!((got - exact).abs() < 1e-4, "{rows}x{inputs}x{outputs}: {got} is not {exact}");
                }
            }
        }
    }
}
