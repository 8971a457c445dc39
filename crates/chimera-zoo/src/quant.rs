//! ggml's block formats: how 32 (or 256) weights share a scale. Quantising follows ggml's reference functions bit for
//! bit (`quantize_row_q8_0_ref`, `quantize_row_q4_0_ref`); dequantising follows `dequantize_row_*`. It is plain scalar
//! code for files, not for inference.

mod k;

use half::{bf16, f16};

/// How a GGUF tensor is stored: the types that this crate reads. It writes the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "ggml's own names")]
#[non_exhaustive]
pub enum GgmlType {
    /// binary32.
    F32,
    /// binary16.
    F16,
    /// Blocks of 32: scale, 32 bytes.
    Q8_0,
    /// Blocks of 32: scale, 32 nibbles less 8.
    Q4_0,
    /// Blocks of 32: scale, minimum, 32 nibbles.
    Q4_1,
    /// Blocks of 32: scale, 32 five-bit numbers less 16.
    Q5_0,
    /// Blocks of 32: scale, minimum, 32 five-bit numbers.
    Q5_1,
    /// Super-blocks of 256, 4 bits, eight scales and minima of 6 bits.
    Q4_K,
    /// Super-blocks of 256, 5 bits, eight scales and minima of 6 bits.
    Q5_K,
    /// Super-blocks of 256, 6 bits, sixteen scales of 8 bits.
    Q6_K,
    /// bfloat16.
    BF16,
}

/// Weights in one block of the older formats.
pub(crate) const BLOCK: usize = 32;
/// Weights in one super-block of the K formats.
pub(crate) const SUPER_BLOCK: usize = 256;

impl GgmlType {
    /// The type of a number in a file (`enum ggml_type`), if it is read here.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// The number in a file.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::BF16 => 30,
        }
    }

    /// The name in reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::BF16 => "BF16",
        }
    }

    /// Weights in a block, and bytes of a block.
    #[must_use]
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q8_0 => (BLOCK, 34),
            Self::Q4_0 => (BLOCK, 18),
            Self::Q4_1 => (BLOCK, 20),
            Self::Q5_0 => (BLOCK, 22),
            Self::Q5_1 => (BLOCK, 24),
            Self::Q4_K => (SUPER_BLOCK, 144),
            Self::Q5_K => (SUPER_BLOCK, 176),
            Self::Q6_K => (SUPER_BLOCK, 210),
        }
    }

    /// Bytes of `elements` weights; `None` if they fill no whole number of blocks or the size overflows.
    #[must_use]
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        let (weights, bytes) = self.block();
        let weights = weights as u64;
        if !elements.is_multiple_of(weights) {
            return None;
        }
        (elements / weights).checked_mul(bytes as u64)
    }
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The values of a whole number of blocks; bytes that fill no block are left out.
#[must_use]
pub fn dequantise(kind: GgmlType, bytes: &[u8]) -> Vec<f32> {
    let (weights, size) = kind.block();
    let mut out = Vec::with_capacity(bytes.len() / size * weights);
    for block in bytes.chunks_exact(size) {
        match kind {
            GgmlType::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
            GgmlType::F16 => out.push(half(block, 0)),
            GgmlType::BF16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
            GgmlType::Q8_0 => {
                let d = half(block, 0);
                out.extend(block[2..].iter().map(|&q| f32::from(q as i8) * d));
            }
            GgmlType::Q4_0 => {
                let d = half(block, 0);
                let quants = &block[2..];
                out.extend(quants.iter().map(|&q| f32::from((q & 15) as i8 - 8) * d));
                out.extend(quants.iter().map(|&q| f32::from((q >> 4) as i8 - 8) * d));
            }
            GgmlType::Q4_1 => {
                let (d, m) = (half(block, 0), half(block, 2));
                let quants = &block[4..];
                out.extend(quants.iter().map(|&q| f32::from(q & 15) * d + m));
                out.extend(quants.iter().map(|&q| f32::from(q >> 4) * d + m));
            }
            GgmlType::Q5_0 => {
                let d = half(block, 0);
                out.extend(five_bits(&block[2..]).map(|q| (f32::from(q) - 16.0) * d));
            }
            GgmlType::Q5_1 => {
                let (d, m) = (half(block, 0), half(block, 2));
                out.extend(five_bits(&block[4..]).map(|q| f32::from(q) * d + m));
            }
            GgmlType::Q4_K => k::dequantise_q4(block, &mut out),
            GgmlType::Q5_K => k::dequantise_q5(block, &mut out),
            GgmlType::Q6_K => k::dequantise_q6(block, &mut out),
        }
    }
    out
}

/// The 32 numbers of Q5: four bytes of fifth bits, then sixteen bytes of nibbles.
fn five_bits(data: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let high = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
    let quants = &data[4..20];
    (0..BLOCK).map(move |i| {
        let low = if i < 16 { quants[i] & 15 } else { quants[i - 16] >> 4 };
        low | ((((high >> i) & 1) as u8) << 4)
    })
}

/// Appends `values` as Q8_0; a remainder that fills no block is left out. As `quantize_row_q8_0_ref`: the scale is the
/// largest magnitude by 127, quotients round half away from zero.
pub fn quantise_q8_0(values: &[f32], out: &mut Vec<u8>) {
    for block in values.chunks_exact(BLOCK) {
        let largest = block.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let d = largest / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        out.extend(f16::from_f32(d).to_le_bytes());
        // In ±127 by construction, and `as` saturates.
        out.extend(block.iter().map(|v| (v * inverse).round() as i8 as u8));
    }
}

/// Appends `values` as Q4_0; a remainder that fills no block is left out. As `quantize_row_q4_0_ref`: the scale maps the
/// value of largest magnitude to -8.
pub fn quantise_q4_0(values: &[f32], out: &mut Vec<u8>) {
    for block in values.chunks_exact(BLOCK) {
        let mut largest = 0.0_f32;
        let mut max = 0.0_f32;
        for &v in block {
            if largest < v.abs() {
                largest = v.abs();
                max = v;
            }
        }
        let d = max / -8.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        out.extend(f16::from_f32(d).to_le_bytes());
        let nibble = |v: f32| ((v * inverse + 8.5) as i8).min(15) as u8;
        out.extend((0..BLOCK / 2).map(|i| nibble(block[i]) | (nibble(block[i + 16]) << 4)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn q8_0_by_hand() {
        let mut values = [0.0_f32; 32];
        values[0] = 127.0;
        values[1] = -127.0;
        values[2] = 1.0;
        values[3] = 0.5; // Half away from zero.
        values[4] = -0.5;
        let mut out = Vec::new();
        quantise_q8_0(&values, &mut out);
        // Scale 1 is 0x3c00.
        let mut expected = vec![0x00, 0x3c, 127, 0x81, 1, 1, 0xff];
        expected.resize(34, 0);
        assert_eq!(out, expected);
        let back = dequantise(GgmlType::Q8_0, &out);
        assert_eq!(&back[..5], [127.0, -127.0, 1.0, 1.0, -1.0]);
    }

    #[test]
    fn q4_0_by_hand() {
        let mut values = [0.0_f32; 32];
        values[0] = -8.0; // The largest: maps to 0.
        values[1] = 7.0;
        values[16] = 8.0; // As large, not larger: would be 16, is cut to 15.
        values[17] = 0.6;
        let mut out = Vec::new();
        quantise_q4_0(&values, &mut out);
        let mut expected = vec![0x00, 0x3c, 0xf0, 0x9f];
        expected.resize(18, 0x88);
        assert_eq!(out, expected);
        let back = dequantise(GgmlType::Q4_0, &out);
        assert_eq!((back[0], back[1], back[16], back[17], back[31]), (-8.0, 7.0, 7.0, 1.0, 0.0));
    }

    #[test]
    fn zeros_stay_zeros() {
        let values = [0.0_f32; 64];
        for (kind, quantise) in [
            (GgmlType::Q8_0, quantise_q8_0 as fn(&[f32], &mut Vec<u8>)),
            (GgmlType::Q4_0, quantise_q4_0 as fn(&[f32], &mut Vec<u8>)),
        ] {
            let mut out = Vec::new();
            quantise(&values, &mut out);
            assert_eq!(dequantise(kind, &out), values);
        }
    }

    #[test]
    fn q4_1_q5_0_and_q5_1_by_hand() {
        // Scale 2, minimum -1; the nibbles of the first byte are 3 and 12.
        let mut block = vec![0x00, 0x40, 0x00, 0xbc, 0xc3];
        block.resize(20, 0);
        let values = dequantise(GgmlType::Q4_1, &block);
        assert_eq!((values[0], values[16], values[1]), (5.0, 23.0, -1.0));
        // Fifth bits of weights 0 and 31.
        let mut block = vec![0x00, 0x3c, 0x01, 0, 0, 0x80, 0x05];
        block.resize(22, 0);
        let values = dequantise(GgmlType::Q5_0, &block);
        assert_eq!((values[0], values[16], values[31], values[1]), (5.0, -16.0, 0.0, -16.0));
        let mut block = vec![0x00, 0x3c, 0x00, 0x3c, 0x01, 0, 0, 0x80, 0x05];
        block.resize(24, 0);
        let values = dequantise(GgmlType::Q5_1, &block);
        assert_eq!((values[0], values[16], values[31]), (22.0, 1.0, 17.0));
    }

    #[test]
    fn sixteen_bit_types_by_hand() {
        assert_eq!(dequantise(GgmlType::F16, &[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(dequantise(GgmlType::BF16, &[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(GgmlType::Q8_0.bytes_of(64), Some(68));
        assert_eq!(GgmlType::Q8_0.bytes_of(33), None);
    }

    proptest! {
        #[test]
        fn error_is_at_most_half_a_step(values in prop::collection::vec(-100.0_f32..100.0, 32)) {
            let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let mut q8 = Vec::new();
            quantise_q8_0(&values, &mut q8);
            // Half a step, and what rounding the scale to 11 bits does to the largest quotient.
            let bound = largest / 127.0 * 0.5 + largest / 2048.0 + 1e-6;
            for (a, b) in values.iter().zip(dequantise(GgmlType::Q8_0, &q8)) {
                prop_assert!((a - b).abs() <= bound, "{a} {b} {bound}");
            }
            let mut q4 = Vec::new();
            quantise_q4_0(&values, &mut q4);
            // A whole step where the other sign's end is cut.
            let bound = largest / 8.0 + largest / 2048.0 + 1e-6;
            for (a, b) in values.iter().zip(dequantise(GgmlType::Q4_0, &q4)) {
                prop_assert!((a - b).abs() <= bound, "{a} {b} {bound}");
            }
        }
    }
}
