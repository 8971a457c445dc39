//! Weights in ggml's blocks of 32. A weight is `scale * q + shift`, so a block's part of a sum is
//! `scale * sum(q * x) + shift * sum(x)`, and the sums of activations are taken once for all outputs.

use candle_core::quantized::GgmlDType;

use super::{Columns, Simd, TILE, WithSimd};

/// Weights in a block.
const BLOCK: usize = 32;

/// The kinds of blocks that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An F16 scale and 32 nibbles from -8.
    Q4_0,
    /// An F16 scale, an F16 shift and 32 nibbles from 0.
    Q4_1,
    /// An F16 scale and 32 signed bytes.
    Q8_0,
}

impl Format {
    /// The format of a library's type.
    pub(crate) fn of(kind: GgmlDType) -> Option<Self> {
        match kind {
            GgmlDType::Q4_0 => Some(Self::Q4_0),
            GgmlDType::Q4_1 => Some(Self::Q4_1),
            GgmlDType::Q8_0 => Some(Self::Q8_0),
            _ => None,
        }
    }

    /// Bytes of a row of so many weights.
    pub(crate) fn row_bytes(self, inputs: usize) -> usize {
        let block = match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q8_0 => 34,
        };
        inputs / BLOCK * block
    }
}

/// Sum of every 32 activations.
pub(super) fn sums(x: &[f32]) -> Vec<f32> {
    x.as_chunks::<BLOCK>().0.iter().map(|block| block.iter().sum()).collect()
}

/// Some outputs of every row.
pub(super) struct Share<'a, 'b> {
    pub(super) format: Format,
    pub(super) weight: &'a [u8],
    pub(super) x: &'a [f32],
    pub(super) sums: &'a [f32],
    pub(super) inputs: usize,
    pub(super) columns: Columns<'b>,
}

impl WithSimd for Share<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.format {
            Format::Q4_0 => self.run::<S, 18>(simd, q4_0),
            Format::Q4_1 => self.run::<S, 20>(simd, q4_1),
            Format::Q8_0 => self.run::<S, 34>(simd, q8_0),
        }
    }
}

/// A block as numbers: scale, shift, and the 32 factors of the scale.
type Numbers = (f32, f32, [f32; BLOCK]);

impl Share<'_, '_> {
    #[inline(always)]
    fn run<S: Simd, const BYTES: usize>(mut self, simd: S, read: impl Fn(&[u8; BYTES]) -> Numbers + Copy) {
        let blocks = self.inputs / BLOCK;
        let count = self.columns.first().map_or(0, |c| c.len());
        let x = self.x.as_chunks::<BLOCK>().0;
        let weight = self.weight.as_chunks::<BYTES>().0;
        for output in 0..count {
            let weight = &weight[output * blocks..(output + 1) * blocks];
            let mut first = 0;
            while first + TILE <= self.columns.len() {
                let values = rows::<S, BYTES, TILE>(simd, weight, x, self.sums, first, read);
                for (column, value) in self.columns[first..].iter_mut().zip(values) {
                    column[output] = value;
                }
                first += TILE;
            }
            while first < self.columns.len() {
                let [value] = rows::<S, BYTES, 1>(simd, weight, x, self.sums, first, read);
                self.columns[first][output] = value;
                first += 1;
            }
        }
    }
}

/// Blocks as F32 weights.
pub(super) struct Widen<'a, 'b> {
    pub(super) format: Format,
    pub(super) weight: &'a [u8],
    pub(super) out: &'b mut [f32],
}

impl WithSimd for Widen<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.format {
            Format::Q4_0 => widen::<S, 18>(simd, self.weight, self.out, q4_0),
            Format::Q4_1 => widen::<S, 20>(simd, self.weight, self.out, q4_1),
            Format::Q8_0 => widen::<S, 34>(simd, self.weight, self.out, q8_0),
        }
    }
}

#[inline(always)]
fn widen<S: Simd, const BYTES: usize>(
    simd: S,
    weight: &[u8],
    out: &mut [f32],
    read: impl Fn(&[u8; BYTES]) -> Numbers,
) {
    for (block, out) in weight.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let (scale, shift, factors) = read(block);
        let (scale, shift) = (simd.splat_f32s(scale), simd.splat_f32s(shift));
        for (out, factor) in S::as_mut_simd_f32s(out).0.iter_mut().zip(S::as_simd_f32s(&factors).0) {
            *out = simd.mul_add_f32s(*factor, scale, shift);
        }
    }
}

/// One output of `ROWS` rows of activations from `first` on.
#[inline(always)]
fn rows<S: Simd, const BYTES: usize, const ROWS: usize>(
    simd: S,
    weight: &[[u8; BYTES]],
    x: &[[f32; BLOCK]],
    sums: &[f32],
    first: usize,
    read: impl Fn(&[u8; BYTES]) -> Numbers,
) -> [f32; ROWS] {
    let blocks = weight.len();
    let x: [&[[f32; BLOCK]]; ROWS] = std::array::from_fn(|row| &x[(first + row) * blocks..][..blocks]);
    let sums: [&[f32]; ROWS] = std::array::from_fn(|row| &sums[(first + row) * blocks..][..blocks]);
    let zero = simd.splat_f32s(0.0);
    let mut chains = [[zero; 2]; ROWS];
    let mut shifts = [0f32; ROWS];
    for (index, block) in weight.iter().enumerate() {
        let (scale, shift, factors) = read(block);
        let scale = simd.splat_f32s(scale);
        // Every vector width there is, in numbers, is a power of two up to 16: the rests are empty.
        let (pairs, _) = S::as_simd_f32s(&factors).0.as_chunks::<2>();
        for row in 0..ROWS {
            let (x, _) = S::as_simd_f32s(&x[row][index]).0.as_chunks::<2>();
            shifts[row] += shift * sums[row][index];
            let mut products = [zero; 2];
            for ([f0, f1], [x0, x1]) in pairs.iter().zip(x) {
                products[0] = simd.mul_add_f32s(*f0, *x0, products[0]);
                products[1] = simd.mul_add_f32s(*f1, *x1, products[1]);
            }
            chains[row][0] = simd.mul_add_f32s(products[0], scale, chains[row][0]);
            chains[row][1] = simd.mul_add_f32s(products[1], scale, chains[row][1]);
        }
    }
    std::array::from_fn(|row| {
        let [even, odd] = chains[row];
        simd.reduce_sum_f32s(simd.add_f32s(even, odd)) + shifts[row]
    })
}

/// IEEE 754 binary16 to binary32 by integer arithmetic, which needs no instruction of its own. Scales are finite.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    // Exponent and fraction move to their places; the biases 15 and 127 differ by a factor of 2^112, which also turns
    // subnormal numbers into normal ones.
    let magnitude = f32::from_bits((bits & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[inline(always)]
fn nibbles(q: &[u8; 16]) -> [f32; BLOCK] {
    let mut factors = [0f32; BLOCK];
    // Two loops, so that each becomes one conversion of a vector.
    for lane in 0..16 {
        factors[lane] = f32::from(q[lane] & 15);
    }
    for lane in 0..16 {
        factors[lane + 16] = f32::from(q[lane] >> 4);
    }
    factors
}

#[inline(always)]
fn q4_0(block: &[u8; 18]) -> Numbers {
    let [a, b, q @ ..] = block;
    let scale = half([*a, *b]);
    (scale, -8.0 * scale, nibbles(q))
}

#[inline(always)]
fn q4_1(block: &[u8; 20]) -> Numbers {
    let [a, b, c, d, q @ ..] = block;
    (half([*a, *b]), half([*c, *d]), nibbles(q))
}

#[inline(always)]
fn q8_0(block: &[u8; 34]) -> Numbers {
    let [a, b, q @ ..] = block;
    let mut factors = [0f32; BLOCK];
    for (factor, q) in factors.iter_mut().zip(q) {
        *factor = f32::from(*q as i8);
    }
    (half([*a, *b]), 0.0, factors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_read_exactly() {
        for bits in 0..=u16::MAX {
            let expected = ::half::f16::from_bits(bits).to_f32();
            if expected.is_finite() {
                assert_eq!(half(bits.to_le_bytes()).to_bits(), expected.to_bits(), "{bits:#06x}");
            }
        }
    }
}
