//! How many blocks the next comparison needs, from the noise of a run: per metric and cell, for one test and for the
//! family that `compare` adjusts over, at the noise that was seen and at the noise that few blocks could have hidden. It
//! plans; the power of the run itself, at an effect it found, is not asked.

use std::{collections::BTreeMap, fmt::Write as _};

use chimera_records::{Metric, RunStatus};
use chimera_report::aligned;
use chimera_stats::{Blocks, StatsError, power, power::Noise, variance};
use serde::Serialize;

use crate::{
    ALPHA, CellKey, Index, RunData, StudyError,
    compare::{self, Detectable, Factor, percent},
};

/// Share of the possible noise that the cautious plan covers.
const CAUTION: f64 = 0.8;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Change that is to be found, as a share: 0.05 for 5 %.
    pub effect: f64,
    /// Probability with which it is to be found.
    pub power: f64,
    /// Metrics; empty takes those that `compare` takes.
    pub metrics: Vec<Metric>,
}

/// The plan for one metric of one cell.
#[derive(Debug, Clone, Serialize)]
pub struct CellPlan {
    /// Metric by name.
    pub metric: &'static str,
    /// Levels of all factors.
    pub cell: BTreeMap<Factor, String>,
    /// Blocks of the run.
    pub blocks: usize,
    /// Requests per block, rounded up.
    pub requests: usize,
    /// Standard deviation of the logarithms between blocks: 0.02 is about 2 %.
    pub block_sd: f64,
    /// The same between requests of a block; absent where a block holds one request, and then part of the former.
    pub request_sd: Option<f64>,
    /// Smallest change that a comparison of two runs of this size finds, as a share, with the power asked for.
    pub detectable: Option<f64>,
    /// Blocks per run for the effect, for this test alone; absent above [`power::MOST_BLOCKS`].
    pub needed: Option<usize>,
    /// The same where the family is adjusted for.
    pub needed_in_family: Option<usize>,
    /// The latter if the noise is larger than it looked: at the upper 80 % limit of its standard deviation.
    pub needed_cautious: Option<usize>,
}

/// The plan for a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The run that the noise comes from.
    pub run: String,
    /// Change to be found, as a share.
    pub effect: f64,
    /// Power asked for.
    pub power: f64,
    /// Level of one test.
    pub alpha: f64,
    /// Tests of the family: one per row.
    pub family: usize,
    /// Rows, the most demanding first.
    pub rows: Vec<CellPlan>,
    /// Blocks per run with which every row has the power; absent where one needs more than [`power::MOST_BLOCKS`].
    pub blocks: Option<usize>,
    /// The same, cautiously.
    pub blocks_cautious: Option<usize>,
    /// Seconds that the run took per block, process starts and loads included; absent for a run that was interrupted.
    pub seconds_per_block: Option<f64>,
    /// What could not be planned, and why.
    pub left_out: Vec<String>,
}

/// Plans a comparison from the noise of a run.
///
/// # Errors
/// [`StudyError::Question`] for an effect or a power that makes no sense or a run with fewer than three blocks everywhere.
pub fn plan(run: &RunData, question: &Question) -> Result<Plan, StudyError> {
    if !(question.effect > 0.0 && question.effect < 10.0 && question.power > 0.0 && question.power < 1.0) {
        return Err(StudyError::Question {
            reason: format!(
                "an effect of {} with a power of {}: the effect is a share above 0 (5 % is 0.05), the power lies between 0 \
                 and 1",
                question.effect, question.power
            ),
        });
    }
    let index = Index::new(run);
    let usual = compare::usual(&run.trials, &run.trials);
    let metrics = if question.metrics.is_empty() { &usual } else { &question.metrics };
    let mut left_out = Vec::new();
    let mut noises = Vec::new();
    for metric in metrics {
        for (cell, _) in index.cells() {
            let name =
                || format!("{} of {} {} gen {}", metric.name(), cell.model, cell.scenario, cell.budget);
            match noise(&index, cell, *metric).map_err(StudyError::at(name()))? {
                Ok(noise) => noises.push((*metric, *cell, noise)),
                Err(why) => left_out.push(format!("{}: {why}", name())),
            }
        }
    }
    if noises.is_empty() {
        return Err(StudyError::Question {
            reason: format!(
                "nothing to plan from: noise needs three blocks with a value ({})",
                left_out.first().map_or("the run has no steady trial", String::as_str)
            ),
        });
    }
    let family = noises.len();
    let mut rows = Vec::new();
    let mut memory = Required::default();
    let strict = ALPHA / family as f64;
    let mut detectable = Detectable::with_power(strict, question.power);
    for (metric, cell, seen) in noises {
        let at = || StudyError::at(format!("power of {}", metric.name()));
        let blocks = |sd_factor: f64, alpha: f64, memory: &mut Required| {
            let noise = Noise {
                block_sd: seen.noise.block_sd * sd_factor,
                request_sd: seen.noise.request_sd * sd_factor,
            };
            memory.blocks(noise, seen.requests, question, alpha)
        };
        let total = seen.noise.block_sd.hypot(seen.noise.request_sd / (seen.requests as f64).sqrt());
        rows.push(CellPlan {
            metric: metric.name(),
            cell: Factor::ALL.iter().map(|factor| (*factor, factor.of(&cell))).collect(),
            blocks: seen.blocks,
            requests: seen.requests,
            block_sd: seen.noise.block_sd,
            request_sd: seen.several.then_some(seen.noise.request_sd),
            detectable: detectable.share(seen.blocks, false, total).map_err(at())?,
            needed: blocks(1.0, ALPHA, &mut memory).map_err(at())?,
            needed_in_family: blocks(1.0, strict, &mut memory).map_err(at())?,
            needed_cautious: blocks(
                variance::sd_upper(1.0, seen.blocks - 1, CAUTION).map_err(at())?,
                strict,
                &mut memory,
            )
            .map_err(at())?,
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.needed_in_family.unwrap_or(usize::MAX)));
    let most = |of: fn(&CellPlan) -> Option<usize>| {
        rows.iter().map(of).max_by_key(|n| n.unwrap_or(usize::MAX)).flatten()
    };
    Ok(Plan {
        run: run.manifest.run_id.clone(),
        effect: question.effect,
        power: question.power,
        alpha: ALPHA,
        family,
        blocks: most(|row| row.needed_in_family),
        blocks_cautious: most(|row| row.needed_cautious),
        seconds_per_block: seconds_per_block(run),
        rows,
        left_out,
    })
}

/// Rows that the text of a plan shows at most.
const SHOWN: usize = 20;

/// A plan as text: what is needed, then an aligned Markdown table of the most demanding rows.
#[must_use]
pub fn markdown(plan: &Plan) -> String {
    let mut out = String::new();
    let told = |blocks: Option<usize>| {
        blocks.map_or_else(|| format!("more than {}", power::MOST_BLOCKS), |n| n.to_string())
    };
    let _ = writeln!(
        out,
        "To find a change of {} in any of {} rows with a power of {} (family-wise error {}): **{} blocks per run**; {} if the \
         noise is as large as the {} blocks of `{}` leave possible (80 %).",
        percent(plan.effect),
        plan.family,
        percent(plan.power),
        percent(plan.alpha),
        told(plan.blocks),
        told(plan.blocks_cautious),
        plan.rows.iter().map(|row| row.blocks).min().unwrap_or(0),
        plan.run,
    );
    if let Some((seconds, blocks)) = plan.seconds_per_block.zip(plan.blocks_cautious) {
        let _ = writeln!(
            out,
            "A block of that run took {seconds:.1} s: two runs of {blocks} blocks take about {:.0} minutes.",
            2.0 * seconds * blocks as f64 / 60.0
        );
    }
    let mut head = vec!["metric".to_owned()];
    let varied: Vec<Factor> = Factor::ALL
        .iter()
        .copied()
        .filter(|factor| {
            plan.rows.windows(2).any(|pair| pair[0].cell.get(factor) != pair[1].cell.get(factor))
        })
        .collect();
    head.extend(varied.iter().map(ToString::to_string));
    head.extend(
        [
            "sd of blocks",
            "sd of requests",
            "detectable now",
            "needed, one test",
            "needed, family",
            "cautious",
        ]
        .map(str::to_owned),
    );
    let mut lines = vec![head];
    for row in plan.rows.iter().take(SHOWN) {
        let mut line = vec![row.metric.to_owned()];
        line.extend(varied.iter().map(|factor| row.cell.get(factor).cloned().unwrap_or_default()));
        line.extend([
            percent(row.block_sd),
            row.request_sd.map_or_else(|| "one a block".to_owned(), percent),
            row.detectable.map_or_else(|| "–".to_owned(), percent),
            told(row.needed),
            told(row.needed_in_family),
            told(row.needed_cautious),
        ]);
        lines.push(line);
    }
    let _ = write!(out, "\n{}", aligned(&lines, 1 + varied.len()));
    if plan.rows.len() > SHOWN {
        let _ = writeln!(out, "\n{} less demanding rows are in the JSON.", plan.rows.len() - SHOWN);
    }
    for what in &plan.left_out {
        let _ = writeln!(out, "\n- left out: {what}");
    }
    out
}

struct Seen {
    noise: Noise,
    blocks: usize,
    requests: usize,
    several: bool,
}

/// Components of the logarithms; the inner `Err` says why there are none.
fn noise(index: &Index<'_>, cell: &CellKey<'_>, metric: Metric) -> Result<Result<Seen, String>, StatsError> {
    let values: Vec<(u32, f64)> =
        index.steady(cell).iter().filter_map(|trial| Some((trial.block, metric.of(trial)?))).collect();
    if let Some((_, value)) = values.iter().find(|(_, value)| *value <= 0.0) {
        return Ok(Err(format!("a value of {value} has no logarithm")));
    }
    if values.is_empty() {
        return Ok(Err("undefined here".to_owned()));
    }
    let total = values.len();
    let blocks = Blocks::group(values.into_iter().map(|(block, value)| (block, value.ln())))?;
    if blocks.len() < 3 {
        return Ok(Err(format!("{} blocks", blocks.len())));
    }
    let means = blocks.means();
    let several = total > blocks.len();
    let noise = if several {
        Noise::from_components(&variance::two_level(&blocks)?)
    } else {
        Noise { block_sd: chimera_stats::Sample::new(&means, "block")?.sd()?, request_sd: 0.0 }
    };
    if noise.block_sd.hypot(noise.request_sd) == 0.0 {
        return Ok(Err("no noise at all: every block gave the same value".to_owned()));
    }
    Ok(Ok(Seen { noise, blocks: blocks.len(), requests: total.div_ceil(blocks.len()), several }))
}

/// Blocks needed. They depend on the noise through effect / sd alone, so near noises share their answer.
#[derive(Debug, Default)]
struct Required {
    known: BTreeMap<(u64, u64), Option<usize>>,
}

impl Required {
    fn blocks(
        &mut self,
        noise: Noise,
        requests: usize,
        question: &Question,
        alpha: f64,
    ) -> Result<Option<usize>, StatsError> {
        let total = noise.block_sd.hypot(noise.request_sd / (requests as f64).sqrt());
        // To three digits, upwards: a plan is not more exact than that.
        let scale = 10_f64.powf(2.0 - total.log10().floor());
        let total = (total * scale).ceil() / scale;
        let key = (total.to_bits(), alpha.to_bits());
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let noise = Noise { block_sd: total, request_sd: 0.0 };
        let effect = question.effect.ln_1p();
        let simulations = compare::simulations();
        let needed = power::required_blocks(noise, 1, false, effect, alpha, question.power, simulations)?;
        // Below five blocks `compare` gives no verdict.
        let needed = needed.map(|n| n.max(compare::FEWEST));
        self.known.insert(key, needed);
        Ok(needed)
    }
}

/// Wall-clock time of a complete run over its blocks: process starts and loads count, for the next run pays them too.
fn seconds_per_block(run: &RunData) -> Option<f64> {
    let blocks: std::collections::BTreeSet<u32> = run.trials.iter().map(|trial| trial.block).collect();
    let whole = run.manifest.status == RunStatus::Complete && run.manifest.repairs.is_empty();
    let span = run.manifest.ended_unix_ms?.checked_sub(run.manifest.created_unix_ms)?;
    (whole && !blocks.is_empty() && span > 0).then(|| span as f64 / 1e3 / blocks.len() as f64)
}
