//! How the advantage of one engine over another changes with model size, and where it ends: under every way of making one
//! speed of several prompts, without each model, and with the noise of measuring again. A crossing outside the measured
//! sizes is said to be none.

use std::collections::BTreeSet;

use chimera_records::Metric;
use chimera_report::{Axis, Cell, Column, NoteKind, Plot, Section, Series, Style, Table};
use chimera_stats::{
    Estimate, Interval, StatsError,
    random::Resampling,
    regression::{self, Advantage, Rung, SpeedBy, Timed},
};

use super::{digits, geometric, mean};
use crate::{Arm, Contestant, Estimands, Index, LEVEL, PerBlock, StudyError};

/// Resamples of every bootstrap here.
const RESAMPLES: usize = 2_000;

/// The way that our own statements follow: no prompt weighs more for taking longer.
pub const OURS: SpeedBy = SpeedBy::GeometricOfMeans;

/// A kind of work whose advantage is asked for.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// Short name, used in estimands.
    pub id: &'static str,
    /// Name in tables.
    pub label: &'static str,
    /// Prompts, or the one name of what is made of several cells.
    pub parts: Vec<Part<'a>>,
}

/// What is timed once per block.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    /// A metric of one prompt's cell at a budget.
    Cell {
        /// Prompt.
        scenario: &'a str,
        /// Generated tokens.
        budget: u32,
        /// Engine's metric of its time.
        metric: Metric,
    },
    /// The sum of the prefills of several prompts, each a token longer than the one before: generation without a cache.
    Steps(Vec<&'a str>),
}

impl<'a> Part<'a> {
    /// Seconds per block.
    #[must_use]
    pub fn seconds(&self, index: &Index<'a>, one: Contestant<'a>) -> PerBlock {
        match self {
            Self::Cell { scenario, budget, metric } => {
                let field = crate::Field { scenarios: vec![*scenario], budget: *budget };
                index.per_block(&field.key(one, scenario), *metric)
            }
            Self::Steps(steps) => super::uncached::sum_of_steps(index, one, steps),
        }
    }

    /// What is done in that time, for a rate: prompt tokens of a prefill, else once.
    fn work(&self, index: &Index<'a>, one: Contestant<'a>) -> f64 {
        let Self::Cell { scenario, budget, metric: Metric::PrefillEngine } = self else { return 1.0 };
        let field = crate::Field { scenarios: vec![*scenario], budget: *budget };
        let lanes = index.steady(&field.key(one, scenario)).iter().flat_map(|trial| &trial.lanes);
        lanes.filter_map(|lane| lane.prompt_tokens).next().map_or(1.0, f64::from)
    }
}

/// One engine's parts of a work at one size: what is done, and the seconds per block.
type Side = Vec<(f64, PerBlock)>;

/// Two engines along the sizes of a family.
#[derive(Debug, Clone)]
pub struct Pair<'a> {
    /// Whose advantage.
    pub a: Arm<'a>,
    /// Over whom.
    pub b: Arm<'a>,
    /// Which work.
    pub work: Work<'a>,
    /// Model ids, ascending in size, that both finished in every part.
    pub models: Vec<&'a str>,
    /// Both at every size, over the blocks that all of them have.
    pub rungs: Vec<Rung>,
    /// The blocks.
    pub blocks: Vec<u32>,
    /// The advantage under every way of making a speed; empty below three sizes or two blocks.
    pub advantages: Vec<Advantage>,
}

impl<'a> Pair<'a> {
    /// Sets two arms side by side over the F32 models of a family.
    ///
    /// # Errors
    /// A statistic that refused its input.
    pub fn new(
        index: &Index<'a>,
        (a, b): (Arm<'a>, Arm<'a>),
        models: &[(&'a str, f64)],
        work: Work<'a>,
    ) -> Result<Self, StudyError> {
        let mut kept: Vec<(&'a str, f64, [Side; 2])> = Vec::new();
        for (model, parameters) in models {
            let side = |arm: Arm<'a>| -> Side {
                let one = Contestant { arm, model };
                work.parts.iter().map(|part| (part.work(index, one), part.seconds(index, one))).collect()
            };
            let sides = [side(a), side(b)];
            if sides.iter().flatten().all(|(_, values)| !values.is_empty()) {
                kept.push((model, *parameters, sides));
            }
        }
        kept.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut maps = kept.iter().flat_map(|(_, _, sides)| sides.iter().flatten());
        let mut blocks: BTreeSet<u32> =
            maps.next().map(|(_, first)| first.keys().copied().collect()).unwrap_or_default();
        for (_, values) in maps {
            blocks.retain(|block| values.get(block).is_some_and(|seconds| *seconds > 0.0));
        }
        let timed = |side: &[(f64, PerBlock)]| -> Vec<Vec<Timed>> {
            let of = |(work, values): &(f64, PerBlock)| {
                let seconds = blocks.iter().filter_map(|block| values.get(block));
                seconds.map(|seconds| Timed { latency: *seconds, rate: work / seconds }).collect()
            };
            side.iter().map(of).collect()
        };
        let rungs: Vec<Rung> = kept
            .iter()
            .map(|(_, parameters, [own, other])| Rung { x: *parameters, a: timed(own), b: timed(other) })
            .collect();
        let mut advantages = Vec::new();
        if rungs.len() >= 3 && blocks.len() >= 2 {
            for by in SpeedBy::ALL {
                let resampling = Resampling::new(RESAMPLES, index.run().settings.design.seed);
                advantages.push(
                    regression::advantage(&rungs, by, resampling, LEVEL)
                        .map_err(StudyError::at(format!("advantage of {a} over {b}, {}", work.label)))?,
                );
            }
        }
        let models = kept.iter().map(|(model, ..)| *model).collect();
        Ok(Self { a, b, work, models, rungs, blocks: blocks.into_iter().collect(), advantages })
    }

    /// `<a>-over-<b>`, for estimands.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-over-{}", self.a.kind(), self.b.kind())
    }

    /// Advantage at one size in every block, by [`OURS`].
    #[must_use]
    pub fn per_block(&self, place: usize) -> PerBlock {
        let Some(rung) = self.rungs.get(place) else { return PerBlock::new() };
        let one = |side: &[Vec<Timed>], block: usize| -> Vec<Vec<Timed>> {
            side.iter().map(|part| part.get(block).copied().into_iter().collect()).collect()
        };
        (0..self.blocks.len())
            .filter_map(|block| {
                let rung = Rung { x: rung.x, a: one(&rung.a, block), b: one(&rung.b, block) };
                Some((self.blocks[block], rung.advantage(OURS)?))
            })
            .collect()
    }

    /// Exponent of the advantage in every block.
    fn exponents(&self) -> PerBlock {
        let columns: Vec<PerBlock> = (0..self.rungs.len()).map(|place| self.per_block(place)).collect();
        self.blocks
            .iter()
            .filter_map(|block| {
                let points: Option<Vec<(f64, f64)>> = self
                    .rungs
                    .iter()
                    .zip(&columns)
                    .map(|(rung, values)| Some((rung.x, *values.get(block)?)))
                    .collect();
                Some((*block, regression::crossing(&points?)?.exponent))
            })
            .collect()
    }

    fn ours(&self) -> Option<&Advantage> {
        self.advantages.iter().find(|advantage| advantage.by == OURS)
    }

    /// The model that decides the fit alone, and the exponent without it: where leaving it out changes the sign, or more than
    /// halves or doubles the exponent. Of several the one that changes it most.
    #[must_use]
    pub fn decided_by(&self) -> Option<(&str, f64)> {
        let ours = self.ours()?;
        let all = ours.law?.exponent;
        let without = self.models.iter().zip(regression::crossing_without(&ours.points));
        without
            .map(|(model, law)| (&**model, law.map_or(0.0, |law| law.exponent)))
            .filter(|(_, exponent)| !(0.5..=2.0).contains(&(exponent / all)))
            .max_by(|a, b| (a.1 - all).abs().total_cmp(&(b.1 - all).abs()))
    }

    /// What may be said of the crossing, in words.
    #[must_use]
    pub fn statement(&self) -> String {
        let said = self.crossing_in_words();
        match self.decided_by() {
            Some((model, exponent)) => format!(
                "{said}; no law: {model} decides the fit alone, without it the exponent is {}",
                digits(exponent)
            ),
            None => said,
        }
    }

    fn crossing_in_words(&self) -> String {
        let Some(ours) = self.ours() else {
            return format!(
                "{} sizes in {} blocks: three and two are needed for a line",
                self.rungs.len(),
                self.blocks.len()
            );
        };
        let (all, none) =
            (ours.points.iter().all(|point| point.1 > 1.0), ours.points.iter().all(|point| point.1 < 1.0));
        let beyond = ours.law.map_or_else(
            || "the advantage does not change with size".to_owned(),
            |law| format!("the line would cross at {} M parameters, an extrapolation", digits(law.at / 1e6)),
        );
        let (a, b) = (self.a.backend, self.b.backend);
        match ours.at {
            None if all => {
                format!("{a} is faster than {b} at every size; no crossing lies in the range ({beyond})")
            }
            None if none => {
                format!("{a} is slower than {b} at every size; no crossing lies in the range ({beyond})")
            }
            None => {
                format!("no crossing of the line lies in the range ({beyond}), though the sizes disagree")
            }
            Some(at) if ours.interval.is_some() => {
                format!("the line crosses at {} M parameters", digits(at / 1e6))
            }
            Some(at) => format!(
                "the line crosses at {} M parameters, but only {} % of redrawn runs cross within the range: no interval",
                digits(at / 1e6),
                digits(100.0 * ours.share_crossing)
            ),
        }
    }
}

/// A crossing as an estimate in millions of parameters.
fn estimate(advantage: &Advantage) -> Option<Estimate> {
    let millions = |interval: Interval| interval.map(|value| value / 1e6);
    Some(Estimate {
        point: advantage.at? / 1e6,
        standard_error: None,
        interval: advantage.interval.map(millions),
        method: "crossing of a power law, bootstrap of blocks".into(),
        unit: "block".into(),
        n: advantage.blocks,
    })
}

/// Puts `crossover.<work>.<a>-over-<b>.{at,exponent,spread}`, `…by.<aggregate>` and
/// `advantage.<work>.<a>-over-<b>.<model>` into the estimands.
///
/// # Errors
/// A statistic that refused its input.
pub fn put(pair: &Pair<'_>, estimands: &mut Estimands) -> Result<(), StudyError> {
    let at = || StudyError::at(format!("advantage of {} over {}", pair.a, pair.b));
    let (work, name) = (pair.work.id, pair.name());
    for (place, model) in pair.models.iter().enumerate() {
        if let Some(value) = geometric(&pair.per_block(place)).map_err(at())? {
            estimands.put(format!("advantage.{work}.{name}.{model}"), value);
        }
    }
    let place = format!("crossover.{work}.{name}");
    if pair.rungs.len() >= 3
        && let Some(exponent) = mean(&pair.exponents()).map_err(at())?
    {
        estimands.put(format!("{place}.exponent"), exponent);
    }
    for advantage in &pair.advantages {
        match estimate(advantage) {
            Some(value) if advantage.by == OURS => estimands.put(format!("{place}.at"), value),
            Some(value) => estimands.put(format!("{place}.by.{}", advantage.by.id()), value),
            None if advantage.by == OURS => estimands.lacks(format!("{place}.at"), pair.statement()),
            None => estimands
                .lacks(format!("{place}.by.{}", advantage.by.id()), "no crossing in the measured range"),
        }
    }
    Ok(())
}

/// The section over all pairs.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(pairs: &[Pair<'_>]) -> Result<Section, StudyError> {
    let mut section = Section::new("crossover", "Advantage over model size").paragraph(
        "Advantage: speed of the first engine over that of the second, on the same models, prompts and blocks; above 1 the first \
         is faster. A power law in the number of parameters is fitted to it. Where the fit is 1 the engines change places, if \
         that lies within the sizes that were measured. The published answer, 76 M parameters, hung on how a speed was made of \
         several prompts: the same runs give 66 M to 125 M.",
    );
    section = section.list(pairs.iter().map(|pair| {
        format!("{}, {} over {}: {}.", pair.work.label, pair.a.backend, pair.b.backend, pair.statement())
    }));
    section = section
        .table(advantages(pairs)?)
        .table(crossings(pairs))
        .table(without(pairs).map_err(StudyError::at("crossing without each model"))?);
    for (number, pair) in pairs.iter().enumerate() {
        if let Some(plot) = plot(number, pair)? {
            section = section.plot(plot);
        }
    }
    Ok(section.note(
        NoteKind::Limit,
        "A power law through a few sizes is a description. The models differ in depth and width as well as in size, and where a \
         model fits into the cache another law holds than where it does not.",
    ))
}

fn advantages(pairs: &[Pair<'_>]) -> Result<Table, StudyError> {
    let mut table = Table::new("advantage", "Advantage at every size")
        .caption(format!(
            "Unit of replication: block. {}; 95 % t interval on logarithms.",
            super::growth::capital(OURS.label())
        ))
        .column(Column::text("work", "Work"))
        .column(Column::text("first", "First"))
        .column(Column::text("second", "Second"))
        .column(Column::text("model", "Model"))
        .column(Column::number("parameters", "Parameters", ""))
        .column(Column::number("advantage", "Advantage", ""))
        .column(Column::number("blocks", "Blocks", ""));
    for pair in pairs {
        for (place, (model, rung)) in pair.models.iter().zip(&pair.rungs).enumerate() {
            let values = pair.per_block(place);
            let value = geometric(&values).map_err(StudyError::at(format!("advantage on {model}")))?;
            table.push_row([
                pair.work.label.into(),
                pair.a.backend.into(),
                pair.b.backend.into(),
                (*model).into(),
                rung.x.into(),
                super::cell(value, "no block has every prompt of both"),
                values.len().into(),
            ]);
        }
    }
    Ok(table)
}

fn crossings(pairs: &[Pair<'_>]) -> Table {
    let mut table = Table::new("crossings", "The crossing under every way of making a speed")
        .caption(
            "Crossing within the measured sizes. Interval: percentiles over runs whose blocks were redrawn (2,000 times, the same \
             blocks for every model, prompt and engine), given only if at least 95 % of them cross within the range.",
        )
        .column(Column::text("work", "Work"))
        .column(Column::text("first", "First"))
        .column(Column::text("second", "Second"))
        .column(Column::text("by", "Speed is"))
        .column(Column::number("at", "Crossing", "M params"))
        .column(Column::number("exponent", "Exponent", ""))
        .column(Column::number("share", "Cross in range", "%"))
        .column(Column::number("smallest", "Advantage, smallest model", ""))
        .column(Column::number("largest", "Largest model", ""));
    for pair in pairs {
        for advantage in &pair.advantages {
            let end = |point: Option<&(f64, f64)>| Cell::or_missing(point.map(|point| point.1), "no model");
            let exponent = advantage.law.map(|law| Estimate {
                point: law.exponent,
                standard_error: None,
                interval: advantage.exponent_interval,
                method: "log-log slope, bootstrap of blocks".into(),
                unit: "block".into(),
                n: advantage.blocks,
            });
            table.push_row([
                pair.work.label.into(),
                pair.a.backend.into(),
                pair.b.backend.into(),
                advantage.by.label().into(),
                super::cell(estimate(advantage), "no crossing lies in the measured range"),
                super::cell(exponent, "the advantage does not change"),
                (100.0 * advantage.share_crossing).into(),
                end(advantage.points.first()),
                end(advantage.points.last()),
            ]);
        }
    }
    table
}

/// The fit without each model, through the two outermost alone, and with models drawn as if at random.
fn without(pairs: &[Pair<'_>]) -> Result<Table, StatsError> {
    let mut table = Table::new("crossing-without", "The same fit from fewer models")
        .caption(format!(
            "By the {}, wherever the fit is 1: a value outside the measured sizes is an extrapolation, shown to say how far it \
             moves.",
            OURS.label()
        ))
        .column(Column::text("work", "Work"))
        .column(Column::text("first", "First"))
        .column(Column::text("second", "Second"))
        .column(Column::text("from", "From"))
        .column(Column::number("at", "The fit is 1 at", "M params"))
        .column(Column::number("exponent", "Exponent", ""));
    for pair in pairs {
        let Some(ours) = pair.ours() else { continue };
        let mut row = |from: String, law: Option<regression::Crossing>| {
            let why = "the advantage does not change";
            table.push_row([
                pair.work.label.into(),
                pair.a.backend.into(),
                pair.b.backend.into(),
                from.into(),
                Cell::or_missing(law.map(|law| law.at / 1e6), why),
                Cell::or_missing(law.map(|law| law.exponent), why),
            ]);
        };
        row("all models".into(), ours.law);
        for (model, law) in pair.models.iter().zip(regression::crossing_without(&ours.points)) {
            row(format!("without {model}"), law);
        }
        if let (Some(first), Some(last)) = (ours.points.first(), ours.points.last()) {
            row("the smallest and the largest alone".into(), regression::crossing(&[*first, *last]));
        }
        let drawn = regression::crossing_of_drawn_points(&ours.points, Resampling::new(RESAMPLES, 1), LEVEL)?;
        if let (Some(interval), Some(law)) = (drawn, ours.law) {
            let value = Estimate {
                point: law.at / 1e6,
                standard_error: None,
                interval: Some(interval.map(|value| value / 1e6)).filter(|interval| {
                    interval.low.is_finite()
                        && interval.high.is_finite()
                        && interval.low <= law.at / 1e6
                        && law.at / 1e6 <= interval.high
                }),
                method: "crossing of a power law, bootstrap of models".into(),
                unit: "model".into(),
                n: ours.points.len(),
            };
            table.push_row([
                pair.work.label.into(),
                pair.a.backend.into(),
                pair.b.backend.into(),
                "models drawn at random, as published".into(),
                value.into(),
                law.exponent.into(),
            ]);
        }
    }
    Ok(table)
}

fn plot(number: usize, pair: &Pair<'_>) -> Result<Option<Plot>, StudyError> {
    let mut series = Series::new(format!("{} over {}", pair.a.backend, pair.b.backend), Style::PointsLine);
    for (place, (model, rung)) in pair.models.iter().zip(&pair.rungs).enumerate() {
        let value =
            geometric(&pair.per_block(place)).map_err(StudyError::at(format!("advantage on {model}")))?;
        if let Some(value) = value {
            series = series.estimate(rung.x, &value).label(*model);
        }
    }
    if series.points.len() < 2 {
        return Ok(None);
    }
    let mut plot = Plot::new(
        format!("advantage-{}", number + 1),
        format!("{}: advantage of {} over {}", pair.work.label, pair.a.backend, pair.b.backend),
        Axis::log("parameters", ""),
        Axis::log("advantage", ""),
    )
    .caption("Geometric mean over prompts and blocks, 95 % interval over blocks.")
    .series(series)
    .horizontal(1.0, "as fast");
    if let Some(at) = pair.ours().and_then(|ours| ours.at) {
        plot = plot.vertical(at, "crossing");
    }
    Ok(Some(plot))
}
