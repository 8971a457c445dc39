//! By how much one arm is faster than another along x (the size of a model, say), and where that advantage ends: a power
//! law through the ratios of speeds crosses 1. A speed is made of measurements in several scenarios, and how it is made
//! changes the answer, so every way is here. [`mod@super::crossover`] is about two lines of single values instead.

use serde::{Deserialize, Serialize};

use crate::error::{check_count, check_lengths, check_level};
use crate::random::Resampling;
use crate::summary::mean;
use crate::{Interval, Sample, StatsError};

/// One measurement: how long it took, and work over time. The unit of time is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// How long it took.
    pub latency: f64,
    /// Work over time; tokens per second, say.
    pub rate: f64,
}

/// How the measurements of one arm in several scenarios become one speed, larger for a faster arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpeedBy {
    /// Mean over scenarios of the mean rate.
    MeanRate,
    /// One over the mean over scenarios of the mean latency.
    MeanLatency,
    /// One over the median of all latencies of all scenarios together.
    MedianLatency,
    /// One over the geometric mean over scenarios of the median latency.
    GeometricOfMedians,
    /// One over the geometric mean over scenarios of the mean latency.
    GeometricOfMeans,
    /// Geometric mean over scenarios of the mean rate.
    GeometricOfMeanRates,
}

impl SpeedBy {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MeanRate,
        Self::MeanLatency,
        Self::MedianLatency,
        Self::GeometricOfMedians,
        Self::GeometricOfMeans,
        Self::GeometricOfMeanRates,
    ];

    /// Short name.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::MeanRate => "mean-rate",
            Self::MeanLatency => "mean-latency",
            Self::MedianLatency => "median-latency",
            Self::GeometricOfMedians => "geometric-of-medians",
            Self::GeometricOfMeans => "geometric-of-means",
            Self::GeometricOfMeanRates => "geometric-of-mean-rates",
        }
    }

    /// Name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::MeanRate => "mean of rates",
            Self::MeanLatency => "mean latency",
            Self::MedianLatency => "median latency over all measurements",
            Self::GeometricOfMedians => "geometric mean over scenarios of median latency",
            Self::GeometricOfMeans => "geometric mean over scenarios of mean latency",
            Self::GeometricOfMeanRates => "geometric mean over scenarios of mean rate",
        }
    }

    /// The speed of an arm; none without a measurement in every scenario given, or where it is not positive.
    #[must_use]
    pub fn of(self, scenarios: &[Vec<Timed>]) -> Option<f64> {
        if scenarios.is_empty() || scenarios.iter().any(Vec::is_empty) {
            return None;
        }
        let each = |value: fn(&Timed) -> f64, of: fn(&[f64]) -> f64| -> Vec<f64> {
            scenarios.iter().map(|timed| of(&timed.iter().map(value).collect::<Vec<_>>())).collect()
        };
        let latency: fn(&Timed) -> f64 = |timed| timed.latency;
        let rate: fn(&Timed) -> f64 = |timed| timed.rate;
        let speed = match self {
            Self::MeanRate => mean(&each(rate, mean)),
            Self::MeanLatency => 1.0 / mean(&each(latency, mean)),
            Self::MedianLatency => {
                let pool: Vec<f64> = scenarios.iter().flatten().map(latency).collect();
                1.0 / median(&pool)
            }
            Self::GeometricOfMedians => 1.0 / geometric(&each(latency, median)),
            Self::GeometricOfMeans => 1.0 / geometric(&each(latency, mean)),
            Self::GeometricOfMeanRates => geometric(&each(rate, mean)),
        };
        (speed > 0.0 && speed.is_finite()).then_some(speed)
    }
}

fn median(values: &[f64]) -> f64 {
    Sample::trusted(values, "value").median()
}

fn geometric(values: &[f64]) -> f64 {
    mean(&values.iter().map(|value| value.ln()).collect::<Vec<_>>()).exp()
}

/// A power law through ratios, and the x at which it crosses 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// Exponent of the ratio in x.
    pub exponent: f64,
    /// Logarithm of the ratio at x = 1.
    pub intercept: f64,
    /// Where the ratio is 1, wherever that lies.
    pub at: f64,
}

/// Least squares on the logarithms of (x, ratio); none for points that share one x, and where the ratio does not change.
#[must_use]
pub fn crossing(points: &[(f64, f64)]) -> Option<Crossing> {
    if points.len() < 2 {
        return None;
    }
    let x: Vec<f64> = points.iter().map(|point| point.0.ln()).collect();
    let y: Vec<f64> = points.iter().map(|point| point.1.ln()).collect();
    let (mx, my) = (mean(&x), mean(&y));
    let sxx: f64 = x.iter().map(|v| (v - mx).powi(2)).sum();
    let sxy: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let exponent = sxy / sxx;
    let intercept = my - exponent * mx;
    let at = (-intercept / exponent).exp();
    (sxx > 0.0 && at.is_finite()).then_some(Crossing { exponent, intercept, at })
}

/// The crossing without each point, in their order.
#[must_use]
pub fn crossing_without(points: &[(f64, f64)]) -> Vec<Option<Crossing>> {
    (0..points.len()).map(|index| crossing(&[&points[..index], &points[index + 1..]].concat())).collect()
}

/// Interval of the crossing when points are drawn with replacement, as if the models had been chosen at random; the limits
/// are read off the sorted crossings, wherever those lie, as the published interval was.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 points, [`StatsError::InvalidParameter`] level or resamples.
pub fn crossing_of_drawn_points(
    points: &[(f64, f64)],
    resampling: Resampling,
    level: f64,
) -> Result<Option<Interval>, StatsError> {
    check_level(level)?;
    check_count("crossing of drawn points", 3, points.len())?;
    let mut indices = resampling.indices()?;
    let mut found: Vec<f64> = Vec::new();
    for _ in 0..resampling.resamples {
        let drawn: Vec<(f64, f64)> = points.iter().map(|_| points[indices.below(points.len())]).collect();
        found.extend(crossing(&drawn).map(|crossing| crossing.at));
    }
    found.sort_by(f64::total_cmp);
    let n = found.len() as f64;
    let tail = (1.0 - level) / 2.0;
    let [low, high] = [(tail * n) as usize, (((1.0 - tail) * n) as usize).saturating_sub(1)];
    Ok(found.get(low).zip(found.get(high)).map(|(low, high)| Interval { low: *low, high: *high, level }))
}

/// Both arms at one x: measurements by scenario, then by block. Block i of every scenario, arm and rung is the same block.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Where.
    pub x: f64,
    /// The arm whose advantage is asked for.
    pub a: Vec<Vec<Timed>>,
    /// The arm that it is held against.
    pub b: Vec<Vec<Timed>>,
}

impl Rung {
    /// Speed of the first arm over that of the second.
    #[must_use]
    pub fn advantage(&self, by: SpeedBy) -> Option<f64> {
        Some(by.of(&self.a)? / by.of(&self.b)?)
    }
}

/// The advantage of one arm along x.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advantage {
    /// How speeds were made.
    pub by: SpeedBy,
    /// x and advantage of every rung.
    pub points: Vec<(f64, f64)>,
    /// The power law through them.
    pub law: Option<Crossing>,
    /// The x at which the advantage ends or begins; none if that is not within the measured range.
    pub at: Option<f64>,
    /// Percentile interval of it over redrawn blocks; none unless at least the level of them cross within the range.
    pub interval: Option<Interval>,
    /// Share of the resamples that cross within the range.
    pub share_crossing: f64,
    /// Percentile interval of the exponent over redrawn blocks.
    pub exponent_interval: Option<Interval>,
    /// Number of blocks.
    pub blocks: usize,
}

/// Fits the advantage over the rungs and redraws their blocks: the noise of measuring again. All rungs, arms and
/// scenarios of a resample have the same blocks, so that what a block does to all of them cancels.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 rungs or 2 blocks, [`StatsError::Mismatched`] where a scenario has another number of
/// blocks, [`StatsError::Degenerate`] where an arm has no speed, [`StatsError::InvalidParameter`] level or resamples.
pub fn advantage(
    rungs: &[Rung],
    by: SpeedBy,
    resampling: Resampling,
    level: f64,
) -> Result<Advantage, StatsError> {
    const WHAT: &str = "advantage";
    check_level(level)?;
    check_count(WHAT, 3, rungs.len())?;
    let blocks = rungs[0].a.first().map_or(0, Vec::len);
    check_count(WHAT, 2, blocks)?;
    for scenario in rungs.iter().flat_map(|rung| rung.a.iter().chain(&rung.b)) {
        check_lengths(WHAT, blocks, scenario.len())?;
    }
    let points: Option<Vec<(f64, f64)>> =
        rungs.iter().map(|rung| Some((rung.x, rung.advantage(by)?))).collect();
    let Some(points) = points else {
        return Err(StatsError::Degenerate { what: WHAT, reason: "an arm has no positive speed" });
    };
    let low = points.iter().fold(f64::INFINITY, |least, point| least.min(point.0));
    let high = points.iter().fold(f64::NEG_INFINITY, |most, point| most.max(point.0));
    let inside = |crossing: &Crossing| (low..=high).contains(&crossing.at).then_some(crossing.at);
    let law = crossing(&points);
    let mut indices = resampling.indices()?;
    let (mut places, mut exponents) = (Vec::new(), Vec::new());
    for _ in 0..resampling.resamples {
        let chosen: Vec<usize> = (0..blocks).map(|_| indices.below(blocks)).collect();
        let drawn: Vec<(f64, f64)> = rungs
            .iter()
            .filter_map(|rung| {
                let redrawn = |arm: &[Vec<Timed>]| -> Vec<Vec<Timed>> {
                    arm.iter().map(|scenario| chosen.iter().map(|block| scenario[*block]).collect()).collect()
                };
                let rung = Rung { x: rung.x, a: redrawn(&rung.a), b: redrawn(&rung.b) };
                Some((rung.x, rung.advantage(by)?))
            })
            .collect();
        if let Some(crossing) = crossing(&drawn) {
            exponents.push(crossing.exponent);
            places.extend(inside(&crossing));
        }
    }
    let share_crossing = places.len() as f64 / resampling.resamples as f64;
    let percentiles = |values: &[f64]| {
        (!values.is_empty()).then(|| {
            let sorted = Sample::trusted(values, "resample").sorted();
            let tail = (1.0 - level) / 2.0;
            Interval { low: sorted.at(tail), high: sorted.at(1.0 - tail), level }
        })
    };
    Ok(Advantage {
        by,
        at: law.as_ref().and_then(inside),
        law,
        points,
        interval: if share_crossing >= level { percentiles(&places) } else { None },
        share_crossing,
        exponent_interval: percentiles(&exponents),
        blocks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two scenarios whose latency grows as x to the power k, the second ten times as long.
    fn arm(x: f64, prefactor: f64, k: f64, blocks: usize, noise: impl Fn(usize) -> f64) -> Vec<Vec<Timed>> {
        [1.0, 10.0]
            .into_iter()
            .map(|long| {
                (0..blocks)
                    .map(|block| {
                        let latency = prefactor * x.powf(k) * long * noise(block);
                        Timed { latency, rate: 8.0 / latency }
                    })
                    .collect()
            })
            .collect()
    }

    fn rungs(blocks: usize, cross: f64, noise: impl Fn(usize) -> f64 + Copy) -> Vec<Rung> {
        // The first arm's latency has exponent 1, the second's 0.5: they meet where x^0.5 is the ratio of prefactors.
        let prefactor = 1.0 / cross.sqrt();
        [1e5, 1e6, 1e7, 1e8]
            .into_iter()
            .map(|x| Rung {
                x,
                a: arm(x, prefactor, 1.0, blocks, noise),
                b: arm(x, 1.0, 0.5, blocks, |_| 1.0),
            })
            .collect()
    }

    #[test]
    fn every_aggregate_finds_a_planted_crossing() {
        for by in SpeedBy::ALL {
            let found = advantage(&rungs(5, 3e6, |_| 1.0), by, Resampling::new(200, 1), 0.95).unwrap();
            assert!((found.at.unwrap() / 3e6 - 1.0).abs() < 1e-9, "{by:?}: {found:?}");
            assert!((found.law.unwrap().exponent + 0.5).abs() < 1e-9);
            assert_eq!(found.share_crossing, 1.0);
        }
    }

    #[test]
    fn the_interval_is_that_of_the_blocks() {
        // Noise of 10 % from block to block moves the crossing by about (1.1)^2.
        let noise = |block: usize| 1.0 + 0.1 * (block as f64 - 2.0);
        let by = SpeedBy::GeometricOfMeans;
        let found = advantage(&rungs(5, 3e6, noise), by, Resampling::new(500, 1), 0.95).unwrap();
        let interval = found.interval.unwrap();
        assert!(interval.low < 3e6 && 3e6 < interval.high, "{interval:?}");
        assert!(interval.high / interval.low > 1.2 && interval.high / interval.low < 2.0, "{interval:?}");
    }

    #[test]
    fn a_crossing_outside_the_range_is_none() {
        let by = SpeedBy::MeanRate;
        let found = advantage(&rungs(5, 3e12, |_| 1.0), by, Resampling::new(200, 1), 0.95).unwrap();
        assert_eq!((found.at, found.interval, found.share_crossing), (None, None, 0.0));
        assert!((found.law.unwrap().at / 3e12 - 1.0).abs() < 1e-6, "the law itself is kept");
        assert!(found.points.iter().all(|point| point.1 > 1.0));
    }

    #[test]
    fn aggregates_disagree_where_scenarios_do() {
        // One arm is twice as fast on the short scenario and half as fast on the long one.
        let timed = |latency: f64| vec![Timed { latency, rate: 1.0 / latency }; 3];
        let rung = Rung { x: 1.0, a: vec![timed(0.5), timed(20.0)], b: vec![timed(1.0), timed(10.0)] };
        assert!((rung.advantage(SpeedBy::GeometricOfMeans).unwrap() - 1.0).abs() < 1e-12);
        assert!((rung.advantage(SpeedBy::MeanRate).unwrap() - 2.05 / 1.1).abs() < 1e-12);
        assert!((rung.advantage(SpeedBy::MeanLatency).unwrap() - 11.0 / 20.5).abs() < 1e-12);
    }

    #[test]
    fn uneven_blocks_and_too_few_rungs_are_refused() {
        let mut uneven = rungs(5, 3e6, |_| 1.0);
        uneven[1].b[0].pop();
        let by = SpeedBy::MeanRate;
        assert!(matches!(
            advantage(&uneven, by, Resampling::new(200, 1), 0.95),
            Err(StatsError::Mismatched { .. })
        ));
        assert!(matches!(
            advantage(&rungs(5, 3e6, |_| 1.0)[..2], by, Resampling::new(200, 1), 0.95),
            Err(StatsError::TooFew { .. })
        ));
        assert_eq!(by.of(&[Vec::new()]), None);
        assert_eq!(crossing(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn without_each_point_the_line_is_that_of_the_others() {
        let points = [(1.0, 4.0), (10.0, 2.0), (100.0, 1.0), (1000.0, 40.0)];
        let without = crossing_without(&points);
        assert!((without[3].unwrap().at - 100.0).abs() < 1e-9);
        assert!(without[0].unwrap().exponent > 0.0);
        let drawn = crossing_of_drawn_points(&points, Resampling::numpy(200, 42), 0.95).unwrap();
        assert!(drawn.is_some_and(|interval| interval.low < interval.high));
    }
}
