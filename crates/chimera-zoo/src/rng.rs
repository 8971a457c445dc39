//! The generator of weights: SplitMix64 keyed by a tensor's name. It is not for statistics, and its normal deviate is
//! the sum of four uniforms, chosen because it needs integer sums and one multiplication only: no `libm`, so the bits
//! are the same on every machine.

/// A stream of deviates for one tensor. The key is the model's seed, its name and the tensor's name, so the order in
/// which tensors are made does not matter.
#[derive(Debug, Clone)]
pub struct TensorStream {
    state: u64,
}

impl TensorStream {
    /// The stream of tensor `tensor` in model `model`.
    #[must_use]
    pub fn new(seed: u64, model: &str, tensor: &str) -> Self {
        // FNV-1a, 64 bits: the offset basis and prime are Fowler, Noll and Vo's.
        let mut key = 0xcbf2_9ce4_8422_2325_u64;
        for byte in model.bytes().chain([b'/']).chain(tensor.bytes()) {
            key = (key ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self { state: key ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    /// The next 64 bits: Steele, Lea and Flood's SplitMix64 (OOPSLA 2014).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The sum of four independent 16-bit uniforms less its mean: an integer in `-131070..=131070`, bell-shaped, with
    /// standard deviation `sqrt((65536² - 1) / 3)`.
    fn bell(&mut self) -> i32 {
        let bits = self.next_u64();
        let sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        // At most 262140: fits.
        sum as i32 - 131_070
    }

    /// Appends `count` values `mean + std * z`, z near normal and within ±3.47.
    pub fn fill(&mut self, count: usize, mean: f32, std: f64, out: &mut Vec<f32>) {
        // sqrt is correctly rounded by IEEE 754, so this scale is the same everywhere.
        let scale = (std / ((65536.0_f64 * 65536.0 - 1.0) / 3.0).sqrt()) as f32;
        out.reserve(count);
        // The product is rounded before the sum: Rust never fuses the two.
        out.extend((0..count).map(|_| mean + self.bell() as f32 * scale));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_matches_the_published_sequence() {
        // Reference values of the SplitMix64 sequence from state 1234567.
        let mut stream = TensorStream { state: 1_234_567 };
        assert_eq!(stream.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(stream.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(stream.next_u64(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn moments_are_those_asked_for() {
        let mut out = Vec::new();
        TensorStream::new(1, "m", "t").fill(200_000, 1.0, 0.5, &mut out);
        let n = out.len() as f64;
        let mean = out.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let var = out.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.005, "mean {mean}");
        assert!((var.sqrt() - 0.5).abs() < 0.005, "std {}", var.sqrt());
        assert!(out.iter().all(|x| (x - 1.0).abs() < 0.5 * 3.47));
    }

    #[test]
    fn streams_differ_by_every_part_of_the_key() {
        let first = |seed, model, tensor| TensorStream::new(seed, model, tensor).next_u64();
        let base = first(1, "m", "t");
        assert_eq!(base, first(1, "m", "t"));
        assert_ne!(base, first(2, "m", "t"));
        assert_ne!(base, first(1, "n", "t"));
        assert_ne!(base, first(1, "m", "u"));
    }
}
