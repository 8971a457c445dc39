//! What a completed request says against itself: flags from its counts, from the durations that its server told, and from
//! our own stamps of its chunks; and what several requests of one server say together. Nothing is corrected here.

use chimera_core::{ClockSource, Finished, Phase, Stamp};

use crate::{Flag, Lane};

/// What two readings of one server may differ by before it is not believed.
const TOLERANCE_NS: u64 = 1_000_000;

/// How much longer than we waited a server may say that it worked. Our stamp of sending is made after the write, and where
/// the scheduler takes the core away in between, the server has begun before it.
const LATE_STAMP_NS: u64 = 20_000_000;

/// A prompt that is read this many times faster than at first was not read. Warming up makes a server faster by less, and
/// a cached prompt of any length by more.
const CACHED_SPEEDUP: u64 = 10;

/// Prompts of fewer tokens are read too quickly for such a judgement: their first use is mostly overhead.
const CACHED_FLOOR: u32 = 32;

/// Gaps between chunks from which their pace is judged.
const GAPS: usize = 8;

/// A pace that is this many times slower than the server's own decode time is not the network's.
const SLOWER: u64 = 3;

/// Requests in a row whose durations are the same to the nanosecond, though their work is not, before they are taken for
/// constants.
const REPEATED: u32 = 3;

/// What a server took to read a prompt when it had not seen it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPrefill {
    /// Tokens of that prompt.
    pub tokens: u32,
    /// Nanoseconds, by the server's own clock.
    pub nanos: u64,
}

impl FirstPrefill {
    /// What a lane says of itself, where its server tells both.
    #[must_use]
    pub fn of(lane: &Lane) -> Option<Self> {
        Some(Self { tokens: lane.prompt_tokens?, nanos: lane.server_time(Phase::Prefill)? })
    }

    /// Whether a prompt was read so much faster than this one that it was not read. The time of a shorter prompt falls
    /// with the square of its length at most (that is attention's law), and no longer one takes less.
    #[must_use]
    pub fn shows_cache(&self, lane: &Lane) -> bool {
        let Some(now) = Self::of(lane).filter(|now| now.tokens >= CACHED_FLOOR) else { return false };
        let share = (f64::from(now.tokens) / f64::from(self.tokens.max(1))).min(1.0);
        now.nanos.saturating_mul(CACHED_SPEEDUP) < (self.nanos as f64 * share * share) as u64
    }
}

/// What is known of a request beside what it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// Tokens that had to come.
    pub budget: Option<u32>,
    /// Tokens that the prompt should have.
    pub prompt: Option<u32>,
    /// What the server took to read such a prompt at first.
    pub first_prefill: Option<FirstPrefill>,
}

impl Lane {
    /// Takes over what the end of a generation tells. What was told before stays.
    pub fn finished(&mut self, at: Stamp, finished: Finished) {
        self.done = Some(at.0);
        self.finish = Some(finished.reason);
        self.generated = finished.generated;
        self.prompt_tokens = self.prompt_tokens.or(finished.prompt);
        self.cached_tokens = self.cached_tokens.or(finished.cached);
        self.timings = finished.timings;
    }

    /// What the server says that a phase took.
    #[must_use]
    pub fn server_time(&self, phase: Phase) -> Option<u64> {
        let mut timings = self.timings.iter();
        timings.find(|t| t.phase == phase && t.source == ClockSource::Server).map(|t| t.nanos)
    }

    /// Flags of a completed request. `stamps` are those of its chunks that carry tokens.
    #[must_use]
    pub fn flags(&self, stamps: &[u64], expected: &Expected) -> Vec<Flag> {
        let differs = |found: Option<u32>, wanted: Option<u32>| {
            found.zip(wanted).is_some_and(|(found, wanted)| found != wanted)
        };
        let short = self.generated.zip(expected.budget).is_some_and(|(n, budget)| n < budget);
        let cached = self.cached_tokens.is_some_and(|n| n > 0)
            || expected.first_prefill.is_some_and(|first| first.shows_cache(self));
        let judged = [
            (Flag::ShortGeneration, short),
            (Flag::CachedPrompt, cached),
            (Flag::PromptLength, differs(self.prompt_tokens, expected.prompt)),
            (Flag::ImplausibleServerTiming, self.has_implausible_server_timing(stamps)),
        ];
        judged.into_iter().filter_map(|(flag, raised)| raised.then_some(flag)).collect()
    }

    /// Whether the durations that a server reports cannot be true. It cannot have worked longer than we waited for it, nor
    /// have made several tokens in no time; its phases cannot be longer than its whole; and it cannot have made in a moment
    /// what came to us evenly over a long time. Its load time is not judged: servers report it for models that have long
    /// been resident.
    #[must_use]
    pub fn has_implausible_server_timing(&self, stamps: &[u64]) -> bool {
        let of = |phase: Phase| self.server_time(phase);
        // Under load a request cannot have left before it was due, and may have left before we stamped it.
        let start = self.sent.map(|sent| self.intended.map_or(sent, |intended| intended.min(sent)));
        let seen = start.zip(self.done).and_then(|(start, done)| done.checked_sub(start));
        let beyond = |said: u64, limit: u64, slack| said > limit.saturating_add(limit / 100 + slack);
        let exceeds = |said: u64, limit: u64| beyond(said, limit, TOLERANCE_NS);
        let longer = |said: u64| seen.is_some_and(|seen| beyond(said, seen, LATE_STAMP_NS));
        let (prefill, decode, total) = (of(Phase::Prefill), of(Phase::Decode), of(Phase::Total));
        let both = prefill.unwrap_or(0).saturating_add(decode.unwrap_or(0));
        longer(both)
            || total.is_some_and(|total| longer(total) || exceeds(both, total))
            || (decode == Some(0) && self.generated.is_some_and(|n| n >= 2))
            || decode.zip(steady_span(stamps)).is_some_and(|(said, span)| {
                span > said.saturating_mul(SLOWER).saturating_add(SLOWER * TOLERANCE_NS)
            })
    }
}

/// The time from the first chunk to the last that an even pace explains: a quarter of the gaps is shorter than its share.
/// A network that stalls makes few gaps long, and one that gathers makes many short: neither makes this longer than what
/// the server took.
fn steady_span(stamps: &[u64]) -> Option<u64> {
    let mut gaps: Vec<u64> = stamps.array_windows().map(|[a, b]| b.saturating_sub(*a)).collect();
    if gaps.len() < GAPS {
        return None;
    }
    let at = gaps.len() / 4;
    let (_, quarter, _) = gaps.select_nth_unstable(at);
    Some(quarter.saturating_mul(stamps.len() as u64 - 1))
}

/// Looks for durations that are the same to the nanosecond in one request after the other though their work is not: they
/// were made up. One watch belongs to one model of one server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Constants {
    told: Option<(u64, u64)>,
    times: u32,
    least: u32,
    most: u32,
}

impl Constants {
    /// Sees a completed request; says whether it is one of a row of constants.
    pub fn see(&mut self, lane: &Lane) -> bool {
        let told = lane.server_time(Phase::Prefill).zip(lane.server_time(Phase::Decode));
        let (Some(told), Some(work)) = (told, lane.generated) else { return false };
        if self.told != Some(told) {
            *self = Self { told: Some(told), times: 0, least: work, most: work };
        }
        self.times = self.times.saturating_add(1);
        self.least = self.least.min(work);
        self.most = self.most.max(work);
        // A clock of milliseconds shows equal times for equal work, and none at all for what is over at once.
        told.1 > TOLERANCE_NS && self.times >= REPEATED && self.most / 2 >= self.least.max(1)
    }
}

#[cfg(test)]
mod tests {
    use chimera_core::{FinishReason, PhaseTiming};

    use super::*;

    const MS: u64 = 1_000_000;

    fn server(phase: Phase, nanos: u64) -> PhaseTiming {
        PhaseTiming { phase, nanos, source: ClockSource::Server }
    }

    fn lane(timings: Vec<PhaseTiming>) -> Lane {
        Lane {
            sent: Some(0),
            done: Some(1_000 * MS),
            generated: Some(8),
            prompt_tokens: Some(40),
            timings,
            ..Lane::default()
        }
    }

    fn told(prefill: u64, decode: u64) -> Lane {
        lane(vec![server(Phase::Prefill, prefill), server(Phase::Decode, decode)])
    }

    #[test]
    fn a_server_that_claims_more_time_than_passed_is_not_believed() {
        let implausible = |lane: Lane| lane.has_implausible_server_timing(&[]);
        assert!(!implausible(lane(vec![])));
        assert!(!implausible(told(400 * MS, 600 * MS)));
        assert!(implausible(told(400 * MS, 700 * MS)));
        assert!(implausible(lane(vec![server(Phase::Total, 2_000 * MS)])));
        assert!(implausible(lane(vec![server(Phase::Decode, 0)])), "eight tokens in no time");
        assert!(!implausible(lane(vec![server(Phase::Load, 9_000 * MS)])), "load is not judged");
        // 327 ms by our stamps and 333 by an honest server: we were late to stamp what we sent.
        let late = Lane { done: Some(327 * MS), ..lane(vec![server(Phase::Total, 333 * MS)]) };
        assert!(!implausible(late.clone()));
        let due = Lane { intended: Some(0), sent: Some(40 * MS), done: Some(367 * MS), ..late };
        assert!(!implausible(Lane { timings: vec![server(Phase::Total, 367 * MS)], ..due }));
        let engine = PhaseTiming { source: ClockSource::Engine, ..server(Phase::Total, 2_000 * MS) };
        assert!(!implausible(lane(vec![engine])), "only servers report what we did not see");
    }

    #[test]
    fn phases_are_not_longer_than_the_whole() {
        let with_total = |total| {
            let mut lane = told(200 * MS, 300 * MS);
            lane.timings.push(server(Phase::Total, total));
            lane.has_implausible_server_timing(&[])
        };
        assert!(!with_total(600 * MS) && !with_total(500 * MS));
        assert!(!with_total(496 * MS), "two clocks of one server may differ by a hundredth");
        assert!(with_total(400 * MS));
    }

    #[test]
    fn what_came_evenly_over_a_long_time_was_not_made_in_a_moment() {
        let even: Vec<u64> = (0..20).map(|i| 30 * MS + i * 5 * MS).collect();
        assert!(told(MS, 5 * MS).has_implausible_server_timing(&even), "95 ms of tokens in 5 ms");
        assert!(!told(MS, 95 * MS).has_implausible_server_timing(&even));
        assert!(!told(MS, 45 * MS).has_implausible_server_timing(&even), "half is not much");
        // A network that held half of the answer back for long, and one that gathered it to three writes.
        let stalled: Vec<u64> = (0..20).map(|i| 30 * MS + i * MS / 4 + (i / 10) * 900 * MS).collect();
        let gathered: Vec<u64> = (0..20).map(|i| 30 * MS + (i / 8) * 300 * MS).collect();
        for stamps in [&stalled, &gathered] {
            assert!(!told(MS, 5 * MS).has_implausible_server_timing(stamps));
        }
        assert!(!told(MS, 5 * MS).has_implausible_server_timing(&even[..8]), "too few to judge");
    }

    #[test]
    fn a_prompt_read_too_fast_is_cached_whatever_its_length() {
        let flags = |tokens, nanos| {
            let mut lane = told(nanos, 300 * MS);
            lane.prompt_tokens = Some(tokens);
            let first = FirstPrefill { tokens: 100, nanos: 100 * MS };
            lane.flags(&[], &Expected { first_prefill: Some(first), ..Expected::default() })
        };
        assert_eq!(flags(100, 11 * MS), []);
        assert_eq!(flags(100, 9 * MS), [Flag::CachedPrompt]);
        assert_eq!(flags(200, 9 * MS), [Flag::CachedPrompt], "longer, and faster");
        assert_eq!(flags(50, 9 * MS), [], "half as long may take a quarter of the time");
        assert_eq!(flags(50, 2 * MS), [Flag::CachedPrompt]);
        assert_eq!(flags(31, 1), [], "too short to judge");
    }

    #[test]
    fn the_end_tells_what_was_not_told_before() {
        let mut end = Finished::new(FinishReason::Stop, Some(7));
        (end.prompt, end.cached) = (Some(50), Some(49));
        let mut early = Lane { prompt_tokens: Some(48), ..Lane::default() };
        early.finished(Stamp(9), end.clone());
        assert_eq!((early.prompt_tokens, early.cached_tokens), (Some(48), Some(49)));
        let mut late = Lane::default();
        late.finished(Stamp(9), end);
        assert_eq!((late.prompt_tokens, late.generated, late.done), (Some(50), Some(7), Some(9)));
        let expected = Expected { budget: Some(8), prompt: Some(51), first_prefill: None };
        let flags = late.flags(&[], &expected);
        assert_eq!(flags, [Flag::ShortGeneration, Flag::CachedPrompt, Flag::PromptLength]);
    }

    #[test]
    fn durations_that_repeat_whatever_the_work_are_constants() {
        let see = |all: &[(u32, u64)]| {
            let mut watch = Constants::default();
            let lanes =
                all.iter().map(|(work, nanos)| Lane { generated: Some(*work), ..told(*nanos, *nanos) });
            lanes.map(|lane| watch.see(&lane)).collect::<Vec<_>>()
        };
        assert_eq!(see(&[(4, 5 * MS), (64, 5 * MS), (64, 5 * MS), (64, 5 * MS)]), [false, false, true, true]);
        assert_eq!(see(&[(64, 5 * MS); 4]), [false; 4], "equal work may take equal time");
        assert_eq!(see(&[(4, 5 * MS), (64, 5 * MS + 1), (4, 5 * MS), (64, 5 * MS)]), [false; 4]);
        assert_eq!(see(&[(4, MS), (8, MS), (64, MS), (64, MS)]), [false; 4], "a coarse clock");
    }
}
