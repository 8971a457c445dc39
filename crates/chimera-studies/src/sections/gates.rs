//! Quality: the perplexity gate of every contestant, and what an audit of its files and graphs found. Whether a gate passes
//! is decided in [`crate::gate`].

use chimera_records::{Audited, QualityRecord};
use chimera_report::{Cell, Column, NoteKind, Section, Table};

use super::cell;
use crate::{
    Contest, Estimands, RunData, StudyError,
    contest::precision,
    gate::{self, Gate, Shown},
};

/// The section; `ppl.<backend>.<model>` and `ppl_delta.<backend>.<model>` of true weights go into the estimands, with
/// `gates.passed`, `.failed`, `.vacuous` and `.not_measured`.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    run: &RunData,
    contests: &[Contest<'_>],
    estimands: &mut Estimands,
) -> Result<Section, StudyError> {
    let mut table = Table::new("gates", "Perplexity gate, against the reference on the same text")
        .caption(
            "Unit of replication: chunk of text. Difference: candidate over reference minus 1, paired over chunks, 95 % t \
             interval. The gate: within the threshold, above or below. Shown: whether the whole interval lies on the side of \
             the call.",
        )
        .column(Column::text("contestant", "Contestant"))
        .column(Column::text("precision", "Claims"))
        .column(Column::number("reference", "Reference", ""))
        .column(Column::number("perplexity", "Perplexity", ""))
        .column(Column::number("difference", "Difference", "%"))
        .column(Column::number("threshold", "Threshold", "%"))
        .column(Column::text("gate", "Gate"))
        .column(Column::text("shown", "Shown"))
        .column(Column::text("why", "Why"));
    let mut counts = [0_u32; 4];
    for contest in contests {
        let Some(reference) = contest.reference else { continue };
        for one in contest.others() {
            let gate =
                gate::of(run, reference, one).map_err(StudyError::at(format!("perplexity gate of {one}")))?;
            let place = match gate.call {
                gate::GateCall::Passes => 0,
                gate::GateCall::Fails => 1,
                gate::GateCall::Vacuous(_) => 2,
                gate::GateCall::NotMeasured(_) => 3,
            };
            counts[place] += 1;
            if place < 2 {
                put(&gate, one.arm.kind(), one.model, estimands);
            }
            table.push_row(row(&gate, &one.to_string(), precision(&run.settings, one.model).label()));
        }
    }
    for (name, count) in ["passed", "failed", "vacuous", "not_measured"].into_iter().zip(counts) {
        estimands.put(format!("gates.{name}"), count_of(count, table.rows.len()));
    }
    let text = run.settings.design.quality.as_ref().map(|quality| {
        format!(
            "The text is {}, in disjoint chunks of {} tokens, each without context before it: a perplexity from such chunks is \
             higher than one with a sliding window, and comparable only with its own kind.",
            chimera_report::literal(&quality.text),
            quality.chunk
        )
    });
    let mut section = Section::new("quality", "Quality, and what computes it").paragraph(
        "A lower precision is worth its speed only if it costs little. The gate holds the perplexity of each contestant against \
         the full-precision reference, with the thresholds that the published code had: 0.1 % for FP32, 0.5 % for FP16, 2 % for \
         INT8 (its reports said 1, 5 and 10 %). The published gate let any improvement pass; this one has two sides.",
    );
    if let Some(text) = text {
        section = section.paragraph(text);
    }
    Ok(section
        .table(table)
        .table(audits(run))
        .note(
            NoteKind::Definition,
            "Vacuous: the gate could not have failed. Weights from a generator have no quality to lose; a candidate of lower \
             precision that gives the very bits of the reference was not shown to compute in it; and a precision that the audit \
             does not find was not tested.",
        ))
}

fn put(gate: &Gate, backend: &str, model: &str, estimands: &mut Estimands) {
    if let Some(difference) = &gate.difference {
        estimands.put(format!("ppl_delta.{backend}.{model}"), difference.clone());
    }
}

fn count_of(count: u32, of: usize) -> chimera_stats::Estimate {
    chimera_stats::Estimate {
        point: f64::from(count),
        standard_error: None,
        interval: None,
        method: "count".into(),
        unit: "gate".into(),
        n: of,
    }
}

fn row(gate: &Gate, contestant: &str, precision: &str) -> Vec<Cell> {
    let why = gate.call.reason();
    let per_cent = gate.difference.clone().map(|mut difference| {
        difference.point *= 100.0;
        difference.interval = difference.interval.map(|interval| interval.map(|value| 100.0 * value));
        difference
    });
    let reason = if why.is_empty() { "not measured" } else { why };
    vec![
        contestant.into(),
        precision.into(),
        Cell::or_missing(gate.reference, reason),
        Cell::or_missing(gate.candidate, reason),
        cell(per_cent, reason),
        Cell::or_missing(gate.threshold.map(|share| 100.0 * share), "the design names none"),
        gate.call.word().into(),
        match gate.shown {
            Shown::Yes => "yes",
            Shown::No => "no: the interval crosses it",
            Shown::NoInterval => "no interval",
        }
        .into(),
        why.into(),
    ]
}

/// What files and graphs hold.
fn audits(run: &RunData) -> Table {
    let mut table = Table::new("audits", "What files and graphs hold")
        .caption(
            "A label is not evidence. Weights: tensors by type; operators: by the precision that they compute in, after the \
             engine's own optimisation where it tells.",
        )
        .column(Column::text("backend", "Backend"))
        .column(Column::text("model", "Model"))
        .column(Column::text("claimed", "Claims"))
        .column(Column::text("weights", "Weights"))
        .column(Column::text("operators", "Operators"))
        .column(Column::number("bytes", "Bytes per token", "B"))
        .column(Column::text("found", "Found"))
        .column(Column::text("note", "How, and what else"));
    for record in &run.quality {
        let QualityRecord::Audit(audit) = record else { continue };
        // A file that nobody here can load says nothing of the backend that it was meant for.
        let there = run.manifest.backends.get(&audit.backend);
        if there.is_some_and(|probe| !probe.availability.is_ready()) {
            continue;
        }
        let list = |what: Audited| {
            let counts = audit.precisions.iter().filter(|count| count.what == what);
            let words: Vec<String> = counts.map(|count| format!("{} {}", count.count, count.kind)).collect();
            Cell::or_missing(Some(words.join(", ")).filter(|words| !words.is_empty()), "not told")
        };
        table.push_row([
            audit.backend.as_str().into(),
            audit.model.as_str().into(),
            audit.claimed.as_str().into(),
            list(Audited::Weights),
            list(Audited::Operators),
            Cell::or_missing(audit.weight_bytes_per_token.map(|bytes| bytes as f64), "not known"),
            match audit.observed_ok {
                Some(true) => "yes",
                Some(false) => "no",
                None => "cannot be told",
            }
            .into(),
            audit.note.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}
