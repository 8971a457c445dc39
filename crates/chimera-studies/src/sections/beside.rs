//! Arms side by side, cell by cell, within the same blocks: how many times longer does one take? It compares a server with
//! an engine in process as their users would meet them; whose fault a difference is, it does not say.

use chimera_records::Metric;
use chimera_report::{Cell, Column, NoteKind, Section, Table};
use chimera_stats::{
    Estimate, Sample,
    hypothesis::{self, Alternative},
    ratio,
};

use super::{both, cell};
use crate::{ALPHA, Arm, CellKey, Index, LEVEL, StudyError};

/// What is set side by side: the quantity as an engine's metric, and its label.
const QUANTITIES: [(Metric, &str); 3] = [
    (Metric::PrefillEngine, "prefill"),
    (Metric::TpotEngine, "decode, per token"),
    (Metric::E2eEngine, "end to end"),
];

/// One row of the table.
struct Row<'a> {
    other: Arm<'a>,
    key: CellKey<'a>,
    label: &'static str,
    metrics: (Metric, Metric),
    ratio: Option<Estimate>,
    p: Option<f64>,
    blocks: usize,
}

/// A section with the ratio of every other arm to `main`, or nothing where there is only one arm.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(index: &Index<'_>, main: Arm<'_>, budget: u32) -> Result<Option<Section>, StudyError> {
    let mut rows = Vec::new();
    for (key, trials) in index.cells() {
        if key.arm == main || key.budget != budget || !key.is_solo() {
            continue;
        }
        let ours = CellKey { arm: main, ..*key };
        let (Some(theirs), Some(own)) = (trials.first(), index.steady(&ours).first()) else { continue };
        for (metric, label) in QUANTITIES {
            let at = || {
                StudyError::at(format!(
                    "{label} of {} on {}, {} beside {main}",
                    key.model, key.scenario, key.arm
                ))
            };
            // The same blocks on both sides: what a block's process and its minute do to one they do to the other.
            let pairs = both(&index.per_block(key, metric), &index.per_block(&ours, metric), |a, b| a / b);
            let logs: Vec<f64> =
                pairs.values().filter(|ratio| **ratio > 0.0).map(|ratio| ratio.ln()).collect();
            let (mut found, mut p) = (None, None);
            if logs.len() == pairs.len() && logs.len() >= 5 {
                let (a, b): (Vec<f64>, Vec<f64>) = {
                    let (theirs, ours) = (index.per_block(key, metric), index.per_block(&ours, metric));
                    theirs.iter().filter_map(|(block, a)| Some((*a, *ours.get(block)?))).unzip()
                };
                let (a, b) =
                    (Sample::new(&a, "block").map_err(at())?, Sample::new(&b, "block").map_err(at())?);
                found = Some(ratio::paired(a, b, LEVEL).map_err(at())?);
                let logs = Sample::new(&logs, "block").map_err(at())?;
                p = hypothesis::one_sample_t(logs, 0.0, Alternative::TwoSided).map_err(at())?.p(ALPHA).ok();
            }
            rows.push(Row {
                other: key.arm,
                key: *key,
                label,
                metrics: (metric.seen_by(theirs.stamps), metric.seen_by(own.stamps)),
                ratio: found,
                p,
                blocks: pairs.len(),
            });
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let adjusted = hypothesis::holm_of(&rows.iter().map(|row| row.p).collect::<Vec<_>>())
        .map_err(StudyError::at("arms side by side"))?;
    let mut table = Table::new("beside", format!("Every other arm beside {main}"))
        .caption(
            "Ratio of the other arm to the main one: geometric mean over blocks of the quotient within a block, 95 % \
             interval (t on logarithms, five blocks at least). p: paired t on logarithms, Holm over this table. Above 1 \
             the other arm takes longer.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Prompt"))
        .column(Column::text("phase", "Phase"))
        .column(Column::text("metrics", "Metrics"))
        .column(Column::number("ratio", "Ratio", ""))
        .column(Column::number("p", "p (Holm)", ""))
        .column(Column::number("blocks", "Blocks", ""));
    for (row, p) in rows.into_iter().zip(adjusted) {
        let (theirs, ours) = row.metrics;
        table.push_row(vec![
            row.other.to_string().into(),
            row.key.model.into(),
            row.key.scenario.into(),
            row.label.into(),
            format!("{} / {}", theirs.name(), ours.name()).into(),
            cell(row.ratio, "fewer than five blocks, or a value that is not positive"),
            Cell::or_missing(p, "no test"),
            row.blocks.into(),
        ]);
    }
    let section = Section::new("beside", "Side by side")
        .paragraph(
            "The same weights, prompts and budgets on each arm, in random order within the same blocks; only behind a wire a \
             prompt begins with a nonce, which makes it some tokens longer: a prefill of a short prompt is not the same \
             work. The metrics' names \
             say who measured: `.server` is what a server says of itself, `.client` holds the way there and back, `.engine` \
             holds neither. A ratio of two sources holds that difference too.",
        )
        .note(
            NoteKind::Limit,
            "A server is one process for all blocks: its own start is no part of their spread. Its containers, threads and \
             numerics are its own; whether both arms said the same is not judged here.",
        )
        .table(table);
    Ok(Some(section))
}
