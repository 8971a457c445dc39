//! Order statistics of values of which some are only known to be larger than a limit. A percentile is given where the
//! number of values certifies it; intervals are not here.

use serde::Serialize;

/// Percentiles and the fewest values that certify them, as in `docs/metrics.md`; the median is asked from six, where the
/// whole range is a 95 % interval of it.
const CERTIFIED: [(f64, u32); 5] = [(0.5, 6), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6_636)];

/// A percentile, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantile {
    /// Its value in seconds, by type 7.
    Value(f64),
    /// So many values would certify it.
    TooFew(u32),
    /// It lies among censored requests: above this limit, in seconds.
    Above(f64),
}

impl Quantile {
    /// The value, where there is one.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::TooFew(_) | Self::Above(_) => None,
        }
    }
}

/// Values in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Values, censored ones included.
    pub n: u32,
    /// Values of which only a lower limit is known.
    pub censored: u32,
    /// The smallest that is known.
    pub min: Option<f64>,
    /// The mean; absent where anything is censored.
    pub mean: Option<f64>,
    /// The largest; absent where anything is censored.
    pub max: Option<f64>,
    /// Median.
    pub p50: Quantile,
    /// 90th percentile.
    pub p90: Quantile,
    /// 95th percentile.
    pub p95: Quantile,
    /// 99th percentile.
    pub p99: Quantile,
    /// 99.9th percentile.
    pub p99_9: Quantile,
}

impl Distribution {
    /// Of known values and of limits that others exceed.
    #[must_use]
    pub fn of(mut known: Vec<f64>, censored: &[f64]) -> Self {
        known.sort_unstable_by(f64::total_cmp);
        let n = known.len() + censored.len();
        let limit = censored.iter().copied().fold(f64::INFINITY, f64::min);
        // A value above the smallest limit may be larger or smaller than a censored one: it stands with them.
        let certain = known.partition_point(|value| *value <= limit);
        let at = |(p, fewest): (f64, u32)| {
            if n < fewest as usize {
                return Quantile::TooFew(fewest);
            }
            let position = p * (n.saturating_sub(1)) as f64;
            let below = position.floor() as usize;
            let share = position - position.floor();
            let above = if share > 0.0 { below + 1 } else { below };
            if !censored.is_empty() && above >= certain {
                return Quantile::Above(limit);
            }
            match (known.get(below), known.get(above)) {
                (Some(a), Some(b)) => Quantile::Value(a + share * (b - a)),
                _ => Quantile::TooFew(fewest),
            }
        };
        let [p50, p90, p95, p99, p99_9] = CERTIFIED.map(at);
        let whole = censored.is_empty() && !known.is_empty();
        Self {
            n: u32::try_from(n).unwrap_or(u32::MAX),
            censored: u32::try_from(censored.len()).unwrap_or(u32::MAX),
            min: known.first().copied(),
            mean: whole.then(|| known.iter().sum::<f64>() / known.len() as f64),
            max: known.last().copied().filter(|_| whole),
            p50,
            p90,
            p95,
            p99,
            p99_9,
        }
    }
}

/// Median of some values, however few; `None` of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values.get(low)? + values.get(high)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(n: u32) -> Vec<f64> {
        (1..=n).map(f64::from).collect()
    }

    #[test]
    fn percentiles_stand_only_where_n_certifies_them() {
        for (n, p90, p95, p99) in
            [(63, false, false, false), (64, true, false, false), (130, true, true, false)]
        {
            let d = Distribution::of(first(n), &[]);
            assert_eq!((d.p90.value().is_some(), d.p95.value().is_some()), (p90, p95), "{n}");
            assert_eq!(d.p99.value().is_some(), p99);
        }
        assert_eq!(Distribution::of(first(661), &[]).p99, Quantile::TooFew(662));
        assert!(Distribution::of(first(662), &[]).p99.value().is_some());
        assert_eq!(Distribution::of(first(6_635), &[]).p99_9, Quantile::TooFew(6_636));
        assert!(Distribution::of(first(6_636), &[]).p99_9.value().is_some());
    }

    #[test]
    fn type_seven_by_hand() {
        let d = Distribution::of(first(101), &[]);
        assert_eq!((d.p50, d.p90), (Quantile::Value(51.0), Quantile::Value(91.0)));
        let d = Distribution::of(first(10), &[]);
        assert_eq!((d.p50, d.mean, d.max), (Quantile::Value(5.5), Some(5.5), Some(10.0)));
        assert_eq!(Distribution::of(vec![], &[]).p50, Quantile::TooFew(6));
    }

    #[test]
    fn what_is_censored_is_later_than_its_limit() {
        let d = Distribution::of(first(96), &[200.0; 4]);
        assert_eq!((d.n, d.censored, d.mean, d.max), (100, 4, None, None));
        let p90 = d.p90.value().expect("certified");
        assert!((p90 - 90.1).abs() < 1e-9, "counted with all hundred: {p90}");
        let d = Distribution::of(first(80), &[200.0; 20]);
        assert_eq!(d.p90, Quantile::Above(200.0));
        let d = Distribution::of(first(100), &[30.0; 1]);
        assert_eq!(d.p50, Quantile::Above(30.0), "beyond the limit the order is not known");
        assert_eq!(Distribution::of(vec![], &[5.0; 9]).p50, Quantile::Above(5.0));
    }

    #[test]
    fn medians_of_few() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
    }
}
