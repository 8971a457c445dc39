//! Runs of two agents at once, as the reports on concurrency tabulate them: one row per run, one call or two per agent.
//! A run becomes the records of its calls with the two agents' times beside them. Not a place for conclusions.

use std::collections::BTreeSet;

use chimera_records::{Metric, Trial};
use chimera_stats::{
    Estimate, Interval, Sample, StatsError,
    hypothesis::{self, Alternative, Test},
    rank,
};

use super::super::{
    family::put,
    shared::{of_sums, run_number},
};
use crate::{Artifacts, Call, LEVEL, ReplayError, Row, Values, call};

/// A reply of more tokens than this is called long: an ordinary one has half of them at most, and no limit was set.
pub(in crate::studies) const LONG: u32 = 4_000;

/// A call whose server reports a load of this many seconds or more loaded the model; a resident one reports less than half
/// of it.
const LOAD_S: f64 = 1.0;

/// How a table names what differs.
pub(in crate::studies) struct Layout {
    /// Below the folder of artefacts.
    pub(in crate::studies) path: &'static str,
    /// Column of the arm: a runtime, a model, a set of servers; empty where there is but one.
    pub(in crate::studies) arm: &'static str,
    /// Columns that make up a configuration.
    pub(in crate::studies) config: &'static [&'static str],
    /// Calls of each agent.
    pub(in crate::studies) calls: &'static [u8],
}

/// One agent of a run.
pub(in crate::studies) struct Agent {
    /// Its calls, in order.
    pub(in crate::studies) calls: Vec<Trial>,
    /// Its wall time in the run, in seconds.
    pub(in crate::studies) time_s: Option<f64>,
}

/// One run of two agents.
pub(in crate::studies) struct Pair {
    pub(in crate::studies) arm: String,
    pub(in crate::studies) config: String,
    pub(in crate::studies) scenario: String,
    pub(in crate::studies) run: u32,
    pub(in crate::studies) agents: [Agent; 2],
    /// Wall time of both together, in seconds.
    pub(in crate::studies) wall_s: Option<f64>,
    /// The published efficiency, in per cent.
    pub(in crate::studies) index: Option<f64>,
    /// The published speed-up.
    pub(in crate::studies) speedup: Option<f64>,
    /// Difference of the agents' mean rates, published.
    pub(in crate::studies) rate_delta: Option<f64>,
    /// Difference of the agents' mean TTFT, published, in milliseconds.
    pub(in crate::studies) ttft_delta: Option<f64>,
    /// The published flag of contention: a speed-up below 1.5.
    pub(in crate::studies) contention: bool,
    /// Files that the agents took in, where the table says.
    pub(in crate::studies) files: Option<f64>,
    /// When the first agent began or ended, as written.
    pub(in crate::studies) stamp: String,
}

impl Pair {
    fn all_calls(&self) -> impl Iterator<Item = &Trial> {
        self.agents.iter().flat_map(|agent| &agent.calls)
    }

    /// Calls without a token.
    pub(in crate::studies) fn failed_calls(&self) -> usize {
        self.all_calls().filter(|call| call.lanes.is_empty()).count()
    }

    /// Whether a call of it failed or its time is unknown.
    pub(in crate::studies) fn failed(&self) -> bool {
        self.failed_calls() > 0
            || self.wall_s.is_none()
            || self.agents.iter().any(|agent| agent.time_s.is_none())
    }

    /// Whether a reply of it is long.
    pub(in crate::studies) fn long(&self) -> bool {
        self.all_calls().flat_map(|call| &call.lanes).any(|lane| lane.generated.is_some_and(|n| n > LONG))
    }

    /// Tokens of each agent.
    pub(in crate::studies) fn tokens(&self) -> [f64; 2] {
        self.agents.each_ref().map(|agent| {
            agent
                .calls
                .iter()
                .flat_map(|call| &call.lanes)
                .filter_map(|lane| lane.generated)
                .map(f64::from)
                .sum()
        })
    }

    /// Tokens of both over the wall time.
    pub(in crate::studies) fn rate(&self) -> Option<f64> {
        self.wall_s.map(|wall| self.tokens().iter().sum::<f64>() / wall)
    }

    /// The shorter output of the two over the longer.
    pub(in crate::studies) fn length_ratio(&self) -> f64 {
        let [a, b] = self.tokens();
        a.min(b) / a.max(b)
    }

    fn times(&self) -> Option<[f64; 2]> {
        let [a, b] = &self.agents;
        Some([a.time_s?, b.time_s?])
    }

    /// The index by its formula, in per cent.
    pub(in crate::studies) fn index_again(&self) -> Option<f64> {
        let [a, b] = self.times()?;
        Some(100.0 * (a + b) / (2.0 * self.wall_s?))
    }

    /// The index if the wall time were exactly the longer of the two agents' times.
    fn index_by_balance(&self) -> Option<f64> {
        let [a, b] = self.times()?;
        Some(100.0 * (a + b) / (2.0 * a.max(b)))
    }

    /// Wall time less the longer agent's, in seconds.
    fn overhead(&self) -> Option<f64> {
        let [a, b] = self.times()?;
        Some(self.wall_s? - a.max(b))
    }

    /// Mean over its calls of a metric, calls that loaded the model left out.
    pub(in crate::studies) fn warm_mean(&self, metric: Metric) -> Option<f64> {
        let warm = |call: &&Trial| Metric::LoadServer.of(call).is_none_or(|load| load < LOAD_S);
        let values: Vec<f64> = self.all_calls().filter(warm).filter_map(|call| metric.of(call)).collect();
        (!values.is_empty()).then(|| super::super::shared::plain_mean(&values))
    }

    /// Seconds of decoding that the server reports for its calls.
    pub(in crate::studies) fn decoding(&self) -> f64 {
        self.all_calls().filter_map(|call| Metric::DecodeServer.of(call)).sum()
    }
}

/// Reads a table of runs.
pub(in crate::studies) fn read(data: &Artifacts, layout: &Layout) -> Result<Vec<Pair>, ReplayError> {
    let mut columns = vec![
        "scenario",
        "run",
        "a_execution_time_s",
        "b_execution_time_s",
        "concurrent_wall_time_s",
        "concurrency_speedup",
        "efficiency_percent",
        "throughput_delta",
        "ttft_delta_ms",
        "resource_contention_detected",
    ];
    columns.extend(layout.config);
    let table = data.table(layout.path, &columns)?;
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::with_capacity(table.len());
    for (number, row) in (0_u32..).zip(table.rows()) {
        let arm = if layout.arm.is_empty() { "" } else { row.text(layout.arm)? }.to_owned();
        let config =
            layout.config.iter().map(|column| row.text(column)).collect::<Result<Vec<_>, _>>()?.join("/");
        let run = run_number(&row)?;
        if !seen.insert((arm.clone(), config.clone(), run)) {
            return Err(row.malformed(format!("run {run} of `{arm}` `{config}` comes twice")));
        }
        let agents = [agent(&row, layout, number, run, "a")?, agent(&row, layout, number, run, "b")?];
        let optional = |column: &str| if table.has(column) { row.maybe(column) } else { Ok(None) };
        pairs.push(Pair {
            arm,
            config,
            scenario: row.text("scenario")?.to_owned(),
            run,
            agents,
            wall_s: row.maybe("concurrent_wall_time_s")?,
            index: row.maybe("efficiency_percent")?,
            speedup: row.maybe("concurrency_speedup")?,
            rate_delta: row.maybe("throughput_delta")?,
            ttft_delta: row.maybe("ttft_delta_ms")?,
            contention: row.flag("resource_contention_detected")?,
            files: optional("a_files")?,
            stamp: if table.has("a_timestamp") { row.text("a_timestamp")? } else { "" }.to_owned(),
        });
    }
    if pairs.is_empty() {
        return Err(table.wrong("no run"));
    }
    Ok(pairs)
}

fn agent(row: &Row<'_>, layout: &Layout, number: u32, run: u32, who: &str) -> Result<Agent, ReplayError> {
    let mut calls = Vec::with_capacity(layout.calls.len());
    for stage in layout.calls {
        let field = |what: &str| row.maybe(&format!("{who}{stage}_{what}"));
        let generated = field("tokens_generated")?;
        let failure = match generated {
            Some(tokens) if tokens > 0.0 => None,
            Some(_) => Some("no token was generated"),
            None => Some("the row has no reply"),
        };
        let id = 4 * number + 2 * u32::from(who == "b") + u32::from(*stage) - 1;
        calls.push(call(
            id,
            &Call {
                backend: "ollama",
                scenario: row.text("scenario")?,
                block: run,
                generated,
                load_ms: field("load_duration_ms")?,
                prompt_eval_ms: field("prompt_eval_duration_ms")?,
                eval_ms: field("eval_duration_ms")?,
                ttft_ms: field("ttft_ms")?,
                total_ms: field("total_duration_ms")?,
                failure,
                ..Call::default()
            },
        ));
    }
    Ok(Agent { calls, time_s: row.maybe(&format!("{who}_execution_time_s"))? })
}

/// Runs without a failed call.
pub(in crate::studies) fn sound<'p>(pairs: &[&'p Pair]) -> Vec<&'p Pair> {
    pairs.iter().copied().filter(|pair| !pair.failed()).collect()
}

/// Those for which something holds.
pub(in crate::studies) fn those(pairs: &[Pair], keep: impl Fn(&Pair) -> bool) -> Vec<&Pair> {
    pairs.iter().filter(|pair| keep(pair)).collect()
}

/// Published efficiencies.
pub(in crate::studies) fn indices(pairs: &[&Pair]) -> Vec<f64> {
    pairs.iter().filter_map(|pair| pair.index).collect()
}

/// Rates of the runs, tokens of both agents over the wall time.
pub(in crate::studies) fn rates(pairs: &[&Pair]) -> Vec<f64> {
    pairs.iter().filter_map(|pair| pair.rate()).collect()
}

/// Sum of tokens over sum of wall times, over runs.
pub(in crate::studies) fn aggregate(pairs: &[&Pair]) -> Result<Estimate, StatsError> {
    let (tokens, walls): (Vec<f64>, Vec<f64>) =
        pairs.iter().filter_map(|pair| Some((pair.tokens().iter().sum::<f64>(), pair.wall_s?))).unzip();
    of_sums(&tokens, &walls, "run")
}

/// Decode rate of one agent, as the server reports it: sum of tokens over sum of decoding, over runs.
pub(in crate::studies) fn decode_rate(pairs: &[&Pair]) -> Result<Estimate, StatsError> {
    let (tokens, seconds): (Vec<f64>, Vec<f64>) =
        pairs.iter().map(|pair| (pair.tokens().iter().sum::<f64>(), pair.decoding())).unzip();
    of_sums(&tokens, &seconds, "run")
}

/// Quotient of two independent positive estimates: the delta method on logarithms, with the wider of the two estimates'
/// t factors (the degrees of freedom of the smaller group), which is conservative.
pub(in crate::studies) fn over(a: &Estimate, b: &Estimate) -> Estimate {
    let point = a.point / b.point;
    let relative = |estimate: &Estimate| estimate.standard_error.map(|error| error / estimate.point);
    let log = relative(a).zip(relative(b)).map(|(a, b)| a.hypot(b));
    let factor = [a, b]
        .iter()
        .filter_map(|estimate| {
            let error = estimate.standard_error.filter(|error| *error > 0.0)?;
            Some((estimate.interval?.high - estimate.point) / error)
        })
        .fold(0.0_f64, f64::max);
    let known = a.interval.is_some() && b.interval.is_some();
    Estimate {
        point,
        standard_error: log.map(|log| log * point),
        interval: log.filter(|_| known).map(|log| Interval {
            low: point * (-factor * log).exp(),
            high: point * (factor * log).exp(),
            level: LEVEL,
        }),
        method: "quotient of two estimates, delta method on logs".into(),
        unit: a.unit.clone(),
        n: a.n.min(b.n),
    }
}

/// Mean, median, SD, CV, extremes and quartiles under a name, as the reports print them.
pub(in crate::studies) fn moments(values: &mut Values, name: &str, unit: &'static str, sample: &[f64]) {
    let Ok(checked) = Sample::new(sample, "run") else {
        for what in ["mean", "median", "sd", "cv", "min", "max", "p05", "p25", "p75", "p95"] {
            values.lacks(format!("{name}.{what}"), "there is no run");
        }
        return;
    };
    let sorted = checked.sorted();
    values.put(format!("{name}.mean"), unit, super::super::shared::plain_mean(sample));
    values.put(format!("{name}.median"), unit, checked.median());
    match checked.sd() {
        Ok(sd) => {
            values.put(format!("{name}.sd"), unit, sd);
            values.put(format!("{name}.cv"), "%", 100.0 * sd / checked.mean());
        }
        Err(why) => {
            values.lacks(format!("{name}.sd"), why.to_string());
            values.lacks(format!("{name}.cv"), why.to_string());
        }
    }
    values.put(format!("{name}.min"), unit, checked.min());
    values.put(format!("{name}.max"), unit, checked.max());
    for (what, p) in [("p05", 0.05), ("p25", 0.25), ("p75", 0.75), ("p95", 0.95)] {
        values.put(format!("{name}.{what}"), unit, sorted.quantile(p).unwrap_or(f64::NAN));
    }
}

/// Runs, failed runs, failed calls, runs with a long reply.
pub(in crate::studies) fn counts(values: &mut Values, suffix: &str, pairs: &[&Pair]) {
    let many = |keep: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|pair| keep(pair)).count() as f64;
    values.put(format!("runs{suffix}"), "", pairs.len() as f64);
    values.put(format!("runs.failed{suffix}"), "", many(&|pair| pair.failed()));
    values.put(format!("runs.long{suffix}"), "", many(&|pair| pair.long()));
    let calls: usize = pairs.iter().map(|pair| pair.failed_calls()).sum();
    values.put(format!("calls.failed{suffix}"), "", calls as f64);
}

/// What the published index is made of: its distance from the balance of the two times, its rank correlation with the
/// balance of the two outputs (all runs), and what coordination costs.
pub(in crate::studies) fn balance(values: &mut Values, suffix: &str, pairs: &[&Pair]) {
    let mut off = 0.0_f64;
    let (mut index, mut lengths, mut overheads) = (Vec::new(), Vec::new(), Vec::new());
    for pair in pairs {
        let (Some(published), Some(balanced)) = (pair.index, pair.index_by_balance()) else { continue };
        off = off.max((published - balanced).abs());
        index.push(published);
        lengths.push(pair.length_ratio());
        overheads.extend(pair.overhead());
    }
    values.put(format!("balance.identity_error{suffix}"), "pp", off);
    let rho = rank::spearman(&index, &lengths).and_then(|rho| rho.estimate(LEVEL));
    put(values, format!("balance.spearman_length_ratio{suffix}"), "", rho);
    let mean = super::super::shared::mean(&overheads, "run");
    put(values, format!("overhead.coordination{suffix}"), "s", mean);
    let walls: f64 = pairs.iter().filter_map(|pair| pair.wall_s).sum();
    values.put(format!("overhead.share{suffix}"), "%", 100.0 * overheads.iter().sum::<f64>() / walls);
    let largest = overheads.into_iter().fold(f64::NAN, f64::max);
    values.put(format!("overhead.coordination.max{suffix}"), "s", largest);
}

/// Welch's t on the logarithms of two groups of rates.
pub(in crate::studies) fn rates_differ(a: &[f64], b: &[f64]) -> Result<Test, StatsError> {
    let (a, b) = (Sample::new(a, "run")?.ln()?, Sample::new(b, "run")?.ln()?);
    welch(&a, &b)
}

/// Welch's t over runs.
pub(in crate::studies) fn welch(a: &[f64], b: &[f64]) -> Result<Test, StatsError> {
    hypothesis::welch_t(Sample::new(a, "run")?, Sample::new(b, "run")?, Alternative::TwoSided)
}

/// Smallest difference of two means that Welch's t finds with a probability of 80 %.
pub(in crate::studies) fn detectable(
    values: &mut Values,
    name: &str,
    unit: &'static str,
    a: &[f64],
    b: &[f64],
) {
    let error =
        super::super::shared::difference(a, b, "run").ok().and_then(|estimate| estimate.standard_error);
    // Two groups leave n + m - 2 degrees of freedom, as one sample of n + m - 1 does.
    let degrees = (a.len() + b.len()).saturating_sub(1);
    let smallest = error
        .and_then(|error| hypothesis::minimum_detectable(error, degrees, crate::ALPHA, 0.8).ok().flatten());
    match smallest {
        Some(smallest) => values.put(name, unit, smallest),
        None => values.lacks(name, "too few runs"),
    }
}
