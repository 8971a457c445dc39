//! Runs the trials of one block, one after the other, in one process. It is async and knows no executor; time comes from
//! a [`Clock`] alone, so a simulated block runs the same code on virtual time.

mod generation;
mod length;
mod prompt;
mod record;
mod resident;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use chimera_core::{Batch, Clock, EventStream, Request};
use chimera_records::{
    Block, Cell, Constants, Expected, First, FirstPrefill, Outcome, Plan, PlannedTrial, Settings, Trial,
    TrialRole,
};
use chimera_telemetry::HostProbe;

pub(crate) use self::{
    generation::{End, Scratch, Until, drive},
    length::{exactly, text_of},
    record::{trial_end, unrun},
    resident::Obstacle,
};
use self::{
    prompt::{Prepared, Salt},
    record::Recorded,
    resident::Residents,
};
use crate::{BlockEnd, Cancel, HarnessError, Progress, Registry, Sink, host::trial_noise};

/// How long a cancelled block waits for its backend to come to rest.
const IDLE_AFTER_CANCEL: Duration = Duration::from_secs(5);

/// How long nothing runs between trials of two backends. Threads of an engine spin for some milliseconds after their work,
/// in the hope of more; the next engine must not pay for that. An engine's own trials follow each other at once, as its users'
/// requests do.
const REST: Duration = Duration::from_millis(20);

/// One block and what it is run with.
#[derive(Clone, Copy)]
pub struct BlockRun<'a> {
    /// The design with its overrides.
    pub settings: &'a Settings,
    /// The plan.
    pub plan: &'a Plan,
    /// The block.
    pub block: &'a Block,
    /// Which attempt at this block it is, from 1.
    pub attempt: u32,
    /// Trials of earlier attempts that are done.
    pub done: &'a BTreeSet<u32>,
    /// Threads that this process has.
    pub threads: u32,
    /// Backends and models.
    pub registry: &'a dyn Registry,
    /// Time, for backends and for limits.
    pub clock: &'a Arc<dyn Clock>,
    /// Wall-clock time at the clock's origin, milliseconds since 1970.
    pub origin_unix_ms: u64,
    /// Counters of the host; none for a simulation.
    pub host: Option<&'a HostProbe>,
    /// Stops the block.
    pub cancel: &'a Cancel,
}

impl std::fmt::Debug for BlockRun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockRun")
            .field("block", &self.block.index)
            .field("attempt", &self.attempt)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Trials to be run, with their places in the block's order: those that are not done, and the first uses of the shapes
/// that measured ones need, since a fresh process has used nothing yet.
pub(crate) fn pending(plan: &Plan, block: &Block, done: &BTreeSet<u32>) -> Vec<(u32, PlannedTrial)> {
    let shape_of = |trial: &PlannedTrial| plan.cell(trial).map(shape);
    let pending = |trial: &&PlannedTrial| !done.contains(&trial.id);
    let needed: BTreeSet<_> = block
        .trials
        .iter()
        .filter(pending)
        .filter(|trial| trial.role == TrialRole::Measured)
        .filter_map(shape_of)
        .collect();
    (0_u32..)
        .zip(&block.trials)
        .filter(|(_, trial)| {
            let first = trial.role == TrialRole::FirstUse;
            pending(trial) || (first && shape_of(trial).is_some_and(|shape| needed.contains(&shape)))
        })
        .map(|(position, trial)| (position, *trial))
        .collect()
}

type Shape<'a> = (&'a str, &'a str, &'a str, u32, u32);

fn shape(cell: &Cell) -> Shape<'_> {
    (&cell.backend, &cell.model, &cell.scenario, cell.batch, cell.concurrency)
}

/// Runs a block's pending trials in their order and records each as it ends.
///
/// A trial's failure is its outcome and the block goes on. The future is for one task of the caller's; it need not be
/// `Send`. Dropping it cancels what is under way.
///
/// # Errors
/// A record that cannot be kept: nothing is run after that.
pub async fn run_block(
    run: BlockRun<'_>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlockEnd, HarnessError> {
    let mut runner = Runner {
        run,
        residents: Residents::default(),
        used: Used::default(),
        scratch: Scratch::default(),
        last: None,
        timeout: Duration::try_from_secs_f64(run.settings.design.process.timeout_s).unwrap_or(Duration::MAX),
    };
    let mut end = BlockEnd::Done;
    for (position, planned) in pending(run.plan, run.block, run.done) {
        if run.cancel.is_set() {
            end = BlockEnd::Cancelled;
            break;
        }
        let Some(recorded) = runner.trial(position, &planned, progress).await else { continue };
        sink.trial(&recorded.trial, &recorded.stamps)?;
        let cancelled = recorded.trial.outcome == Outcome::Cancelled;
        progress(Progress::TrialEnded(trial_end(&recorded.trial)));
        if cancelled {
            end = BlockEnd::Cancelled;
            break;
        }
    }
    sink.finish()?;
    runner.residents.unload(progress).await;
    Ok(end)
}

/// What this process has generated with so far. Only a completed generation counts as use.
#[derive(Debug, Default)]
struct Used<'a> {
    process: bool,
    models: BTreeSet<(&'a str, &'a str)>,
    shapes: BTreeSet<Shape<'a>>,
    /// What a server took to read a shape's prompt at its first use.
    prefills: BTreeMap<Shape<'a>, FirstPrefill>,
    /// Durations that a server repeats, per backend and model.
    constants: BTreeMap<(&'a str, &'a str), Constants>,
}

impl<'a> Used<'a> {
    fn firsts(&self, cell: &Cell) -> Vec<First> {
        let mut firsts = Vec::new();
        if !self.process {
            firsts.push(First::Process);
        }
        if !self.models.contains(&(cell.backend.as_str(), cell.model.as_str())) {
            firsts.push(First::Model);
        }
        if !self.shapes.contains(&shape(cell)) {
            firsts.push(First::Shape);
        }
        firsts
    }

    fn first_prefill(&self, cell: &Cell) -> Option<FirstPrefill> {
        self.prefills.get(&shape(cell)).copied()
    }

    fn constants(&mut self, cell: &'a Cell) -> &mut Constants {
        self.constants.entry((&cell.backend, &cell.model)).or_default()
    }

    fn prefilled(&mut self, cell: &'a Cell, trial: &Trial) {
        if let Some(first) = trial.lanes.first().and_then(FirstPrefill::of) {
            self.prefills.entry(shape(cell)).or_insert(first);
        }
    }

    fn note(&mut self, cell: &'a Cell) {
        self.process = true;
        self.models.insert((&cell.backend, &cell.model));
        self.shapes.insert(shape(cell));
    }
}

struct Runner<'a> {
    run: BlockRun<'a>,
    residents: Residents<'a>,
    used: Used<'a>,
    scratch: Scratch,
    /// Backend of the last trial.
    last: Option<&'a str>,
    timeout: Duration,
}

impl<'a> Runner<'a> {
    /// Runs one trial; `None` only for a trial whose cell the plan lacks, which no plan of ours has.
    async fn trial(
        &mut self,
        position: u32,
        planned: &PlannedTrial,
        progress: &mut dyn FnMut(Progress),
    ) -> Option<Recorded> {
        let run = self.run;
        let cell = run.plan.cell(planned)?;
        let at = (run.attempt, run.threads);
        let place = (position, planned);
        let trial = unrun(run.plan, run.block, place, at, wall(&run), Outcome::Cancelled)?;
        let mut recorded = Recorded { trial, stamps: Vec::new() };
        if let Err(obstacle) = self.measure(cell, &mut recorded, progress).await {
            recorded.trial.outcome = obstacle.into_outcome();
        }
        if recorded.trial.outcome == Outcome::Completed {
            self.used.note(cell);
        }
        Some(recorded)
    }

    async fn measure(
        &mut self,
        cell: &'a Cell,
        recorded: &mut Recorded,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Obstacle> {
        let run = self.run;
        let trial = &mut recorded.trial;
        let limits = Bounds { clock: run.clock, timeout: self.timeout, cancel: run.cancel };
        let ready = self.residents.ready(&run, cell, &limits, &mut trial.load_ns, progress).await?;
        trial.stamps = ready.capabilities.stamps;
        let batches = batches(&run, cell, trial, ready.prompt, ready.capabilities)?;
        let nonce_tokens = ready.prompt.nonce_tokens();
        fits_context(ready.session.model().context, ready.prompt.expected, trial.factors.budget)?;

        if self.last.replace(&cell.backend).is_some_and(|last| last != cell.backend) {
            limits.within(run.clock.sleep_until(run.clock.now().after(REST))).await?;
        }
        limits.within(ready.session.idle()).await.map_err(|obstacle| obstacle.during("waiting for rest"))?;
        trial.firsts = self.used.firsts(cell);
        trial.started_unix_ms = wall(&run);
        self.scratch.begin(&trial.factors);
        let before = run.host.map(HostProbe::snapshot);
        let start = run.clock.now();
        let deadline = start.after(self.timeout);
        let until = Until { clock: run.clock, deadline, cancel: run.cancel };
        let mut events: Vec<EventStream> =
            batches.into_iter().map(|batch| ready.session.generate(batch)).collect();
        self.scratch.issued(run.clock.now());
        let end = drive(&mut events, &mut self.scratch, until).await;
        drop(events); // Cancels what has not ended.
        let stop = run.clock.now();
        let after = run.host.map(HostProbe::snapshot);
        trial.host = before
            .zip(after)
            .map(|(before, after)| trial_noise(&before, &after, stop.since(start).unwrap_or_default()));
        trial.outcome = match end {
            End::Completed => Outcome::Completed,
            End::Failed { code, reason } => Outcome::Failed { code, reason },
            End::Cancelled => Outcome::Cancelled,
            End::Censored => Outcome::Censored { timeout_s: run.settings.design.process.timeout_s },
        };
        trial.flags = record::host_flags(trial.host, &run.settings.design.limits);
        match trial.outcome {
            Outcome::Completed => {
                let expected = Expected {
                    budget: Some(recorded.trial.factors.budget),
                    prompt: ready.prompt.expected,
                    first_prefill: self.used.first_prefill(cell),
                };
                self.scratch.finish(recorded, nonce_tokens, &expected, self.used.constants(cell));
                self.used.prefilled(cell, &recorded.trial);
            }
            Outcome::Cancelled => {
                let rest = Bounds { timeout: IDLE_AFTER_CANCEL, cancel: &Cancel::new(), ..limits };
                // It is the last trial of this process: rest is a courtesy to a server, not a condition.
                let _ = rest.within(ready.session.idle()).await;
            }
            // A session that does not come to rest is found out by the trial that needs it next.
            _ => drop(limits.within(ready.session.idle()).await),
        }
        Ok(())
    }
}

fn wall(run: &BlockRun<'_>) -> u64 {
    run.origin_unix_ms.saturating_add(run.clock.now().0 / 1_000_000)
}

fn salt<'a>(run: &BlockRun<'_>, cell: &'a Cell, trial: u32, lane: u32) -> Salt<'a> {
    Salt {
        origin_unix_ms: run.origin_unix_ms,
        backend: &cell.backend,
        block: run.block.index,
        attempt: run.attempt,
        trial,
        lane,
    }
}

/// The requests of a trial, each a batch. All lanes ask for the same, with seeds of their own. How many requests a backend
/// runs at once is its property: those for which it has no place wait, and that is what is measured.
fn batches(
    run: &BlockRun<'_>,
    cell: &Cell,
    trial: &Trial,
    prompt: &Prepared,
    capabilities: &chimera_core::Capabilities,
) -> Result<Vec<Batch>, Obstacle> {
    let factors = &trial.factors;
    let most = capabilities.max_batch.unwrap_or(1);
    if cell.batch > most {
        return Err(Obstacle::skip(format!(
            "backend {} runs at most {most} lanes together, this cell asks for {}",
            cell.backend, cell.batch
        )));
    }
    if factors.budget == 0 && !capabilities.prefill_only {
        return Err(Obstacle::skip(format!("backend {} cannot run a prefill alone", cell.backend)));
    }
    let design = &run.settings.design;
    let request = |lane: u32| Request {
        prompt: prompt.prompt(salt(run, cell, trial.id, lane)),
        max_tokens: factors.budget,
        seed: design.seed.wrapping_add(u64::from(lane)),
        ignore_eos: capabilities.exact_budget,
        sampling: design.sampling,
    };
    let lanes = |first: u32| (0..cell.batch).map(|lane| request(first + lane)).collect();
    Ok((0..cell.concurrency).map(|number| Batch(lanes(number * cell.batch))).collect())
}

/// A prompt and a budget that exceed the model's context are a gap of the design for this model, not a failure.
fn fits_context(context: Option<u32>, prompt: Option<u32>, budget: u32) -> Result<(), Obstacle> {
    match (context, prompt) {
        (Some(context), Some(prompt)) if prompt.saturating_add(budget) > context => {
            Err(Obstacle::skip(format!(
                "{prompt} prompt tokens and {budget} generated ones exceed the model's context of {context}"
            )))
        }
        _ => Ok(()),
    }
}

/// What bounds everything that is waited for beside a generation.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) cancel: &'a Cancel,
}

impl Bounds<'_> {
    /// Waits for `work`, but not past the limit and not once the run is to stop.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Obstacle> {
        let mut work = pin!(work);
        let mut limit = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            // Most of what is waited for is ready at once and needs no timer.
            let limit =
                limit.get_or_insert_with(|| self.clock.sleep_until(self.clock.now().after(self.timeout)));
            if limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Obstacle::timeout(self.timeout)));
            }
            if self.cancel.poll(cx) {
                return Poll::Ready(Err(Obstacle::Cancelled));
            }
            Poll::Pending
        })
        .await
    }
}
