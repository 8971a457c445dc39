//! The size at which ONNX Runtime on the CPU stops being faster than compiled PyTorch: the published fit to the last digit,
//! the same fit under every other aggregate of the same records, every choice of runs, without each model, and an interval
//! whose noise is that of measuring again instead of that of choosing other models.

use std::collections::BTreeMap;

use chimera_stats::{
    Estimate, Interval,
    pcg64::Pcg64,
    random::Resampling,
    regression::{self, SpeedBy, Timed},
};

pub(super) use chimera_stats::regression::crossing as fit;

use super::{
    data::{BASELINE, CPU, Data, Record, Run},
    legacy::{by_scenario, overall},
};
use crate::{
    LEVEL, ReplayError, Values,
    studies::shared::{median, plain_mean},
};

/// Resamples of every bootstrap here, as the report drew.
const RESAMPLES: usize = 2_000;
/// The report's seed.
const SEED: u64 = 42;

/// How the records of a backend become one number, larger for a faster backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    MeanRate,
    MeanLatency,
    MedianLatency,
    GeometricOfMedians,
    GeometricOfMeans,
    GeometricOfMeanRates,
    MeanRateWithoutFirst,
    MeanLatencyWithoutFirst,
    GeometricOfMeansWithoutFirst,
}

impl Aggregate {
    pub(super) const ALL: [Self; 9] = [
        Self::MeanRate,
        Self::MeanLatency,
        Self::MedianLatency,
        Self::GeometricOfMedians,
        Self::GeometricOfMeans,
        Self::GeometricOfMeanRates,
        Self::MeanRateWithoutFirst,
        Self::MeanLatencyWithoutFirst,
        Self::GeometricOfMeansWithoutFirst,
    ];

    /// Ours: no scenario weighs more for taking longer, and the cold first repetition stands apart.
    pub(super) const OURS: Self = Self::GeometricOfMeansWithoutFirst;

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::MeanRate => "mean-rate",
            Self::MeanLatency => "mean-latency",
            Self::MedianLatency => "median-latency",
            Self::GeometricOfMedians => "geometric-of-medians",
            Self::GeometricOfMeans => "geometric-of-means",
            Self::GeometricOfMeanRates => "geometric-of-mean-rates",
            Self::GeometricOfMeansWithoutFirst => "geometric-of-means-without-first",
            Self::MeanRateWithoutFirst => "mean-rate-without-first",
            Self::MeanLatencyWithoutFirst => "mean-latency-without-first",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::MeanRate => "mean of rates (published)",
            Self::MeanLatency => "mean latency",
            Self::MedianLatency => "median latency over all records",
            Self::GeometricOfMedians => "geometric mean over scenarios of median latency",
            Self::GeometricOfMeans => "geometric mean over scenarios of mean latency",
            Self::GeometricOfMeanRates => "geometric mean over scenarios of mean rate",
            Self::GeometricOfMeansWithoutFirst => {
                "geometric mean over scenarios of mean latency, first repetition left out (ours)"
            }
            Self::MeanRateWithoutFirst => "mean of rates, first repetition left out",
            Self::MeanLatencyWithoutFirst => "mean latency, first repetition left out",
        }
    }

    /// How speeds are made, and from which repetition on.
    fn how(self) -> (SpeedBy, u32) {
        match self {
            Self::MeanRate => (SpeedBy::MeanRate, 0),
            Self::MeanRateWithoutFirst => (SpeedBy::MeanRate, 1),
            Self::MeanLatency => (SpeedBy::MeanLatency, 0),
            Self::MeanLatencyWithoutFirst => (SpeedBy::MeanLatency, 1),
            Self::MedianLatency => (SpeedBy::MedianLatency, 0),
            Self::GeometricOfMedians => (SpeedBy::GeometricOfMedians, 0),
            Self::GeometricOfMeans => (SpeedBy::GeometricOfMeans, 0),
            Self::GeometricOfMeansWithoutFirst => (SpeedBy::GeometricOfMeans, 1),
            Self::GeometricOfMeanRates => (SpeedBy::GeometricOfMeanRates, 0),
        }
    }

    /// Speed of a backend in a run.
    fn speed(self, run: &Run, backend: &str) -> Option<f64> {
        let (by, from) = self.how();
        let mut scenarios: BTreeMap<&str, Vec<Timed>> = BTreeMap::new();
        for record in run.ok(backend).filter(|record| record.rep >= from) {
            let timed = Timed { latency: record.latency(), rate: record.rate() };
            scenarios.entry(&record.scenario).or_default().push(timed);
        }
        by.of(&scenarios.into_values().collect::<Vec<_>>())
    }

    /// Speed of ONNX Runtime on the CPU over that of PyTorch.
    pub(super) fn advantage(self, run: &Run) -> Option<f64> {
        Some(self.speed(run, CPU)? / self.speed(run, BASELINE)?)
    }
}

/// Points (parameters, advantage) by size.
pub(super) type Points = Vec<(f64, f64)>;

/// The published interval: models drawn with replacement by numpy's generator, limits read off the sorted crossings.
pub(super) fn case_bootstrap(points: &[(f64, f64)]) -> Option<Interval> {
    // Fewer than three points have no interval: that is the only refusal there can be.
    regression::crossing_of_drawn_points(points, Resampling::numpy(RESAMPLES, SEED), LEVEL).ok().flatten()
}

/// Points of the published fit under an aggregate.
pub(super) fn published_points(data: &Data, aggregate: Aggregate) -> Points {
    let mut points: Points = data
        .runs
        .iter()
        .filter(|run| run.fitted)
        .filter_map(|run| Some((run.parameters, aggregate.advantage(run)?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Crossing of the published fit over every choice of one run per model, ascending.
pub(super) fn every_choice(data: &Data) -> Vec<f64> {
    let mut choices: Vec<Points> = vec![Vec::new()];
    for (parameters, runs) in data.replicates() {
        let advantages: Vec<f64> = runs.iter().filter_map(|run| Aggregate::MeanRate.advantage(run)).collect();
        choices = choices
            .iter()
            .flat_map(|chosen| {
                advantages.iter().map(|a| [chosen.as_slice(), &[(parameters as f64, *a)]].concat())
            })
            .collect();
    }
    let mut found: Vec<f64> = choices.iter().filter_map(|points| Some(fit(points)?.at)).collect();
    found.sort_by(f64::total_cmp);
    found
}

/// Latencies by scenario of both arms of a run, in nested lists for drawing.
struct Arms([Vec<Vec<f64>>; 2]);

impl Arms {
    fn of(run: &Run, from: u32) -> Arms {
        Arms([CPU, BASELINE].map(|backend| {
            let later = run.ok(backend).filter(|record| record.rep >= from);
            by_scenario(later, Record::latency).into_values().collect()
        }))
    }

    /// Log advantage of a redrawn run: repetitions are drawn within each scenario.
    fn drawn(&self, draws: &mut Pcg64) -> f64 {
        let mut log_mean = |scenarios: &[Vec<f64>]| {
            let logs = scenarios.iter().map(|latencies| {
                let n = latencies.len();
                let sum: f64 = (0..n).map(|_| latencies[draws.below(n as u32) as usize]).sum();
                (sum / n as f64).ln()
            });
            logs.sum::<f64>() / scenarios.len() as f64
        };
        let cpu = log_mean(&self.0[0]);
        log_mean(&self.0[1]) - cpu
    }
}

/// Crossing over all runs of each model: a model's point is the geometric mean over its runs of our advantage, of
/// repetitions from `from` on. Drawn are runs of each model, then repetitions within; with `models` models as well.
fn hierarchical(data: &Data, models: bool, from: u32) -> Result<Option<Estimate>, ReplayError> {
    let replicates = data.replicates();
    let all: Vec<(f64, Vec<Arms>)> = replicates
        .iter()
        .map(|(parameters, runs)| (*parameters as f64, runs.iter().map(|run| Arms::of(run, from)).collect()))
        .collect();
    let observed: Points = replicates
        .iter()
        .filter_map(|(parameters, runs)| {
            let aggregate = if from > 0 { Aggregate::OURS } else { Aggregate::GeometricOfMeans };
            let logs: Option<Vec<f64>> =
                runs.iter().map(|run| Some(aggregate.advantage(run)?.ln())).collect();
            Some((*parameters as f64, plain_mean(&logs?).exp()))
        })
        .collect();
    let Some(point) = fit(&observed).filter(|_| observed.len() >= 3) else {
        return Ok(None);
    };
    let mut draws = Pcg64::new(SEED);
    let mut found: Vec<f64> = Vec::new();
    for _ in 0..RESAMPLES {
        let chosen: Vec<usize> = if models {
            all.iter().map(|_| draws.below(all.len() as u32) as usize).collect()
        } else {
            (0..all.len()).collect()
        };
        let drawn: Points = chosen
            .into_iter()
            .map(|index| {
                let (parameters, runs) = &all[index];
                let logs: f64 = runs
                    .iter()
                    .map(|_| runs[draws.below(runs.len() as u32) as usize].drawn(&mut draws))
                    .sum();
                (*parameters, (logs / runs.len() as f64).exp())
            })
            .collect();
        found.extend(fit(&drawn).map(|fit| fit.at));
    }
    let sample = chimera_stats::Sample::new(&found, "resample").map_err(ReplayError::at("crossing"))?;
    let sorted = sample.sorted();
    let tail = (1.0 - LEVEL) / 2.0;
    let limit = |p| sorted.quantile(p).map_err(ReplayError::at("crossing"));
    let interval = Interval { low: limit(tail)?, high: limit(1.0 - tail)?, level: LEVEL };
    let method = if models {
        "crossing of a power law, bootstrap of models, runs and repetitions"
    } else {
        "crossing of a power law, bootstrap of runs and repetitions"
    };
    Ok(Some(Estimate {
        point: point.at,
        standard_error: None,
        interval: Some(interval),
        method: method.into(),
        unit: "model".into(),
        n: observed.len(),
    }))
}

/// A crossing with the interval of redrawn models.
fn estimate(points: &Points) -> Option<Estimate> {
    Some(Estimate {
        point: fit(points)?.at,
        standard_error: None,
        interval: case_bootstrap(points),
        method: "crossing of a power law, bootstrap of models".into(),
        unit: "model".into(),
        n: points.len(),
    })
}

/// What is known of one model in the published fit.
pub(super) struct Point {
    pub(super) model: String,
    pub(super) parameters: f64,
    /// Crossing when it is left out.
    pub(super) without: Option<f64>,
}

/// Every quantity of the crossing; gives the p of the exponent and the points for the tables.
pub(super) fn put(values: &mut Values, data: &Data) -> Result<(Option<f64>, Vec<Point>), ReplayError> {
    let points = published_points(data, Aggregate::MeanRate);
    let mut fitted: Vec<&Run> = data.runs.iter().filter(|run| run.fitted).collect();
    fitted.sort_by(|a, b| a.parameters.total_cmp(&b.parameters));
    if fitted.windows(2).any(|pair| pair[0].parameters == pair[1].parameters) {
        return Err(ReplayError::Content {
            path: super::data::FILES.into(),
            reason: "two runs of one model are marked as in the published fit".to_owned(),
        });
    }
    let too_few = "fewer than three models of the published fit are in these data";
    let Some(law) = fit(&points).filter(|_| points.len() >= 3) else {
        for name in ["legacy.crossover.at", "crossover.hierarchical", "crossover.exponent"] {
            values.lacks(name, too_few);
        }
        return Ok((None, Vec::new()));
    };
    for run in &fitted {
        if let Some(advantage) = Aggregate::MeanRate.advantage(run) {
            values.put(format!("legacy.crossover.ratio.{}", run.model), "", advantage);
        }
        if let Some(advantage) = Aggregate::OURS.advantage(run) {
            values.put(format!("crossover.ratio.{}", run.model), "", advantage);
        }
    }
    values.put("legacy.crossover.k", "", law.exponent);
    values.put("legacy.crossover.intercept", "", law.intercept);
    values.put("legacy.crossover.prefactor", "", law.intercept.exp());
    values.put("legacy.crossover.at", MILLIONS, law.at / 1e6);
    if let Some(interval) = case_bootstrap(&points) {
        values.put("legacy.crossover.low", MILLIONS, interval.low / 1e6);
        values.put("legacy.crossover.high", MILLIONS, interval.high / 1e6);
    }
    for aggregate in Aggregate::ALL {
        let name = format!("crossover.by.{}", aggregate.id());
        match estimate(&published_points(data, aggregate)) {
            Some(estimate) => values.put_estimate(name, MILLIONS, in_millions(estimate)),
            None => values.lacks(name, "no crossing under this aggregate"),
        }
    }
    let crossings: Vec<f64> = Aggregate::ALL
        .iter()
        .filter_map(|aggregate| values.point(&format!("crossover.by.{}", aggregate.id())))
        .collect();
    values.put("crossover.aggregates.spread", "", most(&crossings) / least(&crossings));
    without_each(values, &points);
    let table: Vec<Point> = fitted
        .iter()
        .zip(regression::crossing_without(&points))
        .map(|(run, without)| Point {
            model: run.model.clone(),
            parameters: run.parameters,
            without: without.map(|fit| fit.at),
        })
        .collect();
    choices(values, data, law.at);
    for (name, models, from) in [
        ("crossover.hierarchical", false, 1),
        ("crossover.hierarchical.models", true, 1),
        ("crossover.hierarchical.with_first", false, 0),
    ] {
        match hierarchical(data, models, from)? {
            Some(estimate) => values.put_estimate(name, MILLIONS, in_millions(estimate)),
            None => values.lacks(name, too_few),
        }
    }
    Ok((exponent(values, data)?, table))
}

/// Unit of a size in print.
pub(super) const MILLIONS: &str = "M params";

/// A size in millions.
fn in_millions(mut estimate: Estimate) -> Estimate {
    estimate.point /= 1e6;
    estimate.interval = estimate.interval.map(|i| Interval { low: i.low / 1e6, high: i.high / 1e6, ..i });
    estimate
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The published fit without each model.
fn without_each(values: &mut Values, points: &Points) {
    let all: Vec<f64> =
        regression::crossing_without(points).into_iter().flatten().map(|fit| fit.at).collect();
    values.put("crossover.leave_one_out.low", MILLIONS, least(&all) / 1e6);
    values.put("crossover.leave_one_out.high", MILLIONS, most(&all) / 1e6);
    match estimate(&points[1..].to_vec()) {
        Some(estimate) => values.put_estimate("crossover.without_smallest", MILLIONS, in_millions(estimate)),
        None => values.lacks("crossover.without_smallest", "no line without the smallest model"),
    }
}

/// Every choice of one run per model.
fn choices(values: &mut Values, data: &Data, published: f64) {
    let choices = every_choice(data);
    if choices.is_empty() {
        values.lacks("crossover.choices", "no complete run");
        return;
    }
    values.put("crossover.choices", "", choices.len() as f64);
    values.put("crossover.choices.low", MILLIONS, least(&choices) / 1e6);
    values.put("crossover.choices.high", MILLIONS, most(&choices) / 1e6);
    values.put("crossover.choices.median", MILLIONS, median(&choices).unwrap_or(f64::NAN) / 1e6);
    let below = choices.iter().filter(|at| **at < published * (1.0 - 1e-12)).count();
    values.put("crossover.choices.below_published", "%", 100.0 * below as f64 / choices.len() as f64);
    for runs in data.replicates().values().filter(|runs| runs.len() > 1) {
        let rates: Vec<f64> = runs.iter().filter_map(|r| overall(r.ok(BASELINE), Record::rate)).collect();
        values.put(format!("runs.{}.baseline.spread", runs[0].model), "", most(&rates) / least(&rates));
    }
}

/// Exponent over all runs of each model by geometric means, with its t interval and p.
fn exponent(values: &mut Values, data: &Data) -> Result<Option<f64>, ReplayError> {
    let mut sizes = BTreeMap::new();
    for (parameters, runs) in data.replicates() {
        let logs: Vec<f64> =
            runs.iter().filter_map(|run| Some(Aggregate::OURS.advantage(run)?.ln())).collect();
        sizes.insert(parameters, plain_mean(&logs));
    }
    let x: Vec<f64> = sizes.keys().map(|p| (*p as f64).ln()).collect();
    let y: Vec<f64> = sizes.values().copied().collect();
    let line = regression::ols(&x, &y, LEVEL).map_err(ReplayError::at("exponent of the advantage"))?;
    values.put_estimate("crossover.exponent", "", line.slope.estimate("log-log slope, t", "model", line.n));
    Ok(line.slope.p)
}
