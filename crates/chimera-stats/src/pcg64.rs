//! numpy's `default_rng(seed).integers(0, n)`, bit for bit: PCG64 (XSL-RR 128/64) seeded through `SeedSequence`, and
//! Lemire's bounded integers on its 32-bit halves. It exists to recompute published bootstrap intervals; for new work
//! [`crate::random::Generator::Xoshiro256PlusPlus`] is the default.

const MULTIPLIER: u128 = (2_549_297_995_355_413_924 << 64) | 4_865_540_595_714_422_341;

/// The generator behind `numpy.random.default_rng`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcg64 {
    state: u128,
    increment: u128,
    /// Upper half of the last 64-bit draw, not yet handed out.
    half: Option<u32>,
}

impl Pcg64 {
    /// `numpy.random.default_rng(seed)` for a seed that fits 64 bits.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d] = SeedSequence::new(seed).state();
        let wide = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
        let mut rng = Self { state: 0, increment: (wide(c, d) << 1) | 1, half: None };
        rng.step();
        rng.state = rng.state.wrapping_add(wide(a, b));
        rng.step();
        rng
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.step();
        output(self.state)
    }

    /// The next 32 bits: the lower half of a 64-bit draw, then its upper half.
    pub fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let both = self.next_u64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    /// Moves on as if `delta` draws of 64 bits had been made, in as many steps as `delta` has bits (Brown 1994, *Trans. Am.
    /// Nucl. Soc.* 71). A half not yet handed out is dropped.
    pub fn advance(&mut self, mut delta: u128) {
        self.half = None;
        let (mut multiplier, mut increment) = (MULTIPLIER, self.increment);
        while delta > 0 {
            if delta & 1 == 1 {
                self.state = self.state.wrapping_mul(multiplier).wrapping_add(increment);
            }
            increment = multiplier.wrapping_add(1).wrapping_mul(increment);
            multiplier = multiplier.wrapping_mul(multiplier);
            delta >>= 1;
        }
    }

    /// Many draws of [`Self::next_u32`]. Four states, four steps apart, run beside each other: one alone would wait for
    /// its own multiplication.
    pub(crate) fn fill(&mut self, mut to: &mut [u32]) {
        const FOUR: u128 =
            MULTIPLIER.wrapping_mul(MULTIPLIER).wrapping_mul(MULTIPLIER.wrapping_mul(MULTIPLIER));
        const SUM: u128 = 1_u128
            .wrapping_add(MULTIPLIER)
            .wrapping_add(MULTIPLIER.wrapping_mul(MULTIPLIER))
            .wrapping_add(MULTIPLIER.wrapping_mul(MULTIPLIER).wrapping_mul(MULTIPLIER));
        if self.half.is_some() && !to.is_empty() {
            to[0] = self.next_u32();
            to = &mut to[1..];
        }
        let (eights, rest) = to.as_chunks_mut::<8>();
        if !eights.is_empty() {
            let increment = SUM.wrapping_mul(self.increment);
            let mut last = self.state;
            let mut ahead = self.clone();
            let mut states = [0; 4].map(|_: u128| {
                ahead.step();
                ahead.state
            });
            for eight in eights {
                last = states[3];
                for (pair, state) in eight.as_chunks_mut::<2>().0.iter_mut().zip(&mut states) {
                    let both = output(*state);
                    *pair = [both as u32, (both >> 32) as u32];
                    *state = state.wrapping_mul(FOUR).wrapping_add(increment);
                }
            }
            self.state = last;
        }
        rest.iter_mut().for_each(|word| *word = self.next_u32());
    }

    /// One draw of `integers(0, n)` (Lemire 2019, *ACM TOMACS* 29). As numpy, n <= 1 gives 0 and draws nothing.
    pub fn below(&mut self, n: u32) -> u32 {
        if n <= 1 {
            return 0;
        }
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }
}

/// XSL-RR: the halves folded, rotated by the topmost bits.
fn output(state: u128) -> u64 {
    let folded = ((state >> 64) as u64) ^ (state as u64);
    folded.rotate_right((state >> 122) as u32)
}

/// numpy's `SeedSequence` with a pool of four words and no spawn key (O'Neill's `seed_seq_fe`).
struct SeedSequence {
    pool: [u32; 4],
}

impl SeedSequence {
    fn new(seed: u64) -> Self {
        let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
        let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.next(word));
        for from in 0..4 {
            for to in 0..4 {
                if from != to {
                    pool[to] = mix(pool[to], hash.next(pool[from]));
                }
            }
        }
        Self { pool }
    }

    fn state(&self) -> [u64; 4] {
        let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
        let mut words = [0_u32; 8];
        for (i, word) in words.iter_mut().enumerate() {
            *word = hash.next(self.pool[i % 4]);
        }
        [0, 1, 2, 3].map(|i| u64::from(words[2 * i]) | (u64::from(words[2 * i + 1]) << 32))
    }
}

struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn next(&mut self, word: u32) -> u32 {
        let value = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let value = value.wrapping_mul(self.constant);
        value ^ (value >> 16)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let value = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_as_many_steps() {
        for delta in [0_u32, 1, 2, 3, 7, 64, 1_000, 12_345] {
            let (mut leapt, mut walked) = (Pcg64::new(3), Pcg64::new(3));
            leapt.advance(u128::from(delta));
            for _ in 0..delta {
                walked.next_u64();
            }
            assert_eq!(leapt, walked, "{delta}");
        }
    }

    #[test]
    fn many_draws_are_single_draws() {
        let (mut many, mut single) = (Pcg64::new(9), Pcg64::new(9));
        for length in [0, 1, 7, 8, 0, 9, 16, 31, 2, 64, 3] {
            let mut words = vec![0; length];
            many.fill(&mut words);
            assert!(words.iter().all(|word| *word == single.next_u32()), "{length}");
            assert_eq!(many, single, "{length}");
        }
    }
}
