//! Hypotheses of the design and published claims, each beside what this run says of it.

use chimera_records::Relation;
use chimera_report::{Cell, Column, Section, Table};

use super::digits;
use crate::{ALPHA, Estimands, Judgement, RunData, StudyError};

fn relation(relation: Relation) -> &'static str {
    match relation {
        Relation::Above => "above",
        Relation::Below => "below",
        Relation::Near => "near",
    }
}

/// Judges the hypotheses of a run.
///
/// # Errors
/// A statistic that refused its input.
pub fn judge(run: &RunData, estimands: &Estimands) -> Result<Vec<Judgement>, StudyError> {
    estimands.judge(&run.settings.design.hypothesis).map_err(StudyError::at("hypotheses"))
}

/// The section with both tables.
#[must_use]
pub fn section(run: &RunData, estimands: &Estimands, judgements: &[Judgement]) -> Section {
    let design = &run.settings.design;
    let mut hypotheses = Table::new("hypotheses", "Hypotheses, fixed before the run")
        .caption(format!(
            "t test over blocks of the difference from the stated value, Holm-adjusted over the table, at {ALPHA}. \
             Detectable: smallest true difference that this many blocks show with 80 % power. A large p is never read as \
             `no difference`.",
        ))
        .column(Column::text("id", "Id"))
        .column(Column::text("statement", "Statement"))
        .column(Column::text("test", "Test"))
        .column(Column::number("value", "This run", ""))
        .column(Column::number("p", "Adjusted p", ""))
        .column(Column::number("detectable", "Detectable", ""))
        .column(Column::text("verdict", "Verdict"));
    for (hypothesis, judgement) in design.hypothesis.iter().zip(judgements) {
        let few = match &judgement.estimate {
            None => estimands.reason(&hypothesis.estimand),
            Some(_) => "fewer than 5 blocks, or no noise to test against",
        };
        hypotheses.push_row([
            hypothesis.id.as_str().into(),
            hypothesis.statement.as_str().into(),
            format!(
                "`{}` {} {}",
                hypothesis.estimand,
                relation(hypothesis.relation),
                digits(hypothesis.value)
            )
            .into(),
            Cell::or_missing(judgement.estimate.as_ref(), few),
            Cell::or_missing(judgement.adjusted_p, few),
            Cell::or_missing(judgement.detectable, few),
            judgement.verdict.into(),
        ]);
    }
    let mut published = Table::new("published", "Published claims beside this run")
        .caption(
            "Supported or Contradicted: the whole 95 % interval lies on one side. Equivalent: it lies within the margin \
             around the published value. Not measured: this run cannot say. Another machine and another engine: a \
             contradiction here says that the number does not carry over, not that it was not seen.",
        )
        .column(Column::text("id", "Id"))
        .column(Column::text("claim", "Published claim"))
        .column(Column::number("value", "Published", ""))
        .column(Column::number("here", "This run", ""))
        .column(Column::text("verdict", "Verdict"))
        .column(Column::text("why", "Why"))
        .column(Column::text("caveat", "Caveat"));
    for claim in &design.published {
        let answer = estimands.answer(claim);
        published.push_row([
            claim.id.as_str().into(),
            claim.claim.as_str().into(),
            Cell::or_missing(claim.value, "a claim in words"),
            Cell::or_missing(answer.estimate, answer.reason.clone()),
            answer.verdict.into(),
            answer.reason.into(),
            claim.caveat.as_deref().unwrap_or_default().into(),
        ]);
    }
    Section::new("claims", "Hypotheses and published claims").table(hypotheses).table(published)
}
