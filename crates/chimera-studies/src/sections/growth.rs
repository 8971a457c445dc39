//! Scaling by phase: exponents with their intervals, the same without each model, rivals of the power law, and plots.
//! The sentences are chosen by the numbers.

use chimera_report::{Axis, Cell, Column, NoteKind, Plot, Section, Series, Style, Table, Verdict};
use chimera_stats::{
    Estimate,
    models::{self, Choice, Comparison, Form, Regressor},
};

use super::{digits, listed, words};
use crate::{Estimands, PhaseMetric, Scaling, StudyError};

/// The section for all scalings of one arm. `main` are those that carry the headline (one per phase); `others` belong
/// to single scenarios, batches or budgets.
///
/// # Errors
/// A statistic that refused its input.
pub fn section(main: &[Scaling<'_>], others: &[(String, Scaling<'_>)]) -> Result<Section, StudyError> {
    let mut section = Section::new("scaling", "Scaling by phase").paragraph(
        "For every block a straight line is fitted through the logarithms of latency and parameter count; the exponent \
         is the mean of these slopes over blocks, with its t interval. That interval says how far the exponent would \
         move if this run were repeated. It does not say that a power law holds: for that see the fit through the \
         models, the rivals, and the exponents without each model.",
    );
    let mut rows: Vec<(String, &Scaling<'_>)> = Vec::new();
    for scaling in main {
        rows.push((scaling.selection.scenarios.join(", "), scaling));
    }
    rows.extend(others.iter().map(|(label, scaling)| (label.clone(), scaling)));
    section = section.table(exponents(&rows)?);
    for scaling in main {
        section = section.paragraph(sentence(scaling)?).plot(plot(scaling)).table(without(scaling)?);
        if let Some(comparison) = rivals(scaling)? {
            section = section
                .table(rival_table(scaling.phase, &comparison))
                .paragraph(rival_sentence(scaling.phase, &comparison));
        }
        for (model, reason) in &scaling.left_out {
            section = section.note(NoteKind::Limit, format!("`{model}` is not in this fit: {reason}."));
        }
    }
    Ok(section)
}

/// Puts the quantities of a scaling under `slope.<phase><suffix>` and `slope.<phase><suffix>.without.<model>`.
pub fn estimands(scaling: &Scaling<'_>, suffix: &str, into: &mut Estimands) {
    let name = format!("slope.{}{suffix}", scaling.phase.id());
    for (point, estimate) in scaling.points.iter().zip(&scaling.exponent_without) {
        into.put(format!("{name}.without.{}", point.model.id), estimate.clone());
    }
    into.put(name, scaling.exponent.clone());
}

fn exponents(rows: &[(String, &Scaling<'_>)]) -> Result<Table, StudyError> {
    let mut table = Table::new("exponents", "Exponents of latency in parameters")
        .caption(
            "Exponent: mean of the slopes of the blocks, t interval over blocks. Through the models: least squares on the \
             models' geometric means, whose interval holds the misfit of the power law. Without one model: smallest and \
             largest slope of that line when one model is left out. A law: Supported only where no single model decides \
             the slope.",
        )
        .column(Column::text("phase", "Phase"))
        .column(Column::text("scenarios", "Prompts"))
        .column(Column::number("models", "Models", ""))
        .column(Column::number("exponent", "Exponent", ""))
        .column(Column::number("through-models", "Through the models", ""))
        .column(Column::number("r2", "R²", ""))
        .column(Column::number("theil-sen", "Theil-Sen", ""))
        .column(Column::number("lowest", "Lowest without one", ""))
        .column(Column::number("highest", "Highest without one", ""))
        .column(Column::text("deciding", "Decided by"))
        .column(Column::text("law", "A law?"));
    for (label, scaling) in rows {
        let deciding = scaling.deciding()?;
        let fit = &scaling.fit.log_fit;
        let range = scaling.leave_one_out.slope_range();
        table.push_row([
            scaling.phase.label().into(),
            label.as_str().into(),
            scaling.points.len().into(),
            (&scaling.exponent).into(),
            slope_through_models(scaling).into(),
            Cell::or_missing(fit.r_squared, "no variance"),
            scaling.theil_sen.slope.into(),
            Cell::or_missing(range.map(|(low, _)| low), "undefined"),
            Cell::or_missing(range.map(|(_, high)| high), "undefined"),
            if deciding.is_empty() { "no single model".into() } else { deciding.join(", ").into() },
            law(&deciding).into(),
        ]);
    }
    Ok(table)
}

fn law(deciding: &[&str]) -> Verdict {
    if deciding.is_empty() { Verdict::Supported } else { Verdict::Inconclusive }
}

fn slope_through_models(scaling: &Scaling<'_>) -> Estimate {
    scaling.fit.exponent().estimate("log-log least squares, t", "model", scaling.points.len())
}

/// What may be said of a scaling, with its exponent.
///
/// # Errors
/// A statistic that refused its input.
pub fn sentence(scaling: &Scaling<'_>) -> Result<String, StudyError> {
    let start = format!(
        "*{}*: exponent {} over {} models.",
        capital(scaling.phase.label()),
        words(&scaling.exponent),
        scaling.points.len()
    );
    Ok(format!("{start} {}", standing(scaling)?))
}

/// Whether the exponent may be called a law, and why.
///
/// # Errors
/// A statistic that refused its input.
pub fn standing(scaling: &Scaling<'_>) -> Result<String, StudyError> {
    let deciding = scaling.deciding()?;
    let range = scaling
        .leave_one_out
        .slope_range()
        .map(|(low, high)| {
            format!("Between {} and {} when one model is left out. ", digits(low), digits(high))
        })
        .unwrap_or_default();
    Ok(if deciding.is_empty() {
        format!("{range}No single model decides the slope.")
    } else {
        format!(
            "{range}Not printed as a law: {} decide{} it alone (without it the slope changes sign, leaves the interval \
             of the fit, or is no longer significant).{}",
            listed(&deciding.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>()),
            if deciding.len() == 1 { "s" } else { "" },
            alone(scaling, &deciding)
        )
    })
}

/// The exponent without the one model that decides it.
fn alone(scaling: &Scaling<'_>, deciding: &[&str]) -> String {
    let [only] = deciding else { return String::new() };
    let mut pairs = scaling.points.iter().zip(&scaling.exponent_without);
    pairs
        .find(|(point, _)| point.model.id == *only)
        .map(|(_, estimate)| format!(" Without it the exponent is {}.", words(estimate)))
        .unwrap_or_default()
}

pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn plot(scaling: &Scaling<'_>) -> Plot {
    let phase = scaling.phase;
    let mut points = Series::new("models, geometric mean over prompts", Style::Points).emphasised();
    for point in &scaling.points {
        points = points.estimate(point.parameters, &point.estimate).label(point.model.id);
    }
    let mut plot = Plot::new(
        format!("scaling-{}", phase.id()),
        format!("Latency against parameters: {}", phase.label()),
        Axis::log("Parameters", ""),
        Axis::log("Latency", "s"),
    )
    .caption(format!(
        "Prompts: {}. Bars: 95 % intervals over blocks. Lines: least squares through all models, and without the \
         smallest.",
        scaling.selection.scenarios.join(", ")
    ))
    .series(points);
    let ends = scaling.points.first().zip(scaling.points.last());
    if let Some((first, last)) = ends {
        let mut line = Series::new("power law, all models", Style::Line);
        for x in [first.parameters, last.parameters] {
            line = line.point(x, scaling.fit.at(x));
        }
        plot = plot.series(line);
        if let Some(without) = scaling.leave_one_out.without.first().and_then(|without| without.fit.as_ref())
        {
            let mut line = Series::new(format!("without {}", first.model.id), Style::Line);
            for x in [first.parameters, last.parameters] {
                line = line.point(x, without.at(x.ln()).exp());
            }
            plot = plot.series(line);
        }
    }
    plot
}

fn without(scaling: &Scaling<'_>) -> Result<Table, StudyError> {
    let deciding = scaling.deciding()?;
    let mut table = Table::new(
        format!("without-{}", scaling.phase.id()),
        format!("The exponent without each model: {}", scaling.phase.label()),
    )
    .caption(
        "Leverage: hold of the model on the line, from 1/n to 1. Exponent without it: mean over blocks, t interval. \
         Through the others: least squares on their geometric means, with the p of a slope of zero.",
    )
    .column(Column::text("model", "Left out"))
    .column(Column::number("parameters", "Parameters", ""))
    .column(Column::number("leverage", "Leverage", ""))
    .column(Column::number("cook", "Cook's distance", ""))
    .column(Column::number("exponent", "Exponent without it", ""))
    .column(Column::number("through", "Through the others", ""))
    .column(Column::number("p", "p", ""))
    .column(Column::number("r2", "R²", ""))
    .column(Column::text("decides", "Decides the slope"));
    for (index, point) in scaling.points.iter().enumerate() {
        let influence = scaling.influence.get(index);
        let fit = scaling.leave_one_out.without.get(index).and_then(|without| without.fit.as_ref());
        table.push_row([
            point.model.id.into(),
            point.parameters.into(),
            Cell::or_missing(influence.map(|i| i.leverage), "undefined"),
            Cell::or_missing(influence.and_then(|i| i.cooks_distance), "undefined: no residual scatter"),
            Cell::or_missing(scaling.exponent_without.get(index), "no block has all other models"),
            Cell::or_missing(
                fit.map(|f| f.slope.estimate("log-log least squares, t", "model", f.n)),
                "no line through the others",
            ),
            Cell::or_missing(fit.and_then(|f| f.slope.p), "not testable"),
            Cell::or_missing(fit.and_then(|f| f.r_squared), "no variance"),
            if deciding.contains(&point.model.id) { "yes" } else { "no" }.into(),
        ]);
    }
    Ok(table)
}

/// Rival descriptions of one scaling; `None` when some model lacks an architecture figure.
///
/// # Errors
/// A statistic that refused its input.
pub fn rivals(scaling: &Scaling<'_>) -> Result<Option<Comparison>, StudyError> {
    let column = |get: fn(&crate::ModelFacts<'_>) -> Option<f64>| {
        scaling.points.iter().map(|point| get(&point.model)).collect::<Option<Vec<f64>>>()
    };
    let (Some(parameters), Some(layers), Some(bytes)) =
        (column(|m| m.parameters), column(|m| m.layers), column(|m| m.bytes_per_token))
    else {
        return Ok(None);
    };
    let y: Vec<f64> = scaling.points.iter().map(|point| point.estimate.point).collect();
    let regressors = [
        Regressor { name: "parameters", values: &parameters },
        Regressor { name: "depth", values: &layers },
        Regressor { name: "bytes per token", values: &bytes },
    ];
    models::compare(&y, &regressors, &[Form::Linear, Form::Power, Form::OffsetPower])
        .map(Some)
        .map_err(StudyError::at(format!("rival models of {}", scaling.phase.id())))
}

fn rival_table(phase: PhaseMetric, comparison: &Comparison) -> Table {
    let mut table =
        Table::new(format!("rivals-{}", phase.id()), format!("Rival descriptions: {}", phase.label()))
            .caption(
                "Fitted and judged on logarithmic errors over the models. AICc: smaller is better, a difference below 4 \
                 decides nothing. Left-out error: root mean square error at a model predicted from the others.",
            )
            .column(Column::text("rival", "Rival"))
            .column(Column::number("k", "Parameters of the curve", ""))
            .column(Column::number("delta", "AICc above the best", ""))
            .column(Column::number("loo", "Left-out error", "%"))
            .column(Column::number("offset", "Offset", "s"))
            .column(Column::number("exponent", "Exponent", ""));
    for rival in &comparison.rivals {
        let has_offset = matches!(rival.form, Form::Constant | Form::Linear | Form::OffsetPower);
        let has_exponent = matches!(rival.form, Form::Power | Form::OffsetPower);
        table.push_row([
            rival.name.as_str().into(),
            (rival.k - 1).into(),
            Cell::or_missing(rival.delta_aicc, "too few models for this many parameters"),
            Cell::or_missing(rival.loo_rmse.map(|e| e * 100.0), "the others do not determine it"),
            Cell::or_missing(has_offset.then_some(rival.curve.offset), "has none"),
            Cell::or_missing(has_exponent.then_some(rival.curve.exponent), "has none"),
        ]);
    }
    table
}

fn rival_sentence(phase: PhaseMetric, comparison: &Comparison) -> String {
    let first = comparison.rivals.first().map_or("none", |rival| rival.name.as_str());
    let label = capital(phase.label());
    match &comparison.choice {
        Choice::Chosen => {
            format!("{label}: `{first}` describes the models best, by AICc and by left-out error.")
        }
        Choice::CloseCall { with } => format!(
            "{label}: the best by AICc is `{first}`, but {} other{} within 4 of it ({}): these data do not tell them apart.",
            with.len(),
            if with.len() == 1 { " is" } else { "s are" },
            with.join(", ")
        ),
        Choice::LeaveOneOutDisagrees { prefers } => {
            format!("{label}: AICc prefers `{first}`, the left-out error prefers `{prefers}`: undecided.")
        }
        Choice::NotComparable => format!("{label}: too few models to compare descriptions."),
    }
}
