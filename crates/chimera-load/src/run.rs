//! Runs a plan: blocks, the levels in each, and the search for saturation.
//!
//! # Blocks in one process
//!
//! The block is the unit of replication. Here it is a stretch of time with arrivals, prompts and an order of levels of its
//! own, all in one process: what a fresh process would vary of a load generator is not under test, and it would not make
//! the server fresh. For an engine in this process that is a limit: its memory layout is the same in all blocks, and
//! `chimera compare` on two runs sees one draw of it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use chimera_core::{Capabilities, Clock, Session};
use chimera_records::{Counts, Factors, Tally, Trial, unix_ms};
use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{
    Cancel, Level, LevelSummary, LoadError, LoadPlan, Pacing, Saturation, Sink,
    engine::{Engine, Keeper, LevelRun, Numbers},
    prompts::{Maker, Purpose, Vocabulary, stream},
    schedule::Schedule,
    summarise,
};

/// Share of the offered requests below which an open loop is saturated.
const ACHIEVED: f64 = 0.95;
/// Gain in throughput by twice the concurrency below which a closed loop is saturated.
const GAIN: f64 = 1.05;
/// Share of requests that must keep the SLO's time to first token: its p95 is then within the limit.
const WITHIN: f64 = 0.95;

/// What is put under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// The resident model.
    pub session: Arc<dyn Session>,
    /// What its backend can do, from the probe.
    pub capabilities: Capabilities,
    /// Threads of an engine in this process, for the records; 0 for a server.
    pub threads: u32,
}

/// How a run is paced and dated.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// How intended times are waited for.
    pub pacing: Pacing,
    /// Seed of the nonces. Two runs on one server must not share it, or the second finds its prompts in a cache.
    pub nonce_seed: u64,
    /// Wall-clock time at the clock's origin, milliseconds since 1970.
    pub origin_unix_ms: u64,
}

impl RunOptions {
    /// For real time: `clock` is the one the session stamps with, `busy` the cores that an engine in this process keeps
    /// busy.
    #[must_use]
    pub fn real(clock: &dyn Clock, busy: u32) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let now = unix_ms();
        Self {
            pacing: Pacing::real(busy),
            nonce_seed: RandomState::new().hash_one(now),
            origin_unix_ms: now.saturating_sub(clock.now().0 / 1_000_000),
        }
    }

    /// For a virtual clock: the same run each time.
    #[must_use]
    pub fn simulated() -> Self {
        Self { pacing: Pacing::Clock, nonce_seed: 0, origin_unix_ms: 0 }
    }
}

/// A plan and what it is run with.
#[derive(Debug, Clone, Copy)]
pub struct LoadRun<'a> {
    /// What is asked.
    pub plan: &'a LoadPlan,
    /// What is put under load.
    pub target: &'a Target,
    /// The clock that the session stamps with.
    pub clock: &'a Arc<dyn Clock>,
    /// Stops the run.
    pub cancel: &'a Cancel,
    /// Pace and dates.
    pub options: RunOptions,
}

/// What happens during a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// A level begins.
    LevelStarted {
        /// Block, from 0.
        block: u32,
        /// The level.
        level: Level,
    },
    /// A level ended, or was cut short.
    LevelEnded {
        /// Block, from 0.
        block: u32,
        /// The level.
        level: Level,
        /// What it showed in this block; absent where nothing was issued.
        summary: Option<Box<LevelSummary>>,
    },
    /// The search for saturation found two levels between which the server saturates.
    Saturated {
        /// The highest level that it sustained, where any.
        sustained: Option<Level>,
        /// The lowest level that it did not, where any was found below the limit.
        saturated: Option<Level>,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEnd {
    /// Whether it was stopped before its end.
    pub cancelled: bool,
    /// How requests ended; planned is what was issued.
    pub counts: Counts,
    /// Levels that were run, in the order of the first block.
    pub levels: Vec<Level>,
    /// The highest level of a search that was sustained.
    pub sustained: Option<Level>,
    /// The lowest level of a search that was not.
    pub saturated: Option<Level>,
}

/// Runs a plan on any executor; [`run_blocking`] brings its own. A request's failure is its record; dropping the future
/// cancels what is under way without a record, so prefer [`Cancel`].
///
/// # Errors
/// Prompts that cannot be made, or records that cannot be kept: nothing is issued after that.
pub async fn run(
    load: LoadRun<'_>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunEnd, LoadError> {
    let target = load.target;
    let vocabulary = Vocabulary::of(load.plan, &*target.session, &target.capabilities).await?;
    let mut runner = Runner {
        load,
        vocabulary: vocabulary.as_ref(),
        nonces: Some(Xoshiro256PlusPlus::seed_from_u64(load.options.nonce_seed)),
        numbers: Numbers::default(),
        tally: Tally::default(),
        cancelled: false,
        sink,
        progress,
    };
    let config = load.plan.config();
    let mut levels = load.plan.levels();
    let (mut sustained, mut saturated) = (None, None);
    for block in 0..config.blocks {
        runner.numbers.position = 0;
        match (block, config.saturation) {
            (0, Some(search)) => {
                let found = runner.search(levels.first().copied(), search).await?;
                (levels, sustained, saturated) = (found.levels, found.sustained, found.saturated);
            }
            _ => {
                let mut order = levels.clone();
                order.shuffle(&mut stream(config.seed, block, Purpose::Order));
                for level in order {
                    runner.level(block, level).await?;
                    if runner.cancelled {
                        break;
                    }
                }
            }
        }
        runner.sink.finish()?;
        if runner.cancelled {
            break;
        }
    }
    let counts = runner.tally.counts(u64::from(runner.numbers.id));
    Ok(RunEnd { cancelled: runner.cancelled, counts, levels, sustained, saturated })
}

/// Runs a plan on this thread, with the executor that also drives the sockets of our adapters.
///
/// # Errors
/// Those of [`run`].
pub fn run_blocking(
    load: LoadRun<'_>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(Progress),
) -> Result<RunEnd, LoadError> {
    async_io::block_on(run(load, sink, progress))
}

struct Found {
    levels: Vec<Level>,
    sustained: Option<Level>,
    saturated: Option<Level>,
}

struct Runner<'a> {
    load: LoadRun<'a>,
    vocabulary: Option<&'a Vocabulary>,
    /// Lent to the maker of a level's requests, and taken back.
    nonces: Option<Xoshiro256PlusPlus>,
    numbers: Numbers,
    tally: Tally,
    cancelled: bool,
    sink: &'a mut dyn Sink,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Runner<'a> {
    /// Runs one level of one block.
    async fn level(&mut self, block: u32, level: Level) -> Result<Option<LevelSummary>, LoadError> {
        let load = self.load;
        let (plan, config) = (load.plan, load.plan.config());
        self.rest().await;
        if load.cancel.is_set() {
            self.cancelled = true;
            return Ok(None);
        }
        (self.progress)(Progress::LevelStarted { block, level });
        let nonces = self.nonces.take().unwrap_or_else(|| Xoshiro256PlusPlus::seed_from_u64(0));
        let mut maker = Maker::new(plan, self.vocabulary, &load.target.capabilities, block, nonces);
        let arrivals = stream(config.seed, block, Purpose::Arrivals);
        let schedule = Schedule::new(level, config.warmup, config.length, &plan.times, arrivals);
        let run = LevelRun {
            config,
            level,
            block,
            factors: Factors {
                backend: config.backend.as_str().into(),
                model: config.model.as_str().into(),
                scenario: plan.scenario(level).into(),
                budget: plan.budget(),
                batch: 1,
                concurrency: 1,
                threads: load.target.threads,
            },
            target: load.target,
            clock: load.clock,
            pacing: load.options.pacing,
            origin_unix_ms: load.options.origin_unix_ms,
            cancel: load.cancel,
        };
        let mut keeper = Keeper { sink: &mut *self.sink, trials: Vec::new() };
        let mut engine = Engine::new(run, schedule, &mut maker, &mut self.numbers);
        let whole = poll_fn(|cx| engine.poll(&mut keeper, cx)).await?;
        drop(engine);
        self.nonces = Some(maker.into_nonces());
        self.cancelled = !whole;
        let trials: Vec<Trial> = keeper.trials;
        trials.iter().for_each(|trial| self.tally.add(trial));
        let summary = summarise(&trials, &config.slo).pop();
        (self.progress)(Progress::LevelEnded { block, level, summary: summary.clone().map(Box::new) });
        Ok(summary)
    }

    /// Waits until the server has nothing left of the level before, but no longer than one request may take.
    async fn rest(&self) {
        let load = self.load;
        let limit = Duration::try_from_secs_f64(load.plan.config().timeout_s).unwrap_or(Duration::MAX);
        let mut idle = pin!(load.target.session.idle());
        let mut limit = load.clock.sleep_until(load.clock.now().after(limit));
        poll_fn(|cx| {
            let over = idle.as_mut().poll(cx).is_ready()
                || load.cancel.poll(cx)
                || limit.as_mut().poll(cx).is_ready();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Doubles the level until the server saturates, then halves the gap. The later blocks run all levels that were found
    /// here, so every level is a cell with as many blocks as any other. The first block chose them; its figures near the
    /// limit are a little kinder or harsher than those of the others for it.
    async fn search(&mut self, first: Option<Level>, search: Saturation) -> Result<Found, LoadError> {
        let mut found = Found { levels: Vec::new(), sustained: None, saturated: None };
        let mut before: Option<f64> = None;
        let mut next = first;
        while let Some(level) = next {
            let summary = self.level(0, level).await?;
            found.levels.push(level);
            if self.cancelled {
                return Ok(found);
            }
            let rate = summary.as_ref().and_then(|s| s.output_tokens_per_s.or(s.achieved_rate));
            if self.is_saturated(level, summary.as_ref(), before.zip(rate)) {
                found.saturated = Some(level);
                break;
            }
            found.sustained = Some(level);
            before = rate;
            let twice = level.at(level.number() * 2.0);
            next = (twice.number() <= search.most).then_some(twice);
        }
        for _ in 0..search.bisect {
            let (Some(low), Some(high)) = (found.sustained, found.saturated) else { break };
            let middle = low.at((low.number() + high.number()) / 2.0);
            if middle == low || middle == high {
                break;
            }
            let summary = self.level(0, middle).await?;
            found.levels.push(middle);
            if self.cancelled {
                return Ok(found);
            }
            // What half the gap gains is less than what doubling does: the sustained level's own share of it counts.
            let rate = summary.as_ref().and_then(|s| s.output_tokens_per_s.or(s.achieved_rate));
            let gain = before.zip(rate).map(|(before, rate)| {
                let share = (middle.number() / low.number()).log2();
                (before, before * (rate / before).powf(share.recip()))
            });
            if self.is_saturated(middle, summary.as_ref(), gain) {
                found.saturated = Some(middle);
            } else {
                found.sustained = Some(middle);
                before = rate;
            }
        }
        (self.progress)(Progress::Saturated { sustained: found.sustained, saturated: found.saturated });
        Ok(found)
    }

    /// `gain` is the throughput before and after doubling.
    fn is_saturated(&self, level: Level, summary: Option<&LevelSummary>, gain: Option<(f64, f64)>) -> bool {
        // Nothing came back at all.
        let Some(summary) = summary.filter(|summary| summary.counts.completed > 0) else { return true };
        if summary.within_ttft.is_some_and(|share| share < WITHIN) {
            return true;
        }
        if level.is_open() {
            return summary.achieved_over_offered.is_some_and(|share| share < ACHIEVED);
        }
        gain.is_some_and(|(before, after)| after < before * GAIN)
    }
}
