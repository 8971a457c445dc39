//! What a load run shows, level by level, computed from its records alone: rates over windows, percentiles, goodput,
//! failures, and evidence of warm-up. It is a pure function; the definitions are in `docs/metrics.md`.

mod quantile;

use std::collections::BTreeMap;

use chimera_core::ClockSource;
use chimera_records::{Factors, Lane, Outcome, TokenStamps, Trial, TrialRole};
use serde::Serialize;

use self::quantile::median;
pub use self::quantile::{Distribution, Quantile};
use crate::{Level, Slo};

/// How the measured requests of a level ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Ends {
    /// Issued.
    pub issued: u64,
    /// Completed.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
    /// Not done within the limit.
    pub censored: u64,
    /// Stopped with the run.
    pub cancelled: u64,
    /// Requests of the warm-up, which are counted nowhere else.
    pub warmup: u64,
}

/// Requests within every limit of the SLO.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goodput {
    /// Share of the measured requests that completed, failed or were censored.
    pub share: f64,
    /// Per second, over the windows; absent where these have no length.
    pub rate: Option<f64>,
}

/// Whether a level was steady: the first request against the later ones, and the halves of what was measured. Medians,
/// in seconds; nothing is judged here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Evidence {
    /// Time to first token of the first request, whatever its role.
    pub first_ttft: Option<f64>,
    /// Median time to first token of the warm-up.
    pub warmup_ttft: Option<f64>,
    /// Of the first half of the measured requests, by intended time.
    pub first_half_ttft: Option<f64>,
    /// Of the second half.
    pub second_half_ttft: Option<f64>,
    /// Median end-to-end time of the first half.
    pub first_half_e2e: Option<f64>,
    /// Of the second half.
    pub second_half_e2e: Option<f64>,
    /// Mean number of requests under way at issue, first half: it grows where a queue does.
    pub first_half_in_flight: Option<f64>,
    /// Second half.
    pub second_half_in_flight: Option<f64>,
}

/// One block of a level: what intervals are made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockSummary {
    /// Block.
    pub block: u32,
    /// Length of the window in seconds: first to last intended time of the measured requests.
    pub window_s: f64,
    /// Measured requests whose intended time lies in the window, its end excluded.
    pub arrivals: u64,
    /// Requests that completed in the window, whatever their role.
    pub completions: u64,
    /// Output tokens of these; absent where one has no count.
    pub output_tokens: Option<u64>,
    /// Prompt and output tokens of these; absent where one has no count.
    pub total_tokens: Option<u64>,
    /// Of these, within every limit of the SLO.
    pub good: u64,
    /// Mean time to first token of the completed measured requests.
    pub mean_ttft: Option<f64>,
    /// Mean end-to-end time of the completed measured requests.
    pub mean_e2e: Option<f64>,
    /// Whether the block was steady.
    pub evidence: Evidence,
}

/// What one level shows over all its blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelSummary {
    /// The cell.
    pub factors: Factors,
    /// Who made the stamps.
    pub stamps: ClockSource,
    /// How its measured requests ended.
    pub counts: Ends,
    /// Failures by code.
    pub failures: BTreeMap<String, u64>,
    /// Requests per second by the schedule, over the windows; absent in a closed loop.
    pub offered_rate: Option<f64>,
    /// Requests completed per second, over the windows.
    pub achieved_rate: Option<f64>,
    /// Completions over arrivals of the windows; absent in a closed loop.
    pub achieved_over_offered: Option<f64>,
    /// Output tokens per second, over the windows.
    pub output_tokens_per_s: Option<f64>,
    /// Prompt and output tokens per second, over the windows.
    pub total_tokens_per_s: Option<f64>,
    /// Absent where no limit was asked.
    pub goodput: Option<Goodput>,
    /// Share of the measured requests, failed and censored ones included, within the SLO's time to first token.
    pub within_ttft: Option<f64>,
    /// Sent to first token.
    pub ttft: Distribution,
    /// Intended to first token.
    pub ttft_intended: Distribution,
    /// Time per output token after the first, of completed requests.
    pub tpot: Distribution,
    /// Sent to last token.
    pub e2e: Distribution,
    /// Intended to last token.
    pub e2e_intended: Distribution,
    /// Intended to sent, of every request that was sent.
    pub issue_error: Distribution,
    /// Largest number of requests under way at issue.
    pub most_in_flight: u32,
    /// Its blocks.
    pub blocks: Vec<BlockSummary>,
}

/// Summarises records, one entry per cell in the order of first appearance.
#[must_use]
pub fn summarise(trials: &[Trial], slo: &Slo) -> Vec<LevelSummary> {
    let mut cells: Vec<(&Factors, Vec<&Trial>)> = Vec::new();
    let mut places: BTreeMap<&Factors, usize> = BTreeMap::new();
    for trial in trials {
        let place = *places.entry(&trial.factors).or_insert_with(|| {
            cells.push((&trial.factors, Vec::new()));
            cells.len() - 1
        });
        if let Some((_, cell)) = cells.get_mut(place) {
            cell.push(trial);
        }
    }
    cells.into_iter().map(|(factors, trials)| level(factors, &trials, slo)).collect()
}

fn level(factors: &Factors, trials: &[&Trial], slo: &Slo) -> LevelSummary {
    let open = Level::of_scenario(&factors.scenario).is_none_or(Level::is_open);
    let measured: Vec<&Trial> =
        trials.iter().copied().filter(|trial| trial.role == TrialRole::Measured).collect();
    let mut counts = Ends {
        issued: measured.len() as u64,
        warmup: (trials.len() - measured.len()) as u64,
        ..Ends::default()
    };
    let mut failures = BTreeMap::<String, u64>::new();
    for trial in &measured {
        match &trial.outcome {
            Outcome::Completed => counts.completed += 1,
            Outcome::Failed { code, .. } => {
                counts.failed += 1;
                *failures.entry(code.clone()).or_default() += 1;
            }
            Outcome::Censored { .. } => counts.censored += 1,
            Outcome::Cancelled | Outcome::Skipped { .. } => counts.cancelled += 1,
        }
    }
    let mut by_block: BTreeMap<u32, Vec<&Trial>> = BTreeMap::new();
    for trial in trials {
        by_block.entry(trial.block).or_default().push(trial);
    }
    let blocks: Vec<BlockSummary> =
        by_block.into_iter().map(|(index, trials)| block(index, &trials, slo, open)).collect();
    let seconds: f64 = blocks.iter().map(|block| block.window_s).sum();
    let sum = |of: fn(&BlockSummary) -> u64| blocks.iter().map(of).sum::<u64>() as f64;
    let per_second = |sum: f64| (seconds > 0.0).then(|| sum / seconds);
    let tokens = |of: fn(&BlockSummary) -> Option<u64>| blocks.iter().map(of).sum::<Option<u64>>();
    let (arrivals, completions) = (sum(|block| block.arrivals), sum(|block| block.completions));
    let judged = (counts.completed + counts.failed + counts.censored) as f64;
    let share = |good: &dyn Fn(&Trial) -> bool| {
        let good = measured.iter().filter(|trial| good(trial)).count() as f64;
        (judged > 0.0).then(|| good / judged)
    };
    let goodput = if slo.is_empty() { None } else { share(&|trial| is_good(trial, slo, open)) };
    let within_ttft = slo.ttft_s.and_then(|limit| {
        share(&|trial| {
            let came = lane(trial).and_then(|lane| span(from(lane, open), lane.first_token));
            let counted = matches!(trial.outcome, Outcome::Completed | Outcome::Censored { .. });
            counted && came.is_some_and(|ttft| ttft <= limit)
        })
    });
    let of = |value: fn(&Lane) -> Option<f64>, until: fn(&Lane) -> Option<u64>| {
        distribution(&measured, value, until)
    };
    LevelSummary {
        factors: factors.clone(),
        stamps: trials.first().map_or(ClockSource::Client, |trial| trial.stamps),
        counts,
        failures,
        offered_rate: per_second(arrivals).filter(|_| open),
        achieved_rate: per_second(completions),
        achieved_over_offered: (open && arrivals > 0.0).then(|| completions / arrivals),
        output_tokens_per_s: tokens(|block| block.output_tokens).and_then(|n| per_second(n as f64)),
        total_tokens_per_s: tokens(|block| block.total_tokens).and_then(|n| per_second(n as f64)),
        goodput: goodput.map(|share| Goodput { share, rate: per_second(sum(|block| block.good)) }),
        within_ttft,
        ttft: of(|lane| span(lane.sent, lane.first_token), |lane| lane.sent),
        ttft_intended: of(|lane| span(lane.intended, lane.first_token), |lane| lane.intended),
        tpot: Distribution::of(completed(&measured).filter_map(tpot).collect(), &[]),
        e2e: of(|lane| span(lane.sent, lane.last_token), |lane| lane.sent),
        e2e_intended: of(|lane| span(lane.intended, lane.last_token), |lane| lane.intended),
        issue_error: Distribution::of(
            measured.iter().filter_map(|t| lane(t)).filter_map(|l| span(l.intended, l.sent)).collect(),
            &[],
        ),
        most_in_flight: trials.iter().filter_map(|t| lane(t)?.in_flight).max().unwrap_or(0),
        blocks,
    }
}

/// Values of completed requests, and of censored ones that have the value; the others are censored. They are later than
/// their limit counted from `start`: what they waited for before they were sent comes on top of it.
fn distribution(
    measured: &[&Trial],
    value: fn(&Lane) -> Option<f64>,
    start: fn(&Lane) -> Option<u64>,
) -> Distribution {
    let (mut known, mut limits) = (Vec::new(), Vec::new());
    for trial in measured {
        let Some(lane) = lane(trial) else { continue };
        match trial.outcome {
            Outcome::Completed => known.extend(value(lane)),
            Outcome::Censored { timeout_s } => match value(lane) {
                Some(value) => known.push(value),
                None => limits.push(timeout_s + span(start(lane), lane.sent).unwrap_or(0.0)),
            },
            _ => {}
        }
    }
    Distribution::of(known, &limits)
}

fn block(index: u32, trials: &[&Trial], slo: &Slo, open: bool) -> BlockSummary {
    let mut measured: Vec<(u64, &Trial)> = trials
        .iter()
        .filter(|trial| trial.role == TrialRole::Measured)
        .filter_map(|trial| Some((lane(trial)?.intended?, *trial)))
        .collect();
    measured.sort_by_key(|(intended, trial)| (*intended, trial.id));
    let start = measured.first().map_or(0, |(intended, _)| *intended);
    let end = measured.last().map_or(0, |(intended, _)| *intended);
    let arrivals = measured.iter().filter(|(intended, _)| *intended < end).count() as u64;
    let (mut completions, mut good) = (0, 0);
    let (mut output_tokens, mut total_tokens) = (Some(0_u64), Some(0_u64));
    for trial in trials.iter().filter(|trial| trial.outcome == Outcome::Completed) {
        let Some(lane) = lane(trial) else { continue };
        if !lane.done.or(lane.last_token).is_some_and(|done| start <= done && done < end) {
            continue;
        }
        completions += 1;
        good += u64::from(is_good(trial, slo, open));
        let (output, prompt) = (lane.generated.map(u64::from), lane.prompt_tokens.map(u64::from));
        output_tokens = output_tokens.zip(output).map(|(sum, n)| sum + n);
        total_tokens = total_tokens.zip(output.zip(prompt)).map(|(sum, (out, prompt))| sum + out + prompt);
    }
    let ordered: Vec<&Trial> = measured.iter().map(|(_, trial)| *trial).collect();
    let mean = |value: fn(&Lane) -> Option<f64>| {
        let values: Vec<f64> = completed(&ordered).filter_map(value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    BlockSummary {
        block: index,
        window_s: (end - start) as f64 / 1e9,
        arrivals,
        completions,
        output_tokens,
        total_tokens,
        good,
        mean_ttft: mean(ttft),
        mean_e2e: mean(e2e),
        evidence: evidence(trials, &ordered),
    }
}

fn evidence(trials: &[&Trial], measured: &[&Trial]) -> Evidence {
    let first = trials.iter().min_by_key(|trial| (lane(trial).and_then(|lane| lane.intended), trial.id));
    let warm = trials.iter().copied().filter(|trial| trial.role == TrialRole::FirstUse);
    let (early, late) = measured.split_at(measured.len() / 2);
    let middle = |trials: &[&Trial], value: fn(&Lane) -> Option<f64>| {
        median(completed(trials).filter_map(value).collect())
    };
    let in_flight = |trials: &[&Trial]| {
        let all: Vec<f64> = trials.iter().filter_map(|t| lane(t)?.in_flight.map(f64::from)).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    Evidence {
        first_ttft: first.filter(|trial| trial.outcome == Outcome::Completed).and_then(|t| ttft(lane(t)?)),
        warmup_ttft: middle(&warm.collect::<Vec<_>>(), ttft),
        first_half_ttft: middle(early, ttft),
        second_half_ttft: middle(late, ttft),
        first_half_e2e: middle(early, e2e),
        second_half_e2e: middle(late, e2e),
        first_half_in_flight: in_flight(early),
        second_half_in_flight: in_flight(late),
    }
}

fn lane(trial: &Trial) -> Option<&Lane> {
    trial.lanes.first()
}

fn completed<'t>(trials: &[&'t Trial]) -> impl Iterator<Item = &'t Lane> {
    trials.iter().filter(|trial| trial.outcome == Outcome::Completed).filter_map(|trial| trial.lanes.first())
}

fn span(from: Option<u64>, to: Option<u64>) -> Option<f64> {
    let (from, to) = from.zip(to)?;
    to.checked_sub(from).map(|nanos| nanos as f64 / 1e9)
}

fn ttft(lane: &Lane) -> Option<f64> {
    span(lane.sent, lane.first_token)
}

fn e2e(lane: &Lane) -> Option<f64> {
    span(lane.sent, lane.last_token)
}

fn tpot(lane: &Lane) -> Option<f64> {
    let n = lane.generated.filter(|n| *n >= 2)?;
    span(lane.first_token, lane.last_token).map(|seconds| seconds / f64::from(n - 1))
}

/// Where somebody who asks would start the watch.
fn from(lane: &Lane, open: bool) -> Option<u64> {
    if open { lane.intended.or(lane.sent) } else { lane.sent }
}

/// Completed within every limit. A limit on a time that is undefined is not kept, but one token has no gaps to be slow.
fn is_good(trial: &Trial, slo: &Slo, open: bool) -> bool {
    let Some(lane) = lane(trial).filter(|_| trial.outcome == Outcome::Completed) else { return false };
    let start = from(lane, open);
    let within = |limit: Option<f64>, value: Option<f64>| match limit {
        None => true,
        Some(limit) => value.is_some_and(|value| value <= limit),
    };
    within(slo.ttft_s, span(start, lane.first_token))
        && within(slo.e2e_s, span(start, lane.last_token))
        && (within(slo.tpot_s, tpot(lane)) || lane.generated == Some(1))
}

/// `icl`: seconds from each chunk of a request to the next.
pub fn gaps_between_chunks(stamps: &TokenStamps) -> impl Iterator<Item = f64> + '_ {
    stamps.deltas.iter().map(|nanos| *nanos as f64 / 1e9)
}

/// `itl`: seconds per token after the first chunk, and whether tokens shared a chunk. A chunk of k tokens gives k equal
/// shares of its gap; `None` where a chunk's count is unknown.
#[must_use]
pub fn gaps_per_token(stamps: &TokenStamps) -> Option<(Vec<f64>, bool)> {
    let mut gaps = Vec::with_capacity(stamps.deltas.len());
    let mut shared = false;
    for (index, nanos) in stamps.deltas.iter().enumerate() {
        let tokens = match &stamps.carried {
            None => 1,
            Some(carried) => (*carried.get(index + 1)?)?,
        };
        shared |= tokens > 1;
        let each = *nanos as f64 / 1e9 / f64::from(tokens.max(1));
        gaps.extend(std::iter::repeat_n(each, tokens as usize));
    }
    Some((gaps, shared))
}
