//! Two requests at once: what is gained over one after the other. Solo times come from the same block, so that what a
//! block does to both cancels. What a backend does with two requests (queue, batch, threads of their own) is its property.

use std::collections::BTreeMap;

use chimera_core::Phase;
use chimera_records::{Metric, Trial};
use chimera_report::{Cell, Column, NoteKind, Section, Table};

use super::{both, cell, geometric};
use crate::{
    CellKey, Contest, Contestant, Estimands, Field, Index, PerBlock, StudyError,
    data::{per_block, seen},
};

/// The section for all cells with more than one request at once, or nothing where there is none; speed-ups go into the
/// estimands as `speedup.<backend>.<model>`, the geometric mean over prompts.
///
/// # Errors
/// A statistic that refused its input.
pub fn section<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    field: &Field<'a>,
    estimands: &mut Estimands,
) -> Result<Option<Section>, StudyError> {
    let mut table = Table::new("concurrency", "Requests at the same moment")
        .caption(
            "Unit of replication: block. Speed-up: the time that the same requests take one after the other (end to end, \
             alone, same block) over the span from the first request to the last token of all. Efficiency: speed-up over the \
             number of requests. Stretch: mean time of a request from the moment of issue to its last token over its time alone. Geometric means over blocks, \
             95 % t interval on logarithms.",
        )
        .column(Column::text("contestant", "Contestant"))
        .column(Column::text("scenario", "Prompt"))
        .column(Column::number("requests", "Requests", ""))
        .column(Column::number("alone", "Alone", "s"))
        .column(Column::number("span", "Span of all", "s"))
        .column(Column::number("speedup", "Speed-up", ""))
        .column(Column::number("efficiency", "Efficiency", "%"))
        .column(Column::number("stretch", "Stretch", ""))
        .column(Column::number("queue", "Longest queue", "s"))
        .column(Column::number("blocks", "Blocks", ""));
    let mut speedups: BTreeMap<Contestant<'a>, Vec<PerBlock>> = BTreeMap::new();
    for contest in contests {
        for one in &contest.contestants {
            for key in crowded(index, *one, field.budget) {
                let at =
                    || StudyError::at(format!("{one}, {} requests on {}", key.concurrency, key.scenario));
                let alone = index.per_block(&field.key(*one, key.scenario), Metric::E2eEngine);
                let trials = whole(index, &key);
                let span = per_block(&trials, |trial| seen(Metric::SpanEngine, trial));
                let own = per_block(&trials, from_issue);
                let requests = f64::from(key.concurrency);
                let speedup = both(&alone, &span, |alone, span| requests * alone / span);
                let stretch = both(&own, &alone, |own, alone| own / alone);
                let share: PerBlock =
                    speedup.iter().map(|(block, value)| (*block, 100.0 * value / requests)).collect();
                let why = "no block has both this cell and the request alone";
                table.push_row([
                    one.to_string().into(),
                    key.scenario.into(),
                    key.concurrency.into(),
                    cell(geometric(&alone).map_err(at())?, why),
                    cell(geometric(&span).map_err(at())?, "the lanes have no span"),
                    cell(geometric(&speedup).map_err(at())?, why),
                    cell(geometric(&share).map_err(at())?, why),
                    cell(geometric(&stretch).map_err(at())?, why),
                    Cell::or_missing(queue(&trials), "the backend reports no queue"),
                    speedup.len().into(),
                ]);
                if !speedup.is_empty() && key.concurrency == 2 {
                    speedups.entry(*one).or_default().push(speedup);
                }
            }
        }
    }
    if table.rows.is_empty() {
        return Ok(None);
    }
    for (one, prompts) in speedups {
        let value =
            geometric(&over_prompts(&prompts)).map_err(StudyError::at(format!("speed-up of {one}")))?;
        if let Some(value) = value {
            estimands.put(format!("speedup.{}.{}", one.arm.kind(), one.model), value);
        }
    }
    Ok(Some(
        Section::new("concurrency", "Two requests at once")
            .paragraph(
                "Both requests leave at the same moment for one resident model. A speed-up of 1 is a queue: the second \
                 request waits for the first. A speed-up below 1 says that the requests get in each other's way; only above 1 \
                 is anything gained, at most by the number of requests.",
            )
            .table(table)
            .note(
                NoteKind::Limit,
                "The published `dual` scenarios called twice in sequence, took the longer latency and added the tokens: that \
                 doubles a rate by arithmetic and holds no concurrency.",
            ),
    ))
}

/// Cells of a contestant with several requests at once.
fn crowded<'a>(index: &Index<'a>, one: Contestant<'a>, budget: u32) -> Vec<CellKey<'a>> {
    let own = |key: &CellKey<'_>| {
        key.arm == one.arm
            && key.model == one.model
            && key.concurrency > 1
            && key.budget == budget
            && key.batch == 1
    };
    index.cells().map(|(key, _)| *key).filter(own).collect()
}

/// Geometric mean over prompts in the blocks that have all of them.
pub(crate) fn over_prompts(prompts: &[PerBlock]) -> PerBlock {
    let Some(first) = prompts.first() else { return PerBlock::new() };
    let whole = first.keys().filter_map(|block| {
        let logs: Option<Vec<f64>> = prompts
            .iter()
            .map(|values| values.get(block).filter(|value| **value > 0.0).map(|value| value.ln()))
            .collect();
        let logs = logs?;
        Some((*block, (logs.iter().sum::<f64>() / logs.len() as f64).exp()))
    });
    whole.collect()
}

/// Steady trials of a cell that hold every request that was asked for.
fn whole<'a>(index: &Index<'a>, key: &CellKey<'_>) -> Vec<&'a Trial> {
    let asked = (key.batch * key.concurrency) as usize;
    index.steady(key).iter().copied().filter(|trial| trial.lanes.len() == asked).collect()
}

/// From the moment of issue to the last token, mean over the requests: the wait counts. Where no moment of issue was
/// recorded, from the request's own start.
fn from_issue(trial: &Trial) -> Option<f64> {
    seen(Metric::E2eIntendedEngine, trial).or_else(|| seen(Metric::E2eEngine, trial))
}

/// Longest queueing that a backend reports for any lane, in seconds.
fn queue(trials: &[&Trial]) -> Option<f64> {
    let waits = trials.iter().flat_map(|trial| &trial.lanes).flat_map(|lane| &lane.timings);
    let nanos = waits.filter(|timing| timing.phase == Phase::Queue).map(|timing| timing.nanos).max();
    nanos.map(|nanos| nanos as f64 / 1e9)
}
