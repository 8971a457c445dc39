//! How a latency grows with model size: one power law per block, and everything that is needed to doubt it. The
//! interval over blocks says what a repetition of the run would show; the fit through the models says how well a power
//! law describes them; the fits without each model say whether one of them decides. Words are put on it elsewhere.

use std::collections::BTreeMap;

use chimera_records::Metric;
use chimera_stats::{
    Estimate, Sample, StatsError, intervals,
    regression::{self, Influence, LeaveOneOut, PowerLaw, TheilSen},
};

use crate::{Arm, CellKey, Index, LEVEL, ModelFacts, PerBlock, StudyError};

/// A phase whose latency is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseMetric {
    /// Sent to logits of the last prompt token.
    Prefill,
    /// Time per token after the first.
    Decode,
    /// Sent to last token.
    E2e,
}

impl PhaseMetric {
    /// All of them.
    pub const ALL: [PhaseMetric; 3] = [Self::Prefill, Self::Decode, Self::E2e];

    /// Short name, used in the names of estimands.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::E2e => "e2e",
        }
    }

    /// Name in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode, per token",
            Self::E2e => "end to end",
        }
    }

    /// The metric of an in-process backend.
    #[must_use]
    pub fn metric(self) -> Metric {
        match self {
            Self::Prefill => Metric::PrefillEngine,
            Self::Decode => Metric::TpotEngine,
            Self::E2e => Metric::E2eEngine,
        }
    }
}

/// Which cells a scaling is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<'a> {
    /// Arm.
    pub arm: Arm<'a>,
    /// Scenarios; a model's value is the geometric mean over them.
    pub scenarios: Vec<&'a str>,
    /// Lanes.
    pub batch: u32,
    /// Budget.
    pub budget: u32,
}

/// One model in a scaling.
#[derive(Debug, Clone)]
pub struct ScalePoint<'a> {
    /// The model.
    pub model: ModelFacts<'a>,
    /// Parameters: the abscissa.
    pub parameters: f64,
    /// Latency per block in seconds: geometric mean over the scenarios.
    pub per_block: PerBlock,
    /// Geometric mean over blocks, with its interval.
    pub estimate: Estimate,
}

/// A scaling with its doubts.
#[derive(Debug, Clone)]
pub struct Scaling<'a> {
    /// Which phase.
    pub phase: PhaseMetric,
    /// From which cells.
    pub selection: Selection<'a>,
    /// Models by size.
    pub points: Vec<ScalePoint<'a>>,
    /// Models that have no value or no parameter count, with the reason.
    pub left_out: Vec<(&'a str, &'static str)>,
    /// Exponent per block; blocks that lack a model are not in it.
    pub slopes: PerBlock,
    /// Mean exponent over blocks.
    pub exponent: Estimate,
    /// Power law through the models' geometric means.
    pub fit: PowerLaw,
    /// Hold of each model on that line, in the order of `points`.
    pub influence: Vec<Influence>,
    /// The line without each model.
    pub leave_one_out: LeaveOneOut,
    /// Mean exponent over blocks without each model, in the order of `points`.
    pub exponent_without: Vec<Estimate>,
    /// The robust twin.
    pub theil_sen: TheilSen,
}

/// Smallest change of an exponent that matters to anybody.
pub(crate) const MATERIAL: f64 = 0.01;

/// Fewest models for which a scaling is made: with two a power law fits anything.
pub(crate) const MIN_MODELS: usize = 4;

impl<'a> Scaling<'a> {
    /// Makes a scaling of one family; `None` when fewer than four of its models were measured.
    ///
    /// # Errors
    /// A statistic that refused its input.
    pub fn new(
        index: &Index<'a>,
        family: &str,
        phase: PhaseMetric,
        selection: Selection<'a>,
    ) -> Result<Option<Self>, StudyError> {
        let place = || format!("scaling of {} ({})", phase.id(), selection.scenarios.join(", "));
        let mut points = Vec::new();
        let mut left_out = Vec::new();
        for model in index.models(selection.arm).into_iter().filter(|model| model.family == family) {
            let Some(parameters) = model.parameters.filter(|p| *p > 0.0) else {
                left_out.push((model.id, "the backend reports no parameter count"));
                continue;
            };
            let per_block = geometric_over_scenarios(index, &selection, model.id, phase.metric());
            if per_block.is_empty() {
                left_out.push((model.id, "no completed steady trial in every scenario"));
                continue;
            }
            let values: Vec<f64> = per_block.values().copied().collect();
            let estimate = geometric(&values).map_err(StudyError::at(place()))?;
            points.push(ScalePoint { model, parameters, per_block, estimate });
        }
        if points.len() < MIN_MODELS {
            return Ok(None);
        }
        points.sort_by(|a, b| a.parameters.total_cmp(&b.parameters));
        Self::fit(phase, selection.clone(), points, left_out).map_err(StudyError::at(place()))
    }

    fn fit(
        phase: PhaseMetric,
        selection: Selection<'a>,
        points: Vec<ScalePoint<'a>>,
        left_out: Vec<(&'a str, &'static str)>,
    ) -> Result<Option<Self>, StatsError> {
        let x: Vec<f64> = points.iter().map(|point| point.parameters).collect();
        let y: Vec<f64> = points.iter().map(|point| point.estimate.point).collect();
        let (log_x, log_y) = (regression::logs(&x)?, regression::logs(&y)?);
        let slopes = slopes_per_block(&points, None)?;
        if slopes.is_empty() {
            return Ok(None);
        }
        let mut exponent_without = Vec::new();
        for skip in 0..points.len() {
            exponent_without.push(mean_over_blocks(&slopes_per_block(&points, Some(skip))?)?);
        }
        Ok(Some(Self {
            phase,
            selection,
            exponent: mean_over_blocks(&slopes)?,
            slopes,
            fit: regression::power_law(&x, &y, LEVEL)?,
            influence: regression::influence(&log_x, &log_y)?,
            leave_one_out: regression::leave_one_out(&log_x, &log_y, LEVEL)?,
            exponent_without,
            theil_sen: regression::theil_sen(&log_x, &log_y, LEVEL)?,
            points,
            left_out,
        }))
    }

    /// Models that alone decide the slope; a slope is a law only where there are none. A model without which the
    /// exponent moves by 0.01 or less decides nothing, however narrow the interval of the fit.
    ///
    /// # Errors
    /// A statistic that refused its input.
    pub fn deciding(&self) -> Result<Vec<&'a str>, StudyError> {
        let full = self.fit.exponent().value;
        let points = self
            .leave_one_out
            .deciding_points(&self.fit.log_fit, crate::ALPHA)
            .map_err(StudyError::at("points that decide a slope"))?;
        let material = |index: &usize| {
            let without = self.leave_one_out.without.get(*index).and_then(|without| without.fit.as_ref());
            without.is_none_or(|fit| (fit.slope.value - full).abs() > MATERIAL)
        };
        let points = points.into_iter().filter(material);
        Ok(points.filter_map(|index| self.points.get(index)).map(|point| point.model.id).collect())
    }
}

/// Per block the geometric mean over scenarios; a block that lacks one of them is left out.
pub(crate) fn geometric_over_scenarios(
    index: &Index<'_>,
    selection: &Selection<'_>,
    model: &str,
    metric: Metric,
) -> PerBlock {
    let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
    for scenario in &selection.scenarios {
        let (batch, budget) = (selection.batch, selection.budget);
        let key = CellKey { arm: selection.arm, model, scenario, batch, concurrency: 1, budget };
        for (block, value) in index.per_block(&key, metric) {
            if value > 0.0 {
                let (sum, n) = sums.entry(block).or_default();
                *sum += value.ln();
                *n += 1;
            }
        }
    }
    let all = selection.scenarios.len();
    sums.into_iter()
        .filter(|(_, (_, n))| *n == all)
        .map(|(block, (sum, n))| (block, (sum / n as f64).exp()))
        .collect()
}

fn slopes_per_block(points: &[ScalePoint<'_>], skip: Option<usize>) -> Result<PerBlock, StatsError> {
    let used: Vec<&ScalePoint<'_>> =
        points.iter().enumerate().filter(|(index, _)| Some(*index) != skip).map(|(_, point)| point).collect();
    let Some(first) = used.first() else { return Ok(PerBlock::new()) };
    let x: Vec<f64> = used.iter().map(|point| point.parameters).collect();
    let log_x = regression::logs(&x)?;
    let mut slopes = PerBlock::new();
    for block in first.per_block.keys() {
        let y: Option<Vec<f64>> = used.iter().map(|point| point.per_block.get(block).copied()).collect();
        if let Some(y) = y {
            slopes.insert(*block, regression::slope(&log_x, &regression::logs(&y)?)?);
        }
    }
    Ok(slopes)
}

pub(crate) fn mean_over_blocks(values: &PerBlock) -> Result<Estimate, StatsError> {
    let values: Vec<f64> = values.values().copied().collect();
    intervals::over_blocks(Sample::new(&values, "block")?, LEVEL)
}

fn geometric(values: &[f64]) -> Result<Estimate, StatsError> {
    intervals::geometric_over_blocks(Sample::new(values, "block")?, LEVEL)
}
