//! The K formats: 256 weights whose block scales are themselves quantised. Read only; layouts are ggml's
//! `block_q4_K`, `block_q5_K` and `block_q6_K`.

use super::half;

/// The scale and minimum of sub-block `j` out of twelve packed bytes: ggml's `get_scale_min_k4`.
fn scale_min(j: usize, q: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (q[j] & 63, q[j + 4] & 63)
    } else {
        ((q[j + 4] & 15) | ((q[j - 4] >> 6) << 4), (q[j + 4] >> 4) | ((q[j] >> 6) << 4))
    };
    (f32::from(scale), f32::from(min))
}

/// `d, dmin, scales[12], qs[128]`.
pub(super) fn dequantise_q4(block: &[u8], out: &mut Vec<f32>) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, quants) = (&block[4..16], &block[16..144]);
    for (pair, chunk) in quants.chunks_exact(32).enumerate() {
        for (sub, shift) in [(2 * pair, 0), (2 * pair + 1, 4)] {
            let (scale, min) = scale_min(sub, scales);
            let (step, low) = (d * scale, dmin * min);
            out.extend(chunk.iter().map(|q| step * f32::from((q >> shift) & 15) - low));
        }
    }
}

/// `d, dmin, scales[12], qh[32], qs[128]`.
pub(super) fn dequantise_q5(block: &[u8], out: &mut Vec<f32>) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, high, quants) = (&block[4..16], &block[16..48], &block[48..176]);
    for (pair, chunk) in quants.chunks_exact(32).enumerate() {
        for (sub, shift) in [(2 * pair, 0), (2 * pair + 1, 4)] {
            let (scale, min) = scale_min(sub, scales);
            let (step, low) = (d * scale, dmin * min);
            out.extend(chunk.iter().zip(high).map(|(q, h)| {
                let fifth = ((h >> sub) & 1) << 4;
                step * f32::from(((q >> shift) & 15) | fifth) - low
            }));
        }
    }
}

/// `ql[128], qh[64], scales[16] (signed), d`.
pub(super) fn dequantise_q6(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 208);
    for part in 0..2 {
        let low = &block[64 * part..64 * part + 64];
        let high = &block[128 + 32 * part..128 + 32 * part + 32];
        let scales = &block[192 + 8 * part..192 + 8 * part + 8];
        // Four runs of 32: nibbles of the first and second half of `low`, then their upper nibbles; two upper bits
        // each from `high`.
        for run in 0..4 {
            let (offset, shift) = (32 * (run % 2), 4 * (run / 2));
            out.extend((0..32).map(|l| {
                let q = ((low[offset + l] >> shift) & 15) | (((high[l] >> (2 * run)) & 3) << 4);
                let scale = f32::from(scales[2 * run + l / 16] as i8);
                d * scale * (f32::from(q) - 32.0)
            }));
        }
    }
}
