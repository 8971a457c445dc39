//! Writes a report of invented numbers that uses every part of the crate, to look at: `sample DIR`.

#![expect(clippy::print_stdout, reason = "an example prints where it wrote")]

use std::path::PathBuf;

use chimera_report::{
    Axis, Cell, ClaimStatus, Column, Draft, Headline, Invalid, NoteKind, Plot, Point, Section, Series, Style,
    Table, Verdict, cells, headline_text, write_all,
};
use chimera_stats::{Estimate, Interval};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: sample DIR")?;
    let findings = sample()?.finish()?;
    let written = write_all(&findings, &dir)?;
    println!("{}", headline_text(&findings));
    println!("{} files under {}", written.len(), dir.display());
    Ok(())
}

const MODELS: [(&str, u64); 6] = [
    ("tiny-gpt2", 102_714),
    ("gpt2-5m", 5_037_312),
    ("gpt2-25m", 25_016_064),
    ("gpt2-50m", 51_475_968),
    ("gpt2-100m", 96_088_320),
    ("gpt2", 124_439_808),
];

fn estimate(point: f64, half: f64, n: usize) -> Estimate {
    Estimate {
        point,
        standard_error: (n > 1).then_some(half / 2.78),
        interval: (n > 1).then_some(Interval { low: point - half, high: point + half * 1.1, level: 0.95 }),
        method: "mean, t".into(),
        unit: "block".into(),
        n,
    }
}

fn latency(parameters: u64, slope: f64, base: f64) -> Estimate {
    let point = base + 2.0e-5 * (parameters as f64).powf(slope);
    estimate(point, point * 0.06, 5)
}

fn sample() -> Result<Draft, Invalid> {
    let draft = Draft::new("tr121-sample", "How prefill and decode latency grow with model size (invented numbers)")
        .summary("Every number on this page is *invented*; it shows how a report looks.")
        .summary("Six models of the `GPT-2` family generate 64 tokens each, in 5 blocks; the block is the unit of replication.")
        .provenance("Run", "0000-sample")
        .provenance("Backend", "none")
        .provenance("Design hash", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
        .provenance("Seed", "42")
        .headline(
            Headline::new(
                "h1",
                "Decode exponent over parameters",
                Verdict::Supported,
                "Decode latency grows more slowly than the parameter count; no single model decides the slope.",
            )
            .value(estimate(0.81, 0.04, 5), ""),
        )
        .headline(
            Headline::new(
                "h2",
                "Decode fraction at 512 prompt tokens",
                Verdict::Contradicted,
                "Decode does *not* dominate once prompts are long.",
            )
            .value(estimate(38.2, 2.3, 5), "%"),
        )
        .headline(
            Headline::new("h3", "Prefill, 100m", Verdict::Equivalent, "Within the stated bounds of the A/A arm.")
                .value(estimate(12.34, 0.45, 5), "ms"),
        )
        .headline(
            Headline::new("h4", "Batch 8", Verdict::NotMeasured, "Left to the `paper` profile.")
                .value(Cell::missing("not in this profile"), "tokens/s"),
        )
        .headline(Headline::new("h5", "Depth predicts latency better than width", Verdict::Inconclusive, ""))
        .gap("Batch 8 and 512 generated tokens", "left to the `paper` profile")
        .gap("SmolLM2-135M", "its weights could not be fetched; give `--model smollm2-135m` where a package index answers");
    Ok(draft.section(latencies()).section(scaling()).section(composition()).section(claims()).section(
        Section::new("threats", "Threats to validity").list([
            "One host; its clock resolution is 30 ns.",
            "Random weights: the time of a token does not depend on what the token is, its text does.",
            "Host pressure was above the limit of the design in 2 of 180 trials; they are flagged and kept.",
        ]),
    ))
}

fn latencies() -> Section {
    let mut table = Table::new("latency", "Latency and throughput by model")
        .caption(
            "Scenario `short`, 64 generated tokens. A row is a model; the unit of replication is the block.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::number("parameters", "Parameters", ""))
        .column(Column::number("prefill", "Prefill", "ns"))
        .column(Column::number("decode", "Decode per token", "ms"))
        .column(Column::number("e2e", "End to end", "ms"))
        .column(Column::number("rate", "Decode rate", "tokens/s"))
        .column(Column::number("weights", "Weights", "B"))
        .column(Column::text("regime", "Regime"));
    for (index, (model, parameters)) in MODELS.into_iter().enumerate() {
        let decode = latency(parameters, 0.8, 0.05);
        let rate = estimate(1000.0 / decode.point, 60.0 / decode.point, 5);
        let failed = index == 4;
        table.push_row(cells![
            model,
            parameters,
            latency(parameters, 0.95, 2.0e2 * 1e-3).scaled(1e6),
            decode.clone(),
            Cell::or_missing(
                (!failed).then(|| decode.scaled(70.0)),
                "the generation was cancelled in every block"
            ),
            if failed { Cell::missing("the generation was cancelled in every block") } else { rate.into() },
            parameters * 4,
            if index == 0 { "overhead" } else { "bandwidth" },
        ]);
    }
    let size = |slope: f64, base: f64| {
        MODELS.into_iter().map(move |(model, parameters)| Point {
            label: Some(model.into()),
            ..Point::estimate(parameters as f64, &latency(parameters, slope, base))
        })
    };
    let mut decode = Series::new("decode, per token", Style::Points).emphasised();
    let mut prefill = Series::new("prefill", Style::PointsLine);
    size(0.8, 0.05).for_each(|point| decode.push(point));
    size(0.95, 0.2).for_each(|point| prefill.push(Point { label: None, ..point }));
    let mut fit = Series::new("decode, power law with 95 % band", Style::Band);
    for step in 0..=20 {
        let x = 10f64.powf(5.0 + f64::from(step) * 0.16);
        let y = 2.2e-5 * x.powf(0.8) + 0.05;
        fit.push(Point { x, y, low: Some(y * 0.8), high: Some(y * 1.25), label: None });
    }
    Section::new("latency", "Latency by model")
        .paragraph("Prefill runs from the submission of the prompt to the logits of its last token; decode from the first token to the last. Both are stamped in one generation.")
        .note(NoteKind::Definition, "`decode per token` is `(last_token - first_token) / (n_out - 1)`.")
        .table(table)
        .plot(
            Plot::new(
                "growth",
                "Latency grows with the parameter count",
                Axis::log("parameters", ""),
                Axis::log("latency", "ms"),
            )
            .caption("Bars are 95 % intervals of the mean over blocks (t, n = 5).")
            .series(fit)
            .series(decode)
            .series(prefill)
            .horizontal(33.0, "30 tokens/s")
            .vertical(1e6, "last-level cache"),
        )
}

fn scaling() -> Section {
    let mut table = Table::new("leverage", "The exponent without each model")
        .caption("Slope of log latency over log parameters, per block; *leverage* is the diagonal of the hat matrix.")
        .column(Column::text("without", "Without"))
        .column(Column::number("slope", "Slope", ""))
        .column(Column::number("leverage", "Leverage", ""))
        .column(Column::number("time", "Largest residual", "ns"))
        .column(Column::text("verdict", "Verdict"));
    let mut points = Series::new("decode", Style::Points);
    let mut other = Series::new("prefill", Style::Points);
    for (index, (model, _)) in MODELS.into_iter().enumerate() {
        let slope = estimate(
            0.81 + 0.02 * (index as f64 - 2.0),
            0.03 + 0.01 * index as f64,
            if index == 5 { 1 } else { 5 },
        );
        points.push(Point::estimate(index as f64, &slope));
        other.push(Point::estimate(index as f64, &estimate(slope.point + 0.1, 0.05, 5)));
        table.push_row(cells![
            model,
            slope,
            0.62 - 0.07 * index as f64,
            350.0 * 10f64.powi(index as i32),
            if index == 0 { Verdict::Inconclusive } else { Verdict::Supported },
        ]);
    }
    Section::new("scaling", "Scaling")
        .note(
            NoteKind::Limit,
            "Six sizes of one family: a law is printed only where no single point decides it.",
        )
        .table(table)
        .plot(
            Plot::new(
                "leave-one-out",
                "The exponent without each model",
                Axis::categories("model left out", MODELS.map(|(model, _)| model)),
                Axis::linear("slope", ""),
            )
            .caption("95 % intervals, t on per-block slopes.")
            .series(points)
            .series(other)
            .horizontal(1.0, "linear in parameters"),
        )
}

fn composition() -> Section {
    let lengths = ["16", "64", "256", "512"];
    let mut plot = Plot::new(
        "fraction",
        "Where the time goes, by prompt length and by model, with a title that is long enough to need a second line",
        Axis::categories("prompt tokens", lengths),
        Axis::linear("share of end to end", "%"),
    )
    .caption("Shares of the mean; bars are 95 % intervals.");
    for (row, name) in ["tiny-gpt2", "gpt2-25m", "gpt2-100m"].into_iter().enumerate() {
        let mut series = Series::new(name, Style::Bars);
        for index in 0..lengths.len() {
            let y = 92.0 - 17.0 * index as f64 - 4.0 * row as f64;
            series.push(Point::estimate(index as f64, &estimate(y, 3.0, 5)));
        }
        plot = plot.series(series);
    }
    let mut cold = Plot::new(
        "cold",
        "First uses against steady state",
        Axis::linear("trial in process", ""),
        Axis::linear("latency", "ns"),
    );
    for (row, name) in
        ["process", "model load", "first shape", "steady", "A/A", "noise", "sixth", "seventh", "eighth"]
            .into_iter()
            .enumerate()
    {
        let mut series = Series::new(name, Style::PointsLine);
        for step in 0..8 {
            series.push(Point {
                x: f64::from(step),
                y: 4e6 * (1.0 + row as f64 * 0.35) * (1.0 + 2.0 * f64::exp(-f64::from(step))),
                low: None,
                high: None,
                label: None,
            });
        }
        cold = cold.series(series);
    }
    Section::new("composition", "Decode fraction and cold start")
        .note(NoteKind::Warning, "In 2 trials the host was under pressure; see *threats to validity*.")
        .plot(plot)
        .plot(cold.caption("Nine series, to see that they can be told apart."))
}

fn claims() -> Section {
    let table = Table::new("claims", "Published claims beside this run")
        .caption("Status: recomputed from the published data. Verdict: of this run.")
        .column(Column::text("claim", "Claim"))
        .column(Column::number("published", "Published", "ms"))
        .column(Column::number("recomputed", "Recomputed", "ms"))
        .column(Column::text("status", "Status"))
        .column(Column::text("verdict", "This run"))
        .row(cells![
            "Decode dominates end-to-end latency whatever the length of the prompt",
            41.2,
            41.2,
            ClaimStatus::ReproducedMislabelled,
            Verdict::Contradicted
        ])
        .row(cells!["Latency follows depth", 3.5, 3.5, ClaimStatus::Reproduced, Verdict::Inconclusive])
        .row(cells![
            "Cold start costs 2 s",
            2000.0,
            Cell::missing("raw samples were not published"),
            ClaimStatus::NotRecomputable,
            Verdict::NotMeasured
        ])
        .row(cells![
            "<script>alert(1)</script> | =1+1",
            -0.5,
            12.0,
            ClaimStatus::Contradicted,
            Verdict::Equivalent
        ]);
    Section::new("claims", "Published claims").table(table)
}

trait Scaled {
    fn scaled(&self, factor: f64) -> Estimate;
}

impl Scaled for Estimate {
    fn scaled(&self, factor: f64) -> Estimate {
        Estimate {
            point: self.point * factor,
            standard_error: self.standard_error.map(|error| error * factor),
            interval: self.interval.map(|interval| Interval {
                low: interval.low * factor,
                high: interval.high * factor,
                ..interval
            }),
            ..self.clone()
        }
    }
}
