//! The published tables of TR113 by the published formula, and what it says of the Python agents, from their own data.

use chimera_report::{Cell, Column, Section, Table, show_number};

use super::{SCENARIOS, pairs::Pair};
use crate::{
    Artifacts, ReplayError, Values,
    studies::{
        shared,
        tr111::calls::{largest, moments, smallest},
    },
};

/// The Python agents the report compares with.
const PYTHON: &str = "agents/tr110/python_multiagent_runs.csv";
/// Speed-up below which a run was flagged.
const CONTENTION: f64 = 1.5;

/// Fills `legacy.*`.
pub(super) fn section(all: &[Pair], values: &mut Values) -> Section {
    let mut table = Table::new("published", "Runs by the published formula")
        .caption(
            "Speed-up: sum of the agents' wall times, measured while both ran, over the span. Efficiency: half of it, in per \
             cent. Flagged: speed-up below 1.5.",
        )
        .column(Column::text("config", "Run"))
        .column(Column::number("speedup", "“Speed-up”", ""))
        .column(Column::number("index", "“Efficiency”", "%"))
        .column(Column::text("flag", "Flagged"));
    for pair in all {
        values.put(format!("legacy.efficiency.{}", pair.config), "%", pair.index);
        values.put(format!("legacy.contention.{}", pair.config), "", f64::from(u8::from(pair.contention)));
        table.push_row([
            pair.config.as_str().into(),
            pair.speedup.into(),
            pair.index.into(),
            if pair.contention { "yes" } else { "no" }.into(),
        ]);
    }
    let mut scenarios = Table::new("scenarios", "Scenarios by the published formula")
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("runs", "Runs", ""))
        .column(Column::number("mean", "Mean “efficiency”", "%"))
        .column(Column::number("sd", "sd", "%"))
        .column(Column::number("max", "Largest", "%"))
        .column(Column::number("flagged", "Flagged", ""));
    for scenario in SCENARIOS.iter().copied().chain(["all"]) {
        let own: Vec<&Pair> =
            all.iter().filter(|pair| scenario == "all" || pair.scenario == scenario).collect();
        let index: Vec<f64> = own.iter().map(|pair| pair.index).collect();
        let speedup: Vec<f64> = own.iter().map(|pair| pair.speedup).collect();
        let (mean, sd) = moments(&index);
        let flagged = own.iter().filter(|pair| pair.contention).count();
        values.put(format!("legacy.efficiency.mean.{scenario}"), "%", mean);
        values.put(format!("legacy.efficiency.sd.{scenario}"), "%", sd);
        values.put(format!("legacy.efficiency.max.{scenario}"), "%", largest(&index));
        values.put(format!("legacy.efficiency.min.{scenario}"), "%", smallest(&index));
        let (mean_speedup, sd_speedup) = moments(&speedup);
        values.put(format!("legacy.speedup.mean.{scenario}"), "", mean_speedup);
        values.put(format!("legacy.speedup.sd.{scenario}"), "", sd_speedup);
        values.put(format!("legacy.contention.count.{scenario}"), "", flagged as f64);
        values.put(
            format!("legacy.contention.share.{scenario}"),
            "%",
            100.0 * flagged as f64 / own.len() as f64,
        );
        scenarios.push_row([
            scenario.into(),
            own.len().into(),
            Cell::or_missing(mean.is_finite().then_some(mean), "no run"),
            Cell::or_missing(sd.is_finite().then_some(sd), "one run or none"),
            Cell::or_missing(Some(largest(&index)).filter(|value| value.is_finite()), "no run"),
            flagged.into(),
        ]);
    }
    let above: usize = all.iter().filter(|pair| pair.index > 95.0).count();
    values.put("legacy.runs_above_95", "", above as f64);
    let throughput: Vec<f64> = all.iter().map(Pair::throughput).collect();
    values.put("legacy.aggregate.mean", "tok/s", moments(&throughput).0);
    let disagrees = all.iter().filter(|pair| pair.contention != (pair.speedup < CONTENTION)).count();
    values.put("legacy.contention.disagrees", "", disagrees as f64);
    let identity = all.iter().map(|pair| (pair.index - pair.balance()).abs()).fold(0.0, f64::max);
    values.put("balance_index.identity", "%", identity);
    Section::new("published", "Published tables by the published formula").table(table).table(scenarios).paragraph(
        format!(
            "The index equals the sum of both agents' times over twice the longer to within {} percentage points: it is fixed by \
             when the agents end, whatever their speed.",
            show_number(identity, "")
        ),
    )
}

/// What the report says of the Python agents, from their own data.
pub(super) fn python(data: &Artifacts, values: &mut Values) -> Result<(), ReplayError> {
    const NAMES: [&str; 4] = [
        "legacy.python.mean",
        "legacy.python.max_config",
        "legacy.python.configs_above_95",
        "legacy.python.contention",
    ];
    if !data.has(PYTHON) {
        for name in NAMES {
            values.lacks(name, "the runs of the Python agents are not among these data");
        }
        return Ok(());
    }
    let table = data.table(PYTHON, &["test", "concurrency_speedup", "resource_contention_detected"])?;
    let groups = shared::group(
        &table,
        |row| row.text("test"),
        |row| Ok(row.maybe("concurrency_speedup")?.map(|speedup| 50.0 * speedup)),
    )?;
    let runs: Vec<f64> = groups.values().flatten().copied().collect();
    let configs: Vec<f64> = groups.values().map(|runs| moments(runs).0).collect();
    let flagged =
        table.rows().map(|row| row.flag("resource_contention_detected")).collect::<Result<Vec<bool>, _>>()?;
    values.put(NAMES[0], "%", moments(&runs).0);
    values.put(NAMES[1], "%", largest(&configs));
    values.put(NAMES[2], "", configs.iter().filter(|config| **config > 95.0).count() as f64);
    values.put(
        NAMES[3],
        "%",
        100.0 * flagged.iter().filter(|flag| **flag).count() as f64 / flagged.len() as f64,
    );
    Ok(())
}
