//! Contestants against the reference and against the best, block by block: ratios, a test of each with Holm over the whole
//! family, what the blocks could have shown, and whether equality was shown. Whoever is not ranked is not tested.

use std::collections::BTreeMap;

use chimera_records::Metric;
use chimera_report::{Cell, Column, Headline, NoteKind, Section, Table, Verdict};
use chimera_stats::Estimate;

use super::{cell, geometric, standing::Standings};
use crate::{
    ALPHA, Contest, Contestant, Estimands, Field, Index, StudyError,
    compare::{Call, Row, decide, measure},
    contest::{Precision, precision},
};

/// What is compared: the quantity as an engine's metric, its name in estimands, and its label.
pub(crate) const QUANTITIES: [(Metric, &str, &str); 2] =
    [(Metric::PrefillEngine, "prefill", "prefill"), (Metric::TpotEngine, "decode", "decode, per token")];

/// The other side is the reference.
const REFERENCE: &str = "reference";
/// The other side is the fastest of all.
const FASTEST: &str = "fastest";

/// One comparison.
pub(crate) struct Duel<'a> {
    source: &'a str,
    one: Contestant<'a>,
    against: Contestant<'a>,
    role: &'static str,
    quantity: &'static str,
    label: &'static str,
    metrics: (Metric, Metric),
    scenarios: usize,
    /// Whether both compute in F32.
    same_precision: bool,
    row: Row,
}

/// All comparisons of a run, tested and adjusted together.
///
/// # Errors
/// A statistic that refused its input.
pub(crate) fn duels<'a>(
    index: &Index<'a>,
    contests: &[Contest<'a>],
    standings: &Standings<'_>,
    field: &Field<'a>,
    margin: f64,
) -> Result<Vec<Duel<'a>>, StudyError> {
    let mut duels = Vec::new();
    for contest in contests {
        let ranked: Vec<Contestant<'a>> =
            contest.contestants.iter().copied().filter(|one| standings.of(*one).is_ranked()).collect();
        for what in QUANTITIES {
            let held =
                |one, against, role| duel(index, (contest.source, field), (one, against), role, what, margin);
            if let Some(reference) = contest.reference {
                for one in ranked.iter().copied().filter(|one| *one != reference) {
                    duels.extend(held(one, reference, REFERENCE)?);
                }
            }
            let Some(best) = fastest(index, &ranked, field, what.0)? else { continue };
            if Some(best) != contest.reference {
                let others = ranked
                    .iter()
                    .copied()
                    .filter(|one| *one != best && Some(*one) != contest.reference && is_f32(index, *one));
                for one in others {
                    duels.extend(held(one, best, FASTEST)?);
                }
            }
        }
    }
    let mut rows: Vec<Row> = duels.iter().map(|duel| duel.row.clone()).collect();
    decide(&mut rows, ALPHA).map_err(StudyError::at("paired comparisons"))?;
    for (duel, row) in duels.iter_mut().zip(rows) {
        duel.row = row;
    }
    Ok(duels)
}

/// Puts the ratios against the reference into the estimands as `ratio.<quantity>.<backend>.<model>`.
pub(crate) fn put(duels: &[Duel<'_>], estimands: &mut Estimands) {
    for duel in duels.iter().filter(|duel| duel.role == REFERENCE) {
        let name = format!("ratio.{}.{}.{}", duel.quantity, duel.one.arm.kind(), duel.one.model);
        if let Some(ratio) = &duel.row.ratio {
            estimands.put(name, ratio.clone());
        }
    }
}

/// The section with all comparisons, and who is not in them.
pub(crate) fn section(
    duels: &[Duel<'_>],
    contests: &[Contest<'_>],
    standings: &Standings<'_>,
    margin: f64,
) -> Section {
    let unranked = contests.iter().flat_map(|contest| &contest.contestants).filter_map(|one| {
        let standing = standings.of(*one);
        let words = || {
            format!(
                "{}: {}",
                chimera_report::literal(&one.to_string()),
                chimera_report::literal(standing.reason())
            )
        };
        (!standing.is_ranked()).then(words)
    });
    let unranked: Vec<String> = unranked.collect();
    let mut section = Section::new("paired", "Paired comparisons")
        .paragraph(
            "Both sides of a ratio ran in the same blocks, in random order within them, on the same weights and prompts. A \
             contestant's value in a block is the geometric mean over the prompts that both sides finished.",
        )
        .table(table(duels, margin));
    if !unranked.is_empty() {
        section = section.paragraph("Not ranked, and so not tested:").list(unranked);
    }
    section
        .note(
            NoteKind::Definition,
            format!(
                "Ratio: contestant over the other, so below 1 is faster. Slower and faster: paired t on logarithms, Holm over \
                 all rows of the table, at {ALPHA}. Equivalent: two one-sided tests show that the ratio lies within {} % of 1, \
                 Holm over the same rows. Inconclusive: neither, which is not equality.",
                margin * 100.0
            ),
        )
        .note(
            NoteKind::Limit,
            "The fastest was chosen by the same blocks that it is then held against, which flatters it a little; rows against \
             the reference are free of that.",
        )
}

/// For every set of weights: is the fastest engine at F32 faster than the reference?
pub(crate) fn headlines(duels: &[Duel<'_>], contests: &[Contest<'_>]) -> Vec<Headline> {
    let mut headlines = Vec::new();
    for (number, contest) in contests.iter().enumerate() {
        for (_, quantity, label) in QUANTITIES {
            let own = duels.iter().filter(|duel| {
                duel.source == contest.source
                    && duel.quantity == quantity
                    && duel.role == REFERENCE
                    && duel.same_precision
            });
            let point = |duel: &&Duel<'_>| duel.row.ratio.as_ref().map_or(f64::INFINITY, |ratio| ratio.point);
            let Some(best) = own.min_by(|a, b| point(a).total_cmp(&point(b))) else { continue };
            let Some(ratio) = &best.row.ratio else { continue };
            let verdict = match best.row.call {
                Call::Faster => Verdict::Supported,
                Call::Slower => Verdict::Contradicted,
                Call::Equivalent => Verdict::Equivalent,
                Call::Different | Call::Inconclusive | Call::NotComparable => Verdict::Inconclusive,
            };
            let sentence = format!(
                "Ratio of times of {} over {}, the fastest of the others at the same precision; Holm over all comparisons.",
                chimera_report::literal(&best.one.to_string()),
                chimera_report::literal(&best.against.to_string())
            );
            headlines.push(
                Headline::new(
                    format!("fastest-{}-{quantity}", number + 1),
                    format!(
                        "{}: is any engine faster than {} in {label}?",
                        contest.source, best.against.arm.backend
                    ),
                    verdict,
                    sentence,
                )
                .value(ratio, ""),
            );
        }
    }
    headlines
}

fn is_f32(index: &Index<'_>, one: Contestant<'_>) -> bool {
    precision(&index.run().settings, one.model) == Precision::F32
}

fn duel<'a>(
    index: &Index<'a>,
    (source, field): (&'a str, &Field<'a>),
    (one, against): (Contestant<'a>, Contestant<'a>),
    role: &'static str,
    (metric, quantity, label): (Metric, &'static str, &'static str),
    margin: f64,
) -> Result<Option<Duel<'a>>, StudyError> {
    let common = field.common(index, &[one, against]);
    let (own, other) = (common.per_block(index, one, metric), common.per_block(index, against, metric));
    if own.is_empty() || other.is_empty() {
        return Ok(None);
    }
    let row = measure(metric, BTreeMap::new(), (&other, &own), true, margin, ALPHA)
        .map_err(StudyError::at(format!("{label}: {one} against {against}")))?;
    let stamped = |who: Contestant<'a>| {
        let scenario = common.scenarios.first()?;
        let trial = index.steady(&common.key(who, scenario)).first()?.stamps;
        Some(metric.seen_by(trial))
    };
    Ok(Some(Duel {
        source,
        one,
        against,
        role,
        quantity,
        label,
        metrics: (stamped(one).unwrap_or(metric), stamped(against).unwrap_or(metric)),
        scenarios: common.scenarios.len(),
        same_precision: is_f32(index, one) && is_f32(index, against),
        row,
    }))
}

/// The fastest of the ranked F32 contestants, over the prompts that all of them finished.
fn fastest<'a>(
    index: &Index<'a>,
    ranked: &[Contestant<'a>],
    field: &Field<'a>,
    metric: Metric,
) -> Result<Option<Contestant<'a>>, StudyError> {
    let plain: Vec<Contestant<'a>> = ranked.iter().copied().filter(|one| is_f32(index, *one)).collect();
    let common = field.common(index, &plain);
    let mut best: Option<(Contestant<'a>, f64)> = None;
    for one in &plain {
        let value = geometric(&common.per_block(index, *one, metric))
            .map_err(StudyError::at(format!("{} of {one}", metric.name())))?;
        if let Some(Estimate { point, .. }) = value
            && best.is_none_or(|(_, least)| point < least)
        {
            best = Some((*one, point));
        }
    }
    Ok(best.map(|(one, _)| one))
}

fn table(duels: &[Duel<'_>], margin: f64) -> Table {
    let mut table = Table::new("paired", "Against the reference, and against the fastest")
        .caption(format!(
            "Unit of replication: block. Detectable: smallest change that this many blocks with this noise find with 80 % \
             power at the level that Holm demands first of {} rows. Margin of equivalence {} %.",
            duels.len(),
            margin * 100.0
        ))
        .column(Column::text("weights", "Weights"))
        .column(Column::text("contestant", "Contestant"))
        .column(Column::text("against", "Against"))
        .column(Column::text("role", "Which is the"))
        .column(Column::text("phase", "Phase"))
        .column(Column::number("ratio", "Ratio", ""))
        .column(Column::number("p", "p (Holm)", ""))
        .column(Column::number("detectable", "Detectable", "%"))
        .column(Column::number("tost", "p of equality (Holm)", ""))
        .column(Column::text("call", "Says"))
        .column(Column::number("scenarios", "Prompts", ""))
        .column(Column::number("blocks", "Blocks", ""))
        .column(Column::text("notes", "Notes"));
    for duel in duels {
        let row = &duel.row;
        let mut notes = row.notes.clone();
        if duel.metrics.0 != duel.metrics.1 {
            notes.push(format!("{} against {}", duel.metrics.0.name(), duel.metrics.1.name()));
        }
        let few = "too few blocks, or no noise to test against";
        table.push_row([
            duel.source.into(),
            duel.one.to_string().into(),
            duel.against.to_string().into(),
            duel.role.into(),
            duel.label.into(),
            cell(row.ratio.clone(), "fewer than two blocks"),
            Cell::or_missing(row.adjusted_p, few),
            Cell::or_missing(row.detectable.map(|share| share * 100.0), few),
            Cell::or_missing(row.equivalence_p, few),
            row.call.word().into(),
            duel.scenarios.into(),
            row.blocks_a.min(row.blocks_b).into(),
            notes.join("; ").into(),
        ]);
    }
    table
}
