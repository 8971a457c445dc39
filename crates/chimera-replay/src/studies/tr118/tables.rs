//! Tables and plots of TR118. Every sentence is made of values; which word it uses is for a test to say.

use chimera_report::{Axis, Cell, Column, Plot, Section, Series, Style, Table};

use super::{
    audit::{Cause, Engine, Gate},
    crossover::{Aggregate, MILLIONS, Point, published_points},
    data::{BACKENDS, BASELINE, Data, Run},
    ours::{cell, estimate, verdict},
};
use crate::Values;

/// A run with the name of its values.
pub(super) type Part<'d> = (&'static str, &'d Run);

/// The published tables by the published formula.
pub(super) fn legacy(values: &Values, parts: &[Part<'_>]) -> Section {
    let mut section = Section::new("legacy", "Published tables by the published formula").paragraph(
        "A record is one repetition of one scenario, the mean over its prompts; a backend's value is the mean over scenarios \
         of the mean over repetitions, of the records that succeeded. Spread, interval and test pool the records of all \
         scenarios, as published, and say more of the scenarios than of the backend.",
    );
    for (label, run) in parts {
        let mode = &run.mode;
        let mut table = Table::new(format!("legacy-{label}-{mode}"), format!("{} {mode}", run.model))
            .caption(format!("One row per backend; {} records.", run.records.len()))
            .column(Column::text("backend", "Backend"))
            .column(Column::number("records", "Records", ""))
            .column(Column::number("degraded", "Failed", ""))
            .column(Column::number("scenarios", "Scenarios left", ""))
            .column(Column::number("throughput", "Throughput", "tok/s"))
            .column(Column::number("sd", "SD, pooled", "tok/s"))
            .column(Column::number("speedup", "Speed-up by rate", ""))
            .column(Column::number("by-latency", "Speed-up by latency", ""))
            .column(Column::number("t", "t, rate", ""))
            .column(Column::number("p", "p, rate", ""))
            .column(Column::number("p-latency", "p, latency", ""));
        for backend in BACKENDS {
            let of = |quantity: &str| match (backend == BASELINE, quantity) {
                (true, "speedup" | "speedup_by_latency" | "throughput_t" | "throughput_p" | "latency_p") => {
                    Cell::missing("the baseline")
                }
                _ => cell(values, &format!("legacy.{label}.{mode}.{backend}.{quantity}")),
            };
            let quantities = [
                "records",
                "degraded",
                "scenarios",
                "throughput",
                "throughput_sd",
                "speedup",
                "speedup_by_latency",
                "throughput_t",
                "throughput_p",
                "latency_p",
            ];
            table.push_row(std::iter::once(Cell::from(backend)).chain(quantities.map(of)));
        }
        section = section.table(table);
    }
    section
}

/// The same comparisons by our definitions.
pub(super) fn ours(values: &Values, parts: &[Part<'_>]) -> Section {
    let mut section =
        Section::new("ours", "The same question by our definitions").paragraph(
            "Speed-up is the ratio of the geometric means of end-to-end time, one value per repetition over the scenarios \
             that both backends finished, the first repetition apart, with Welch's interval on logarithms; p is Holm's over all tests of this report. \
             *Within 10 %* is an equivalence test. Repetitions of one process are the only replicates there are.",
        );
    for (label, run) in parts {
        let mode = &run.mode;
        let mut table = Table::new(format!("ours-{label}-{mode}"), format!("{} {mode}", run.model))
            .caption("One row per backend against the baseline; n counts repetitions.")
            .column(Column::text("backend", "Backend"))
            .column(Column::number("throughput", "Throughput (padded tokens)", "tok/s"))
            .column(Column::number("speedup", "Speed-up", ""))
            .column(Column::number("with-first", "With first repetition", ""))
            .column(Column::number("p", "p, Holm", ""))
            .column(Column::number("equal", "p, within 10 %", ""))
            .column(Column::number("detectable", "Detectable change", "%"))
            .column(Column::text("verdict", "Faster than the baseline"));
        for backend in BACKENDS {
            let name = format!("speedup.{label}.{mode}.{backend}");
            let versus = |quantity: String| {
                if backend == BASELINE { Cell::missing("the baseline") } else { cell(values, &quantity) }
            };
            let conclusion = if backend == BASELINE {
                Cell::missing("the baseline")
            } else {
                verdict(values, &name).into()
            };
            table.push_row([
                Cell::from(backend),
                cell(values, &format!("throughput.{label}.{mode}.{backend}")),
                versus(name.clone()),
                versus(format!("{name}.with_first")),
                versus(format!("p_holm.{name}")),
                versus(format!("{name}.equivalence_p")),
                versus(format!("{name}.detectable")),
                conclusion,
            ]);
        }
        section = section.table(table);
    }
    section
}

/// Who survived: means over different scenarios against means over the same.
pub(super) fn survivors(values: &Values, label: &str, repaired: &str) -> Section {
    let mut table = Table::new("survivors", "TensorRT by precision, on which scenarios")
        .caption("Published formula. *Common* are the scenarios that all three precisions finished in the same run.")
        .column(Column::text("backend", "Backend"))
        .column(Column::number("scenarios", "Scenarios finished", ""))
        .column(Column::number("own", "Over its own scenarios", "tok/s"))
        .column(Column::number("common", "Over the common ones", "tok/s"))
        .column(Column::number("repaired", "Run with a rebuilt engine", "tok/s"));
    for backend in &BACKENDS[3..] {
        table.push_row([
            Cell::from(*backend),
            cell(values, &format!("survivors.{label}.{backend}.scenarios")),
            cell(values, &format!("legacy.{label}.prefill.{backend}.throughput")),
            cell(values, &format!("survivors.{label}.{backend}.throughput")),
            cell(values, &format!("legacy.{repaired}.prefill.{backend}.throughput")),
        ]);
    }
    Section::new("survivors", "Survivorship").table(table)
}

/// Failures by cause.
pub(super) fn failures(values: &Values, labels: &[(&str, &str)]) -> Section {
    let mut table = Table::new("failures", "Failed records by cause")
        .caption(
            "Causes are read off the recorded reason. *Inside a profile* counts failed copies whose shape the engine's \
             profiles admit: they cannot be profile mismatches.",
        )
        .column(Column::text("runs", "Runs"))
        .column(Column::number("records", "Records", ""))
        .column(Column::number("failed", "Failed", ""))
        .column(Column::number("share", "Share", "%"));
    for cause in Cause::ALL {
        table = table.column(Column::number(cause.id(), cause.label(), ""));
    }
    table = table
        .column(Column::number("inside", "Failed copies inside a profile", ""))
        .column(Column::number("timeouts", "Time-outs", ""));
    for (label, title) in labels {
        let of = |quantity: &str| cell(values, &format!("failures.{label}.{quantity}"));
        let mut row = vec![Cell::from(*title), of("records"), of("total"), of("share")];
        row.extend(Cause::ALL.map(|cause| of(cause.id())));
        row.extend([of("copy-failed.inside_profiles"), of("timeouts")]);
        table.push_row(row);
    }
    Section::new("failures", "Failures").table(table)
}

/// What the engines are.
pub(super) fn precision(values: &Values, engines: &[Engine]) -> Section {
    let count = |name: &str| values.point(name).unwrap_or(f64::NAN);
    let mut table = Table::new("engines", "Engines that were inspected")
        .caption("One row per engine of which the inspector's layer list was kept.")
        .column(Column::text("run", "Run"))
        .column(Column::text("precision", "Label"))
        .column(Column::number("layers", "Layers", ""))
        .column(Column::number("half", "FP16 outputs", ""))
        .column(Column::text("int8", "INT8 tensors"))
        .column(Column::text("calibration", "Calibrated on"));
    for engine in engines.iter().filter(|engine| engine.half.is_some()) {
        let int8 = engine.int8.map(|found| if found { "yes" } else { "none" });
        let split = Some(engine.calibration_split.as_str()).filter(|split| !split.is_empty());
        table.push_row([
            Cell::from(engine.run.as_str()),
            Cell::from(engine.precision.as_str()),
            Cell::or_missing(engine.layers, "not recorded"),
            Cell::or_missing(engine.half, "not recorded"),
            Cell::or_missing(int8, "not recorded"),
            Cell::or_missing(split, "no calibration recorded with this row"),
        ]);
    }
    Section::new("precision", "Precision that was observed")
        .paragraph(format!(
            "Of {} engine rows, {} say that there are INT8 tensors, {} say that there are none and {} do not say. Of {} \
             inspected engines labelled INT8, {} have an INT8 tensor; of {} inspected engines labelled FP16, {} have no \
             FP16 output. {} of {} INT8 perplexities equal that of the FP32 engine of the same run to the last digit.",
            count("audit.engines"),
            count("audit.engines.int8_true"),
            count("audit.engines.int8_false"),
            count("audit.engines.int8_unknown"),
            count("audit.int8.inspected"),
            count("audit.int8.with_int8_tensors"),
            count("audit.fp16.inspected"),
            count("audit.fp16.without_half"),
            count("gates.int8.identical_to_fp32"),
            count("gates.int8.judged"),
        ))
        .table(table)
}

/// The accuracy gates.
pub(super) fn gates(gates: &[Gate]) -> Section {
    let mut table = Table::new("gates", "Perplexity gates")
        .caption(
            "Thresholds as coded and recorded, applied to both sides; the difference is to the baseline of the same run. \
             One evaluation each: there is no spread and no test.",
        )
        .column(Column::text("run", "Run"))
        .column(Column::text("backend", "Backend"))
        .column(Column::number("perplexity", "Perplexity", ""))
        .column(Column::number("delta", "Difference", "%"))
        .column(Column::number("threshold", "Threshold", "%"))
        .column(Column::text("gate", "Gate"));
    for gate in gates {
        let judged = gate.passes().map(|passes| if passes { "passes" } else { "fails" });
        table.push_row([
            Cell::from(gate.run.as_str()),
            Cell::from(gate.backend.as_str()),
            Cell::or_missing(gate.perplexity, "the evaluation failed"),
            Cell::or_missing(gate.delta.map(|delta| 100.0 * delta), "the baseline, or no perplexity"),
            Cell::or_missing(
                gate.threshold.map(|threshold| 100.0 * threshold),
                "the baseline, or not recorded",
            ),
            Cell::or_missing(judged, "the baseline, or no perplexity"),
        ]);
    }
    Section::new("gates", "Accuracy gates").table(table)
}

/// The crossing, every way.
pub(super) fn crossover(values: &Values, data: &Data, points: &[Point]) -> Section {
    let mut ways = Table::new("crossover", "Where ONNX Runtime on the CPU and compiled PyTorch are equally fast")
        .caption(
            "The runs of the published fit under each aggregate, models redrawn as published; then every run of each model by geometric \
             means of latency, with what is redrawn.",
        )
        .column(Column::text("way", "Aggregate"))
        .column(Column::number("at", "Crossing", MILLIONS));
    for aggregate in Aggregate::ALL {
        ways.push_row([
            Cell::from(aggregate.label()),
            cell(values, &format!("crossover.by.{}", aggregate.id())),
        ]);
    }
    for (name, label) in [
        ("crossover.without_smallest", "mean of rates, smallest model left out"),
        ("crossover.hierarchical", "all runs, geometric means; runs and repetitions redrawn"),
        ("crossover.hierarchical.models", "all runs, geometric means; models, runs and repetitions redrawn"),
        (
            "crossover.hierarchical.with_first",
            "all runs, geometric means with the first repetition in; runs and repetitions redrawn",
        ),
    ] {
        ways.push_row([Cell::from(label), cell(values, name)]);
    }
    let mut models = Table::new("crossover-models", "Advantage by model, and the crossing without it")
        .caption("Advantage is the speed of ONNX Runtime on the CPU over that of compiled PyTorch.")
        .column(Column::text("model", "Model"))
        .column(Column::number("parameters", "Parameters", ""))
        .column(Column::number("rates", "By mean of rates", ""))
        .column(Column::number("geometric", "By ours", ""))
        .column(Column::number("without", "Crossing without it", MILLIONS))
        .column(Column::number("spread", "Baseline, fastest run over slowest", ""));
    for point in points {
        models.push_row([
            Cell::from(point.model.as_str()),
            Cell::from(point.parameters),
            cell(values, &format!("legacy.crossover.ratio.{}", point.model)),
            cell(values, &format!("crossover.ratio.{}", point.model)),
            Cell::or_missing(point.without.map(|at| at / 1e6), "no line without it"),
            cell(values, &format!("runs.{}.baseline.spread", point.model)),
        ]);
    }
    let mut section = Section::new("crossover", "The crossover").table(ways).table(models);
    if let Some(choices) = values.point("crossover.choices") {
        let at = |name: &str| shown(values, name);
        section = section.paragraph(format!(
            "With one run chosen per model there are {choices} fits by the published formula; they cross at {} to {}, in the \
             median at {}. {:.1} % of them cross below the published one. The largest crossing by aggregate is {:.2} times \
             the smallest.",
            at("crossover.choices.low"),
            at("crossover.choices.high"),
            at("crossover.choices.median"),
            values.point("crossover.choices.below_published").unwrap_or(f64::NAN),
            values.point("crossover.aggregates.spread").unwrap_or(f64::NAN),
        ));
    }
    if points.len() >= 3 {
        section = section.plot(plot(values, data));
    }
    section
}

fn plot(values: &Values, data: &Data) -> Plot {
    let mut plot = Plot::new(
        "advantage",
        "Advantage of ONNX Runtime on the CPU by size",
        Axis::log("parameters", ""),
        Axis::log("speed over compiled PyTorch", ""),
    )
    .caption("One point per model of the published fit, by two aggregates of the same records; lines join the points.")
    .horizontal(1.0, "equally fast");
    for aggregate in [Aggregate::MeanRate, Aggregate::MeanLatency] {
        let mut series = Series::new(aggregate.label(), Style::PointsLine);
        for (parameters, advantage) in published_points(data, aggregate) {
            series = series.point(parameters, advantage);
        }
        plot = plot.series(series);
    }
    if let Some(crossing) = estimate(values, "crossover.hierarchical") {
        plot = plot.vertical(crossing.point * 1e6, "crossing, all runs");
    }
    plot
}

/// A quantity in print.
pub(super) fn shown(values: &Values, name: &str) -> String {
    values.get(name).map_or_else(|| "–".to_owned(), crate::Value::shown)
}
