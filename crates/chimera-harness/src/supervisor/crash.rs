//! Cells that end their process: an assertion of a native library or a wrong access to memory cannot be caught, so the trial
//! that was under way is recorded as failed, what its backend and model would still have run in the block is left out, and
//! the block goes on in a new process. An arm whose check has crashed is not put among the others at all.

use std::collections::BTreeSet;

use chimera_records::{Block, Outcome, PlannedTrial, QualityRecord, Trial, unix_ms};

use super::{Supervisor, available_threads};
use crate::{
    HarnessError, Progress,
    block::{pending, trial_end, unrun},
};

/// Code of a trial, or of a question about an arm, whose process crashed.
pub(super) const CRASHED: &str = "crashed";

impl Supervisor {
    /// Blames the trial that was under way when the block's last process crashed. `false` where none was, or where nothing is
    /// left to leave out: then going on would change nothing.
    pub(super) fn blame(
        &mut self,
        index: u32,
        reason: &str,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<bool, HarnessError> {
        let Some(block) = self.plan.blocks.get(index as usize).cloned() else { return Ok(false) };
        let last = self.run.manifest().processes.iter().filter(|process| process.block == index);
        let Some(last) = last.max_by_key(|process| process.attempt) else { return Ok(false) };
        if last.startup_ns.is_none() {
            return Ok(false); // It had not begun.
        }
        let attempt = last.attempt;
        let trials = self.run.read_trials()?.trials;
        let of_block = trials.iter().filter(|trial| trial.block == index);
        let (now, before): (Vec<&Trial>, Vec<&Trial>) = of_block.partition(|trial| trial.attempt == attempt);
        let ended: BTreeSet<u32> = now.iter().map(|trial| trial.id).collect();
        let done = before.iter().filter(|trial| trial.outcome != Outcome::Cancelled);
        let done: BTreeSet<u32> = done.map(|trial| trial.id).collect();
        let mut order = pending(&self.plan, &block, &done).into_iter().map(|(_, planned)| planned);
        let Some(culprit) = order.find(|planned| !ended.contains(&planned.id)) else { return Ok(false) };
        let Some(cell) = self.plan.cell(&culprit).cloned() else { return Ok(false) };
        let arm = (cell.backend.as_str(), cell.model.as_str());
        let why = format!("the process crashed in this trial: {reason}");
        let left = format!("{} had crashed with this model before in the block: {reason}", cell.backend);
        self.leave_out(&block, arm, attempt, report, |planned| {
            if planned.id == culprit.id {
                Outcome::Failed { code: CRASHED.into(), reason: why.clone() }
            } else {
                Outcome::Skipped { reason: left.clone() }
            }
        })
    }

    /// Leaves out the arms whose check has crashed.
    pub(super) fn pass_over_crashed(
        &mut self,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<(), HarnessError> {
        let known = self.run.read_quality()?.records;
        let crashed: BTreeSet<(&str, &str)> = known
            .iter()
            .filter_map(|record| match record {
                QualityRecord::NotMeasured(gap) if gap.code == CRASHED => {
                    Some((gap.backend.as_str(), gap.model.as_str()))
                }
                _ => None,
            })
            .collect();
        if crashed.is_empty() {
            return Ok(());
        }
        let blocks: Vec<Block> = self.pending().into_iter().cloned().collect();
        for block in &blocks {
            let attempt = self.tally.attempts(block.index) + 1;
            for arm in &crashed {
                self.leave_out(block, *arm, attempt, report, |_| Outcome::Skipped {
                    reason: format!(
                        "{} crashed with this model when it was checked, before the block",
                        arm.0
                    ),
                })?;
            }
        }
        Ok(())
    }

    /// Records an outcome for every trial of an arm in a block that is not done; whether there was one.
    fn leave_out(
        &mut self,
        block: &Block,
        (backend, model): (&str, &str),
        attempt: u32,
        report: &mut dyn FnMut(&Progress),
        outcome: impl Fn(&PlannedTrial) -> Outcome,
    ) -> Result<bool, HarnessError> {
        let threads = available_threads(block.threads);
        let mut writer = self.run.writer()?;
        let mut any = false;
        for (position, planned) in (0_u32..).zip(&block.trials) {
            let is_of_arm =
                self.plan.cell(planned).is_some_and(|cell| cell.backend == backend && cell.model == model);
            if !is_of_arm || self.tally.is_done(planned.id) {
                continue;
            }
            let (place, at) = ((position, planned), (attempt, threads));
            let trial = unrun(&self.plan, block, place, at, unix_ms(), outcome(planned));
            let Some(trial) = trial else { continue };
            writer.append(&trial, &[])?;
            self.tally.add(&trial);
            report(&Progress::TrialEnded(trial_end(&trial)));
            any = true;
        }
        writer.sync()?;
        let counts = self.counts();
        self.run.update(|manifest| manifest.counts = counts)?;
        Ok(any)
    }
}
