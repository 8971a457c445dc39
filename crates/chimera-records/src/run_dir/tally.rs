//! Which trials of a plan are done and how they ended, each counted once. Judging a run by its counts is the harness's
//! business.

use std::collections::BTreeMap;

use crate::{Counts, Outcome, Trial};

/// Whether a trial with this outcome is done. One that the user stopped is not: a resumed run runs it again.
#[must_use]
pub fn is_terminal(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Cancelled)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Completed,
    Failed,
    Skipped,
    Cancelled,
    Censored,
}

/// How each trial of a run ended. A trial that was run again (a first use after a resume, a cancelled trial) counts
/// once: by its first attempt that is done.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By trial: how it ended, whether it is flagged, and the highest attempt seen.
    ends: BTreeMap<u32, (Word, bool)>,
    /// By block: the highest attempt seen.
    attempts: BTreeMap<u32, u32>,
}

impl Tally {
    /// Counts these trials.
    pub fn of<'a>(trials: impl IntoIterator<Item = &'a Trial>) -> Self {
        let mut tally = Self::default();
        for trial in trials {
            tally.add(trial);
        }
        tally
    }

    /// Counts one more trial.
    pub fn add(&mut self, trial: &Trial) {
        self.add_end(trial.id, trial.block, trial.attempt, &trial.outcome, !trial.flags.is_empty());
    }

    /// Counts one more trial of which only this is known.
    pub fn add_end(&mut self, id: u32, block: u32, attempt: u32, outcome: &Outcome, flagged: bool) {
        let attempts = self.attempts.entry(block).or_default();
        *attempts = attempt.max(*attempts);
        let word = match outcome {
            Outcome::Completed => Word::Completed,
            Outcome::Failed { .. } => Word::Failed,
            Outcome::Skipped { .. } => Word::Skipped,
            Outcome::Cancelled => Word::Cancelled,
            Outcome::Censored { .. } => Word::Censored,
        };
        match self.ends.get(&id) {
            Some((before, _)) if *before != Word::Cancelled => {}
            _ => {
                self.ends.insert(id, (word, flagged));
            }
        }
    }

    /// Whether this trial need not be run again.
    #[must_use]
    pub fn is_done(&self, id: u32) -> bool {
        self.ends.get(&id).is_some_and(|(word, _)| *word != Word::Cancelled)
    }

    /// Number of trials that need not be run again.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.ends.values().filter(|(word, _)| *word != Word::Cancelled).count() as u64
    }

    /// Highest attempt of a block that left a record; 0 for none.
    #[must_use]
    pub fn attempts(&self, block: u32) -> u32 {
        self.attempts.get(&block).copied().unwrap_or(0)
    }

    /// The counts, of so many planned trials.
    #[must_use]
    pub fn counts(&self, planned: u64) -> Counts {
        let mut counts = Counts { planned, ..Counts::default() };
        for (word, flagged) in self.ends.values() {
            match word {
                Word::Completed => counts.completed += 1,
                Word::Failed => counts.failed += 1,
                Word::Skipped => counts.skipped += 1,
                Word::Cancelled => counts.cancelled += 1,
                Word::Censored => counts.censored += 1,
            }
            counts.flagged += u64::from(*flagged);
        }
        counts
    }
}
