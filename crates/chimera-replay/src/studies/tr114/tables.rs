//! The tables and the plot of the second version.

use chimera_report::{Axis, Column, Plot, Section, Series, Style, Table};

use super::{
    super::family::{Corrected, cell, shown},
    SCENARIOS, configs,
    pairs::{Pair, those},
};
use crate::Values;

/// Published tables by the published formula.
pub(super) fn legacy(values: &Values, runs: &[Pair]) -> Section {
    let mut overall = Table::new("legacy-overall", "All runs")
        .caption("Over runs, failed ones and runaways among them, as published.")
        .column(Column::text("quantity", "Quantity"))
        .column(Column::number("min", "Minimum", ""))
        .column(Column::number("max", "Maximum", ""))
        .column(Column::number("mean", "Mean", ""))
        .column(Column::number("median", "Median", ""))
        .column(Column::number("sd", "SD", ""));
    for (words, name) in [
        ("Speed-up, published", "legacy.speedup"),
        ("Efficiency, published (%)", "legacy.efficiency"),
        ("Rate of the first agent less the second's (tok/s)", "legacy.throughput_delta"),
        ("TTFT of the first agent less the second's (ms)", "legacy.ttft_delta"),
    ] {
        let of = |what: &str| cell(values, &format!("{name}.{what}"));
        overall.push_row([words.into(), of("min"), of("max"), of("mean"), of("median"), of("sd")]);
    }
    let mut scenarios = Table::new("legacy-scenarios", "Scenarios")
        .caption(
            "Mean and maximum over runs; SD of the runs of a configuration, averaged over configurations.",
        )
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("mean", "Mean", "%"))
        .column(Column::number("max", "Maximum", "%"))
        .column(Column::number("within", "SD within", "pp"));
    for (name, words) in SCENARIOS {
        let of = |what: &str| cell(values, &format!("legacy.scenario.{name}.{what}"));
        scenarios.push_row([words.into(), of("mean"), of("max"), of("within_config_sd")]);
    }
    let mut each = Table::new("legacy-configs", "Configurations")
        .caption("Mean and maximum over the runs of a configuration.")
        .column(Column::text("config", "Configuration"))
        .column(Column::number("runs", "Runs", ""))
        .column(Column::number("mean", "Mean", "%"))
        .column(Column::number("max", "Maximum", "%"));
    for (config, group) in configs(&those(runs, |_| true)) {
        let of = |what: &str| cell(values, &format!("legacy.config.{config}.{what}"));
        each.push_row([config.as_str().into(), group.len().into(), of("mean"), of("max")]);
    }
    Section::new("legacy", "Published tables by the published formula")
        .paragraph(format!(
            "Published efficiency {} on average (SD {}); contention {}; the runs span {}.",
            shown(values, "legacy.efficiency.mean"),
            shown(values, "legacy.efficiency.sd"),
            shown(values, "legacy.contention"),
            shown(values, "duration"),
        ))
        .table(overall)
        .table(scenarios)
        .table(each)
}

/// The same question by our definitions.
pub(super) fn ours(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("speedups", "Speed-up over one agent alone")
        .caption(
            "Sum of tokens over sum of wall times, over runs without a failed call; the denominator is one agent alone on the \
             same day, first runs left out. Efficiency is half of the speed-up.",
        )
        .column(Column::text("runs", "Runs"))
        .column(Column::number("rate", "Both together", "tok/s"))
        .column(Column::number("speedup", "Speed-up", ""))
        .column(Column::number("efficiency", "Efficiency", "%"));
    let rows = std::iter::once(("all without a failure", ""))
        .chain(SCENARIOS.map(|(name, words)| (words, name)))
        .chain([("without long replies", "without_long"), ("failed ones too", "all_runs")]);
    for (words, name) in rows {
        let suffix = if name.is_empty() { String::new() } else { format!(".{name}") };
        let rate = match name {
            "without_long" | "all_runs" => chimera_report::Cell::missing("see the speed-up"),
            _ => cell(values, &format!("rate.concurrent{suffix}")),
        };
        table.push_row([
            words.into(),
            rate,
            cell(values, &format!("speedup{suffix}")),
            cell(values, &format!("efficiency{suffix}")),
        ]);
    }
    Section::new("speedup", "The same question by our definitions")
        .paragraph(format!(
            "Alone: {} ({} failed runs left out). {} of {} concurrent runs had a failed call and are counted, not averaged; \
             {} had a reply of more than {} tokens. Concurrent against solo rates of runs: {}.",
            shown(values, "rate.solo"),
            shown(values, "runs.solo.failed"),
            shown(values, "runs.failed"),
            shown(values, "runs"),
            shown(values, "runs.long"),
            super::pairs::LONG,
            corrected.words("speedup"),
        ))
        .paragraph(format!(
            "Coordination takes {} of wall time on average and {} at most.",
            shown(values, "overhead.coordination"),
            shown(values, "overhead.coordination.max"),
        ))
        .table(table)
}

/// The published index against the speed-up of the same runs.
pub(super) fn index(runs: &[Pair], solo: f64) -> Section {
    let mut plot = Plot::new(
        "index-speedup",
        "Balance index against speed-up",
        Axis::linear("Published efficiency", "%"),
        Axis::linear("Speed-up over one agent alone", ""),
    )
    .caption("One point per run without a failed call. At a speed-up of 1 two agents deliver what one does.")
    .horizontal(1.0, "one agent alone");
    for (name, words) in SCENARIOS {
        let mut series = Series::new(words, Style::Points);
        for run in runs.iter().filter(|run| run.scenario == name && !run.failed()) {
            if let (Some(index), Some(rate)) = (run.index, run.rate())
                && (rate / solo).is_finite()
            {
                series = series.point(index, rate / solo);
            }
        }
        if !series.points.is_empty() {
            plot = plot.series(series);
        }
    }
    Section::new("index", "What the published efficiency sees").plot(plot)
}
