//! The Python runs: two agents, one call each. Call metrics come from records; the balance index stays as published.

use std::collections::BTreeSet;

use chimera_records::{Metric, Trial};
use chimera_stats::{
    Sample, effect,
    hypothesis::{self, Alternative},
    rank,
};

use super::{
    super::{
        family::{Family, put},
        shared::{difference, geometric, mean, of_sums, plain_mean, ratio_of},
    },
    RUNS,
};
use crate::{ALPHA, Artifacts, Call, LEVEL, ReplayError, Row, Values, call};

/// Conditions by name in the data and in words.
pub(super) const CONDITIONS: [(&str, &str); 4] = [
    ("default", "default buffer"),
    ("buf8192", "8 KiB buffer"),
    ("buf65536", "64 KiB buffer"),
    ("60tps", "throttle at 60 tok/s"),
];

/// One run of two agents.
pub(super) struct Run {
    pub(super) condition: String,
    pub(super) run: u32,
    /// The agents' calls.
    pub(super) agents: [Trial; 2],
    /// Wall time of the pair in seconds.
    pub(super) wall_s: Option<f64>,
    /// The published index, in per cent.
    pub(super) efficiency: Option<f64>,
    /// Cap of the token bucket, where there was one.
    pub(super) throttle: Option<f64>,
    rates: [Option<f64>; 2],
}

impl Run {
    /// Whether a call of it failed.
    pub(super) fn failed(&self) -> bool {
        self.wall_s.is_none() || self.agents.iter().any(|agent| agent.lanes.is_empty())
    }

    fn tokens(&self) -> [f64; 2] {
        self.agents
            .each_ref()
            .map(|agent| agent.lanes.iter().filter_map(|l| l.generated).map(f64::from).sum())
    }

    /// The shorter of the two replies over the longer.
    fn length_ratio(&self) -> f64 {
        let [a, b] = self.tokens();
        a.min(b) / a.max(b)
    }
}

/// Reads the runs.
pub(super) fn read(data: &Artifacts) -> Result<Vec<Run>, ReplayError> {
    let columns = [
        "condition",
        "run",
        "throttle_rate",
        "a_tokens_generated",
        "a_throughput_tokens_per_sec",
        "a_ttft_ms",
        "a_total_duration_ms",
        "b_tokens_generated",
        "b_throughput_tokens_per_sec",
        "b_ttft_ms",
        "b_total_duration_ms",
        "concurrent_wall_time_ms",
        "efficiency_percent",
    ];
    let table = data.table(RUNS, &columns)?;
    let mut seen = BTreeSet::new();
    let mut runs = Vec::with_capacity(table.len());
    for (id, row) in (0_u32..).zip(table.rows()) {
        let condition = row.text("condition")?;
        let run = super::super::shared::run_number(&row)?;
        if !CONDITIONS.iter().any(|(known, _)| *known == condition) {
            return Err(row.malformed(format!("`{condition}` is no condition of this report")));
        }
        if !seen.insert((condition, run)) {
            return Err(row.malformed(format!("run {run} of `{condition}` comes twice")));
        }
        let agents =
            [agent(&row, 2 * id, condition, run, "a")?, agent(&row, 2 * id + 1, condition, run, "b")?];
        runs.push(Run {
            condition: condition.to_owned(),
            run,
            agents,
            wall_s: row.maybe("concurrent_wall_time_ms")?.map(|ms| ms / 1e3),
            efficiency: row.maybe("efficiency_percent")?,
            throttle: row.maybe("throttle_rate")?,
            rates: [row.maybe("a_throughput_tokens_per_sec")?, row.maybe("b_throughput_tokens_per_sec")?],
        });
    }
    Ok(runs)
}

fn agent(row: &Row<'_>, id: u32, condition: &str, run: u32, agent: &str) -> Result<Trial, ReplayError> {
    let lines = row.maybe(&format!("{agent}_tokens_generated"))?;
    let ttft_ms = row.maybe(&format!("{agent}_ttft_ms"))?;
    let total_ms = row.maybe(&format!("{agent}_total_duration_ms"))?;
    let failure = match (lines, total_ms) {
        (Some(lines), Some(_)) if lines > 1.0 => None,
        (Some(_), Some(_)) => Some("no token was generated"),
        _ => Some("the row has no reply"),
    };
    let generated = lines.map(|lines| (lines - 1.0).max(0.0));
    Ok(call(
        id,
        &Call {
            backend: "ollama",
            model: "gemma3:latest",
            scenario: condition,
            block: run,
            generated,
            ttft_ms,
            total_ms,
            failure,
            ..Call::default()
        },
    ))
}

/// The published index and rates.
pub(super) fn legacy(values: &mut Values, runs: &[Run]) -> Result<(), ReplayError> {
    for (condition, _) in CONDITIONS {
        let own: Vec<&Run> = runs.iter().filter(|run| run.condition == condition).collect();
        let indices: Vec<f64> = own.iter().filter_map(|run| run.efficiency).collect();
        moments(values, &format!("legacy.efficiency.{condition}"), "%", &indices);
        let rates: Vec<f64> = own.iter().flat_map(|run| run.rates).flatten().collect();
        moments(values, &format!("legacy.rate.{condition}"), "tok/s", &rates);
    }
    let python: Vec<f64> =
        runs.iter().filter(|run| run.throttle.is_none()).filter_map(|run| run.efficiency).collect();
    moments(values, "legacy.efficiency.python", "%", &python);
    let delta =
        values.point("legacy.efficiency.60tps.mean").zip(values.point("legacy.efficiency.default.mean"));
    match delta {
        Some((throttled, free)) => values.put("legacy.throttle_delta", "pp", throttled - free),
        None => values.lacks("legacy.throttle_delta", "a condition has no run"),
    }
    Ok(())
}

/// Mean, SD, maximum.
pub(super) fn moments(values: &mut Values, name: &str, unit: &'static str, sample: &[f64]) {
    let Ok(checked) = Sample::new(sample, "row") else {
        for what in ["mean", "sd", "max"] {
            values.lacks(format!("{name}.{what}"), "there is no row");
        }
        return;
    };
    values.put(format!("{name}.mean"), unit, plain_mean(sample));
    values.put(format!("{name}.sd"), unit, checked.sd().unwrap_or(f64::NAN));
    values.put(format!("{name}.max"), unit, checked.max());
}

/// Our definitions: failures apart, rates as ratios of sums, first runs apart from warm ones, tests over runs.
pub(super) fn ours(values: &mut Values, tests: &mut Family, runs: &[Run]) -> Result<(), ReplayError> {
    let sound = |condition: &str| -> Vec<&Run> {
        runs.iter().filter(|run| run.condition == condition && !run.failed()).collect()
    };
    for (condition, _) in CONDITIONS {
        let own = sound(condition);
        let failed = runs.iter().filter(|run| run.condition == condition && run.failed()).count();
        values.put(format!("failures.{condition}"), "", failed as f64);
        put(values, format!("efficiency.{condition}"), "%", mean(&indices(&own), "run"));
        let warm = own.iter().filter(|run| run.run > 1);
        let tokens: Vec<f64> = warm.clone().map(|run| run.tokens().iter().sum()).collect();
        let walls: Vec<f64> = warm.filter_map(|run| run.wall_s).collect();
        put(values, format!("aggregate_rate.{condition}"), "tok/s", of_sums(&tokens, &walls, "run"));
        put(values, format!("ttft.{condition}"), "s", geometric(&ttft(&own), "run"));
        match own.iter().find(|run| run.run == 1) {
            Some(first) => values.put(format!("ttft.{condition}.first_run"), "s", run_ttft(first)),
            None => {
                values.lacks(format!("ttft.{condition}.first_run"), "the first run failed or is not there")
            }
        }
    }
    let (free, throttled) = (indices(&sound("default")), indices(&sound("60tps")));
    put(values, "throttle.difference", "pp", difference(&throttled, &free, "run"));
    tests.add(values, "throttle", welch(&throttled, &free));
    put(values, "throttle.g", "", both(&throttled, &free).and_then(|(a, b)| effect::hedges_g(a, b, LEVEL)));
    detectable(values, &throttled, &free);
    throttle_headroom(values, runs);
    let (plain, large) = (ttft(&sound("default")), ttft(&sound("buf65536")));
    put(values, "buffer.ttft_ratio", "", ratio_of(&large, &plain, "run"));
    let logs = |sample: &[f64]| sample.iter().map(|v| v.ln()).collect::<Vec<f64>>();
    tests.add(values, "buffer.ttft", welch(&logs(&large), &logs(&plain)));
    let (plain, large) = (indices(&sound("default")), indices(&sound("buf65536")));
    put(values, "buffer.efficiency_difference", "pp", difference(&large, &plain, "run"));
    tests.add(values, "buffer.efficiency", welch(&large, &plain));
    balance(values, runs)
}

fn indices(runs: &[&Run]) -> Vec<f64> {
    runs.iter().filter_map(|run| run.efficiency).collect()
}

/// Mean over the two agents of the time to the first line, as the client saw it, in seconds.
fn run_ttft(run: &Run) -> f64 {
    let both: Vec<f64> = run.agents.iter().filter_map(|agent| Metric::TtftClient.of(agent)).collect();
    plain_mean(&both)
}

/// Warm times to the first line: the first run of a condition may load the model and is left out.
fn ttft(runs: &[&Run]) -> Vec<f64> {
    runs.iter().filter(|run| run.run > 1).map(|run| run_ttft(run)).filter(|ttft| ttft.is_finite()).collect()
}

fn both<'a>(a: &'a [f64], b: &'a [f64]) -> Result<(Sample<'a>, Sample<'a>), chimera_stats::StatsError> {
    Ok((Sample::new(a, "run")?, Sample::new(b, "run")?))
}

/// Welch's t over runs.
pub(super) fn welch(a: &[f64], b: &[f64]) -> Result<hypothesis::Test, chimera_stats::StatsError> {
    let (a, b) = both(a, b)?;
    hypothesis::welch_t(a, b, Alternative::TwoSided)
}

fn detectable(values: &mut Values, a: &[f64], b: &[f64]) {
    let error = difference(a, b, "run").ok().and_then(|estimate| estimate.standard_error);
    // Two groups of n runs leave 2n - 2 degrees of freedom, as one sample of 2n - 1 does.
    let smallest = error.and_then(|error| {
        hypothesis::minimum_detectable(error, (a.len() + b.len()).saturating_sub(1), ALPHA, 0.8)
            .ok()
            .flatten()
    });
    match smallest {
        Some(smallest) => values.put("throttle.minimum_detectable", "pp", smallest),
        None => values.lacks("throttle.minimum_detectable", "too few runs"),
    }
}

/// The fastest rate an unthrottled, unbuffered agent received, beside the cap.
fn throttle_headroom(values: &mut Values, runs: &[Run]) {
    let free = runs.iter().filter(|run| run.condition == "default");
    let fastest = free
        .flat_map(|run| &run.agents)
        .filter_map(|agent| Metric::DecodeRateClient.of(agent))
        .fold(f64::NAN, f64::max);
    values.put("throttle.natural_rate_max", "tok/s", fastest);
    match runs.iter().find_map(|run| run.throttle) {
        Some(cap) => values.put("throttle.cap", "tok/s", cap),
        None => values.lacks("throttle.cap", "no run was throttled"),
    }
}

/// The index against what it is made of.
fn balance(values: &mut Values, runs: &[Run]) -> Result<(), ReplayError> {
    let sound: Vec<&Run> = runs.iter().filter(|run| !run.failed()).collect();
    let mut off = 0.0_f64;
    let (mut index, mut lengths) = (Vec::new(), Vec::new());
    for run in sound {
        let (Some(efficiency), Some(wall)) = (run.efficiency, run.wall_s) else { continue };
        let alone: f64 = run.agents.iter().filter_map(|agent| Metric::E2eClient.of(agent)).sum();
        off = off.max((efficiency - 100.0 * alone / (2.0 * wall)).abs());
        index.push(efficiency);
        lengths.push(run.length_ratio());
    }
    values.put("balance.identity_error", "pp", off);
    let name = "balance.spearman_length_ratio";
    let correlation = rank::spearman(&index, &lengths).and_then(|rho| rho.estimate(LEVEL));
    put(values, name, "", correlation);
    Ok(())
}
