//! The published tables by the published formulas: a run's throughput is the mean of its calls' throughputs, a cell's the
//! mean of its runs', and a backend's cost the mean of its cells'. Power is the mean of the sampled watts of one device.

use chimera_report::{Cell, Column, Section, Table};
use chimera_stats::{
    Sample, StatsError, effect,
    hypothesis::{self, Alternative, GroupNull, Test},
    intervals,
};

use super::{
    super::{
        family::{cell, put},
        shared::plain_mean,
    },
    cost,
    read::{BACKENDS, MODES, Matrix, Run, Runs, SCENARIOS, on_gpu},
};
use crate::{ALPHA, LEVEL, ReplayError, Values};

/// A cell by the published formula.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    /// Tokens per second.
    pub(super) tok_s: f64,
    /// Watts of the device that the report counts.
    pub(super) watts: f64,
    /// Watts of CPU package and GPU, where both were sampled.
    pub(super) both_watts: Option<f64>,
    /// Seconds for a million tokens.
    pub(super) seconds: f64,
    /// kWh for a million tokens.
    pub(super) kwh: f64,
    /// USD of machine time for a million tokens, on demand.
    pub(super) infra: f64,
    /// The same with energy.
    pub(super) usd: f64,
    latency_ms: f64,
}

/// Mean over the cells of a backend.
pub(super) fn over(cells: &[Published], of: impl Fn(&Published) -> f64) -> f64 {
    plain_mean(&cells.iter().map(of).collect::<Vec<_>>())
}

/// Adds all `legacy.*`.
pub(super) fn values(values: &mut Values, runs: &Runs) -> Result<Matrix<Published>, ReplayError> {
    let cells = Matrix::build(|mode, backend, scenario| {
        one_cell(values, &runs.cells.of(mode, backend)[scenario], [mode, backend, scenario])
    })?;
    for (mode, name) in MODES.iter().enumerate() {
        for (backend, backend_name) in BACKENDS.iter().enumerate() {
            one_backend(values, &format!("legacy.{name}.{backend_name}"), cells.of(mode, backend));
        }
        put_lowest(values, &format!("legacy.{name}"), "usd_per_1m.on_demand");
        for (scenario, scenario_name) in SCENARIOS.iter().enumerate() {
            let usd = |backend: usize| cells.of(mode, backend)[scenario].usd;
            let others = (1..BACKENDS.len()).map(usd).fold(f64::INFINITY, f64::min);
            values.put(
                format!("legacy.{name}.favourite_over_best_other.{scenario_name}"),
                "",
                usd(0) / others,
            );
            for (backend, backend_name) in BACKENDS.iter().enumerate().skip(1) {
                let times = cells.of(mode, backend)[scenario].tok_s / cells.of(mode, 0)[scenario].tok_s;
                values.put(
                    format!("legacy.{name}.{backend_name}.times_favourite_rate.{scenario_name}"),
                    "",
                    times,
                );
            }
        }
        tests(values, mode, &cells)?;
        let samples: Vec<f64> = runs.cells.mode(mode).iter().flatten().map(|run| run.samples).collect();
        for (limit, word) in [(1.0, "one"), (2.0, "two")] {
            let few = samples.iter().filter(|count| **count <= limit).count();
            values.put(
                format!("legacy.samples_at_most_{word}.{name}"),
                "%",
                100.0 * few as f64 / samples.len() as f64,
            );
        }
    }
    let completed: usize = (0..MODES.len()).map(|mode| count(runs, mode)).sum();
    let failed: usize = runs.failed.iter().sum();
    values.put("legacy.runs", "", (completed + failed) as f64);
    values.put("legacy.runs_degraded", "", failed as f64);
    pooled(values, &cells);
    Ok(cells)
}

/// Completed runs of a mode.
pub(super) fn count(runs: &Runs, mode: usize) -> usize {
    runs.cells.mode(mode).iter().map(Vec::len).sum()
}

/// Mean over the runs that have the value.
fn mean_of(runs: &[Run], of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
    let some: Vec<f64> = runs.iter().filter_map(of).collect();
    (!some.is_empty()).then(|| plain_mean(&some))
}

fn one_cell(values: &mut Values, runs: &[Run], at: [usize; 3]) -> Result<Published, ReplayError> {
    let [mode, backend, scenario] = at;
    let prefix = format!("legacy.cell.{}.{}.{}", MODES[mode], BACKENDS[backend], SCENARIOS[scenario]);
    let latencies: Vec<f64> = runs.iter().map(|run| plain_mean(&run.latencies_ms)).collect();
    let rates: Vec<f64> = runs.iter().map(|run| plain_mean(&run.rates)).collect();
    let refused = || ReplayError::at(prefix.clone());
    let sample = Sample::new(&latencies, "run").map_err(refused())?;
    let sorted = sample.sorted();
    let latency_ms = sample.mean();
    values.put(format!("{prefix}.n"), "", runs.len() as f64);
    put(values, format!("{prefix}.latency"), "ms", intervals::mean_t(sample, LEVEL));
    values.put(format!("{prefix}.latency.median"), "ms", sorted.median());
    values.put(format!("{prefix}.latency.sd"), "ms", sample.sd().unwrap_or(f64::NAN));
    values.put(format!("{prefix}.latency.min"), "ms", sample.min());
    values.put(format!("{prefix}.latency.max"), "ms", sample.max());
    for (name, p) in [("q25", 0.25), ("q75", 0.75)] {
        values.put(format!("{prefix}.latency.{name}"), "ms", sorted.quantile(p).map_err(refused())?);
    }
    let interval = intervals::mean_t(sample, LEVEL).map_err(refused())?.interval;
    let ends = interval.map_or([f64::NAN; 2], |interval| [interval.low, interval.high]);
    for (name, end) in ["low", "high"].iter().zip(ends) {
        values.put(format!("{prefix}.latency.{name}"), "ms", end);
    }
    let (gpu, cpu) = (mean_of(runs, |run| run.gpu_watts), mean_of(runs, |run| run.cpu_watts));
    let watts = if on_gpu(backend) { gpu } else { cpu };
    // Without power the report has no cost at all: it adds energy to it.
    let watts = watts.ok_or_else(|| ReplayError::Content {
        path: super::read::FILES[mode].into(),
        reason: format!("no power of its device for {} in {}", BACKENDS[backend], SCENARIOS[scenario]),
    })?;
    let tok_s = plain_mean(&rates);
    let seconds = cost::seconds_per_1m(tok_s);
    let kwh = cost::kwh(watts, seconds);
    let infra = cost::infra_usd(seconds, cost::ON_DEMAND);
    let usd = infra + cost::energy_usd(kwh);
    values.put(format!("{prefix}.tok_s"), "tok/s", tok_s);
    values.put(format!("{prefix}.power_w"), "W", watts);
    values.put(format!("{prefix}.seconds_per_1m"), "s", seconds);
    values.put(format!("{prefix}.kwh_per_1m"), "kWh", kwh);
    values.put(format!("{prefix}.g_per_1m"), "g", kwh * cost::GRAMS_PER_KWH);
    for (tier, rate) in cost::TIERS.iter().zip(cost::PROVIDERS[0].usd_per_hour) {
        let usd = cost::infra_usd(seconds, rate) + cost::energy_usd(kwh);
        values.put(format!("{prefix}.usd_per_1m.{tier}"), "USD", usd);
    }
    let both_watts = gpu.zip(cpu).map(|(gpu, cpu)| gpu + cpu);
    Ok(Published { tok_s, watts, both_watts, seconds, kwh, infra, usd, latency_ms })
}

fn one_backend(values: &mut Values, prefix: &str, cells: &[Published]) {
    let seconds = over(cells, |cell| cell.seconds);
    let kwh = over(cells, |cell| cell.kwh);
    let usd = over(cells, |cell| cell.usd);
    values.put(format!("{prefix}.latency_ms"), "ms", over(cells, |cell| cell.latency_ms));
    values.put(format!("{prefix}.tok_s"), "tok/s", over(cells, |cell| cell.tok_s));
    values.put(format!("{prefix}.power_w"), "W", over(cells, |cell| cell.watts));
    values.put(format!("{prefix}.seconds_per_1m"), "s", seconds);
    values.put(format!("{prefix}.kwh_per_1m"), "kWh", kwh);
    values.put(format!("{prefix}.g_per_1m"), "g", kwh * cost::GRAMS_PER_KWH);
    values.put(format!("{prefix}.infra_per_1m"), "USD", over(cells, |cell| cell.infra));
    for provider in &cost::PROVIDERS {
        for (tier, rate) in cost::TIERS.iter().zip(provider.usd_per_hour) {
            let usd = cost::infra_usd(seconds, rate) + cost::energy_usd(kwh);
            let name = if provider.name == cost::PROVIDERS[0].name {
                format!("{prefix}.usd_per_1m.{tier}")
            } else {
                format!("{prefix}.usd_per_1m.{}.{tier}", provider.name)
            };
            values.put(name, "USD", usd);
        }
    }
    values.put(format!("{prefix}.energy_share"), "%", 100.0 * cost::energy_usd(kwh) / usd);
    values.put(format!("{prefix}.effective_tok_s"), "tok/s", cost::seconds_per_1m(seconds));
    values.put(format!("{prefix}.effective_w"), "W", cost::watts(kwh, seconds));
    let per_kwh = over(cells, |cell| cost::MILLION / cell.kwh);
    values.put(format!("{prefix}.tokens_per_kwh"), "tok/kWh", per_kwh);
    let spot = values.point(&format!("{prefix}.usd_per_1m.spot")).unwrap_or(f64::NAN);
    values.put(format!("{prefix}.spot_saving"), "%", cost::saving_percent(usd, spot));
}

/// How much dearer each backend is than the cheapest of a mode.
fn put_lowest(values: &mut Values, prefix: &str, what: &str) {
    let all: Vec<f64> =
        BACKENDS.iter().filter_map(|backend| values.point(&format!("{prefix}.{backend}.{what}"))).collect();
    let lowest = all.iter().copied().fold(f64::INFINITY, f64::min);
    for (backend, usd) in BACKENDS.iter().zip(all) {
        values.put(format!("{prefix}.{backend}.times_cheapest"), "", usd / lowest);
    }
}

/// Both modes in one: total cost of ownership in two versions, energy shares, requests.
fn pooled(values: &mut Values, cells: &Matrix<Published>) {
    let mut shares = Vec::new();
    for (backend, name) in BACKENDS.iter().enumerate() {
        let (prefill, generate) = (cells.of(0, backend), cells.of(1, backend));
        // Version 1.1: the mean of all ten rows, whatever their mode.
        let rows: Vec<f64> = prefill.iter().chain(generate).map(|cell| cell.usd).collect();
        let energy: f64 = prefill.iter().chain(generate).map(|cell| cost::energy_usd(cell.kwh)).sum();
        let usd = plain_mean(&rows);
        values.put(format!("legacy.tco_rows.{name}.usd_per_1m"), "USD", usd);
        values.put(format!("legacy.tco_rows.{name}.year"), "USD", cost::year(usd));
        values.put(
            format!("legacy.energy_share_pooled.{name}"),
            "%",
            100.0 * energy / rows.iter().sum::<f64>(),
        );
        let all: Vec<Published> = prefill.iter().chain(generate).copied().collect();
        let kwh = over(&all, |cell| cell.kwh);
        values.put(format!("legacy.pooled.{name}.g_per_1m"), "g", kwh * cost::GRAMS_PER_KWH);
        let per_kwh = over(&all, |cell| cost::MILLION / cell.kwh);
        values.put(format!("legacy.pooled.{name}.tokens_per_kwh"), "tok/kWh", per_kwh);
        let spot = cost::infra_usd(over(&all, |cell| cell.seconds), cost::PROVIDERS[0].usd_per_hour[1])
            + cost::energy_usd(kwh);
        values.put(format!("legacy.pooled.{name}.spot_saving"), "%", cost::saving_percent(usd, spot));
        // Version 1: a request, by the arithmetic mean of throughputs and of watts.
        let seconds = [
            cost::PROMPT / over(prefill, |cell| cell.tok_s),
            cost::GENERATED / over(generate, |cell| cell.tok_s),
        ];
        let kwh = cost::kwh(over(prefill, |cell| cell.watts), seconds[0])
            + cost::kwh(over(generate, |cell| cell.watts), seconds[1]);
        let usd = cost::infra_usd(seconds[0] + seconds[1], cost::ON_DEMAND) + cost::energy_usd(kwh);
        let per_1m = cost::per_1m_of_request(usd);
        values.put(format!("legacy.request.{name}.prefill_s"), "s", seconds[0]);
        values.put(format!("legacy.request.{name}.generate_s"), "s", seconds[1]);
        values.put(format!("legacy.request.{name}.kwh"), "kWh", kwh);
        values.put(format!("legacy.request.{name}.usd"), "USD", usd);
        values.put(format!("legacy.request.{name}.usd_per_1m"), "USD", per_1m);
        let share = 100.0 * cost::energy_usd(kwh) / usd;
        values.put(format!("legacy.request.{name}.energy_share"), "%", share);
        values.put(format!("legacy.tco_request.{name}.year"), "USD", cost::year(per_1m));
        for mode in MODES {
            shares.extend(values.point(&format!("legacy.{mode}.{name}.energy_share")));
        }
    }
    for definition in ["tco_rows", "tco_request"] {
        let year = |values: &Values, name: &str| {
            values.point(&format!("legacy.{definition}.{name}.year")).unwrap_or(f64::NAN)
        };
        for name in &BACKENDS[1..] {
            let saving = year(values, name) - year(values, BACKENDS[0]);
            values.put(format!("legacy.{definition}.{name}.saving"), "USD", saving);
        }
    }
    let usd =
        |values: &Values, name: &str| values.point(&format!("legacy.request.{name}.usd")).unwrap_or(f64::NAN);
    for name in &BACKENDS[1..] {
        let times = usd(values, name) / usd(values, BACKENDS[0]);
        values.put(format!("legacy.request.{name}.times_favourite"), "", times);
    }
    values.put("legacy.energy_share.lowest", "%", shares.iter().copied().fold(f64::INFINITY, f64::min));
    values.put("legacy.energy_share.highest", "%", shares.iter().copied().fold(0.0, f64::max));
}

/// The published tests: scenarios as independent samples, no correction.
fn tests(values: &mut Values, mode: usize, cells: &Matrix<Published>) -> Result<(), ReplayError> {
    let name = MODES[mode];
    let columns: Vec<Vec<f64>> = (0..BACKENDS.len())
        .map(|backend| cells.of(mode, backend).iter().map(|cell| cell.usd).collect())
        .collect();
    let samples: Vec<Sample<'_>> = columns
        .iter()
        .map(|column| Sample::new(column, "scenario"))
        .collect::<Result<_, _>>()
        .map_err(ReplayError::at("published tests"))?;
    put_test(values, &format!("legacy.anova.{name}"), hypothesis::one_way_anova(&samples));
    let kruskal = hypothesis::kruskal_wallis_by(&samples, GroupNull::ChiSquared);
    put_test(values, &format!("legacy.kruskal.{name}"), kruskal);
    // Not published: the same costs by a test that knows that the scenarios are the same for all.
    let friedman = hypothesis::friedman_by(&samples, GroupNull::ChiSquared);
    put_test(values, &format!("published_costs.friedman.{name}"), friedman);
    for (i, first) in BACKENDS.iter().enumerate() {
        for (j, second) in BACKENDS.iter().enumerate() {
            // As published: in alphabetical order.
            if first >= second {
                continue;
            }
            let (a, b) = (samples[i], samples[j]);
            let prefix = format!("legacy.pairwise.{name}.{first}.{second}");
            put_test(values, &prefix, hypothesis::student_t(a, b, Alternative::TwoSided));
            let d = effect::cohen_d(b, a, LEVEL).map_or(f64::NAN, |d| d.point);
            values.put(format!("{prefix}.d"), "", d);
            let prefix = format!("published_costs.pair.{name}.{first}.{second}");
            put_test(values, &format!("{prefix}.welch"), hypothesis::welch_t(a, b, Alternative::TwoSided));
            let logs = a.ln().and_then(|a| Ok((a, b.ln()?))).map_err(ReplayError::at("logarithms"))?;
            let paired = Sample::new(&logs.0, "scenario").and_then(|a| {
                hypothesis::paired_t(a, Sample::new(&logs.1, "scenario")?, Alternative::TwoSided)
            });
            put_test(values, &format!("{prefix}.paired"), paired);
        }
    }
    Ok(())
}

fn put_test(values: &mut Values, prefix: &str, test: Result<Test, StatsError>) {
    let outcome = test
        .map_err(|error| error.to_string())
        .and_then(|test| Ok((test.statistic, test.p(ALPHA).map_err(|why| why.to_string())?)));
    match outcome {
        Ok((statistic, p)) => {
            values.put(format!("{prefix}.statistic"), "", statistic.unwrap_or(f64::NAN));
            values.put(format!("{prefix}.p"), "", p);
        }
        Err(why) => {
            values.lacks(format!("{prefix}.statistic"), why.clone());
            values.lacks(format!("{prefix}.p"), why);
        }
    }
}

/// The published tables.
pub(super) fn section(values: &Values) -> Section {
    let mut costs = Table::new("legacy-costs", "Cost of a million tokens, as published")
        .caption(
            "Mean over five scenarios of the cells' costs. A cell: seven runs, two calls each, throughput as the mean of ratios; \
             power as the mean of the samples of one device; machine time at 1.006 USD per hour on demand, energy at 0.20 USD per \
             kWh, 500 g per kWh.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("backend", "Backend"))
        .column(Column::number("latency", "Latency", "ms"))
        .column(Column::number("rate", "Mean of throughputs", "tok/s"))
        .column(Column::number("effective", "Million over mean seconds", "tok/s"))
        .column(Column::number("power", "Power", "W"))
        .column(Column::number("kwh", "Energy", "kWh"))
        .column(Column::number("carbon", "Carbon", "g"))
        .column(Column::number("on-demand", "On demand", "USD"))
        .column(Column::number("spot", "Spot", "USD"))
        .column(Column::number("share", "Energy's share", "%"));
    for mode in MODES {
        for backend in BACKENDS {
            let of = |what: &str| cell(values, &format!("legacy.{mode}.{backend}.{what}"));
            costs.push_row([
                mode.into(),
                backend.into(),
                of("latency_ms"),
                of("tok_s"),
                of("effective_tok_s"),
                of("power_w"),
                of("kwh_per_1m"),
                of("g_per_1m"),
                of("usd_per_1m.on_demand"),
                of("usd_per_1m.spot"),
                of("energy_share"),
            ]);
        }
    }
    let mut tests = Table::new("legacy-tests", "Tests, as published")
        .caption(
            "Five scenarios per backend taken as independent samples, although they are the same five for every backend; no \
             correction for several tests. Kruskal-Wallis by chi-squared.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("test", "Test"))
        .column(Column::number("statistic", "Statistic", ""))
        .column(Column::number("p", "p", ""));
    for mode in MODES {
        for (test, label) in [("anova", "One-way ANOVA"), ("kruskal", "Kruskal-Wallis")] {
            let of = |what: &str| cell(values, &format!("legacy.{test}.{mode}.{what}"));
            tests.push_row([mode.into(), Cell::from(label), of("statistic"), of("p")]);
        }
    }
    Section::new("legacy", "Published tables by the published formula").table(costs).table(tests)
}
