//! The report of a replay: what was read, the study's own tables, its claims, and what the data can and cannot show. The
//! same form for every report of the series.

use chimera_report::{Draft, Findings, Section, literal};

use crate::{
    DataFile, Judged, Replay, ReplayError, Replayed, Totals,
    ledger::{self},
};

/// Findings of a replay.
///
/// # Errors
/// [`ReplayError::Findings`]: a defect.
pub fn findings(
    study: &dyn Replay,
    replayed: &Replayed,
    files: &[DataFile],
    claims: &[Judged],
) -> Result<Findings, ReplayError> {
    let mut draft = Draft::new(study.id(), format!("{} from its published data", study.id().to_uppercase()))
        .summary(literal(study.title()))
        .summary(
            "Nothing was measured for this report: it computes the published data again, by the published formulas and by \
             ours.",
        );
    for file in files {
        draft = draft.provenance(&file.path, format!("{} bytes, SHA-256 {}", file.bytes, file.sha256));
    }
    for headline in &replayed.headline {
        draft = draft.headline(headline.clone());
    }
    for section in &replayed.sections {
        draft = draft.section(section.clone());
    }
    let own: Vec<&Judged> = claims.iter().filter(|one| one.claim.report == study.id()).collect();
    if !own.is_empty() {
        let t = Totals::of(own.iter().copied());
        draft = draft.section(
            Section::new("claims", "Published claims")
                .paragraph(format!(
                    "{} claims: {} reproduced, {} reproduced but not what they are called, {} contradicted, {} not \
                     recomputable.",
                    t.claims, t.reproduced, t.mislabelled, t.contradicted, t.not_recomputable
                ))
                .table(ledger::table("claims", "Claims", &own)),
        );
    }
    let mut limits = Section::new("limits", "What these data can and cannot show");
    if !replayed.limits.can.is_empty() {
        limits = limits.paragraph("They can show:").list(replayed.limits.can.iter().cloned());
    }
    if !replayed.limits.cannot.is_empty() {
        limits = limits.paragraph("They cannot show:").list(replayed.limits.cannot.iter().cloned());
    }
    Ok(draft.section(limits).finish()?)
}
