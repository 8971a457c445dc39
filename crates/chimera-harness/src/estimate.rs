//! How long a plan will take, roughly: for a dry run and for the first minutes of a progress bar. It is a sum of hints,
//! not a measurement, and what has no hint is counted, not guessed.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Block, ModelEntry, Outcome, Plan, Settings, Trial};

/// Rough cost of one model on one backend, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CostHint {
    /// Making it resident.
    pub load_s: f64,
    /// Reading one prompt token.
    pub prompt_token_s: f64,
    /// Generating one token.
    pub generated_token_s: f64,
}

/// What a plan will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Blocks.
    pub blocks: u64,
    /// Trials.
    pub trials: u64,
    /// Seconds of the trials that have a hint, loads and `startup_s` per block included.
    pub seconds: f64,
    /// Trials that have none.
    pub unknown: u64,
}

/// Adds up hints over blocks. A hint is asked for by the backend's name and the model's entry; `startup_s` is what a
/// fresh process costs. Lanes of a batch and
/// requests at once are counted as if they ran one after the other: an upper bound.
pub fn estimate<'a>(
    settings: &Settings,
    plan: &Plan,
    blocks: impl IntoIterator<Item = &'a Block>,
    startup_s: f64,
    hint: impl Fn(&str, &ModelEntry) -> Option<CostHint>,
) -> Estimate {
    let mut hints = BTreeMap::new();
    let mut sum = Estimate { blocks: 0, trials: 0, seconds: 0.0, unknown: 0 };
    for block in blocks {
        sum.blocks += 1;
        sum.seconds += startup_s;
        let mut loaded = BTreeSet::new();
        for trial in &block.trials {
            sum.trials += 1;
            let Some((cell, budget)) = plan.cell(trial).zip(plan.budget(trial)) else { continue };
            let key = (cell.backend.as_str(), cell.model.as_str());
            let known = *hints.entry(key).or_insert_with(|| {
                settings.design.model(&cell.model).and_then(|entry| hint(&cell.backend, entry))
            });
            let Some(known) = known else {
                sum.unknown += 1;
                continue;
            };
            if loaded.insert(key) {
                sum.seconds += known.load_s;
            }
            let prompt = settings.design.scenario(&cell.scenario).map_or(0.0, |scenario| {
                // About four characters to a token of English, where the design does not say.
                scenario.tokens.map_or(scenario.text.len() as f64 / 4.0, f64::from)
            });
            let lane = prompt * known.prompt_token_s + f64::from(budget) * known.generated_token_s;
            sum.seconds += f64::from(cell.batch) * f64::from(cell.concurrency) * lane;
        }
    }
    sum
}

/// Hints from the trials of an earlier run, by backend and model: means over what completed.
#[must_use]
pub fn hints_from(trials: &[Trial]) -> BTreeMap<(String, String), CostHint> {
    #[derive(Default)]
    struct Sums {
        load: (f64, f64),
        prompt: (f64, f64),
        generated: (f64, f64),
    }
    let seconds = |from: Option<u64>, to: Option<u64>| {
        from.zip(to).and_then(|(from, to)| to.checked_sub(from)).map(|nanos| nanos as f64 / 1e9)
    };
    let add = |sum: &mut (f64, f64), seconds: Option<f64>, tokens: Option<u32>| {
        if let Some((seconds, tokens)) = seconds.zip(tokens) {
            sum.0 += seconds;
            sum.1 += f64::from(tokens);
        }
    };
    let mut all: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for trial in trials.iter().filter(|trial| trial.outcome == Outcome::Completed) {
        let key = (trial.factors.backend.to_string(), trial.factors.model.to_string());
        let sums = all.entry(key).or_default();
        add(&mut sums.load, trial.load_ns.map(|nanos| nanos as f64 / 1e9), Some(1));
        for lane in &trial.lanes {
            // Where nobody says when the prompt was read, the first token says it a little late.
            let read = lane.prompt_processed.or(lane.first_token);
            add(&mut sums.prompt, seconds(lane.sent, read), lane.prompt_tokens);
            add(
                &mut sums.generated,
                seconds(lane.first_token, lane.last_token),
                lane.generated.map(|n| n.saturating_sub(1)),
            );
        }
    }
    let mean = |(seconds, count): (f64, f64)| if count > 0.0 { seconds / count } else { 0.0 };
    all.into_iter()
        .map(|(key, sums)| {
            let hint = CostHint {
                load_s: mean(sums.load),
                prompt_token_s: mean(sums.prompt),
                generated_token_s: mean(sums.generated),
            };
            (key, hint)
        })
        .collect()
}
