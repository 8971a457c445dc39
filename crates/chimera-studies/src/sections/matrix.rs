//! The failure matrix: what every backend did with every model that was asked of it, and why not. A backend that is not
//! there, a precision that an engine does not take and a trial that failed are results; none of them has a latency.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Outcome, Trial, TrialRole};
use chimera_report::{Cell, Column, NoteKind, Section, Table};

use super::listed;
use crate::RunData;

/// How the steady trials of one backend on one model ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// In the records.
    pub recorded: u32,
    /// Completed.
    pub completed: u32,
}

/// One reason for which steady trials have no latency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Backend.
    pub backend: String,
    /// `skipped`, `failed`, `censored` or `cancelled`.
    pub kind: &'static str,
    /// Code of a failure; empty otherwise.
    pub code: String,
    /// Why.
    pub reason: String,
    /// What would mend it, where the backend says.
    pub remedy: Option<String>,
    /// Models that it hit.
    pub models: BTreeSet<String>,
    /// Prompts that it hit.
    pub scenarios: BTreeSet<String>,
    /// Steady trials.
    pub trials: u32,
}

/// The matrix of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matrix {
    /// By backend and model; a pair that the design does not ask for is absent.
    pub ends: BTreeMap<(String, String), Ends>,
    /// Every reason.
    pub obstacles: Vec<Obstacle>,
}

impl Matrix {
    /// Counts a run's steady trials.
    #[must_use]
    pub fn of(run: &RunData) -> Self {
        let mut matrix = Self::default();
        let mut found: BTreeMap<(String, &'static str, String, String), Obstacle> = BTreeMap::new();
        for trial in run.trials.iter().filter(|trial| trial.role == TrialRole::Measured) {
            let factors = &trial.factors;
            let ends =
                matrix.ends.entry((factors.backend.to_string(), factors.model.to_string())).or_default();
            ends.recorded += 1;
            let Some((code, reason)) = told(trial) else {
                ends.completed += 1;
                continue;
            };
            let key = (factors.backend.to_string(), trial.outcome.word(), code.clone(), reason.clone());
            let obstacle = found.entry(key).or_insert_with(|| Obstacle {
                backend: factors.backend.to_string(),
                kind: trial.outcome.word(),
                code,
                reason,
                remedy: None,
                models: BTreeSet::new(),
                scenarios: BTreeSet::new(),
                trials: 0,
            });
            obstacle.models.insert(factors.model.to_string());
            obstacle.scenarios.insert(factors.scenario.to_string());
            obstacle.trials += 1;
        }
        for (_, mut obstacle) in found {
            let probe = run.manifest.backends.get(&obstacle.backend);
            if let Some((reason, remedy)) = probe.and_then(|probe| probe.availability.obstacle()) {
                // The probe says the same in parts.
                reason.clone_into(&mut obstacle.reason);
                obstacle.remedy = Some(remedy.to_owned());
            }
            matrix.obstacles.push(obstacle);
        }
        matrix
    }

    /// Backends without a single completed steady trial.
    #[must_use]
    pub fn absent(&self) -> Vec<&str> {
        let backends: BTreeSet<&str> = self.ends.keys().map(|(backend, _)| backend.as_str()).collect();
        let ran =
            |backend: &&str| self.ends.iter().any(|((own, _), ends)| own == backend && ends.completed > 0);
        backends.into_iter().filter(|backend| !ran(backend)).collect()
    }
}

/// Code and reason of a trial that has no latency; none for a completed one.
fn told(trial: &Trial) -> Option<(String, String)> {
    match &trial.outcome {
        Outcome::Completed => None,
        Outcome::Failed { code, reason } => Some((code.clone(), reason.clone())),
        Outcome::Skipped { reason } => Some((String::new(), reason.clone())),
        Outcome::Censored { timeout_s } => Some((String::new(), format!("longer than {timeout_s} s"))),
        Outcome::Cancelled => Some((String::new(), "stopped by the user".to_owned())),
    }
}

/// The section.
#[must_use]
pub fn section(run: &RunData) -> Section {
    let matrix = Matrix::of(run);
    Section::new("matrix", "Failure matrix")
        .paragraph(
            "What was asked of every backend and what became of it: steady trials, first uses not counted. This is a result \
             in itself: an engine that does not take a precision, a library that is not there and a prompt that fails are \
             part of what a backend is.",
        )
        .table(counts(run, &matrix))
        .table(reasons(&matrix))
        .note(
            NoteKind::Definition,
            "A trial that did not complete has no latency, is in no mean, and its cell is compared with nobody. Comparisons \
             over several prompts are made over those that both sides finished.",
        )
}

fn counts(run: &RunData, matrix: &Matrix) -> Table {
    let backends: BTreeSet<&str> = matrix.ends.keys().map(|(backend, _)| backend.as_str()).collect();
    let mut table = Table::new("matrix", "Completed of recorded steady trials")
        .caption("Rows: models of the design. Columns: backends. A dash: the design does not ask for it.")
        .column(Column::text("model", "Model"))
        .column(Column::text("variant", "Precision"));
    for (number, backend) in backends.iter().enumerate() {
        table = table.column(Column::text(format!("backend-{}", number + 1), *backend));
    }
    for entry in run.asked_models() {
        let mut row: Vec<Cell> = vec![entry.id.as_str().into(), entry.variant.as_str().into()];
        for backend in &backends {
            let ends = matrix.ends.get(&((*backend).to_owned(), entry.id.clone()));
            row.push(match ends {
                Some(ends) => format!("{} of {}", ends.completed, ends.recorded).into(),
                None => Cell::missing("not asked for by the design"),
            });
        }
        table.push_row(row);
    }
    table
}

fn reasons(matrix: &Matrix) -> Table {
    let mut table = Table::new("obstacles", "Why trials have no latency")
        .caption("One row per backend and reason.")
        .column(Column::text("backend", "Backend"))
        .column(Column::text("kind", "Outcome"))
        .column(Column::text("code", "Code"))
        .column(Column::number("trials", "Steady trials", ""))
        .column(Column::text("models", "Models"))
        .column(Column::text("scenarios", "Prompts"))
        .column(Column::text("reason", "Reason"))
        .column(Column::text("remedy", "Remedy"));
    for obstacle in &matrix.obstacles {
        let names = |all: &BTreeSet<String>| listed(&all.iter().collect::<Vec<_>>());
        table.push_row([
            obstacle.backend.as_str().into(),
            obstacle.kind.into(),
            Cell::or_missing(Some(obstacle.code.as_str()).filter(|code| !code.is_empty()), "not a failure"),
            obstacle.trials.into(),
            names(&obstacle.models).into(),
            names(&obstacle.scenarios).into(),
            obstacle.reason.as_str().into(),
            Cell::or_missing(obstacle.remedy.as_deref(), "the reason says it, or there is none"),
        ]);
    }
    table
}
