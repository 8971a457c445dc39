//! The tables of this report but for the lag: the published ones, then ours.

use chimera_report::{Axis, Column, Plot, Section, Series, Style, Table};

use super::{
    super::family::{Corrected, cell, shown},
    runs::CONDITIONS,
    rust::MODELS,
};
use crate::{Value, Values};

/// Published tables by the published formula.
pub(super) fn legacy(values: &Values) -> Section {
    let mut index = Table::new("legacy-index", "The published efficiency")
        .caption(
            "Sum of the two concurrent times over twice the wall time: a balance index, not an efficiency.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::number("mean", "Mean", "%"))
        .column(Column::number("sd", "SD", "%"))
        .column(Column::number("max", "Maximum", "%"));
    let arms = CONDITIONS
        .iter()
        .map(|(name, words)| (format!("Python, {words}"), format!("legacy.efficiency.{name}")))
        .chain(
            MODELS
                .iter()
                .map(|(model, name)| (format!("Rust, {model}"), format!("legacy.rust_efficiency.{name}"))),
        );
    for (words, name) in arms {
        let of = |what: &str| cell(values, &format!("{name}.{what}"));
        index.push_row([words.into(), of("mean"), of("sd"), of("max")]);
    }
    let mut gpu = Table::new("legacy-gpu", "GPU samples")
        .caption("Over all samples of a model, pauses included.")
        .column(Column::text("model", "Model"))
        .column(Column::number("power", "Power", "W"))
        .column(Column::number("sd", "SD", "W"))
        .column(Column::number("max", "Maximum", "W"))
        .column(Column::number("utilisation", "Utilisation", "%"))
        .column(Column::number("memory", "Memory", "MB"));
    for (model, name) in MODELS {
        let of = |what: &str| cell(values, &format!("legacy.gpu.{name}.{what}"));
        gpu.push_row([
            model.into(),
            of("power.mean"),
            of("power.sd"),
            of("power.max"),
            of("utilisation.mean"),
            of("memory"),
        ]);
    }
    Section::new("legacy", "Published tables by the published formula").table(index).table(gpu)
}

/// The same question by our definitions.
pub(super) fn ours(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("conditions", "Python conditions")
        .caption("Over runs. Rate and time to the first line leave out the first run of a condition, which may load the model.")
        .column(Column::text("condition", "Condition"))
        .column(Column::number("failed", "Failed runs", ""))
        .column(Column::number("index", "Balance index", "%"))
        .column(Column::number("rate", "Both agents together, warm", "tok/s"))
        .column(Column::number("ttft", "First line, warm", "s"))
        .column(Column::number("first", "First line, first run", "s"));
    for (name, words) in CONDITIONS {
        let of = |what: &str| cell(values, &format!("{what}.{name}"));
        table.push_row([
            words.into(),
            of("failures"),
            of("efficiency"),
            of("aggregate_rate"),
            of("ttft"),
            cell(values, &format!("ttft.{name}.first_run")),
        ]);
    }
    let mut rust = Table::new("rust", "Rust agents")
        .caption("Over runs in which all four calls returned tokens.")
        .column(Column::text("model", "Model"))
        .column(Column::number("failed", "Failed calls", ""))
        .column(Column::number("index", "Balance index", "%"))
        .column(Column::number("lengths", "Fewer tokens over more", ""))
        .column(Column::number("rate", "Both agents together", "tok/s"))
        .column(Column::number("decode", "Decode rate of a call", "tok/s"));
    for (model, name) in MODELS {
        let of = |what: &str| cell(values, &format!("rust.{what}.{name}"));
        rust.push_row([
            model.into(),
            of("failed_calls"),
            of("efficiency"),
            of("length_ratio"),
            of("aggregate_rate"),
            of("decode_rate"),
        ]);
    }
    let section = Section::new("ours", "The same question by our definitions")
        .paragraph(format!(
            "The index is computed from the two concurrent times alone (largest deviation from that identity {}), so it \
             cannot see that both agents are slow. A true speed-up has no value here: {}.",
            shown(values, "balance.identity_error"),
            shown(values, "true_speed_up"),
        ))
        .table(table)
        .table(rust)
        .paragraph(format!(
            "Qwen minus Gemma in Rust is {} of the index ({}). The large buffer changes it by {} ({}).",
            shown(values, "rust.qwen_minus_gemma"),
            corrected.words("rust.models"),
            shown(values, "buffer.efficiency_difference"),
            corrected.words("buffer.efficiency"),
        ));
    let mut points = Series::new("balance index", Style::Points);
    let mut any = false;
    for (index, (name, _)) in CONDITIONS.iter().enumerate() {
        if let Some(Value::Estimate { estimate, .. }) = values.get(&format!("efficiency.{name}")) {
            points = points.estimate(index as f64, estimate);
            any = true;
        }
    }
    if !any {
        return section;
    }
    section.plot(
        Plot::new(
            "index",
            "The balance index by condition",
            Axis::categories("condition", CONDITIONS.map(|(_, words)| words)),
            Axis::linear("balance index", "%"),
        )
        .caption("Mean over runs with its t interval at 95 %. One agent as slow as the other gives 100 %, however slow.")
        .series(points)
        .horizontal(super::CEILING, "the published ceiling"),
    )
}
