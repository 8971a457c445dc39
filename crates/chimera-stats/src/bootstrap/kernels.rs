//! What is computed of a resample: any function of its values, or the mean and the median by ways of their own that never
//! write the resample down. Neither draws.

use super::draws::Kernel;
use super::words::{IndexStream, Words};
use crate::Sample;
use crate::quantile::between;
use crate::summary::{centred, max_abs};

/// Any function, called with the resample.
pub(super) struct Function<'a, F> {
    pub(super) values: &'a [f64],
    pub(super) function: F,
}

impl<T: Copy + Default + Send, F: Fn(&[f64]) -> T + Sync> Kernel for Function<'_, F> {
    type Value = T;
    type Scratch = Vec<f64>;

    fn scratch(&self) -> Vec<f64> {
        vec![0.0; self.values.len()]
    }

    fn draw<W: Words>(&self, indices: &mut IndexStream<W>, resample: &mut Vec<f64>) -> T {
        let mut to = resample.as_mut_slice();
        while !to.is_empty() {
            let found = indices.take(to.len());
            let (now, later) = to.split_at_mut(found.len());
            now.iter_mut().zip(found).for_each(|(slot, index)| *slot = self.values[*index as usize]);
            to = later;
        }
        (self.function)(resample)
    }
}

/// The mean, as the sample's mean and the mean of the drawn deviations from it: nothing of a small spread around a large
/// mean gets lost.
pub(super) struct Mean {
    deviations: Vec<f64>,
    mean: f64,
}

impl Mean {
    /// None where sums of deviations might leave the range of floats.
    pub(super) fn new(sample: Sample<'_>) -> Option<Self> {
        let n = sample.len() as f64;
        if max_abs(sample.values()) > f64::MAX / (4.0 * n) {
            return None;
        }
        let (deviations, mean, _) = centred(sample.values());
        Some(Self { deviations, mean })
    }

    /// How far leaving each value out moves the mean, up to a common factor.
    pub(super) fn influence(&self) -> &[f64] {
        &self.deviations
    }

    pub(super) fn point(&self) -> f64 {
        self.mean
    }
}

impl Kernel for Mean {
    type Value = f64;
    type Scratch = ();

    fn scratch(&self) {}

    fn draw<W: Words>(&self, indices: &mut IndexStream<W>, (): &mut ()) -> f64 {
        let n = self.deviations.len();
        let at = |index: &u32| self.deviations[*index as usize];
        let mut left = n;
        // In eight sums, so that none waits for the one before.
        let mut sums = [0.0; 8];
        while left > 0 {
            let found = indices.take(left);
            left -= found.len();
            let (eights, rest) = found.as_chunks::<8>();
            for eight in eights {
                sums.iter_mut().zip(eight).for_each(|(sum, index)| *sum += at(index));
            }
            sums.iter_mut().zip(rest).for_each(|(sum, index)| *sum += at(index));
        }
        let [a, b, c, d, e, f, g, h] = sums;
        self.mean + (((a + b) + (c + d)) + ((e + f) + (g + h))) / n as f64
    }
}

/// The median, by counting how often each rank was drawn.
pub(super) struct Median {
    sorted: Vec<f64>,
    /// Rank of each value, in the order of the sample.
    ranks: Vec<u32>,
}

impl Median {
    pub(super) fn new(sample: Sample<'_>) -> Self {
        let values = sample.values();
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
        let mut ranks = vec![0; values.len()];
        for (rank, index) in order.iter().enumerate() {
            ranks[*index as usize] = rank as u32;
        }
        Self { sorted: order.iter().map(|index| values[*index as usize]).collect(), ranks }
    }

    pub(super) fn point(&self) -> f64 {
        let n = self.sorted.len();
        middle(n, self.sorted[(n - 1) / 2], self.sorted[n / 2])
    }

    /// The medians without one value each.
    pub(super) fn jackknife(&self) -> Vec<f64> {
        let kept = self.sorted.len() - 1;
        let without = |rank: usize| {
            let at = |place: usize| self.sorted[place + usize::from(place >= rank)];
            middle(kept, at((kept - 1) / 2), at(kept / 2))
        };
        (0..=kept).map(without).collect()
    }
}

/// The type-7 quantile at 0.5 of n values from the two in the middle.
fn middle(n: usize, lower: f64, upper: f64) -> f64 {
    if n % 2 == 1 { lower } else { between(lower, upper, 0.5) }
}

impl Kernel for Median {
    type Value = f64;
    type Scratch = Vec<u32>;

    fn scratch(&self) -> Vec<u32> {
        vec![0; self.sorted.len()]
    }

    fn draw<W: Words>(&self, indices: &mut IndexStream<W>, counts: &mut Vec<u32>) -> f64 {
        let n = self.sorted.len();
        counts.fill(0);
        let mut left = n;
        while left > 0 {
            let found = indices.take(left);
            left -= found.len();
            found.iter().for_each(|index| counts[self.ranks[*index as usize] as usize] += 1);
        }
        // The first rank up to which more than `place` values were drawn holds the order statistic `place`.
        let (lower, upper) = ((n - 1) / 2, n / 2);
        let mut seen = 0;
        let mut below = None;
        for (count, value) in counts.iter().zip(&self.sorted) {
            seen += *count as usize;
            if seen > lower {
                let below = *below.get_or_insert(*value);
                if seen > upper {
                    return middle(n, below, *value);
                }
            }
        }
        // Not reached: n values were counted.
        f64::NAN
    }
}
