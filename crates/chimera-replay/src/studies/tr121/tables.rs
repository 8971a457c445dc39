//! Tables of the replay that the analysis of live runs does not make.

use chimera_report::{Column, Section, Table};

use super::{
    super::family::{Corrected, cell, shown},
    cells::{self, Cells, MODES, Mode, points},
};
use crate::Values;

/// The published formulas.
pub(super) fn published(values: &Values, cells: &Cells<'_>) -> Section {
    let mut fits = Table::new("published-fits", "Power laws through the models")
        .caption(
            "Least squares through decimal logarithms of the models' geometric means of medians; resampled interval with the \
             report's seed, degenerate resamples kept. Without one: smallest and largest slope when one model is left out.",
        )
        .column(Column::text("run", "Run"))
        .column(Column::text("arm", "Arm"))
        .column(Column::text("phase", "Phase"))
        .column(Column::number("models", "Models", ""))
        .column(Column::number("slope", "Slope", ""))
        .column(Column::number("low", "Resampled, 2.5 %", ""))
        .column(Column::number("high", "97.5 %", ""))
        .column(Column::number("r2", "R²", ""))
        .column(Column::number("min", "Lowest without one", ""))
        .column(Column::number("max", "Highest without one", ""));
    let mut rows = Table::new("published-runs", "Decode fractions and first-use ratios")
        .caption("Fraction: median over models of the ratio of geometric means. First use: prefill of the warm-up call over the median of the later ones.")
        .column(Column::text("run", "Run"))
        .column(Column::text("arm", "Arm"))
        .column(Column::number("fraction", "Decode fraction", ""))
        .column(Column::number("median", "First use, median", ""))
        .column(Column::number("p95", "p95", ""))
        .column(Column::number("max", "Largest", ""));
    for (run, arm) in cells::arms(cells) {
        let name = format!("legacy.{run}.{arm}");
        for mode in MODES {
            let of = |what: &str| cell(values, &format!("{name}.{}.{what}", mode.name()));
            fits.push_row([
                run.into(),
                arm.into(),
                mode.name().into(),
                of("models"),
                of("slope"),
                of("boot_low"),
                of("boot_high"),
                of("r2"),
                of("loo_min"),
                of("loo_max"),
            ]);
        }
        let warm = |what: &str| cell(values, &format!("{name}.prefill.warm_ratio_{what}"));
        rows.push_row([
            run.into(),
            arm.into(),
            cell(values, &format!("{name}.fraction")),
            warm("median"),
            warm("p95"),
            warm("max"),
        ]);
    }
    Section::new("published", "Published tables by the published formula").table(fits).table(rows)
}

/// What they rest on.
pub(super) fn doubts(values: &Values, corrected: &Corrected, cells: &Cells<'_>) -> Section {
    let mut prices = Table::new("prices", "Price with and without the prompt in the denominator")
        .caption(
            "Total: the published formula, prompt tokens counted, tokens asked for. Target: per token asked for. Output: money \
             over tokens that came, ratio of sums, interval over prompts.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::text("model", "Model"))
        .column(Column::number("total", "Per million tokens, total", "USD"))
        .column(Column::number("target", "Per million asked for", "USD"))
        .column(Column::number("output", "Per million output tokens", "USD"));
    let mut noise = Table::new("noise", "The same cell in another run")
        .caption(
            "Cells measured in more than one run at the same settings. Spread: largest over smallest median, geometric mean \
             over models. Between and within: standard deviation of logarithms over runs, and over the calls of one run.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::text("phase", "Phase"))
        .column(Column::number("cells", "Cells", ""))
        .column(Column::number("spread", "Spread", ""))
        .column(Column::number("max", "Largest", ""))
        .column(Column::number("between", "Between runs", ""))
        .column(Column::number("within", "Within a run", ""));
    let mut first = Table::new("first-of-run", "First use of a backend in a run against the other first uses")
        .caption("Ratio of first-use ratios of prefill, geometric mean over runs; the others stand for by their median in the run.")
        .column(Column::text("arm", "Arm"))
        .column(Column::number("runs", "Runs", ""))
        .column(Column::number("peaks", "Runs whose peak it is", ""))
        .column(Column::number("ratio", "First over others", ""))
        .column(Column::number("elsewhere", "Model of the published peak, elsewhere", ""))
        .column(Column::text("p", "p"));
    let mut steps = Table::new("steps", "Prefill in decode steps")
        .caption(
            "Prompts of more than 8 tokens; geometric mean over models. Below: cells of less than 1.5 steps. Growth: power of \
             prefill in the number of prompt tokens, mean over models.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::number("cells", "Cells", ""))
        .column(Column::number("flagged", "Below", ""))
        .column(Column::number("steps", "Steps", ""))
        .column(Column::number("min", "Smallest", ""))
        .column(Column::number("max", "Largest", ""))
        .column(Column::number("growth", "Growth", ""));
    for arm in ["cpu", "gpu", "ollama"] {
        let of = |what: &str| cell(values, &format!("cache.{arm}.{what}"));
        let figures = ["cells", "flagged", "steps", "steps.min", "steps.max", "growth"];
        steps.push_row(std::iter::once(arm.into()).chain(figures.map(of)));
        for point in points(cells, ("primary", arm), Mode::Both, None) {
            prices.push_row([
                arm.into(),
                point.model.into(),
                cell(values, &format!("legacy.primary.{arm}.{}.usd_per_1m", point.model)),
                cell(values, &format!("cost.target.{arm}.{}", point.model)),
                cell(values, &format!("cost.output.{arm}.{}", point.model)),
            ]);
        }
        for mode in [Mode::Prefill, Mode::Decode] {
            let of = |what: &str| cell(values, &format!("noise.{arm}.{}.{what}", mode.name()));
            noise.push_row([
                arm.into(),
                mode.name().into(),
                of("cells"),
                of("spread"),
                of("spread.max"),
                of("between"),
                of("within"),
            ]);
        }
        let name = format!("first_use.{arm}");
        first.push_row([
            arm.into(),
            cell(values, &format!("{name}.runs")),
            cell(values, &format!("{name}.peaks_at_first")),
            cell(values, &name),
            cell(values, &format!("{name}.peak_model_elsewhere")),
            corrected.words(&name).into(),
        ]);
    }
    Section::new("rests-on", "The same question by our definitions: what the numbers rest on")
        .paragraph(
            "Prefill in decode steps: a cache hit evaluates one token and costs one step. So does a short prompt where reading \
             the weights or launching kernels takes the time, cache or not: the local models are the control.",
        )
        .table(steps)
        .table(first)
        .table(prices)
        .table(noise)
        .paragraph(format!(
            "{} calls failed or have no times, and {} rows of runs with the old schema were refused; neither is in any value.",
            shown(values, "calls.failed"),
            shown(values, "calls.refused"),
        ))
}
