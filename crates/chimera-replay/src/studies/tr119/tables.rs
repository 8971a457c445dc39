//! Headlines, tables and plots of costs, requests and comparisons: only what is printed, from quantities that are computed
//! elsewhere.

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict};

use super::{
    super::family::{Corrected, cell, shown},
    costs::pair,
    read::{BACKENDS, MODES, SCENARIOS},
};
use crate::Values;

/// Whether the published favourite is the cheapest of a mode: a test against each other backend.
pub(super) fn headline(values: &Values, corrected: &Corrected, mode: usize) -> Headline {
    let ratio = |second: usize| values.point(&pair(mode, 0, second)).unwrap_or(f64::NAN);
    let differs = |second: &usize| corrected.differs(&pair(mode, 0, *second));
    let others: Vec<usize> = (1..BACKENDS.len()).collect();
    let dearer = others.iter().filter(|second| differs(second) && ratio(**second) > 1.0).count();
    let cheaper = others.iter().filter(|second| differs(second) && ratio(**second) < 1.0).count();
    let verdict = match (dearer, cheaper) {
        (_, 1..) => Verdict::Contradicted,
        (dearer, 0) if dearer == others.len() => Verdict::Supported,
        _ => Verdict::Inconclusive,
    };
    let nearest = others.iter().copied().min_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).unwrap_or(1);
    let name = pair(mode, 0, nearest);
    Headline::new(
        format!("cheapest-{}", MODES[mode]),
        format!("{} is the cheapest backend of {}", BACKENDS[0], MODES[mode]),
        verdict,
        format!(
            "Over the same {} scenarios by ratio of sums, {dearer} of {} other backends are dearer and {cheaper} cheaper after \
             correction. The nearest is {} at {} times the cost ({}; detectable: {} times).",
            SCENARIOS.len(),
            others.len(),
            BACKENDS[nearest],
            shown(values, &name),
            corrected.words(&name),
            shown(values, &format!("{name}.detectable")),
        ),
    )
    .value(cell(values, &name), "")
}

/// What a year's saving is by four formulas.
pub(super) fn saving(values: &Values, corrected: &Corrected, other: usize) -> Headline {
    let name = format!("request.{}.saving", BACKENDS[other]);
    let more = values.point(&name).is_some_and(|saving| saving > 0.0);
    let of = |definition: &str| shown(values, &format!("{definition}.{}.saving", BACKENDS[other]));
    Headline::new(
        "saving",
        format!("{} saves money over {}", BACKENDS[0], BACKENDS[other]),
        corrected.verdict(&name, more),
        format!(
            "USD per year at a billion tokens a month ({}): {} by the mean of ten rows, {} by arithmetic means of throughputs, {} \
             by time, {} by ratio of sums.",
            corrected.words(&name),
            of("legacy.tco_rows"),
            of("legacy.tco_request"),
            of("time_weighted"),
            of("request"),
        ),
    )
    .value(cell(values, &name), "USD")
}

/// Costs by ratio of sums beside the published ones.
pub(super) fn section(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("costs", "Machine time for a million tokens, in USD")
        .caption(
            "On demand, without energy. Published: throughput as the mean of the ratios of calls. Ratio of sums: seconds over \
             tokens, mean over scenarios, with its t interval over repetitions of one process. Wins: scenarios in which the \
             backend is the cheapest.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("backend", "Backend"))
        .column(Column::number("published", "Published", "USD"))
        .column(Column::number("sums", "Ratio of sums", "USD"))
        .column(Column::number("wins-published", "Wins, published", ""))
        .column(Column::number("wins", "Wins, ratio of sums", ""));
    let mut ratios = Table::new("mean-of-ratios", "Throughput of a cell: mean of ratios over ratio of sums")
        .caption(
            "One is right. A run has two calls; where one of them is slow, the mean of ratios forgets it.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("backend", "Backend"));
    for scenario in SCENARIOS {
        ratios = ratios.column(Column::number(scenario.replace('_', "-"), scenario, ""));
    }
    for mode in MODES {
        for backend in BACKENDS {
            let of = |name: &str| cell(values, &format!("{name}.{mode}.{backend}"));
            table.push_row([
                mode.into(),
                backend.into(),
                cell(values, &format!("legacy.{mode}.{backend}.infra_per_1m")),
                of("infra_per_1m"),
                of("legacy.wins"),
                of("wins"),
            ]);
            let cells = SCENARIOS
                .iter()
                .map(|scenario| cell(values, &format!("mean_of_ratios.{mode}.{backend}.{scenario}")));
            ratios.push_row([mode.into(), backend.into()].into_iter().chain(cells));
        }
    }
    let mut section = Section::new("costs", "Costs by ratio of sums").table(table);
    section = section
        .paragraph(format!(
            "Of five scenarios each, the cheapest backend changes with the formula in {} of prefill and in {} of generation.",
            shown(values, "wins.changed.prefill"),
            shown(values, "wins.changed.generate"),
        ))
        .table(ratios)
        .plot(plot(values));
    section.table(pairs(values, corrected))
}

fn plot(values: &Values) -> Plot {
    let mut plot = Plot::new(
        "costs",
        "Machine time for a million tokens",
        Axis::categories("Backend", BACKENDS),
        Axis::log("Cost on demand", "USD"),
    )
    .caption("Points with t intervals over repetitions: ratio of sums. Points without: as published.");
    for mode in MODES {
        let mut ours = Series::new(format!("{mode}, ratio of sums"), Style::Points).emphasised();
        let mut theirs = Series::new(format!("{mode}, published"), Style::Points);
        for (place, backend) in BACKENDS.iter().enumerate() {
            let x = place as f64;
            if let Some(crate::Value::Estimate { estimate, .. }) =
                values.get(&format!("infra_per_1m.{mode}.{backend}"))
            {
                // A logarithmic axis has no place for an interval that reaches zero.
                let drawable = estimate.interval.is_none_or(|interval| interval.low > 0.0);
                ours = if drawable { ours.estimate(x, estimate) } else { ours.point(x, estimate.point) };
            }
            if let Some(y) = values.point(&format!("legacy.{mode}.{backend}.infra_per_1m")) {
                theirs = theirs.point(x, y);
            }
        }
        plot = plot.series(ours).series(theirs);
    }
    plot
}

fn pairs(values: &Values, corrected: &Corrected) -> Table {
    let mut table = Table::new("pairs", "Backends over the same scenarios")
        .caption(
            "Ratio of costs, second over first, geometric mean over five scenarios with its t interval; paired t on logarithms, \
             Holm over all tests of this report. Detectable: the ratio that five scenarios would find with a power of 0.8. \
             Published p: unpaired, uncorrected.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("first", "First"))
        .column(Column::text("second", "Second"))
        .column(Column::number("ratio", "Second over first", ""))
        .column(Column::number("g", "Hedges g of pairs", ""))
        .column(Column::number("detectable", "Detectable", ""))
        .column(Column::number("p", "p", ""))
        .column(Column::number("holm", "p, Holm", ""))
        .column(Column::number("published", "Published p", ""))
        .column(Column::text("differs", "Differs"));
    for (mode, mode_name) in MODES.iter().enumerate() {
        for (first, first_name) in BACKENDS.iter().enumerate() {
            for (second, second_name) in BACKENDS.iter().enumerate().skip(first + 1) {
                let name = pair(mode, first, second);
                let mut both = [*first_name, *second_name];
                both.sort_unstable();
                let published = format!("legacy.pairwise.{mode_name}.{}.{}.p", both[0], both[1]);
                table.push_row([
                    (*mode_name).into(),
                    (*first_name).into(),
                    (*second_name).into(),
                    cell(values, &name),
                    cell(values, &format!("{name}.g")),
                    cell(values, &format!("{name}.detectable")),
                    cell(values, &format!("{name}.p")),
                    cell(values, &format!("{name}.p_holm")),
                    cell(values, &published),
                    (if corrected.differs(&name) { "yes" } else { "not shown" }).into(),
                ]);
            }
        }
    }
    table
}

/// A request and a year by every formula.
pub(super) fn request_section(values: &Values) -> Section {
    let mut table = Table::new("requests", "A year at a billion tokens a month, in USD")
        .caption(
            "256 prompt and 128 generated tokens a request. Ten rows: the mean cost of all cells of both modes, version 1.1. \
             Arithmetic: tokens over the mean of the cells' throughputs, version 1. By time: tokens times the mean of the cells' \
             costs. Batch 1: the same over the three scenarios that are no batches. Ratio of sums: machine time alone, with its t \
             interval over repetitions. Months: until 1,000 USD for the favourite have come back, by time.",
        )
        .column(Column::text("backend", "Backend"))
        .column(Column::number("rows", "Ten rows", "USD"))
        .column(Column::number("arithmetic", "Arithmetic", "USD"))
        .column(Column::number("time", "By time", "USD"))
        .column(Column::number("single", "By time, batch 1", "USD"))
        .column(Column::number("sums", "Ratio of sums", "USD"))
        .column(Column::number("saving", "Saved by the favourite", "USD"))
        .column(Column::number("months", "Months", ""));
    for (place, backend) in BACKENDS.iter().enumerate() {
        let of = |name: &str| cell(values, &format!("{name}.{backend}.year"));
        let against = |name: String| {
            if place == 0 {
                chimera_report::Cell::missing("it is the favourite")
            } else {
                cell(values, &name)
            }
        };
        table.push_row([
            (*backend).into(),
            of("legacy.tco_rows"),
            of("legacy.tco_request"),
            of("time_weighted"),
            of("time_weighted.single"),
            of("request"),
            against(format!("request.{backend}.saving")),
            against(format!("break_even.time.{backend}")),
        ]);
    }
    Section::new("requests", "A request and a year").table(table)
}
