//! Trials that did not end well, run against run. A run that fails where the other succeeds can look faster by what it
//! leaves out; so failures are compared before speeds are believed. Latencies are not here.

use chimera_records::{Outcome, TrialRole};
use chimera_stats::{StatsError, hypothesis, hypothesis::Alternative};
use serde::Serialize;

use super::{factor::Only, pairs::Group};
use crate::{Arm, CellKey, RunData};

/// Measured trials of the compared cells by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ends {
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Longer than the design's limit.
    pub censored: u64,
    /// Completed, but flagged for noise of the host.
    pub noisy: u64,
}

impl Ends {
    fn bad(self) -> u64 {
        self.failed + self.censored
    }
}

/// Failures of two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failures {
    /// The first run.
    pub a: Ends,
    /// The second run.
    pub b: Ends,
    /// Fisher's exact p, two-sided, that both fail equally often; absent where nothing failed.
    pub p: Option<f64>,
    /// Whether the second run fails more often, supported by the data.
    pub worse: bool,
}

/// Counts the cells of the groups, whether or not any of their trials completed.
pub(super) fn failures(
    (a, only_a): (&RunData, &[Only]),
    (b, only_b): (&RunData, &[Only]),
    groups: &[Group<'_>],
    alpha: f64,
) -> Result<Failures, StatsError> {
    // A cell of which every trial failed in one run has no steady cell there: the partner's cells count on both sides.
    let shared = |cell: &CellKey<'_>| groups.iter().any(|g| g.a.contains(cell) || g.b.contains(cell));
    let count = |run: &RunData, only: &[Only], always: bool| {
        let mut ends = Ends::default();
        for trial in run.trials.iter().filter(|trial| trial.role == TrialRole::Measured) {
            let factors = &trial.factors;
            let cell = CellKey {
                arm: Arm { backend: &factors.backend, threads: factors.threads },
                model: &factors.model,
                scenario: &factors.scenario,
                batch: factors.batch,
                concurrency: factors.concurrency,
                budget: factors.budget,
            };
            let kept = only.iter().all(|only| only.factor.of(&cell) == only.level);
            if !kept || !(always || shared(&cell)) {
                continue;
            }
            match trial.outcome {
                Outcome::Completed => ends.completed += 1,
                Outcome::Failed { .. } => ends.failed += 1,
                Outcome::Censored { .. } => ends.censored += 1,
                Outcome::Skipped { .. } | Outcome::Cancelled => {}
            }
            ends.noisy += u64::from(trial.flags.contains(&chimera_records::Flag::HostNoise));
        }
        ends
    };
    // Without a selection every measured trial of both runs counts.
    let (a, b) = (count(a, only_a, only_a.is_empty()), count(b, only_b, only_b.is_empty()));
    let p = if a.bad() + b.bad() == 0 || a.completed + a.bad() == 0 || b.completed + b.bad() == 0 {
        None
    } else {
        let table = [[a.bad(), a.completed], [b.bad(), b.completed]];
        hypothesis::fisher_exact(table, Alternative::TwoSided)?.p(alpha).ok()
    };
    let share = |ends: Ends| ends.bad() as f64 / (ends.completed + ends.bad()).max(1) as f64;
    Ok(Failures { a, b, p, worse: p.is_some_and(|p| p <= alpha) && share(b) > share(a) })
}
