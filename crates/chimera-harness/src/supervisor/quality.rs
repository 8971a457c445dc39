//! The supervisor's side of the quality stage: a process for each arm that has open questions, the reference first. What
//! a process that dies leaves open is answered for it, with what it died of.

use chimera_records::{QualityRecord, RunStatus};

use super::{BlockJob, Launcher, Ledger, Supervisor, available_threads, crash::CRASHED, repair};
use crate::{
    BlockEnd, Cancel, CheckJob, HarnessError, Progress, checks,
    quality::{Question, clear},
};

impl Supervisor {
    /// Arms of this run that have questions without an answer.
    ///
    /// # Errors
    /// `quality.jsonl` cannot be read.
    pub fn open_checks(&self) -> Result<Vec<CheckJob>, HarnessError> {
        let Some(quality) = &self.settings.design.quality else { return Ok(Vec::new()) };
        let known = self.run.read_quality()?.records;
        let mut jobs = checks(&self.settings, &self.plan);
        jobs.retain(|job| !job.open(quality, &known).is_empty());
        Ok(jobs)
    }

    /// Runs the quality stage alone: what is open of it, and no trial.
    ///
    /// # Errors
    /// Those of [`Supervisor::run`].
    pub fn run_checks(
        &mut self,
        launcher: &mut dyn Launcher,
        cancel: &Cancel,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<RunStatus, HarnessError> {
        let mut ledger = Ledger::open(self.run.manifest(), &self.settings);
        self.check(launcher, cancel, &mut ledger, report)?;
        self.run.update(|manifest| ledger.write(manifest))?;
        let open = cancel.is_set() || !self.open_checks()?.is_empty();
        Ok(if open { RunStatus::Cancelled } else { RunStatus::Complete })
    }

    /// Runs what is open of the quality stage. An arm that cannot be checked is a record, not an error.
    pub(super) fn check(
        &mut self,
        launcher: &mut dyn Launcher,
        cancel: &Cancel,
        ledger: &mut Ledger,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<(), HarnessError> {
        let Some(quality) = self.settings.design.quality.clone() else { return Ok(()) };
        let open = self.open_checks()?;
        let needed = |job: &CheckJob| {
            // A reference is run again for the arms that are still to be compared with it.
            open.contains(job)
                || (job.is_reference && open.iter().any(|other| other.reference == job.reference))
        };
        let mut jobs = checks(&self.settings, &self.plan);
        jobs.retain(|job| needed(job));
        let of = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        let mut before: Option<String> = None;
        let mut done = Ok(());
        for (number, job) in (1_u32..).zip(&jobs) {
            if cancel.is_set() {
                break;
            }
            if job.reference != before {
                // What the reference of the models before said takes room and is asked for no more.
                clear(self.run.path()).map_err(|source| launch(job, source))?;
                before.clone_from(&job.reference);
            }
            report(&Progress::QualityStarted {
                backend: job.backend.clone(),
                model: job.model.clone(),
                number,
                of,
            });
            done = self.check_arm(job, launcher, cancel, ledger, report);
            if done.is_err() {
                break;
            }
            let known = self.run.read_quality()?.records;
            if !cancel.is_set() && !job.open(&quality, &known).is_empty() {
                let reason = "its process ended without an answer";
                self.answer_for(job, job.open(&quality, &known), "died", reason, report)?;
            }
        }
        if !jobs.is_empty() {
            clear(self.run.path()).map_err(|source| HarnessError::LaunchCheck {
                backend: quality.reference.clone(),
                model: before.unwrap_or_default(),
                source,
            })?;
        }
        done
    }

    /// Checks one arm in one process.
    fn check_arm(
        &mut self,
        job: &CheckJob,
        launcher: &mut dyn Launcher,
        cancel: &Cancel,
        ledger: &mut Ledger,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<(), HarnessError> {
        let threads = self.settings.design.process.threads.first().copied().unwrap_or(0);
        let block = BlockJob {
            run: std::path::absolute(self.run.path()).unwrap_or_else(|_| self.run.path().to_owned()),
            block: 0,
            attempt: 1,
            threads: available_threads(threads),
            done: Default::default(),
            check: Some(job.clone()),
        };
        let mut seen = |message: Progress| match &message {
            // These speak of the block that this process does not run.
            Progress::ProcessReady { .. } | Progress::BlockEnded { .. } => {}
            other => {
                ledger.note(other);
                report(&message);
            }
        };
        let end = launcher.launch(&block, cancel, &mut seen).map_err(|source| launch(job, source))?;
        let (backend, model) = (job.backend.clone(), job.model.clone());
        match &end {
            BlockEnd::Done | BlockEnd::Cancelled => {}
            BlockEnd::Failed { reason, .. } => {
                // What keeps one arm from its records keeps the next one too.
                let error = HarnessError::Check { backend, model, reason: reason.clone() };
                report(&Progress::QualityEnded {
                    backend: job.backend.clone(),
                    model: job.model.clone(),
                    end,
                });
                return Err(error);
            }
            BlockEnd::Died { reason, crashed } => {
                for repair in repair(&self.run)? {
                    self.run.update(|manifest| manifest.repairs.push(repair))?;
                }
                let known = self.run.read_quality()?.records;
                if let Some(quality) = &self.settings.design.quality {
                    let open = job.open(quality, &known);
                    self.answer_for(
                        job,
                        open,
                        if *crashed { CRASHED } else { "died" },
                        &format!("the process that checked it died: {reason}"),
                        report,
                    )?;
                }
            }
        }
        report(&Progress::QualityEnded { backend, model, end });
        Ok(())
    }

    /// Answers for a process that cannot any more.
    fn answer_for(
        &self,
        job: &CheckJob,
        open: Vec<Question>,
        code: &str,
        reason: &str,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<(), HarnessError> {
        let mut writer = self.run.quality_writer()?;
        for question in open {
            let record: QualityRecord = job.unanswered(&question, code, reason);
            writer.append(&record)?;
            report(&Progress::QualityFound { record });
        }
        writer.sync()?;
        Ok(())
    }
}

fn launch(job: &CheckJob, source: std::io::Error) -> HarnessError {
    HarnessError::LaunchCheck { backend: job.backend.clone(), model: job.model.clone(), source }
}
