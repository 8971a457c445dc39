//! The tables and the plot of this report.

use chimera_report::{Axis, Column, Plot, Section, Series, Style, Table};

use super::{
    super::{
        family::{Corrected, cell, shown},
        tr114::pairs::Pair,
    },
    LANGUAGES, MODELS, SCENARIOS, single,
};
use crate::Values;

fn cells() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    MODELS.into_iter().flat_map(|(short, ..)| SCENARIOS.map(|(scenario, words)| (short, scenario, words)))
}

/// Published tables by the published formula.
pub(super) fn legacy(values: &Values) -> Section {
    let mut table = Table::new("legacy-cells", "Published efficiency")
        .caption("Over five runs. Rust: client times over twice the wall time. Python: server times over twice the wall time.")
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Scenario"));
    for (id, title) in [("rust", "Rust"), ("python", "Python")] {
        table = table
            .column(Column::number(format!("{id}-mean"), format!("{title}, mean"), "%"))
            .column(Column::number(format!("{id}-sd"), "SD", "pp"))
            .column(Column::number(format!("{id}-max"), "Peak", "%"));
    }
    table = table.column(Column::number("gap", "Rust less Python", "pp"));
    for (short, scenario, words) in cells() {
        let of = |language: &str, what: &str| {
            cell(values, &format!("legacy.{language}.{short}.{scenario}.{what}"))
        };
        table.push_row([
            short.into(),
            words.into(),
            of("rust", "mean"),
            of("rust", "sd"),
            of("rust", "max"),
            of("python", "mean"),
            of("python", "sd"),
            of("python", "max"),
            cell(values, &format!("legacy.gap.{short}.{scenario}")),
        ]);
    }
    Section::new("legacy", "Published tables by the published formula")
        .paragraph(format!(
            "Overall {} in Rust, {} in Python.",
            shown(values, "legacy.rust.mean"),
            shown(values, "legacy.python.mean")
        ))
        .table(table)
}

/// One formula, and the speed-ups.
pub(super) fn ours(values: &Values) -> Section {
    let mut index = Table::new("one-formula", "Both languages by one formula")
        .caption(
            "Sum of the client's times over twice the wall time, mean over runs, failed ones too; mean tokens of the two \
             agents.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("rust", "Rust", "%"))
        .column(Column::number("rust-a", "Tokens of the first", ""))
        .column(Column::number("rust-b", "of the second", ""))
        .column(Column::number("python", "Python", "%"))
        .column(Column::number("python-a", "Tokens of the first", ""))
        .column(Column::number("python-b", "of the second", ""));
    for (short, scenario, words) in cells() {
        let of = |language: &str| {
            [
                cell(values, &format!("index.{language}.{short}.{scenario}")),
                cell(values, &format!("tokens.{language}.{short}.{scenario}.a")),
                cell(values, &format!("tokens.{language}.{short}.{scenario}.b")),
            ]
        };
        index.push_row([short.into(), words.into()].into_iter().chain(of("rust")).chain(of("python")));
    }
    let mut speedup = Table::new("speedups", "Speed-up over single agents")
        .caption(
            "Sum of tokens over sum of seconds, over warm runs (the first of each condition left out) without a failed call; \
             single agents of the same language and day, both arms. Efficiency is half of the speed-up.",
        )
        .column(Column::text("language", "Language"))
        .column(Column::text("model", "Model"))
        .column(Column::number("together", "Both together", "tok/s"))
        .column(Column::number("alone", "One alone", "tok/s"))
        .column(Column::number("speedup", "Speed-up", ""))
        .column(Column::number("efficiency", "Efficiency", "%"));
    for language in LANGUAGES {
        for (short, ..) in MODELS {
            let of = |what: &str| cell(values, &format!("{what}.{language}.{short}"));
            speedup.push_row([
                language.into(),
                short.into(),
                of("rate.concurrent"),
                of("rate.solo"),
                of("speedup"),
                of("efficiency"),
            ]);
        }
    }
    Section::new("ours", "The same question by our definitions")
        .paragraph(format!(
            "{} of {} Rust runs and {} of {} Python runs had a failed call. {} Python runs lie in a folder that names another \
             context than they used.",
            shown(values, "runs.failed.rust"),
            shown(values, "runs.rust"),
            shown(values, "runs.failed.python"),
            shown(values, "runs.python"),
            shown(values, "runs.python.context_mislabelled"),
        ))
        .table(index)
        .table(speedup)
}

/// Index against the balance of outputs.
pub(super) fn index(rust: &[Pair], python: &[Pair]) -> Section {
    let mut plot = Plot::new(
        "lengths-index",
        "Balance of outputs against the index",
        Axis::linear("Shorter output over longer", ""),
        Axis::linear("Index by one formula", "%"),
    )
    .caption("One point per run, failed ones too.");
    for (name, runs) in [("Rust", rust), ("Python", python)] {
        let mut series = Series::new(name, Style::Points);
        for run in runs {
            if let Some(index) = run.index_again()
                && run.length_ratio().is_finite()
            {
                series = series.point(run.length_ratio(), index);
            }
        }
        if !series.points.is_empty() {
            plot = plot.series(series);
        }
    }
    Section::new("index", "What the published efficiency sees").plot(plot)
}

/// Single agents of the same day.
pub(super) fn single(values: &Values, corrected: &Corrected) -> Section {
    let mut rates = Table::new("single", "One agent, two languages, one day")
        .caption(
            "Decode rate as the server reports it. Mean over calls (Rust) or runs (Python) as published; ratio of geometric \
             means of runs by ours. In the baseline arm the options differ between the languages, in the other they are the \
             same.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::text("arm", "Arm"))
        .column(Column::number("rust", "Rust", "tok/s"))
        .column(Column::number("python", "Python", "tok/s"))
        .column(Column::number("ratio", "Rust over Python", ""))
        .column(Column::text("p", "Test"));
    for (short, ..) in MODELS {
        for arm in single::ARMS {
            let name = format!("single.ratio.{arm}.{short}");
            rates.push_row([
                short.into(),
                arm.into(),
                cell(values, &format!("legacy.single.rust.{short}.{arm}")),
                cell(values, &format!("legacy.single.python.{short}.{arm}")),
                cell(values, &name),
                corrected.words(&name).into(),
            ]);
        }
    }
    let mut ttft = Table::new("ttft", "What was called TTFT")
        .caption(
            "Medians, first runs left out. Rust printed the first, over calls; Python prompt evaluation alone, over runs. They are \
             different quantities of different prompts.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::number("client", "Rust, client", "s"))
        .column(Column::number("server", "Rust, load and prompt evaluation", "s"))
        .column(Column::number("prefill", "Rust, prompt evaluation", "s"))
        .column(Column::number("python", "Python, prompt evaluation", "s"));
    for (short, ..) in MODELS {
        ttft.push_row([
            short.into(),
            cell(values, &format!("ttft.client.rust.{short}")),
            cell(values, &format!("ttft.server.rust.{short}")),
            cell(values, &format!("prefill.server.rust.{short}")),
            cell(values, &format!("prefill.server.python.{short}")),
        ]);
    }
    Section::new("single", "Single agents").table(rates).table(ttft)
}
