//! What could make this report wrong, from the run itself: noise, resumed blocks, dirty source, few blocks, unequal
//! work. What no run of this design can show is listed by the study.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Flag, Metric, Outcome};
use chimera_report::{Column, Draft, NoteKind, Section, Table};
use chimera_stats::{
    Sample,
    diagnose::{self, Warning as Doubt},
};

use super::listed;
use crate::{Index, PhaseMetric, Scaling, StudyError};

/// The section; `general` are the threats that any run of the design has, `without_noise` the main scalings made again
/// without flagged trials.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(
    index: &Index<'_>,
    general: &[&str],
    scalings: &[Scaling<'_>],
    without_noise: &[Scaling<'_>],
) -> Result<Section, StudyError> {
    let section = plain(index, general)?;
    let mut table = Table::new("sensitivity", "The exponents without flagged trials")
        .caption(format!(
            "{} of {} steady trials are flagged for pressure or steal above the design's limit. The report keeps them; here \
             they are left out.",
            index.noisy(),
            index.cells().map(|(_, trials)| trials.len()).sum::<usize>()
        ))
        .column(Column::text("phase", "Phase"))
        .column(Column::number("all", "All trials", ""))
        .column(Column::number("quiet", "Without flagged", ""));
    for scaling in scalings {
        let quiet = without_noise.iter().find(|other| other.phase == scaling.phase);
        table.push_row([
            scaling.phase.label().into(),
            (&scaling.exponent).into(),
            chimera_report::Cell::or_missing(
                quiet.map(|quiet| &quiet.exponent),
                "no block keeps a quiet trial of every model",
            ),
        ]);
    }
    Ok(section.table(table))
}

/// The same without exponents: the warnings of this run and the general threats.
///
/// # Errors
/// A statistic that refused its input.
pub fn plain(index: &Index<'_>, general: &[&str]) -> Result<Section, StudyError> {
    let mut section = Section::new("threats", "Threats to validity");
    for warning in warnings(index).into_iter().chain(shape_of_blocks(index)?) {
        section = section.note(NoteKind::Warning, warning);
    }
    Ok(section.list(general.iter().copied()))
}

fn warnings(index: &Index<'_>) -> Vec<String> {
    let run = index.run();
    let mut warnings = Vec::new();
    let mut blocks: BTreeSet<u32> = BTreeSet::new();
    let mut attempts: BTreeSet<u32> = BTreeSet::new();
    for trial in &run.trials {
        blocks.insert(trial.block);
        if trial.attempt > 1 {
            attempts.insert(trial.block);
        }
    }
    if blocks.len() < 5 {
        warnings.push(format!(
            "Only {} block(s): no interval and no test is given below 5, and every verdict that needs one is Inconclusive.",
            blocks.len()
        ));
    }
    if !attempts.is_empty() {
        warnings.push(format!(
            "Block(s) {} were completed by a second process after an interruption; their first-use trials were repeated.",
            listed(&attempts.iter().map(|b| (b + 1).to_string()).collect::<Vec<_>>())
        ));
    }
    let planned = run.manifest.counts.planned;
    if (run.trials.len() as u64) < planned {
        warnings.push(format!(
            "The run is not complete: {} of {planned} planned trials have a record.",
            run.trials.len()
        ));
    }
    for damage in run.damage.iter().chain(&run.manifest.repairs) {
        warnings.push(damage.clone());
    }
    if run.manifest.program.git_dirty == Some(true) {
        warnings.push("The program was built from source with uncommitted changes.".to_owned());
    }
    let noisy = index.noisy();
    let steady: usize = index.cells().map(|(_, trials)| trials.len()).sum();
    if steady > 0 && noisy * 10 > steady {
        warnings.push(format!(
            "{noisy} of {steady} steady trials ran under CPU pressure or steal above the design's limit. Pressure counts this \
             process's own threads too: an engine that computes with more threads than there are cores flags itself. See the \
             table below for what these trials change."
        ));
    }
    let short = run.trials.iter().filter(|t| t.flags.contains(&Flag::ShortGeneration)).count();
    if short > 0 {
        warnings.push(format!(
            "{short} trial(s) generated fewer tokens than asked; rates count what really came."
        ));
    }
    if let Some(unequal) = unequal_work(index) {
        warnings.push(unequal);
    }
    warnings
}

/// Whether the values of the blocks look as an interval over blocks takes them to be: steady, independent, without a long
/// tail on the log scale that the report uses.
fn shape_of_blocks(index: &Index<'_>) -> Result<Vec<String>, StudyError> {
    let (mut drifting, mut dependent, mut skewed, mut judged) = (Vec::new(), 0_usize, 0_usize, 0_usize);
    for (cell, _) in index.cells() {
        let times: Vec<f64> = index.per_block(cell, Metric::E2eEngine).values().copied().collect();
        let logs: Vec<f64> = times.iter().filter(|time| **time > 0.0).map(|time| time.ln()).collect();
        if logs.len() < chimera_stats::intervals::MIN_BLOCKS {
            continue;
        }
        let at = || StudyError::at(format!("blocks of {} on {}", cell.model, cell.scenario));
        judged += 1;
        let logs = Sample::new(&logs, "block").map_err(at())?;
        for doubt in diagnose::blocks(logs).map_err(at())? {
            match doubt {
                Doubt::Drifts { slope, .. } => {
                    let change = 100.0 * slope.exp_m1();
                    drifting.push(format!("{} on {} ({change:+.1} % per block)", cell.model, cell.scenario));
                }
                Doubt::Dependent { .. } => dependent += 1,
                Doubt::Skewed { .. } | Doubt::Lognormal { .. } => skewed += 1,
                _ => {}
            }
        }
    }
    let mut warnings = Vec::new();
    if !drifting.is_empty() {
        let shown = drifting.len().min(4);
        warnings.push(format!(
            "The end-to-end time drifts over the blocks in {} of {judged} cells: {}{}. An interval over drifting blocks is about \
             their mean, not about a steady state. (About 1 in 50 steady cells is called drifting by chance.)",
            drifting.len(),
            chimera_report::literal(&listed(&drifting[..shown])),
            if drifting.len() > shown { " and others" } else { "" }
        ));
    }
    if dependent > 0 {
        warnings.push(format!(
            "Neighbouring blocks resemble each other in {dependent} of {judged} cells: their intervals are too narrow."
        ));
    }
    if skewed > 0 {
        warnings.push(format!(
            "The logarithms of the block values have a long tail in {skewed} of {judged} cells: their t intervals hold less \
             than they say (`docs/calibration.md`, raw lognormal)."
        ));
    }
    Ok(warnings)
}

/// The same cell must do the same work in every block: its output digest says whether it did.
fn unequal_work(index: &Index<'_>) -> Option<String> {
    let mut outputs: BTreeMap<_, BTreeSet<Vec<Option<&str>>>> = BTreeMap::new();
    for (key, trials) in index.cells() {
        for trial in trials {
            let digest = trial.lanes.iter().map(|lane| lane.output.as_deref()).collect();
            outputs.entry(key).or_default().insert(digest);
        }
    }
    let differing: Vec<String> = outputs
        .iter()
        .filter(|(_, digests)| digests.len() > 1)
        .map(|(key, _)| format!("{} on {}", key.model, key.scenario))
        .collect();
    (!differing.is_empty()).then(|| {
        format!(
            "The generated tokens differ between blocks for {}: the work was not the same.",
            listed(&differing)
        )
    })
}

/// What is missing, for the end of the report.
#[must_use]
pub fn gaps(mut draft: Draft, index: &Index<'_>) -> Draft {
    let run = index.run();
    for (id, record) in &run.manifest.models {
        if let Some(obstacle) = &record.obstacle {
            draft = draft.gap(id.clone(), obstacle.clone());
        }
    }
    for (name, probe) in &run.manifest.backends {
        if !probe.availability.is_ready() {
            draft = draft.gap(format!("backend {name}"), probe.availability.to_string());
        }
    }
    let mut lost: BTreeMap<String, usize> = BTreeMap::new();
    for trial in &run.trials {
        let what = match &trial.outcome {
            Outcome::Failed { code, .. } => format!("failed ({code})"),
            Outcome::Censored { timeout_s } => format!("longer than {timeout_s} s"),
            Outcome::Cancelled => "cancelled".to_owned(),
            Outcome::Completed | Outcome::Skipped { .. } => continue,
        };
        *lost.entry(format!("{} on {}: {what}", trial.factors.model, trial.factors.scenario)).or_default() +=
            1;
    }
    for (what, count) in lost {
        draft = draft.gap(what, format!("{count} trial(s)"));
    }
    draft
}

/// Phases in which a scaling could not be made.
#[must_use]
pub fn missing_scalings(scalings: &[Scaling<'_>]) -> Vec<PhaseMetric> {
    PhaseMetric::ALL
        .into_iter()
        .filter(|phase| scalings.iter().all(|scaling| scaling.phase != *phase))
        .collect()
}
