//! Latency and throughput per model and phase, with intervals over blocks. What grows with what is not said here.

use std::collections::BTreeMap;

use chimera_records::{Flag, Metric, Trial};
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{Sample, ratio_of_sums};

use super::{cell, geometric, mean};
use crate::{
    Arm, CellKey, Index, StudyError,
    data::{per_block, seen},
};

const FEW: &str = "no completed steady trial";
const ONE: &str = "undefined for fewer than two generated tokens";

/// Section with one table per arm for the reference budget, and one for the other budgets and batches.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(index: &Index<'_>, budget: u32) -> Result<Section, StudyError> {
    let mut section = Section::new("latency", "Latency and throughput")
        .paragraph(
            "Geometric means over blocks with 95 % t intervals on the logarithms. Every phase comes from the stamps of one \
             generation, made in the engine's own thread: prefill from submission to the logits of the last prompt \
             token, decode per token after the first, end to end from submission to the last token. Rates are ratios \
             of sums: all tokens over all seconds of a block.",
        )
        .note(
            NoteKind::Definition,
            "`prefill.engine`, `tpot.engine`, `e2e.engine`, `decode_rate.engine`: see docs/metrics.md. Numbers of an \
             in-process engine hold no HTTP, no queue and no tokenizer.",
        );
    if index.arms().iter().any(|arm| index.is_behind_a_wire(*arm)) {
        section = section.note(
            NoteKind::Definition,
            "Behind a wire other metrics stand in the same columns: prefill is `prefill.server`, as the server reports it \
             and without the way to it; decode per token and end to end are `tpot.client` and `e2e.client`, from the \
             stamps at which bytes arrived. Prompts begin with a nonce, whose tokens are part of the prompt tokens.",
        );
    }
    for (number, arm) in index.arms().into_iter().enumerate() {
        let main: Vec<CellKey<'_>> = cells(index, arm, |key| key.budget == budget && key.is_solo());
        section = section.table(table(
            index,
            &format!("latency-{}", number + 1),
            &format!("Latency at {budget} generated tokens ({arm})"),
            &main,
        )?);
        let others = cells(index, arm, |key| key.budget != budget || !key.is_solo());
        if !others.is_empty() {
            section = section.table(table(
                index,
                &format!("latency-other-{}", number + 1),
                &format!("Latency at other budgets, batches and numbers of requests at once ({arm})"),
                &others,
            )?);
        }
    }
    Ok(section)
}

fn cells<'a>(index: &Index<'a>, arm: Arm<'_>, keep: impl Fn(&CellKey<'_>) -> bool) -> Vec<CellKey<'a>> {
    let order: BTreeMap<&str, usize> =
        index.run().settings.design.model.iter().enumerate().map(|(i, m)| (m.id.as_str(), i)).collect();
    let scenarios: BTreeMap<&str, usize> =
        index.run().settings.design.scenario.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
    let mut keys: Vec<CellKey<'a>> =
        index.cells().map(|(key, _)| *key).filter(|key| key.arm == arm && keep(key)).collect();
    keys.sort_by_key(|key| {
        let place = (order.get(key.model).copied(), scenarios.get(key.scenario).copied());
        (place, key.batch, key.concurrency, key.budget)
    });
    keys
}

fn table(index: &Index<'_>, id: &str, title: &str, keys: &[CellKey<'_>]) -> Result<Table, StudyError> {
    let at_once = keys.iter().any(|key| key.concurrency != 1);
    let varied = at_once
        || keys.iter().any(|key| key.batch != 1)
        || keys.windows(2).any(|pair| pair[0].budget != pair[1].budget);
    let mut table = Table::new(id, title)
        .caption(
            "Unit of replication: block. Spread: standard deviation of the end-to-end time over blocks, in per cent of \
             its mean. Flagged: steady trials under CPU pressure (this process's own threads count too) or steal above the design's limit; they \
             stay in.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Prompt"))
        .column(Column::number("prompt", "Prompt tokens", ""));
    if varied {
        table =
            table.column(Column::number("gen", "Generated", "")).column(Column::number("batch", "Batch", ""));
    }
    if at_once {
        table = table.column(Column::number("concurrency", "At once", ""));
    }
    table = table
        .column(Column::number("prefill", "Prefill", "s"))
        .column(Column::number("tpot", "Decode per token", "s"))
        .column(Column::number("e2e", "End to end", "s"))
        .column(Column::number("prefill-rate", "Prefill rate", "tok/s"))
        .column(Column::number("decode-rate", "Decode rate", "tok/s"))
        .column(Column::number("spread", "Spread", "%"))
        .column(Column::number("blocks", "Blocks", ""))
        .column(Column::number("flagged", "Flagged", ""));
    for key in keys {
        let at = || StudyError::at(format!("latency of {} on {}", key.model, key.scenario));
        let trials = index.steady(key);
        let geo = |metric: Metric| geometric(&index.per_block(key, metric)).map_err(at());
        let e2e = index.per_block(key, Metric::E2eEngine);
        let e2e_values: Vec<f64> = e2e.values().copied().collect();
        let spread = match Sample::new(&e2e_values, "block") {
            Ok(sample) if e2e_values.len() >= 2 => Some(sample.cv().map_err(at())? * 100.0),
            _ => None,
        };
        let prompt = trials.iter().flat_map(|t| &t.lanes).find_map(|lane| lane.prompt_tokens);
        let mut row: Vec<Cell> =
            vec![key.model.into(), key.scenario.into(), Cell::or_missing(prompt, "the backend does not say")];
        if varied {
            row.extend([Cell::from(key.budget), Cell::from(key.batch)]);
        }
        if at_once {
            row.push(Cell::from(key.concurrency));
        }
        row.extend([
            cell(geo(Metric::PrefillEngine)?, FEW),
            cell(geo(Metric::TpotEngine)?, ONE),
            cell(geo(Metric::E2eEngine)?, FEW),
            cell(rate(trials, Metric::PrefillRateEngine).map_err(at())?, FEW),
            cell(rate(trials, Metric::DecodeRateEngine).map_err(at())?, ONE),
            Cell::or_missing(spread, "one block"),
            e2e.len().into(),
            trials.iter().filter(|t| t.flags.contains(&Flag::HostNoise)).count().into(),
        ]);
        table.push_row(row);
    }
    Ok(table)
}

/// A rate per block as a ratio of sums over the block's trials of the cell, then the mean over blocks.
fn rate(
    trials: &[&Trial],
    metric: Metric,
) -> Result<Option<chimera_stats::Estimate>, chimera_stats::StatsError> {
    let mut blocks: BTreeMap<u32, Vec<&Trial>> = BTreeMap::new();
    for trial in trials {
        blocks.entry(trial.block).or_default().push(trial);
    }
    let mut rates = crate::PerBlock::new();
    for (block, trials) in blocks {
        match trials.as_slice() {
            [one] => {
                rates.extend(seen(metric, one).map(|rate| (block, rate)));
            }
            several => {
                // A resumed block may hold a cell twice.
                let (tokens, seconds): (Vec<f64>, Vec<f64>) =
                    several.iter().filter_map(|trial| work(trial, metric)).unzip();
                if !tokens.is_empty() {
                    rates.insert(block, ratio_of_sums(&tokens, &seconds)?);
                }
            }
        }
    }
    mean(&rates)
}

/// Tokens and seconds behind a rate of one trial.
fn work(trial: &Trial, metric: Metric) -> Option<(f64, f64)> {
    let rate = seen(metric, trial)?;
    let tokens: u32 = trial
        .lanes
        .iter()
        .map(|lane| match metric {
            Metric::PrefillRateEngine => lane.prompt_tokens,
            _ => lane.generated.map(|n| n.saturating_sub(1)),
        })
        .sum::<Option<u32>>()?;
    Some((f64::from(tokens), f64::from(tokens) / rate))
}

/// End-to-end output rate of one cell, one value per block: generated tokens of all lanes over the span.
#[must_use]
pub(crate) fn output_rate(index: &Index<'_>, key: &CellKey<'_>) -> crate::PerBlock {
    per_block(index.steady(key), |trial| {
        let tokens: u32 = trial.lanes.iter().map(|lane| lane.generated).sum::<Option<u32>>()?;
        let span = seen(Metric::E2eEngine, trial).filter(|span| *span > 0.0)?;
        Some(f64::from(tokens) / span)
    })
}
