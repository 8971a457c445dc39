//! Indices below n for whole runs of resamples, in blocks: what a processor does to a block at once costs a fraction of
//! index after index. The order is that of drawing one by one; which generator draws is its caller's choice.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::RngCore;

use crate::pcg64::Pcg64;

/// Indices made at a time.
const BLOCK: usize = 1_024;

/// A generator of 32-bit words.
pub(super) trait Words: Clone {
    /// The next words, in order.
    fn fill(&mut self, to: &mut [u32]);
}

impl Words for Pcg64 {
    fn fill(&mut self, to: &mut [u32]) {
        Pcg64::fill(self, to);
    }
}

/// The halves of 64-bit draws, the lower one first.
#[derive(Debug, Clone)]
pub(super) struct Halves {
    rng: Xoshiro256PlusPlus,
    half: Option<u32>,
}

impl Halves {
    pub(super) fn new(rng: Xoshiro256PlusPlus) -> Self {
        Self { rng, half: None }
    }
}

impl Words for Halves {
    fn fill(&mut self, mut to: &mut [u32]) {
        if let (Some(half), false) = (self.half, to.is_empty()) {
            to[0] = half;
            self.half = None;
            to = &mut to[1..];
        }
        // A copy stays in registers.
        let mut rng = self.rng.clone();
        let (pairs, rest) = to.as_chunks_mut::<2>();
        for pair in pairs {
            let both = rng.next_u64();
            *pair = [both as u32, (both >> 32) as u32];
        }
        if let [last] = rest {
            let both = rng.next_u64();
            *last = both as u32;
            self.half = Some((both >> 32) as u32);
        }
        self.rng = rng;
    }
}

/// A known number of uniform indices below n by Lemire's method on 32-bit words (Lemire 2019, *ACM TOMACS* 29).
pub(super) struct IndexStream<W> {
    words: W,
    n: u32,
    /// Words whose product has a lower half below it are rejected.
    threshold: u32,
    block: Vec<u32>,
    taken: usize,
    /// Indices not yet made.
    left: usize,
    rejected: u64,
}

impl<W: Words> IndexStream<W> {
    /// `n` lies between 2 and, like every slice here, well below 2^32.
    pub(super) fn new(words: W, n: usize, indices: usize) -> Self {
        let n = n as u32;
        let threshold = n.wrapping_neg() % n;
        Self { words, n, threshold, block: Vec::with_capacity(BLOCK), taken: 0, left: indices, rejected: 0 }
    }

    /// The next indices: at most `wanted`, at least one while any are left.
    #[inline]
    pub(super) fn take(&mut self, wanted: usize) -> &[u32] {
        if self.taken == self.block.len() {
            self.refill();
        }
        let from = self.taken;
        self.taken = self.block.len().min(from + wanted);
        &self.block[from..self.taken]
    }

    /// Words rejected so far.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected
    }

    #[inline(never)]
    fn refill(&mut self) {
        let size = BLOCK.min(self.left);
        self.left -= size;
        self.taken = 0;
        self.block.resize(size, 0);
        let before = self.words.clone();
        self.words.fill(&mut self.block);
        let (n, threshold) = (u64::from(self.n), self.threshold);
        let mut rejected = false;
        for word in &mut self.block {
            let product = u64::from(*word) * n;
            rejected |= (product as u32) < threshold;
            *word = (product >> 32) as u32;
        }
        if rejected {
            self.words = before;
            self.one_by_one();
        }
    }

    /// The block again, with what was rejected replaced by what follows.
    #[cold]
    fn one_by_one(&mut self) {
        for slot in &mut self.block {
            let mut word = [0];
            loop {
                self.words.fill(&mut word);
                let product = u64::from(word[0]) * u64::from(self.n);
                if product as u32 >= self.threshold {
                    *slot = (product >> 32) as u32;
                    break;
                }
                self.rejected += 1;
            }
        }
    }
}
