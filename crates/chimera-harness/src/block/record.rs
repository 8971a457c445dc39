//! Turns what a generation showed into its record: lanes, token stamps, digests and flags. It runs after the
//! generation, never during it.

use chimera_core::ClockSource;
use chimera_records::{
    Block, Constants, Expected, Flag, HostNoise, Lane, Limits, Outcome, Plan, PlannedTrial, TokenStamps,
    Trial,
};
use sha2::{Digest, Sha256};

use super::generation::{LaneScratch, Scratch};
use crate::TrialEnd;

/// A trial and its token stamps.
#[derive(Debug)]
pub(super) struct Recorded {
    pub trial: Trial,
    pub stamps: Vec<TokenStamps>,
}

impl Scratch {
    /// Fills in the lanes of a completed trial. `nonce` is the length of the prompt's nonce.
    pub(super) fn finish(
        &mut self,
        recorded: &mut Recorded,
        nonce: Option<u32>,
        expected: &Expected,
        constants: &mut Constants,
    ) {
        let trial = &mut recorded.trial;
        for (index, scratch) in (0_u32..).zip(&mut self.lanes) {
            let mut lane = scratch.lane();
            lane.nonce_tokens = nonce;
            let mut flags = lane.flags(&scratch.stamps, expected);
            flags.extend(constants.see(&lane).then_some(Flag::ImplausibleServerTiming));
            for flag in flags {
                if !trial.flags.contains(&flag) {
                    trial.flags.push(flag);
                }
            }
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

/// The record of a trial that has not run, at its place in a block; `None` only for one whose cell the plan lacks.
pub(crate) fn unrun(
    plan: &Plan,
    block: &Block,
    (position, planned): (u32, &PlannedTrial),
    (attempt, threads): (u32, u32),
    started_unix_ms: u64,
    outcome: Outcome,
) -> Option<Trial> {
    Some(Trial {
        id: planned.id,
        block: block.index,
        position,
        attempt,
        role: planned.role,
        factors: plan.factors(planned, threads)?,
        firsts: Vec::new(),
        started_unix_ms,
        outcome,
        load_ns: None,
        stamps: ClockSource::Client,
        lanes: Vec::new(),
        host: None,
        flags: Vec::new(),
    })
}

/// A trial in a few words.
pub(crate) fn trial_end(trial: &Trial) -> TrialEnd {
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
    use super::*;

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
