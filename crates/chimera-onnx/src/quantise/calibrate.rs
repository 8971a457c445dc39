//! From what an activation was to the range it is quantised in: histograms that grow with their values, and three ways to
//! choose. Pure code over numbers; whoever runs graphs feeds it.

/// A range of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The smallest value that is told apart from smaller ones.
    pub min: f32,
    /// The largest.
    pub max: f32,
}

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Calibrator {
    /// Everything that was seen.
    MinMax,
    /// The middle that holds so many percent of the values; the rest is cut on both sides alike.
    Percentile(f64),
    /// The threshold whose 128 levels of magnitude lose the least information: the distribution cut there and the same
    /// distribution at 128 levels have the smallest Kullback-Leibler divergence (S. Migacz, GTC 2017: TensorRT's method).
    Entropy,
}

impl Calibrator {
    /// The name in reports: `min-max`, `percentile` or `entropy`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile(_) => "percentile",
            Self::Entropy => "entropy",
        }
    }
}

/// Bins on each side of zero.
const BINS: usize = 2048;
/// Levels of magnitude of a signed byte.
const LEVELS: usize = 128;

/// What an activation was, in bins of equal width on both sides of zero. When a value lies outside, the bins become twice as
/// wide, so that one pass is enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// From the most negative to the most positive.
    bins: Vec<u64>,
    /// The magnitude at which the last bin ends; zero before anything but zeros was seen.
    limit: f64,
    min: f32,
    max: f32,
    zeros: u64,
    count: u64,
    ignored: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bins: vec![0; 2 * BINS],
            limit: 0.0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
            zeros: 0,
            count: 0,
            ignored: 0,
        }
    }
}

impl Histogram {
    /// Counts values. Those that are no finite numbers are counted apart.
    pub fn add(&mut self, values: &[f32]) {
        for &value in values {
            if !value.is_finite() {
                self.ignored += 1;
                continue;
            }
            self.count += 1;
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            if value == 0.0 {
                self.zeros += 1;
                continue;
            }
            let wide = f64::from(value);
            if self.limit == 0.0 {
                // A power of two, so that widths stay exact.
                self.limit = wide.abs().log2().ceil().exp2();
            }
            while wide.abs() > self.limit {
                self.widen();
            }
            let at = ((wide / self.limit + 1.0) * BINS as f64) as usize;
            self.bins[at.min(2 * BINS - 1)] += 1;
        }
    }

    fn widen(&mut self) {
        let mut wide = vec![0; 2 * BINS];
        for (at, count) in self.bins.iter().enumerate() {
            wide[BINS / 2 + at / 2] += count;
        }
        self.bins = wide;
        self.limit *= 2.0;
    }

    /// How many finite values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many values were no finite numbers.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The range that a calibrator chooses; none if nothing was counted, or a percentage is not above 0 and at most 100.
    #[must_use]
    pub fn range(&self, calibrator: Calibrator) -> Option<Range> {
        if self.count == 0 {
            return None;
        }
        let all = Range { min: self.min, max: self.max };
        match calibrator {
            Calibrator::MinMax => Some(all),
            Calibrator::Percentile(percent) if percent > 0.0 && percent <= 100.0 => {
                let cut = (1.0 - percent / 100.0) / 2.0 * self.count as f64;
                Some(Range { min: self.below(cut, all), max: self.below(self.count as f64 - cut, all) })
            }
            Calibrator::Percentile(_) => None,
            Calibrator::Entropy => {
                let threshold = self.threshold() as f32;
                Some(Range { min: self.min.max(-threshold), max: self.max.min(threshold) })
            }
        }
    }

    /// The value that so many counted values lie below, within a bin by its share.
    fn below(&self, rank: f64, all: Range) -> f32 {
        let width = self.limit / BINS as f64;
        let mut seen = 0.0;
        for (at, &count) in self.bins.iter().enumerate() {
            // Zeros lie between the negative and the positive bins.
            if at == BINS {
                if rank <= seen + self.zeros as f64 && self.zeros > 0 && rank > seen {
                    return 0.0;
                }
                seen += self.zeros as f64;
            }
            let count = count as f64;
            if count > 0.0 && seen + count >= rank {
                let share = ((rank - seen) / count).clamp(0.0, 1.0);
                let value = (at as f64 - BINS as f64 + share) * width;
                return (value as f32).clamp(all.min, all.max);
            }
            seen += count;
        }
        all.max
    }

    /// The magnitude that the entropy method cuts at.
    fn threshold(&self) -> f64 {
        // By magnitude. Exact zeros are represented exactly by every scale and tell nothing about one.
        let folded: Vec<f64> =
            (0..BINS).map(|i| (self.bins[BINS + i] + self.bins[BINS - 1 - i]) as f64).collect();
        let Some(last) = folded.iter().rposition(|count| *count > 0.0) else { return 0.0 };
        let used = &folded[..=last];
        let width = self.limit / BINS as f64;
        let mut best = (f64::INFINITY, used.len());
        for end in LEVELS.min(used.len())..=used.len() {
            let divergence = divergence(used, end);
            if divergence < best.0 {
                best = (divergence, end);
            }
        }
        best.1 as f64 * width
    }
}

/// The divergence of the distribution cut at bin `end`, what is beyond added to the last bin, from the same bins at 128
/// levels, each level spread over those of its bins that are not empty.
fn divergence(bins: &[f64], end: usize) -> f64 {
    let beyond: f64 = bins[end..].iter().sum();
    let inside: f64 = bins[..end].iter().sum();
    let total = inside + beyond;
    if inside == 0.0 {
        return f64::INFINITY;
    }
    let levels = LEVELS.min(end);
    let mut out = 0.0;
    for level in 0..levels {
        let (from, to) = (level * end / levels, (level + 1) * end / levels);
        let group = &bins[from..to];
        let filled = group.iter().filter(|count| **count > 0.0).count();
        let mean = if filled == 0 { 0.0 } else { group.iter().sum::<f64>() / filled as f64 };
        for (at, count) in group.iter().enumerate() {
            let is_last = from + at + 1 == end;
            let p = (count + if is_last { beyond } else { 0.0 }) / total;
            let q = if *count > 0.0 { mean / inside } else { 0.0 };
            if p > 0.0 {
                // An empty bin that the outliers fall into: as unlikely as one value in all.
                out += p * (p / q.max(1.0 / total / 1e3)).ln();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bell-shaped values, without a generator: sums of sines of unrelated periods.
    fn bell(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| {
                let t = i as f32;
                (t * 0.618_034).sin() + (t * 0.414_214).sin() + (t * 0.732_051).sin() + (t * 0.236_068).sin()
            })
            .collect()
    }

    #[test]
    fn min_max_is_what_was_seen_and_nothing_gives_no_range() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.range(Calibrator::MinMax), None);
        histogram.add(&[f32::NAN, f32::INFINITY]);
        assert_eq!((histogram.range(Calibrator::Entropy), histogram.ignored()), (None, 2));
        histogram.add(&[0.25, -3.0, 0.0, 1e-3]);
        assert_eq!(histogram.range(Calibrator::MinMax), Some(Range { min: -3.0, max: 0.25 }));
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.range(Calibrator::Percentile(0.0)), None);
        assert_eq!(histogram.range(Calibrator::Percentile(101.0)), None);
    }

    #[test]
    fn zeros_alone_have_a_range() {
        let mut histogram = Histogram::default();
        histogram.add(&[0.0; 10]);
        for calibrator in [Calibrator::MinMax, Calibrator::Percentile(99.9), Calibrator::Entropy] {
            assert_eq!(histogram.range(calibrator), Some(Range { min: 0.0, max: 0.0 }), "{calibrator:?}");
        }
    }

    #[test]
    fn percentiles_match_sorting() {
        let mut values = bell(20_000);
        let mut histogram = Histogram::default();
        for chunk in values.chunks(777) {
            histogram.add(chunk);
        }
        values.sort_by(f32::total_cmp);
        for percent in [90.0, 99.0, 99.9] {
            let range = histogram.range(Calibrator::Percentile(percent)).unwrap();
            let cut = ((1.0 - percent / 100.0) / 2.0 * 20_000.0_f64).round() as usize;
            let (low, high) = (values[cut], values[20_000 - 1 - cut]);
            // The limit is 4, so a bin is 1/512 wide.
            assert!((range.min - low).abs() < 0.01, "{percent}: {range:?} {low}");
            assert!((range.max - high).abs() < 0.01, "{percent}: {range:?} {high}");
        }
        let whole = histogram.range(Calibrator::Percentile(100.0)).unwrap();
        assert!((whole.min - values[0]).abs() < 0.01 && (whole.max - values[19_999]).abs() < 0.01);
    }

    #[test]
    fn growing_loses_no_count_and_order_does_not_matter() {
        let values: Vec<f32> =
            (1..4000).map(|i| (i as f32) * if i % 2 == 0 { 0.01 } else { -0.02 }).collect();
        let (mut up, mut down) = (Histogram::default(), Histogram::default());
        up.add(&values);
        let turned: Vec<f32> = values.iter().rev().copied().collect();
        down.add(&turned);
        assert_eq!(up.bins.iter().sum::<u64>(), 3999);
        assert_eq!(up.limit, down.limit);
        assert_eq!(up.range(Calibrator::Entropy), down.range(Calibrator::Entropy));
    }

    #[test]
    fn entropy_cuts_outliers_and_keeps_flat_distributions() {
        let mut histogram = Histogram::default();
        histogram.add(&bell(200_000));
        // Two values in 200,000, forty times as large as the rest.
        histogram.add(&[150.0, -150.0]);
        let range = histogram.range(Calibrator::Entropy).unwrap();
        assert!(range.max < 20.0 && range.max > 2.0, "{range:?}");
        let mut flat = Histogram::default();
        flat.add(&(0..100_000).map(|i| (i as f32 - 50_000.0) / 50_000.0).collect::<Vec<_>>());
        let range = flat.range(Calibrator::Entropy).unwrap();
        assert!(range.max > 0.9 && range.min < -0.9, "{range:?}");
    }
}
