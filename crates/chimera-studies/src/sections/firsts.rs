//! First samples of every contestant, apart from steady state: what a first use costs, and what a ranking of first uses would
//! say. In the published comparison cold first samples made a difference between two labels of one program.

use chimera_records::{Metric, Trial};
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::Sample;

use super::{both, cell, cold, geometric};
use crate::{
    Contest, Contestant, Field, Index, LEVEL, PerBlock, StudyError,
    data::{per_block, seen},
};

/// The section.
///
/// # Errors
/// A statistic that refused its input.
pub fn section<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    field: &Field<'a>,
) -> Result<Section, StudyError> {
    Ok(Section::new("firsts", "First samples and cold start")
        .paragraph(
            "First uses are trials of their own and are in no mean of this report. Here they are held against the steady value \
             of the same cell in the same block.",
        )
        .table(by_kind(index)?)
        .table(by_contestant(index, contests, field)?)
        .note(
            NoteKind::Definition,
            "A contestant whose ratio to the reference changes sides between first use and steady state would win one ranking \
             and lose the other. The published one mixed both.",
        ))
}

fn by_kind(index: &Index<'_>) -> Result<Table, StudyError> {
    let mut table = Table::new("first-uses", "First use over steady state: prefill, by engine")
        .caption(
            "Ratio of prefill times within a block, over all models, prompts and blocks of an engine; the interval of the median is \
             by order statistics. A trial counts under the strongest kind alone.",
        )
        .column(Column::text("arm", "Engine"))
        .column(Column::text("kind", "First use of a"))
        .column(Column::number("n", "First uses", ""))
        .column(Column::number("median", "Median ratio", ""))
        .column(Column::number("smallest", "Smallest", ""))
        .column(Column::number("largest", "Largest", ""));
    for arm in index.arms() {
        let found = cold::first_uses(index, |key| key.arm == arm);
        for (_, kind) in cold::KINDS {
            let all: Vec<f64> = found
                .get(kind)
                .into_iter()
                .flat_map(|cells| cells.values())
                .flat_map(PerBlock::values)
                .copied()
                .collect();
            if all.is_empty() {
                continue;
            }
            let at = || StudyError::at(format!("first uses of {arm}"));
            let sample = Sample::new(&all, "first use").map_err(at())?;
            table.push_row([
                arm.to_string().into(),
                kind.into(),
                all.len().into(),
                sample.sorted().quantile_with_interval(0.5, LEVEL).map_err(at())?.into(),
                sample.min().into(),
                sample.max().into(),
            ]);
        }
    }
    Ok(table)
}

fn by_contestant<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    field: &Field<'a>,
) -> Result<Table, StudyError> {
    let mut table = Table::new("cold-ranking", "Load, and the ratio to the reference when cold and when steady")
        .caption(
            "Unit of replication: block. Load: to make the model resident. Ratios: prefill of the contestant over that of the \
             reference, geometric mean over the prompts that both have.",
        )
        .column(Column::text("contestant", "Contestant"))
        .column(Column::number("load", "Load", "s"))
        .column(Column::number("cold", "Ratio at first use", ""))
        .column(Column::number("steady", "Ratio when steady", ""))
        .column(Column::number("blocks", "Blocks", ""));
    for contest in contests {
        for one in &contest.contestants {
            let at = || StudyError::at(format!("first uses of {one}"));
            let load = geometric(&loads(index, *one)).map_err(at())?;
            let is_reference = contest.reference == Some(*one);
            let (mut cold_ratio, mut steady_ratio) = (PerBlock::new(), PerBlock::new());
            if let Some(reference) = contest.reference.filter(|_| !is_reference) {
                let firsts = |who| first_prefills(index, who, field);
                cold_ratio = both(&firsts(*one), &firsts(reference), |own, base| own / base);
                let common = field.common(index, &[*one, reference]);
                let steady = |who| common.per_block(index, who, Metric::PrefillEngine);
                steady_ratio = both(&steady(*one), &steady(reference), |own, base| own / base);
            }
            let why = if is_reference { "it is the reference" } else { "no block has both" };
            table.push_row([
                one.to_string().into(),
                cell(load, "no load was recorded"),
                Cell::or_missing(geometric(&cold_ratio).map_err(at())?, why),
                Cell::or_missing(geometric(&steady_ratio).map_err(at())?, why),
                steady_ratio.len().into(),
            ]);
        }
    }
    Ok(table)
}

/// Prefill of first uses, per block: geometric mean over prompts, in blocks that have all of the field's.
fn first_prefills<'a>(index: &Index<'a>, one: Contestant<'a>, field: &Field<'a>) -> PerBlock {
    let mut prompts = Vec::new();
    for scenario in &field.scenarios {
        let trials: Vec<&Trial> = index
            .first_uses()
            .filter(|(key, _)| {
                key.arm == one.arm
                    && key.model == one.model
                    && key.scenario == *scenario
                    && (key.batch, key.concurrency) == (1, 1)
            })
            .flat_map(|(_, trials)| trials)
            .copied()
            .collect();
        let values = per_block(&trials, |trial| seen(Metric::PrefillEngine, trial));
        if !values.is_empty() {
            prompts.push(values);
        }
    }
    super::concurrency::over_prompts(&prompts)
}

/// Seconds to make a contestant's model resident, per block.
pub(crate) fn loads(index: &Index<'_>, one: Contestant<'_>) -> PerBlock {
    let own: Vec<&Trial> = index
        .run()
        .trials
        .iter()
        .filter(|trial| {
            *trial.factors.backend == *one.arm.backend
                && trial.factors.threads == one.arm.threads
                && *trial.factors.model == *one.model
        })
        .collect();
    per_block(&own, |trial| trial.load_ns.map(|nanos| nanos as f64 / 1e9))
}
