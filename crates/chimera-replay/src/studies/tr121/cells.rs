//! The published aggregation: medians of a cell's calls, geometric means of medians over prompts, lines through logarithms.

use std::collections::{BTreeMap, BTreeSet};

use chimera_stats::{Sample, regression};

use super::read::{Call, Shape, Timing};
use crate::{LEVEL, ReplayError};

/// A phase as the report calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Prefill,
    Decode,
    Both,
}

/// All of them.
pub(super) const MODES: [Mode; 3] = [Mode::Prefill, Mode::Decode, Mode::Both];

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "kv_decode",
            Self::Both => "e2e_kv",
        }
    }

    pub(super) fn ms(self, timing: &Timing) -> f64 {
        match self {
            Self::Prefill => timing.prefill,
            Self::Decode => timing.decode,
            Self::Both => timing.prefill + timing.decode,
        }
    }

    /// Tokens as the report counts them: those asked for, in every lane.
    fn tokens(self, call: &Call) -> f64 {
        let decoded = call.target * f64::from(call.batch);
        match self {
            Self::Prefill => call.prompt,
            Self::Decode => decoded,
            Self::Both => call.prompt + decoded,
        }
    }
}

/// Calls of one cell that have their times.
#[derive(Debug, Default)]
pub(super) struct Cell<'d> {
    pub(super) warm: Vec<(&'d Call, Timing)>,
    pub(super) measured: Vec<(&'d Call, Timing)>,
}

impl Cell<'_> {
    pub(super) fn median(&self, mode: Mode) -> Option<f64> {
        median(self.measured.iter().map(|(_, timing)| mode.ms(timing)))
    }

    pub(super) fn warm_median(&self, mode: Mode) -> Option<f64> {
        median(self.warm.iter().map(|(_, timing)| mode.ms(timing)))
    }

    /// First use over later uses.
    pub(super) fn warm_ratio(&self, mode: Mode) -> Option<f64> {
        Some(self.warm_median(mode)? / self.median(mode)?)
    }

    fn rate(&self, mode: Mode) -> Option<f64> {
        median(self.measured.iter().map(|(call, timing)| 1e3 * mode.tokens(call) / mode.ms(timing)))
    }

    /// Decode per token that came.
    pub(super) fn step(&self) -> Option<f64> {
        median(self.measured.iter().map(|(call, timing)| timing.decode_raw / call.generated))
    }
}

/// Run, arm, model, prompt.
pub(super) type Key<'d> = (&'d str, &'static str, &'d str, &'d str);

/// All cells.
pub(super) type Cells<'d> = BTreeMap<Key<'d>, Cell<'d>>;

pub(super) fn cells(calls: &[Call]) -> Cells<'_> {
    let mut cells = Cells::new();
    for call in calls {
        let cell = cells.entry((&call.run, call.arm(), &call.model, &call.scenario)).or_default();
        if let Some(timing) = call.timing {
            if call.warm { &mut cell.warm } else { &mut cell.measured }.push((call, timing));
        }
    }
    cells
}

/// Runs with their arms.
pub(super) fn arms<'d>(cells: &Cells<'d>) -> BTreeSet<(&'d str, &'static str)> {
    cells.keys().map(|(run, arm, _, _)| (*run, *arm)).collect()
}

/// A model in a published fit.
#[derive(Debug, Clone)]
pub(super) struct Point<'d> {
    pub(super) model: &'d str,
    pub(super) millions: f64,
    /// Geometric mean over prompts of the medians, in milliseconds.
    pub(super) ms: f64,
    /// The same of tokens per second.
    pub(super) rate: f64,
}

/// Models of one arm of one run, smallest first; of one prompt or of all.
pub(super) fn points<'d>(
    cells: &Cells<'d>,
    of: (&str, &str),
    mode: Mode,
    prompt: Option<&str>,
) -> Vec<Point<'d>> {
    let mut logs: BTreeMap<&str, (f64, Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((run, arm, model, scenario), cell) in cells {
        if (*run, *arm) != of || prompt.is_some_and(|prompt| prompt != *scenario) {
            continue;
        }
        let Some((ms, rate)) = cell.median(mode).zip(cell.rate(mode)) else { continue };
        let millions = cell.measured.first().map_or(f64::NAN, |(call, _)| call.millions);
        let entry = logs.entry(model).or_insert((millions, Vec::new(), Vec::new()));
        entry.1.push(ms.ln());
        entry.2.push(rate.ln());
    }
    let mean = |logs: &[f64]| (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    let mut points: Vec<Point<'d>> = logs
        .into_iter()
        .map(|(model, (millions, ms, rate))| Point { model, millions, ms: mean(&ms), rate: mean(&rate) })
        .collect();
    points.sort_by(|a, b| a.millions.total_cmp(&b.millions));
    points
}

/// Decimal logarithms, as in the report: its resampling depends on the base.
pub(super) fn log10(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    values.into_iter().map(f64::log10).collect()
}

/// The line through the logarithms of some models.
pub(super) fn line(points: &[Point<'_>]) -> Result<regression::LinearFit, ReplayError> {
    let x = log10(points.iter().map(|point| point.millions));
    let y = log10(points.iter().map(|point| point.ms));
    regression::ols(&x, &y, LEVEL).map_err(ReplayError::at("a published power law"))
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(values, 0.5)
}

/// Quantile by linear interpolation.
pub(super) fn quantile(values: impl IntoIterator<Item = f64>, p: f64) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    Sample::new(&values, "call").ok()?.sorted().quantile(p).ok()
}

/// A dimension of every model, if all are known.
pub(super) fn dimension(
    points: &[Point<'_>],
    shapes: &BTreeMap<String, Shape>,
    get: fn(&Shape) -> f64,
) -> Option<Vec<f64>> {
    points.iter().map(|point| shapes.get(point.model).map(get)).collect()
}
