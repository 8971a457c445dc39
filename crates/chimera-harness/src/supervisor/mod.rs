//! Runs the blocks of a plan one after the other, each in a process of its own, and keeps the manifest true meanwhile.
//! It measures nothing itself but the host's noise over the whole run; trials are run and recorded by the blocks.

mod child;
mod crash;
mod inline;
mod job;
mod launcher;
mod ledger;
mod process;
mod quality;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use chimera_records::{
    Block, Counts, NoiseRecord, Plan, ProcessRecord, RunDir, RunError, RunLock, RunStatus, Settings, Tally,
    unix_ms,
};
use chimera_telemetry::HostProbe;

use self::ledger::Ledger;
pub use self::{
    child::serve_block,
    inline::InlineLauncher,
    job::{BlockJob, available_threads},
    launcher::Launcher,
    process::ProcessLauncher,
};
use crate::{BlockEnd, Cancel, HarnessError, Progress, calibrate, noise_record};

/// How long a resumed run waits for the last process of a supervisor that was killed.
const PATIENCE: Duration = Duration::from_secs(15);

/// What to do when a block's process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeath {
    /// Go on with the next block: the run ends as failed and can be resumed.
    #[default]
    Continue,
    /// Stop: the run is failed and can be resumed.
    Stop,
}

/// The one process that works on a run.
#[derive(Debug)]
pub struct Supervisor {
    run: RunDir,
    _lock: RunLock,
    settings: Settings,
    plan: Plan,
    blocks: Vec<u32>,
    tally: Tally,
    host: Option<HostProbe>,
    on_death: OnDeath,
}

impl Supervisor {
    /// Takes a run, new or interrupted: locks it, mends what a crash left, makes its plan again and finds out what is
    /// done. What the run dies of later, it can be taken again.
    ///
    /// # Errors
    /// [`RunError::Busy`] when somebody else works on it, [`RunError::Changed`] when design or plan are not those it was
    /// started with, and errors of reading.
    pub fn take(run: RunDir) -> Result<Self, HarnessError> {
        let lock = run.lock()?;
        // What was read before the lock may have been changed by who held it.
        let mut run = RunDir::open(run.path())?;
        let settings = run.settings()?;
        let plan = run.plan(&settings)?;
        let blocks = plan.shard(run.manifest().shard)?.iter().map(|block| block.index).collect();
        let repairs = repair(&run)?;
        if !repairs.is_empty() {
            run.update(|manifest| manifest.repairs.extend(repairs))?;
        }
        let tally = Tally::of(&run.read_trials()?.trials);
        let on_death = OnDeath::default();
        Ok(Self { run, _lock: lock, settings, plan, blocks, tally, host: None, on_death })
    }

    /// Records the host's noise over the run by this probe.
    #[must_use]
    pub fn host(mut self, probe: HostProbe) -> Self {
        self.host = Some(probe);
        self
    }

    /// What to do when a block's process dies.
    #[must_use]
    pub fn on_death(mut self, policy: OnDeath) -> Self {
        self.on_death = policy;
        self
    }

    /// The run's directory.
    #[must_use]
    pub fn run_dir(&self) -> &RunDir {
        &self.run
    }

    /// The design with the run's overrides.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The whole plan, of which a shard runs a part.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Blocks of this run or shard that have trials to run.
    #[must_use]
    pub fn pending(&self) -> Vec<&Block> {
        self.blocks
            .iter()
            .filter_map(|index| self.plan.blocks.get(*index as usize))
            .filter(|block| block.trials.iter().any(|trial| !self.tally.is_done(trial.id)))
            .collect()
    }

    /// How the trials ended so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts(self.run.manifest().counts.planned)
    }

    /// Runs what is pending. Whatever happens to blocks, the manifest says it; the run can be taken and run again until
    /// it is complete.
    ///
    /// # Errors
    /// The manifest cannot be written, or a process cannot be started. Trials that were recorded stay.
    pub fn run(
        &mut self,
        launcher: &mut dyn Launcher,
        cancel: &Cancel,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<RunStatus, HarnessError> {
        let pending: Vec<u32> = self.pending().iter().map(|block| block.index).collect();
        let mut ledger = Ledger::open(self.run.manifest(), &self.settings);
        let clocks = self.run.manifest().clocks.per_event_ns.is_none().then(calibrate);
        self.run.update(|manifest| {
            manifest.status = RunStatus::Running;
            manifest.failure = None;
            if let Some(clocks) = clocks {
                manifest.clocks = clocks;
            }
            ledger.write(manifest);
        })?;
        report(&Progress::PlanStarted {
            run_id: self.run.manifest().run_id.clone(),
            path: self.run.path().to_owned(),
            trials: self.run.manifest().counts.planned,
            done: self.tally.done(),
            blocks: u32::try_from(pending.len()).unwrap_or(u32::MAX),
        });
        let before = self.host.as_ref().map(HostProbe::snapshot);
        let start = Instant::now();
        let mut failures = Vec::new();
        // Before anything is timed: an arm that runs another model is to be known, whatever happens later.
        let mut stopped = match self.check(launcher, cancel, &mut ledger, report) {
            Ok(()) => None,
            Err(error) => {
                failures.push(error.to_string());
                Some(error)
            }
        };
        if stopped.is_none() {
            self.pass_over_crashed(report)?;
        }
        let mut pending = VecDeque::from(pending);
        while let Some(index) = pending.pop_front() {
            if stopped.is_some() || cancel.is_set() {
                break;
            }
            match self.block(index, launcher, cancel, &mut ledger, report) {
                Ok(BlockEnd::Done) => {}
                Ok(BlockEnd::Cancelled) => break,
                Ok(BlockEnd::Failed { reason, .. }) => {
                    failures.push(format!("block {index}: {reason}"));
                    break; // What keeps one block from its records keeps the next one too.
                }
                // An engine that ends its process takes nothing with it but its own cells.
                Ok(BlockEnd::Died { reason, crashed: true }) if self.blame(index, &reason, report)? => {
                    pending.push_front(index);
                }
                Ok(BlockEnd::Died { reason, .. }) => {
                    failures.push(format!("the process of block {index} died: {reason}"));
                    if self.on_death == OnDeath::Stop {
                        break;
                    }
                }
                Err(error) => {
                    failures.push(error.to_string());
                    stopped = Some(error);
                    break;
                }
            }
        }
        let noise = self
            .host
            .as_ref()
            .zip(before)
            .map(|(probe, before)| noise_record(&before, &probe.snapshot(), start.elapsed()));
        let status = self.close(failures, noise, &ledger, report);
        match stopped {
            Some(error) => Err(error),
            None => status,
        }
    }

    /// Runs one block in one process.
    fn block(
        &mut self,
        index: u32,
        launcher: &mut dyn Launcher,
        cancel: &Cancel,
        ledger: &mut Ledger,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<BlockEnd, HarnessError> {
        let no_such = HarnessError::NoSuchBlock { block: index };
        let Some(block) = self.plan.blocks.get(index as usize) else { return Err(no_such) };
        let earlier = self.run.manifest().processes.iter().filter(|process| process.block == index);
        let attempt = earlier.map(|process| process.attempt).max().unwrap_or(0);
        let attempt = attempt.max(self.tally.attempts(index)) + 1;
        let done = block.trials.iter().map(|trial| trial.id).filter(|id| self.tally.is_done(*id)).collect();
        let job = BlockJob {
            run: std::path::absolute(self.run.path()).unwrap_or_else(|_| self.run.path().to_owned()),
            block: index,
            attempt,
            threads: available_threads(block.threads),
            done,
            check: None,
        };
        let record = ProcessRecord {
            block: index,
            attempt,
            threads: job.threads,
            started_unix_ms: unix_ms(),
            startup_ns: None,
            peak_rss_bytes: None,
            client_lag: BTreeMap::new(),
            host: self.host.as_ref().and_then(|probe| probe.describe().name),
            failure: None,
        };
        // Before the process: what a kill leaves behind must not be taken for this attempt's.
        self.run.update(|manifest| manifest.processes.push(record))?;
        report(&Progress::BlockStarted {
            block: index,
            replicate: block.replicate,
            threads: job.threads,
            attempt,
            trials: u32::try_from(job.trials(&self.plan)).unwrap_or(u32::MAX),
        });
        let mut startup_ns = None;
        let mut peak_rss_bytes = None;
        let mut client_lag = BTreeMap::new();
        let tally = &mut self.tally;
        let mut seen = |message: Progress| {
            match &message {
                Progress::ProcessReady { startup_ns: ns, .. } => startup_ns = *ns,
                Progress::TrialEnded(end) => {
                    tally.add_end(end.id, end.block, end.attempt, &end.outcome, end.flagged);
                }
                Progress::ClientLag { backend, lag } => drop(client_lag.insert(backend.clone(), lag.clone())),
                Progress::BlockEnded { peak_rss_bytes: peak, .. } => {
                    peak_rss_bytes = *peak;
                    return; // The supervisor says itself how a block ended, once its process is gone.
                }
                other => ledger.note(other),
            }
            report(&message);
        };
        let launched = launcher.launch(&job, cancel, &mut seen);
        let end = match launched {
            Ok(end) => end,
            Err(source) => return Err(HarnessError::Launch { block: index, source }),
        };
        if let BlockEnd::Died { .. } = end {
            // Its last words may be lost; the records are not.
            for repair in repair(&self.run)? {
                self.run.update(|manifest| manifest.repairs.push(repair))?;
            }
            self.tally = Tally::of(&self.run.read_trials()?.trials);
        }
        report(&Progress::BlockEnded { block: index, end: end.clone(), peak_rss_bytes });
        let counts = self.counts();
        let failure = match &end {
            BlockEnd::Done | BlockEnd::Cancelled => None,
            BlockEnd::Failed { reason, .. } | BlockEnd::Died { reason, .. } => Some(reason.clone()),
        };
        self.run.update(|manifest| {
            if let Some(process) = manifest.processes.last_mut() {
                process.startup_ns = startup_ns;
                process.peak_rss_bytes = peak_rss_bytes;
                process.client_lag = client_lag;
                process.failure = failure;
            }
            manifest.counts = counts;
            ledger.write(manifest);
        })?;
        Ok(end)
    }

    /// Says where the run stands.
    fn close(
        &mut self,
        mut failures: Vec<String>,
        noise: Option<NoiseRecord>,
        ledger: &Ledger,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<RunStatus, HarnessError> {
        let counts = self.counts();
        let ran = counts.completed + counts.failed + counts.censored;
        let limit = self.settings.design.limits.failed_share;
        if ran > 0 && counts.failed as f64 > limit * ran as f64 {
            failures.push(format!(
                "{} of {ran} trials failed, more than the share of {limit} that the design allows",
                counts.failed
            ));
        }
        let status = if !failures.is_empty() {
            RunStatus::Failed
        } else if self.pending().is_empty() && self.open_checks()?.is_empty() {
            RunStatus::Complete
        } else {
            RunStatus::Cancelled
        };
        let failure = (!failures.is_empty()).then(|| failures.join("; "));
        self.run.update(|manifest| {
            manifest.status = status;
            manifest.failure.clone_from(&failure);
            manifest.ended_unix_ms = Some(unix_ms());
            manifest.counts = counts;
            if let Some(noise) = noise {
                worst(&mut manifest.noise.cpu_pressure, noise.cpu_pressure);
                worst(&mut manifest.noise.memory_pressure, noise.memory_pressure);
                worst(&mut manifest.noise.steal, noise.steal);
            }
            ledger.write(manifest);
        })?;
        report(&Progress::PlanEnded { status, failure, counts });
        Ok(status)
    }
}

/// Of a run with several sessions, the noisiest counts.
fn worst(ours: &mut Option<f64>, now: Option<f64>) {
    if let Some(now) = now {
        *ours = Some(ours.map_or(now, |ours| ours.max(now)));
    }
}

/// Mends the records, once the process that may still write them is gone.
fn repair(run: &RunDir) -> Result<Vec<String>, RunError> {
    let start = Instant::now();
    loop {
        match run.repair() {
            Err(RunError::Busy { .. }) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}
