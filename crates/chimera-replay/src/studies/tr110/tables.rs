//! Tables and plots of our definitions.

use chimera_report::{Axis, Column, Plot, Section, Series, Style, Table};

use super::{
    Corrected, SCENARIOS, cell, ours,
    runs::{Run, by_test},
    shown,
};
use crate::Values;

/// Two agents against one, and what the index is made of.
pub(super) fn speedups(values: &Values, runs: &[Run], solo: Option<f64>) -> Section {
    let mut table = Table::new("speed-up", "Two agents against one")
        .caption(
            "Tokens of both agents over the span, against tokens over time of solo runs; ratio of sums, intervals over runs. \
             p: Welch's test of the runs' rates against the solo runs', Holm-adjusted over the report. Slow-down compares \
             decode rates, without load. Runs with a call that reported nothing are left out.",
        )
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("rate", "Both agents", "tok/s"))
        .column(Column::number("speedup", "Speed-up", ""))
        .column(Column::number("p", "p", ""))
        .column(Column::number("efficiency", "Efficiency", "%"))
        .column(Column::number("index", "Published index", "%"))
        .column(Column::number("slowdown", "Slow-down of an agent", ""))
        .column(Column::number("decode", "Speed-up while both decode", ""));
    for scenario in SCENARIOS {
        table.push_row([
            (*scenario).into(),
            cell(values, &format!("rate.aggregate.{scenario}")),
            cell(values, &format!("speedup.{scenario}")),
            cell(values, &format!("speedup.{scenario}.p_holm")),
            cell(values, &format!("efficiency.{scenario}")),
            cell(values, &format!("legacy.efficiency.{scenario}.mean")),
            cell(values, &format!("slowdown.{scenario}")),
            cell(values, &format!("speedup.decode.{scenario}")),
        ]);
    }
    let section = Section::new("ours", "The same question by our definitions").table(table).paragraph(format!(
        "One agent alone makes {}. With the longer of both times in place of the span the index changes by at most {}. In the \
         late runs its rank correlation with the ratio of the two reply lengths is {}, with the tokens per second {}. The \
         span exceeds the longer time by {} in the mean and at most {}. {} runs hold a call that reported nothing.",
        shown(values, "rate.solo"),
        shown(values, "balance.largest_deviation"),
        shown(values, "balance.spearman_token_ratio"),
        shown(values, "balance.spearman_rate"),
        shown(values, "coordination_overhead.mean"),
        shown(values, "coordination_overhead.max"),
        shown(values, "runs.incomplete"),
    ));
    let Some(solo) = solo.filter(|_| runs.iter().any(Run::complete)) else { return section };
    let mut plot = Plot::new(
        "index-against-speed-up",
        "Published index against true speed-up",
        Axis::linear("published index", "%"),
        Axis::linear("speed-up", ""),
    )
    .caption("One run per point. Above the line two agents at once are faster than one after the other.")
    .horizontal(1.0, "one after the other");
    for scenario in SCENARIOS {
        let mut series = Series::new(*scenario, Style::Points);
        for run in runs.iter().filter(|run| run.scenario == *scenario && run.complete()) {
            series = series.point(run.index(), run.rate() / solo);
        }
        if !series.points.is_empty() {
            plot = plot.series(series);
        }
    }
    section.plot(plot)
}

/// What the order of the tests does.
pub(super) fn order(values: &Values, corrected: &Corrected, runs: &[Run]) -> Section {
    let mut halves = Table::new("order", "Early and late tests")
        .caption(
            "Early: every run before the first with equal options. Means over runs; the difference and its p over tests, \
             Holm-adjusted over the report.",
        )
        .column(Column::text("quantity", "Quantity"))
        .column(Column::text("unit", "Unit"))
        .column(Column::number("early", "Early", ""))
        .column(Column::number("late", "Late", ""))
        .column(Column::number("difference", "Difference", ""))
        .column(Column::number("p", "p", ""));
    for (name, words, unit) in [
        ("wall", "Span of a run", "s"),
        ("index", "Published index", "%"),
        ("ttft", "Load plus prompt evaluation, mean of the agents", "ms"),
        ("rate", "Tokens over the span", "tok/s"),
    ] {
        halves.push_row([
            words.into(),
            unit.into(),
            cell(values, &format!("order.{name}.early")),
            cell(values, &format!("order.{name}.late")),
            cell(values, &format!("order.{name}.early_minus_late")),
            cell(values, &format!("order.{name}.p_holm")),
        ]);
    }
    let mut repeats = Table::new("repeats", "Configurations that were tested more than once")
        .caption("Tests with the same scenario and options, in the order of the session.")
        .column(Column::text("options", "Options"))
        .column(Column::number("test", "Test", ""))
        .column(Column::number("index", "Published index", "%"))
        .column(Column::number("wall", "Span", "s"));
    let tests = by_test(runs);
    for test in ours::repeated(runs).into_iter().flatten() {
        let Some(first) = tests.get(&test).and_then(|own| own.first()) else { continue };
        repeats.push_row([
            first.options.as_str().into(),
            (test as usize).into(),
            cell(values, &format!("legacy.config.{test}.efficiency")),
            cell(values, &format!("legacy.config.{test}.wall")),
        ]);
    }
    let mut section = Section::new("order", "Scenario or order").table(halves).table(repeats).paragraph(format!(
        "In the last phase, equal options minus defaults against options: {} of the index ({}); equal minus different options: \
         {} ({}).",
        shown(values, "at_once.index.homo_minus_baseline_vs_chimera"),
        corrected.words("at_once.index.homo_minus_baseline_vs_chimera"),
        shown(values, "at_once.index.homo_minus_chimera_hetero"),
        corrected.words("at_once.index.homo_minus_chimera_hetero"),
    ));
    if !runs.is_empty() {
        let mut plot = Plot::new(
            "index-by-order",
            "Published index in the order of the runs",
            Axis::linear("run", ""),
            Axis::linear("published index", "%"),
        )
        .caption("One run per point. The line: the first test with equal options.");
        for scenario in SCENARIOS {
            let mut series = Series::new(*scenario, Style::Points);
            for (place, run) in runs.iter().enumerate().filter(|(_, run)| run.scenario == *scenario) {
                series = series.point((place + 1) as f64, run.index());
            }
            if !series.points.is_empty() {
                plot = plot.series(series);
            }
        }
        let (early, late) = ours::halves(runs);
        if !early.is_empty() && !late.is_empty() {
            plot = plot.vertical(early.len() as f64 + 0.5, "equal options begin");
        }
        section = section.plot(plot);
    }
    section
}
