//! Turns what a generation showed into its record: lanes, token stamps, digests and flags. It runs after the
//! generation, never during it.

use chimera_core::{ClockSource, Phase};
use chimera_records::{Flag, HostNoise, Lane, Limits, TokenStamps, Trial};
use sha2::{Digest, Sha256};

use super::generation::{LaneScratch, Scratch};
use crate::TrialEnd;

/// What a client's clock and a server's may differ by before the server is not believed.
const TOLERANCE_NS: u64 = 1_000_000;

/// A trial and its token stamps.
#[derive(Debug)]
pub(super) struct Recorded {
    pub trial: Trial,
    pub stamps: Vec<TokenStamps>,
}

/// What is known of a trial beside what its generation showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Tokens that the prompt should have.
    pub prompt: Option<u32>,
    /// Tokens of its nonce.
    pub nonce: Option<u32>,
    /// Nanoseconds that the server took to read a prompt of this shape when it first did so for this process.
    pub first_prefill: Option<u64>,
}

/// A prompt that is read this many times faster than at its first use was not read. Warming up makes a server faster by
/// less, and a cached prompt of any length by more.
const CACHED_SPEEDUP: u64 = 10;

/// Prompts of fewer tokens are read too quickly for such a judgement: their first use is mostly overhead.
const CACHED_FLOOR: u32 = 32;

/// What a server says that it took to read a lane's prompt.
pub(super) fn server_prefill(lane: &Lane) -> Option<u64> {
    let mut timings = lane.timings.iter();
    timings.find(|t| t.phase == Phase::Prefill && t.source == ClockSource::Server).map(|t| t.nanos)
}

impl Scratch {
    /// Fills in the lanes of a completed trial.
    pub(super) fn finish(&mut self, recorded: &mut Recorded, known: &Known) {
        let trial = &mut recorded.trial;
        let (flags, budget) = (&mut trial.flags, trial.factors.budget);
        let mut raise = |flag: Flag, when: bool| {
            if when && !flags.contains(&flag) {
                flags.push(flag);
            }
        };
        for (index, scratch) in (0_u32..).zip(&mut self.lanes) {
            let mut lane = scratch.lane();
            lane.nonce_tokens = known.nonce;
            raise(Flag::ShortGeneration, lane.generated.is_some_and(|n| n < budget));
            raise(Flag::CachedPrompt, lane.cached_tokens.is_some_and(|n| n > 0));
            let long = lane.prompt_tokens.is_some_and(|n| n >= CACHED_FLOOR);
            let prefills = server_prefill(&lane).zip(known.first_prefill);
            let jump = prefills.is_some_and(|(now, first)| now.saturating_mul(CACHED_SPEEDUP) < first);
            raise(Flag::CachedPrompt, long && jump);
            let length = lane.prompt_tokens.zip(known.prompt);
            raise(Flag::PromptLength, length.is_some_and(|(found, wanted)| found != wanted));
            raise(Flag::ImplausibleServerTiming, is_implausible(&lane));
            if let Some(stamps) = scratch.token_stamps(trial.id, trial.attempt, index) {
                recorded.stamps.push(stamps);
            }
            trial.lanes.push(lane);
        }
    }
}

impl LaneScratch {
    fn lane(&mut self) -> Lane {
        let mut lane = std::mem::take(&mut self.lane);
        lane.first_token = self.stamps.first().copied();
        lane.last_token = self.stamps.last().copied();
        // A backend that counts the tokens of its chunks need not count them again.
        lane.generated = lane
            .generated
            .or_else(|| self.carried.iter().copied().try_fold(0_u32, |sum, n| sum.checked_add(n?)));
        lane.output = self.digest();
        lane
    }

    /// Equal work gives equal digests. Ids are preferred: different ids can spell the same text.
    fn digest(&self) -> Option<Box<str>> {
        let mut hash = Sha256::new();
        if self.stamps.is_empty() && self.text.is_empty() {
            return None;
        }
        if self.all_ids {
            for id in &self.ids {
                hash.update(id.to_le_bytes());
            }
        } else {
            hash.update(self.text.as_bytes());
        }
        let first: [u8; 8] = hash.finalize().as_slice().first_chunk().copied()?;
        Some(format!("{:016x}", u64::from_be_bytes(first)).into())
    }

    fn token_stamps(&self, trial: u32, attempt: u32, lane: u32) -> Option<TokenStamps> {
        let first = *self.stamps.first()?;
        let deltas =
            self.stamps.array_windows().map(|[earlier, later]| later.saturating_sub(*earlier)).collect();
        let singles = self.carried.iter().all(|carried| *carried == Some(1));
        let carried = (!singles).then(|| self.carried.clone());
        Some(TokenStamps { trial, attempt, lane, first, deltas, carried })
    }
}

/// Flags that a trial carries whatever became of it.
pub(super) fn host_flags(host: Option<HostNoise>, limits: &Limits) -> Vec<Flag> {
    let above = |share: Option<f64>, limit: f64| share.is_some_and(|share| share > limit);
    let noisy = host
        .is_some_and(|host| above(host.cpu_pressure, limits.cpu_pressure) || above(host.steal, limits.steal));
    if noisy { vec![Flag::HostNoise] } else { Vec::new() }
}

/// A server cannot have worked longer than we waited for it, nor have made several tokens in no time. Its load time is
/// not judged: servers report it for models that have long been resident.
fn is_implausible(lane: &Lane) -> bool {
    let of = |phase: Phase| {
        let mut timings = lane.timings.iter();
        timings.find(|t| t.phase == phase && t.source == ClockSource::Server).map(|t| t.nanos)
    };
    let seen = lane.sent.zip(lane.done).and_then(|(sent, done)| done.checked_sub(sent));
    let longer = |said: u64| seen.is_some_and(|seen| said > seen.saturating_add(seen / 100 + TOLERANCE_NS));
    let (prefill, decode) = (of(Phase::Prefill), of(Phase::Decode));
    let both = prefill.unwrap_or(0).saturating_add(decode.unwrap_or(0));
    longer(both)
        || of(Phase::Total).is_some_and(longer)
        || (decode == Some(0) && lane.generated.is_some_and(|n| n >= 2))
}

/// A trial in a few words.
pub(super) fn trial_end(trial: &Trial) -> TrialEnd {
    let sent = trial.lanes.iter().filter_map(|lane| lane.sent).min();
    let last = trial.lanes.iter().filter_map(|lane| lane.last_token.or(lane.prompt_processed)).max();
    let generated = trial.lanes.iter().map(|lane| lane.generated.map(u64::from)).sum::<Option<u64>>();
    TrialEnd {
        id: trial.id,
        block: trial.block,
        attempt: trial.attempt,
        role: trial.role,
        backend: trial.factors.backend.to_string(),
        model: trial.factors.model.to_string(),
        scenario: trial.factors.scenario.to_string(),
        batch: trial.factors.batch,
        concurrency: trial.factors.concurrency,
        budget: trial.factors.budget,
        outcome: trial.outcome.clone(),
        flagged: !trial.flags.is_empty(),
        span_ns: sent.zip(last).and_then(|(sent, last)| last.checked_sub(sent)),
        generated: generated.filter(|_| !trial.lanes.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use chimera_core::PhaseTiming;

    use super::*;

    fn server(phase: Phase, nanos: u64) -> PhaseTiming {
        PhaseTiming { phase, nanos, source: ClockSource::Server }
    }

    #[test]
    fn a_server_that_claims_more_time_than_passed_is_not_believed() {
        let lane = |timings| Lane {
            sent: Some(0),
            done: Some(1_000_000_000),
            generated: Some(8),
            timings,
            ..Lane::default()
        };
        assert!(!is_implausible(&lane(vec![])));
        assert!(!is_implausible(&lane(vec![
            server(Phase::Prefill, 400_000_000),
            server(Phase::Decode, 600_000_000),
        ])));
        assert!(is_implausible(&lane(vec![
            server(Phase::Prefill, 400_000_000),
            server(Phase::Decode, 700_000_000),
        ])));
        assert!(is_implausible(&lane(vec![server(Phase::Total, 2_000_000_000)])));
        assert!(is_implausible(&lane(vec![server(Phase::Decode, 0)])), "eight tokens in no time");
        assert!(!is_implausible(&lane(vec![server(Phase::Load, 9_000_000_000)])), "load is not judged");
        let engine = PhaseTiming { source: ClockSource::Engine, ..server(Phase::Total, 2_000_000_000) };
        assert!(!is_implausible(&lane(vec![engine])), "only servers report what we did not see");
    }

    #[test]
    fn noise_above_either_limit_flags() {
        let limits = Limits { cpu_pressure: 0.2, steal: 0.05, failed_share: 0.05 };
        let noise = |cpu_pressure, steal| Some(HostNoise { cpu_pressure, steal, load1: None });
        assert_eq!(host_flags(None, &limits), []);
        assert_eq!(host_flags(noise(None, None), &limits), []);
        assert_eq!(host_flags(noise(Some(0.2), Some(0.05)), &limits), []);
        assert_eq!(host_flags(noise(Some(0.21), None), &limits), [Flag::HostNoise]);
        assert_eq!(host_flags(noise(None, Some(0.06)), &limits), [Flag::HostNoise]);
    }
}
