//! The same costs by our definitions: seconds over tokens of all calls, over runs of one process per mode; requests by time;
//! backends compared over the scenarios that they share. Machine time only: the energy of these runs is not measured.

use chimera_stats::{
    Estimate, Sample, StatsError, effect,
    hypothesis::{self, Alternative},
    ratio,
};

use super::{
    super::{
        family::{Family, put},
        shared::{difference, mean, of_sums, plain_mean},
    },
    cost,
    legacy::{Published, over},
    read::{BACKENDS, MODES, Matrix, Run, Runs, SCENARIOS, SINGLE},
};
use crate::{ALPHA, LEVEL, ReplayError, Values};

/// Power of the minimum detectable effect.
const POWER: f64 = 0.8;

/// Scales an estimate by a positive constant.
fn scaled(mut estimate: Estimate, by: f64) -> Estimate {
    estimate.point *= by;
    estimate.standard_error = estimate.standard_error.map(|se| se * by);
    estimate.interval = estimate.interval.map(|interval| interval.map(|end| end * by));
    estimate
}

/// Seconds for a million tokens by repetition: the mean over the scenarios of each repetition that completed in all.
fn by_repetition(cells: &[Vec<Run>]) -> Vec<f64> {
    let Some((first, others)) = cells.split_first() else { return Vec::new() };
    let seconds = |run: &Run| run.seconds / run.tokens * cost::MILLION;
    first
        .iter()
        .filter_map(|run| {
            let same =
                |cell: &Vec<Run>| cell.iter().find(|other| other.repetition == run.repetition).map(seconds);
            let mut all = others.iter().map(same).collect::<Option<Vec<f64>>>()?;
            all.push(seconds(run));
            Some(plain_mean(&all))
        })
        .collect()
}

/// Adds costs, requests and their tests.
pub(super) fn values(
    values: &mut Values,
    runs: &Runs,
    published: &Matrix<Published>,
    tests: &mut Family,
) -> Result<(), ReplayError> {
    let usd = Matrix::build(|mode, backend, scenario| {
        one_cell(values, runs, published, [mode, backend, scenario])
    })?;
    for (mode, name) in MODES.iter().enumerate() {
        values.put(format!("runs.failed.{name}"), "", runs.failed[mode] as f64);
        for (backend, backend_name) in BACKENDS.iter().enumerate() {
            let seconds = by_repetition(runs.cells.of(mode, backend));
            let estimate = mean(&seconds, "repetition")
                .map(|seconds| scaled(seconds, cost::infra_usd(1.0, cost::ON_DEMAND)));
            put(values, format!("infra_per_1m.{name}.{backend_name}"), "USD", estimate);
        }
        winners(values, mode, published, &usd);
        compare(values, mode, &usd, tests)?;
    }
    requests(values, runs, published, tests)
}

/// Cost of a cell by ratio of sums, and what the mean of ratios makes of it.
fn one_cell(
    values: &mut Values,
    runs: &Runs,
    published: &Matrix<Published>,
    at: [usize; 3],
) -> Result<f64, ReplayError> {
    let [mode, backend, scenario] = at;
    let place = format!("{}.{}.{}", MODES[mode], BACKENDS[backend], SCENARIOS[scenario]);
    let runs = &runs.cells.of(mode, backend)[scenario];
    let (seconds, tokens): (Vec<f64>, Vec<f64>) = runs.iter().map(|run| (run.seconds, run.tokens)).unzip();
    let per_token =
        chimera_stats::ratio_of_sums(&seconds, &tokens).map_err(ReplayError::at(place.clone()))?;
    let usd = |seconds: f64| cost::infra_usd(seconds * cost::MILLION, cost::ON_DEMAND);
    let estimate = of_sums(&seconds, &tokens, "run").map(|seconds| scaled(seconds, usd(1.0)));
    put(values, format!("infra_per_1m.{place}"), "USD", estimate);
    values.put(format!("tok_s.{place}"), "tok/s", 1.0 / per_token);
    let excess = published.of(mode, backend)[scenario].tok_s * per_token;
    values.put(format!("mean_of_ratios.{place}"), "", excess);
    Ok(usd(per_token))
}

/// Cheapest backend of each scenario, as published and by ratio of sums.
fn winners(values: &mut Values, mode: usize, published: &Matrix<Published>, usd: &Matrix<f64>) {
    let name = MODES[mode];
    let cheapest = |cost: &dyn Fn(usize) -> f64| {
        (0..BACKENDS.len()).min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or_default()
    };
    let mut wins = [[0.0; 2]; BACKENDS.len()];
    let mut changed = 0.0;
    for scenario in 0..SCENARIOS.len() {
        let before = cheapest(&|backend| published.of(mode, backend)[scenario].usd);
        let now = cheapest(&|backend| usd.of(mode, backend)[scenario]);
        wins[before][0] += 1.0;
        wins[now][1] += 1.0;
        changed += f64::from(u8::from(before != now));
    }
    values.put(format!("wins.changed.{name}"), "", changed);
    for (backend, [before, now]) in BACKENDS.iter().zip(wins) {
        values.put(format!("legacy.wins.{name}.{backend}"), "", before);
        values.put(format!("wins.{name}.{backend}"), "", now);
    }
    let highest = BACKENDS
        .iter()
        .flat_map(|backend| SCENARIOS.iter().map(move |scenario| format!("{backend}.{scenario}")))
        .filter_map(|place| values.point(&format!("mean_of_ratios.{name}.{place}")))
        .fold(0.0, f64::max);
    values.put(format!("mean_of_ratios.{name}.highest"), "", highest);
}

/// Name of the comparison of two backends: the second over the first.
pub(super) fn pair(mode: usize, first: usize, second: usize) -> String {
    format!("cost.{}.{}_over_{}", MODES[mode], BACKENDS[second], BACKENDS[first])
}

/// Backends over the same scenarios.
fn compare(
    values: &mut Values,
    mode: usize,
    usd: &Matrix<f64>,
    tests: &mut Family,
) -> Result<(), ReplayError> {
    let samples: Vec<Sample<'_>> = (0..BACKENDS.len())
        .map(|backend| Sample::new(usd.of(mode, backend), "scenario"))
        .collect::<Result<_, _>>()
        .map_err(ReplayError::at("costs"))?;
    tests.add(values, &format!("cost.{}.friedman", MODES[mode]), hypothesis::friedman(&samples));
    for first in 0..BACKENDS.len() {
        for second in first + 1..BACKENDS.len() {
            let name = pair(mode, first, second);
            let (below, above) = (samples[first], samples[second]);
            let estimate = ratio::paired(above, below, LEVEL).map_err(ReplayError::at(name.clone()))?;
            let logs =
                above.ln().and_then(|a| Ok((a, below.ln()?))).map_err(ReplayError::at(name.clone()))?;
            tests.add(values, &name, on_logs(&logs.0, &logs.1));
            let d = Sample::new(&logs.0, "scenario")
                .and_then(|a| effect::hedges_g_paired(a, Sample::new(&logs.1, "scenario")?, LEVEL));
            put(values, format!("{name}.g"), "", d);
            let smallest = estimate
                .standard_error
                .map(|se| hypothesis::minimum_detectable(se / estimate.point, estimate.n, ALPHA, POWER));
            match smallest {
                Some(Ok(Some(log))) => values.put(format!("{name}.detectable"), "", log.exp()),
                _ => values.lacks(format!("{name}.detectable"), "too few scenarios"),
            }
            values.put_estimate(name, "", estimate);
        }
    }
    Ok(())
}

fn on_logs(a: &[f64], b: &[f64]) -> Result<hypothesis::Test, StatsError> {
    hypothesis::paired_t(Sample::new(a, "scenario")?, Sample::new(b, "scenario")?, Alternative::TwoSided)
}

/// A request and a year, by time.
fn requests(
    values: &mut Values,
    runs: &Runs,
    published: &Matrix<Published>,
    tests: &mut Family,
) -> Result<(), ReplayError> {
    let mut years: Vec<Vec<f64>> = Vec::new();
    for (backend, name) in BACKENDS.iter().enumerate() {
        let (prefill, generate) = (published.of(0, backend), published.of(1, backend));
        for (scope, cells) in [("", SCENARIOS.len()), (".single", SINGLE)] {
            let usd = cost::of_request(
                over(&prefill[..cells], |cell| cell.usd),
                over(&generate[..cells], |cell| cell.usd),
            );
            values.put(format!("time_weighted{scope}.{name}.usd"), "USD", usd);
            values.put(
                format!("time_weighted{scope}.{name}.year"),
                "USD",
                cost::year(cost::per_1m_of_request(usd)),
            );
        }
        let arithmetic = values.point(&format!("legacy.request.{name}.usd"));
        let weighted = values.point(&format!("time_weighted.{name}.usd"));
        let times = weighted.zip(arithmetic).map_or(f64::NAN, |(weighted, arithmetic)| weighted / arithmetic);
        values.put(format!("time_weighted.{name}.times_published"), "", times);
        // Prefill and generation were two processes; repetitions of the same number are added.
        let of = |mode| by_repetition(runs.cells.of(mode, backend));
        let usd: Vec<f64> = of(0)
            .iter()
            .zip(of(1))
            .map(|(prefill, generate)| cost::infra_usd(cost::of_request(*prefill, generate), cost::ON_DEMAND))
            .collect();
        put(values, format!("request.{name}"), "USD", mean(&usd, "repetition"));
        let year: Vec<f64> = usd.iter().map(|usd| cost::year(cost::per_1m_of_request(*usd))).collect();
        put(values, format!("request.{name}.year"), "USD", mean(&year, "repetition"));
        years.push(year);
    }
    for (name, year) in BACKENDS.iter().zip(&years).skip(1) {
        let saved = difference(year, &years[0], "repetition");
        let saving = format!("request.{name}.saving");
        put(values, saving.clone(), "USD", saved);
        let welch = Sample::new(year, "repetition").and_then(|year| {
            hypothesis::welch_t(year, Sample::new(&years[0], "repetition")?, Alternative::TwoSided)
        });
        tests.add(values, &saving, welch);
        let weighted = |name: &str| values.point(&format!("time_weighted.{name}.year"));
        let difference = weighted(name).zip(weighted(BACKENDS[0])).map_or(f64::NAN, |(a, b)| a - b);
        values.put(format!("time_weighted.{name}.saving"), "USD", difference);
        for (definition, quantity) in
            [("rows", "legacy.tco_rows"), ("request", "legacy.tco_request"), ("time", "time_weighted")]
        {
            let year = |backend: &str| values.point(&format!("{quantity}.{backend}.year"));
            let months = year(name).zip(year(BACKENDS[0])).and_then(|(baseline, alternative)| {
                cost::break_even_months(1_000.0, baseline / 12.0, alternative / 12.0)
            });
            let quantity = format!("break_even.{definition}.{name}");
            match months {
                Some(months) => values.put(quantity, "months", months),
                None => values.lacks(quantity, format!("{} is not cheaper", BACKENDS[0])),
            }
        }
    }
    Ok(())
}
