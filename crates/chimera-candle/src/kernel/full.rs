//! F32 weights.

use super::{Columns, Simd, WithSimd};

/// Some outputs of every row.
pub(super) struct Share<'a, 'b> {
    pub(super) weight: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) inputs: usize,
    pub(super) columns: Columns<'b>,
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
