//! Bytes as values, lists and parameters. When the bytes run out everything is zero.

use chimera_stats::random::Resampling;

#[derive(Debug)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A float of any kind: small whole numbers for ties, the edges of the range, or eight bytes as they are.
    pub(super) fn value(&mut self) -> f64 {
        let kind = self.byte();
        match kind {
            0..96 => f64::from(kind % 12) - 3.0,
            96..112 => 1e9 + f64::from(kind % 4) * 1e-6,
            112..128 => 1.0 + f64::from(kind % 8) * f64::EPSILON,
            128..144 => f64::from(self.byte()) / 7.0,
            144 => f64::NAN,
            145 => f64::INFINITY,
            146 => f64::NEG_INFINITY,
            147 => f64::MAX,
            148 => f64::MIN,
            149 => f64::MIN_POSITIVE,
            // Subnormal, the smallest among them.
            150 => f64::from_bits(u64::from(self.byte()) + 1),
            151 => -0.0,
            152 => f64::MAX * (1.0 - f64::EPSILON * f64::from(self.byte())),
            153..168 => f64::from(self.byte()).exp2() * 1e150,
            168..184 => f64::from(self.byte()).exp2() * 1e-300,
            _ => {
                let mut bits = [0; 8];
                bits.iter_mut().for_each(|b| *b = self.byte());
                f64::from_bits(u64::from_le_bytes(bits))
            }
        }
    }

    /// Up to `most` values, none among them; now and then one value over and over.
    pub(super) fn list(&mut self, most: usize) -> Vec<f64> {
        let head = self.byte();
        let n = usize::from(head) % (most + 1);
        if head < 16 {
            return vec![self.value(); n];
        }
        (0..n).map(|_| self.value()).collect()
    }

    /// The same with values that are not finite left out, so that what lies behind the checks of the input is reached.
    pub(super) fn finite(&mut self, most: usize) -> Vec<f64> {
        let mut list = self.list(most);
        list.retain(|v| v.is_finite());
        list
    }

    pub(super) fn lists(&mut self, most: usize, values: usize) -> Vec<Vec<f64>> {
        let n = usize::from(self.byte()) % (most + 1);
        (0..n).map(|_| self.finite(values)).collect()
    }

    /// A level, an alpha, a share: mostly a usual one, sometimes anything.
    pub(super) fn probability(&mut self) -> f64 {
        match self.byte() {
            0..128 => 0.95,
            128..176 => 0.05,
            176..208 => f64::from(self.byte()) / 255.0,
            208..216 => 1.0 - f64::EPSILON,
            216..224 => f64::MIN_POSITIVE,
            _ => self.value(),
        }
    }

    pub(super) fn count(&mut self, most: usize) -> usize {
        usize::from(self.byte()) % (most + 1)
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// As few resamples as are allowed, and sometimes fewer.
    pub(super) fn resampling(&mut self) -> Resampling {
        let seed = u64::from(self.byte());
        match self.byte() {
            0..8 => Resampling::new(99, seed),
            8..64 => Resampling::numpy(100, seed),
            _ => Resampling::new(100, seed),
        }
    }
}
