//! Runs one level of one block: issues requests at their times, whatever the earlier ones do, and follows all of them on
//! one thread. All requests are futures of one set inside one future, so a token costs no task switch and no channel, and
//! a request is issued without waking anybody.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use chimera_core::{Batch, Clock, Stamp};
use chimera_records::{Constants, Factors, First, FirstPrefill, Flag, Outcome, TrialRole};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::{
    Cancel, Level, LoadConfig, LoadError, Sink, Target,
    pace::{Pacer, Pacing},
    prompts::{Maker, Prepared},
    request::{Ended, Issue, Running, Task},
    schedule::{Phases, Schedule},
};

/// From the making of a level's first request to its start.
const LEAD: Duration = Duration::from_millis(5);

/// What a level is run with.
pub(crate) struct LevelRun<'a> {
    pub(crate) config: &'a LoadConfig,
    pub(crate) level: Level,
    pub(crate) block: u32,
    pub(crate) factors: Factors,
    pub(crate) target: &'a Target,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) pacing: Pacing,
    pub(crate) origin_unix_ms: u64,
    pub(crate) cancel: &'a Cancel,
}

/// When the next request may be issued.
enum Source {
    Open {
        schedule: Schedule,
        cap: usize,
    },
    /// Since when each free place is free.
    Closed {
        free: VecDeque<u64>,
        phases: Phases,
    },
}

/// A request that is made and not yet issued.
struct Next {
    prepared: Prepared,
    intended: u64,
    role: TrialRole,
}

/// What goes on over levels and blocks: counters, and what the server has said so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Numbers {
    pub(crate) id: u32,
    pub(crate) position: u32,
    pub(crate) used: bool,
    /// Of the first prompt that was read while no other request was under way: company makes reading slower, never
    /// faster, so later prompts may be held against it.
    first_prefill: Option<FirstPrefill>,
    constants: Constants,
}

impl Numbers {
    /// Flags what only the requests before show.
    fn judge(&mut self, ended: &mut Ended) {
        let trial = &mut ended.trial;
        let Some(lane) = trial.lanes.first().filter(|_| trial.outcome == Outcome::Completed) else { return };
        let cached = self.first_prefill.is_some_and(|first| first.shows_cache(lane));
        let constant = self.constants.see(lane);
        if self.first_prefill.is_none() && ended.alone {
            self.first_prefill = FirstPrefill::of(lane);
        }
        for (flag, raised) in [(Flag::CachedPrompt, cached), (Flag::ImplausibleServerTiming, constant)] {
            if raised && !trial.flags.contains(&flag) {
                trial.flags.push(flag);
            }
        }
    }
}

/// A level under way.
pub(crate) struct Engine<'a, 'm> {
    run: LevelRun<'a>,
    maker: &'m mut Maker<'a>,
    numbers: &'m mut Numbers,
    source: Source,
    start: Stamp,
    next: Option<Next>,
    under_way: FuturesUnordered<Task>,
    timeout: Duration,
    pacer: Pacer,
    /// Wakes at the deadline of the request that was the oldest when it was set.
    limit: Option<(Stamp, Pacer)>,
}

impl<'a, 'm> Engine<'a, 'm> {
    pub(crate) fn new(
        run: LevelRun<'a>,
        schedule: Schedule,
        maker: &'m mut Maker<'a>,
        numbers: &'m mut Numbers,
    ) -> Self {
        let start = run.clock.now().after(LEAD);
        let source = match run.level {
            Level::Closed(places) => Source::Closed {
                free: std::iter::repeat_n(start.0, places as usize).collect(),
                phases: Phases::new(run.config.warmup, run.config.length),
            },
            _ => Source::Open {
                schedule,
                cap: run.config.max_in_flight.map_or(usize::MAX, |cap| cap as usize),
            },
        };
        let timeout = Duration::try_from_secs_f64(run.config.timeout_s).unwrap_or(Duration::MAX);
        let pacer = Pacer::new(run.pacing);
        let mut engine = Self {
            run,
            maker,
            numbers,
            source,
            start,
            next: None,
            under_way: FuturesUnordered::new(),
            timeout,
            pacer,
            limit: None,
        };
        engine.make_next();
        engine
    }

    /// Makes the request that comes next, where one may come.
    fn make_next(&mut self) {
        let start = self.start.0;
        let planned = match &mut self.source {
            Source::Open { schedule, .. } => {
                schedule.next().map(|arrival| (start.saturating_add(arrival.offset), arrival.role))
            }
            Source::Closed { free, phases } => free.front().copied().and_then(|since| {
                let role = phases.role(since.saturating_sub(start));
                if role.is_none() {
                    // Enough was measured: no place is filled again.
                    free.clear();
                } else {
                    free.pop_front();
                }
                role.map(|role| (since, role))
            }),
        };
        self.next = planned.map(|(intended, role)| Next { prepared: self.maker.next(), intended, role });
    }

    fn has_room(&self) -> bool {
        match self.source {
            Source::Open { cap, .. } => self.under_way.len() < cap,
            Source::Closed { .. } => true,
        }
    }

    /// Issues everything that is due.
    fn issue_due(&mut self) {
        while self.has_room()
            && let now = self.run.clock.now()
            && let Some(next) = self.next.take_if(|next| now.0 >= next.intended)
        {
            self.issue(next, now);
            self.make_next();
        }
    }

    fn issue(&mut self, next: Next, now: Stamp) {
        let Prepared { request, expected } = next.prepared;
        let run = &self.run;
        let firsts = if std::mem::replace(&mut self.numbers.used, true) {
            Vec::new()
        } else {
            vec![First::Process, First::Model]
        };
        let issue = Issue {
            id: self.numbers.id,
            block: run.block,
            position: self.numbers.position,
            role: next.role,
            factors: run.factors.clone(),
            firsts,
            budget: request.max_tokens,
            exact: request.ignore_eos,
            expected,
            intended: next.intended,
            in_flight: u32::try_from(self.under_way.len()).unwrap_or(u32::MAX),
            started_unix_ms: run.origin_unix_ms.saturating_add(now.0 / 1_000_000),
            stamps: run.target.capabilities.stamps,
            deadline: now.after(self.timeout),
            timeout_s: run.config.timeout_s,
        };
        self.numbers.id = self.numbers.id.saturating_add(1);
        self.numbers.position = self.numbers.position.saturating_add(1);
        // With several under way, each has company already.
        if self.under_way.len() == 1 {
            self.under_way.iter_mut().for_each(|task| task.running.has_company());
        }
        let stream = run.target.session.generate(Batch::from(request));
        let task = Task { running: Running::new(issue, stream), clock: Arc::clone(run.clock) };
        self.under_way.push(task);
    }

    fn ended(&mut self, mut ended: Ended, sink: &mut dyn Keep) -> Result<(), LoadError> {
        self.numbers.judge(&mut ended);
        if let Source::Closed { free, .. } = &mut self.source {
            let now = self.run.clock.now().0;
            // The place is free since the answer ended, not since we saw it; a failure has no stamp of its end.
            let done = ended.trial.lanes.first().and_then(|lane| lane.done);
            free.push_back(done.map_or(now, |done| done.min(now)));
            if self.next.is_none() {
                self.make_next();
            }
        }
        sink.keep(ended)
    }

    /// Wakes requests whose deadline has come. Deadlines are equally far from their issues, so one timer is enough: when
    /// it ends, it is set to the oldest request that is then under way.
    fn poll_limit(&mut self, cx: &mut Context<'_>) {
        loop {
            let (deadline, mut pacer) = match self.limit.take() {
                Some(limit) => limit,
                None => {
                    let deadlines = self.under_way.iter().map(|task| task.running.deadline());
                    let Some(oldest) = deadlines.min() else { return };
                    // A deadline needs no spinning.
                    let pacing = match self.run.pacing {
                        Pacing::Clock => Pacing::Clock,
                        Pacing::Spin(_) => Pacing::Spin(Duration::ZERO),
                    };
                    (oldest, Pacer::new(pacing))
                }
            };
            if pacer.poll(deadline, &**self.run.clock, cx).is_pending() {
                self.limit = Some((deadline, pacer));
                return;
            }
            let now = self.run.clock.now();
            let mut late = false;
            for task in self.under_way.iter().filter(|task| task.running.deadline() <= now) {
                task.running.wake();
                late = true;
            }
            if late {
                // They end in the next poll of the set; until then no timer is set for them.
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    /// Ready with whether the level was run to its end.
    pub(crate) fn poll(
        &mut self,
        sink: &mut dyn Keep,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, LoadError>> {
        loop {
            if self.run.cancel.poll(cx) {
                for task in self.under_way.iter_mut() {
                    if let Some(ended) = task.running.cancel() {
                        sink.keep(ended)?;
                    }
                }
                self.under_way.clear();
                return Poll::Ready(Ok(false));
            }
            self.issue_due();
            if let Poll::Ready(Some(ended)) = self.under_way.poll_next_unpin(cx) {
                self.ended(ended, sink)?;
                continue;
            }
            if self.next.is_none() && self.under_way.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if let Some(next) = &self.next
                && self.has_room()
                && self.pacer.poll(Stamp(next.intended), &**self.run.clock, cx).is_ready()
            {
                continue;
            }
            self.poll_limit(cx);
            return Poll::Pending;
        }
    }
}

/// Takes what ended.
pub(crate) trait Keep {
    fn keep(&mut self, ended: Ended) -> Result<(), LoadError>;
}

/// Keeps a level's trials for its summary on their way to the sink.
pub(crate) struct Keeper<'a> {
    pub(crate) sink: &'a mut dyn Sink,
    pub(crate) trials: Vec<chimera_records::Trial>,
}

impl Keep for Keeper<'_> {
    fn keep(&mut self, ended: Ended) -> Result<(), LoadError> {
        self.trials.push(ended.trial.clone());
        self.sink.trial(ended.trial, ended.stamps)
    }
}

#[cfg(test)]
mod tests {
    use chimera_core::{ClockSource, Phase, PhaseTiming};
    use chimera_records::{Lane, Trial};

    use super::*;

    fn ended(prefill_ms: u64, alone: bool) -> Ended {
        let timing =
            PhaseTiming { phase: Phase::Prefill, nanos: prefill_ms * 1_000_000, source: ClockSource::Server };
        let lane = Lane { prompt_tokens: Some(100), timings: vec![timing], ..Lane::default() };
        let factors = Factors {
            backend: "o".into(),
            model: "m".into(),
            scenario: "s".into(),
            budget: 1,
            batch: 1,
            concurrency: 1,
            threads: 0,
        };
        let trial = Trial {
            id: 0,
            block: 0,
            position: 0,
            attempt: 1,
            role: TrialRole::Measured,
            factors,
            firsts: Vec::new(),
            started_unix_ms: 0,
            outcome: Outcome::Completed,
            load_ns: None,
            stamps: ClockSource::Client,
            lanes: vec![lane],
            host: None,
            flags: Vec::new(),
        };
        Ended { trial, stamps: None, alone }
    }

    #[test]
    fn prompts_are_held_against_the_first_that_was_read_alone() {
        let mut numbers = Numbers::default();
        let mut flags = |prefill, alone| {
            let mut ended = ended(prefill, alone);
            numbers.judge(&mut ended);
            ended.trial.flags
        };
        assert_eq!(flags(5_000, false), [], "slow, because others were about: it is no measure");
        assert_eq!(flags(300, true), []);
        assert_eq!(flags(40, false), [], "seven times faster may be warm");
        assert_eq!(flags(2, true), [Flag::CachedPrompt]);
        assert_eq!(flags(2, false), [Flag::CachedPrompt], "company makes nothing faster");
    }
}
