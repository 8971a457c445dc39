//! The published tables by the published formulas: speed-up as the sum of two concurrent times over their span, efficiency
//! as half of it, contention as a speed-up below 1.5.

use std::collections::BTreeMap;

use chimera_report::{Column, Section, Table};
use chimera_stats::Sample;

use super::{
    SCENARIOS, cell,
    runs::{Run, by_test},
};
use crate::{
    Values,
    studies::{
        family::put,
        shared::{mean, plain_mean},
    },
};

/// The bands of the published distribution of speed-ups, by configuration.
const BANDS: [(&str, f64, f64); 4] =
    [("1.40_1.60", 1.4, 1.6), ("1.60_1.80", 1.6, 1.8), ("1.80_1.95", 1.8, 1.95), ("1.95_2.00", 1.95, 2.0)];

fn of(runs: &[&Run], value: impl Fn(&Run) -> f64) -> Vec<f64> {
    runs.iter().map(|run| value(run)).collect()
}

/// Mean, sd, median and largest of the index.
fn moments(values: &mut Values, prefix: &str, runs: &[&Run]) {
    let indices = of(runs, Run::index);
    put(values, format!("{prefix}.mean"), "%", mean(&indices, "run"));
    match Sample::new(&indices, "run") {
        Ok(sample) => {
            values.put(format!("{prefix}.sd"), "%", sample.sd().unwrap_or(f64::NAN));
            values.put(format!("{prefix}.median"), "%", sample.median());
            values.put(format!("{prefix}.max"), "%", sample.max());
        }
        Err(error) => {
            for what in ["sd", "median", "max"] {
                values.lacks(format!("{prefix}.{what}"), error.to_string());
            }
        }
    }
}

/// Every published figure that the runs give.
pub(super) fn figures(values: &mut Values, runs: &[Run]) {
    let all: Vec<&Run> = runs.iter().collect();
    moments(values, "legacy.efficiency", &all);
    let flagged = |runs: &[&Run]| runs.iter().filter(|run| run.contention).count() as f64;
    values.put("legacy.contention.runs", "", flagged(&all));
    values.put("legacy.runs", "", runs.len() as f64);
    values.put("legacy.hours", "h", runs.iter().map(|run| run.wall_s).sum::<f64>() / 3_600.0);
    for scenario in SCENARIOS {
        let own: Vec<&Run> = runs.iter().filter(|run| run.scenario == *scenario).collect();
        moments(values, &format!("legacy.efficiency.{scenario}"), &own);
        values.put(format!("legacy.contention.{scenario}"), "", flagged(&own));
        values.put(format!("legacy.runs.{scenario}"), "", own.len() as f64);
        values.put(
            format!("legacy.ttft_delta.{scenario}"),
            "ms",
            plain_mean(&of(&own, |run| run.ttft_delta_ms)),
        );
        let rates = of(&own, Run::rate);
        values.put(format!("legacy.rate.aggregate.{scenario}"), "tok/s", plain_mean(&rates));
        let mut levels: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &own {
            levels.entry(run.gpu.as_str()).or_default().push(run);
        }
        for (gpu, own) in levels {
            values.put(format!("legacy.contention.{scenario}.gpu{gpu}"), "", flagged(&own));
            let share = 100.0 * flagged(&own) / own.len() as f64;
            values.put(format!("legacy.contention_share.{scenario}.gpu{gpu}"), "%", share);
            values.put(format!("legacy.runs.{scenario}.gpu{gpu}"), "", own.len() as f64);
        }
    }
    let tests = by_test(runs);
    let mut speedups = Vec::new();
    let mut above: BTreeMap<&str, usize> = BTreeMap::new();
    for (test, own) in &tests {
        let prefix = format!("legacy.config.{test}");
        let speedup = plain_mean(&of(own, Run::legacy_speedup));
        speedups.push(speedup);
        values.put(format!("{prefix}.speedup"), "", speedup);
        values.put(format!("{prefix}.efficiency"), "%", 50.0 * speedup);
        values.put(format!("{prefix}.ttft_delta"), "ms", plain_mean(&of(own, |run| run.ttft_delta_ms)));
        values.put(format!("{prefix}.throughput_delta"), "tok/s", plain_mean(&of(own, |run| run.rate_delta)));
        values.put(format!("{prefix}.wall"), "s", plain_mean(&of(own, |run| run.wall_s)));
        values.put(format!("{prefix}.overhead"), "s", plain_mean(&of(own, Run::overhead_s)));
        values.put(format!("{prefix}.contention"), "", flagged(own));
        if let Some(first) = own.first().filter(|_| 50.0 * speedup > 95.0) {
            *above.entry(first.scenario.as_str()).or_default() += 1;
        }
    }
    for scenario in SCENARIOS {
        let own = tests.values().filter(|own| own.first().is_some_and(|run| run.scenario == *scenario));
        let means: Vec<f64> = own.map(|own| plain_mean(&of(own, Run::index))).collect();
        let name = format!("legacy.efficiency.{scenario}.sd_of_configs");
        match Sample::new(&means, "test").and_then(|sample| sample.sd()) {
            Ok(sd) => values.put(name, "%", sd),
            Err(error) => values.lacks(name, error.to_string()),
        }
    }
    values.put("legacy.configs", "", tests.len() as f64);
    values.put("legacy.configs.above_95", "", above.values().sum::<usize>() as f64);
    for scenario in SCENARIOS {
        let count = above.get(scenario).copied().unwrap_or(0);
        values.put(format!("legacy.configs.above_95.{scenario}"), "", count as f64);
    }
    for (band, low, high) in BANDS {
        let count = speedups.iter().filter(|speedup| (low..high).contains(*speedup)).count();
        values.put(format!("legacy.configs.speedup_{band}"), "", count as f64);
    }
    let best = speedups.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.put("legacy.configs.best_efficiency", "%", 50.0 * best);
}

/// The published tables.
pub(super) fn section(values: &Values, runs: &[Run]) -> Section {
    let mut scenarios = Table::new("published-scenarios", "Scenarios")
        .caption(
            "Efficiency is half of the sum of both agents' times, taken while they ran together, over their span; contention is \
             that sum below 1.5 spans.",
        )
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("runs", "Runs", ""))
        .column(Column::number("efficiency", "Efficiency", "%"))
        .column(Column::number("sd", "sd", "%"))
        .column(Column::number("max", "Largest", "%"))
        .column(Column::number("contention", "Contention", "runs"))
        .column(Column::number("ttft", "TTFT, first minus second", "ms"));
    let suffixes = std::iter::once(("all", String::new()))
        .chain(SCENARIOS.iter().map(|scenario| (*scenario, format!(".{scenario}"))));
    for (words, suffix) in suffixes {
        let (runs, contention) = if suffix.is_empty() {
            ("legacy.runs".to_owned(), "legacy.contention.runs".to_owned())
        } else {
            (format!("legacy.runs{suffix}"), format!("legacy.contention{suffix}"))
        };
        scenarios.push_row([
            words.into(),
            cell(values, &runs),
            cell(values, &format!("legacy.efficiency{suffix}.mean")),
            cell(values, &format!("legacy.efficiency{suffix}.sd")),
            cell(values, &format!("legacy.efficiency{suffix}.max")),
            cell(values, &contention),
            cell(values, &format!("legacy.ttft_delta{suffix}")),
        ]);
    }
    let mut configs = Table::new("published-configurations", "Configurations")
        .caption(
            "Means over the runs of a test. Options are `num_gpu`/`num_ctx`/`temperature` of each agent.",
        )
        .column(Column::number("test", "Test", ""))
        .column(Column::text("scenario", "Scenario"))
        .column(Column::text("options", "Options"))
        .column(Column::number("speedup", "Speed-up", ""))
        .column(Column::number("efficiency", "Efficiency", "%"))
        .column(Column::number("ttft", "TTFT difference", "ms"))
        .column(Column::number("rate", "Rate difference", "tok/s"))
        .column(Column::number("contention", "Contention", "runs"));
    for (test, own) in by_test(runs) {
        let figure = |what: &str| cell(values, &format!("legacy.config.{test}.{what}"));
        let Some(first) = own.first() else { continue };
        configs.push_row([
            (test as usize).into(),
            first.scenario.as_str().into(),
            first.options.as_str().into(),
            figure("speedup"),
            figure("efficiency"),
            figure("ttft_delta"),
            figure("throughput_delta"),
            figure("contention"),
        ]);
    }
    Section::new("published", "Published tables by the published formula").table(scenarios).table(configs)
}
