//! Both agents on one day: the single agents of TR116, on three models. Their arms of the defaults are not one arm (the Rust
//! agent left the server's defaults, the Python agent set options of its own), the arms of the options are.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::Metric;
use chimera_report::{Axis, Column, NoteKind, Plot, Section, Series, Style, Table};
use chimera_stats::{
    Estimate, Sample,
    hypothesis::{self, Margin},
};

use crate::{
    ALPHA, Artifacts, ReplayError, Values,
    studies::{
        shared::{self, cell},
        tr111::{
            calls::{self, SingleCall, by, moments},
            family::{Family, Two},
        },
    },
};

/// Calls of the Rust agent.
pub(super) const RUST: &str = "agents/tr116/rust_single_calls.csv";
/// Runs of the Python agent.
pub(super) const PYTHON: &str = "agents/tr116/python_single_runs.csv";
const COLUMNS: &[&str] =
    &["model", "config", "arm", "run", "files", "avg_tok_s", "sum_eval_plus_prompt_ms", "execution_s"];
/// Differences below this share count as none.
pub(super) const MARGIN: f64 = 0.03;

/// One run of the Python agent.
struct PythonRun {
    model: String,
    arm: String,
    rate: f64,
    files: f64,
    /// Wall time that is neither prompt evaluation nor decode, in seconds.
    outside_s: f64,
}

fn python(data: &Artifacts) -> Result<Vec<PythonRun>, ReplayError> {
    let table = data.table(PYTHON, COLUMNS)?;
    let mut seen = BTreeSet::new();
    let mut runs = Vec::with_capacity(table.len());
    for row in table.rows() {
        let key = (row.text("model")?, row.text("config")?, row.text("arm")?, row.text("run")?);
        if !seen.insert(key) {
            return Err(
                row.malformed(format!("run {} of {}, `{}`, {} comes twice", key.3, key.0, key.1, key.2))
            );
        }
        // A run without a rate failed; there is nothing to compare.
        let Some(rate) = row.maybe("avg_tok_s")?.filter(|rate| *rate > 0.0) else { continue };
        runs.push(PythonRun {
            model: short(key.0).to_owned(),
            arm: key.2.to_owned(),
            rate,
            files: row.number("files")?,
            outside_s: row.number("execution_s")? - row.number("sum_eval_plus_prompt_ms")? / 1e3,
        });
    }
    Ok(runs)
}

/// The model without its tag.
fn short(model: &str) -> &str {
    model.split(':').next().unwrap_or(model)
}

/// Rates of a Rust run's calls averaged, as the Python file has them; none for a run with a failed call.
fn run_rates(calls: &[&SingleCall]) -> Vec<f64> {
    by(calls.iter().copied(), |call| (call.config.as_str(), call.run))
        .into_values()
        .filter_map(|run| {
            let rates: Option<Vec<f64>> =
                run.iter().map(|call| call.metric(Metric::DecodeRateServer)).collect();
            rates.map(|rates| moments(&rates).0)
        })
        .collect()
}

/// The section, and the models in order.
pub(super) fn section(
    data: &Artifacts,
    values: &mut Values,
    family: &mut Family,
) -> Result<(Section, Vec<String>), ReplayError> {
    let rust = calls::read(&data.table(RUST, calls::COLUMNS)?)?;
    let python = python(data)?;
    values.put(
        "files.same_day.rust",
        "",
        moments(&rust.iter().filter_map(|call| call.files).collect::<Vec<_>>()).0,
    );
    values.put(
        "files.same_day.python",
        "",
        moments(&python.iter().map(|run| run.files).collect::<Vec<_>>()).0,
    );
    values.put("calls.failed.same_day", "", rust.iter().filter(|call| call.failed()).count() as f64);
    let mut table = Table::new("same-day", "Rust over Python on one day")
        .caption(
            "Decode rate as the server reports it, a run's two calls averaged as the Python file has them. Ratio of geometric \
             means with Welch's interval over runs; failed calls left out. `baseline`: other options in each language; \
             `chimera`: the same.",
        )
        .column(Column::text("model", "Model"))
        .column(Column::text("arm", "Arm"))
        .column(Column::number("rust", "Rust", "tok/s"))
        .column(Column::number("python", "Python", "tok/s"))
        .column(Column::number("ratio", "Rust over Python", ""))
        .column(Column::number("legacy", "By means of calls", "%"));
    let models: Vec<String> = by(&rust, |call| short(&call.model).to_owned()).into_keys().collect();
    let mut ratios: BTreeMap<&str, Vec<(f64, Estimate)>> = BTreeMap::new();
    for (at, model) in models.iter().enumerate() {
        for arm in ["baseline", "chimera"] {
            let own: Vec<&SingleCall> =
                rust.iter().filter(|call| short(&call.model) == model && call.arm == arm).collect();
            let every: Vec<f64> = own.iter().filter_map(|call| call.rate).collect();
            let completed: Vec<f64> =
                own.iter().filter(|call| !call.failed()).filter_map(|call| call.rate).collect();
            let other: Vec<f64> = python
                .iter()
                .filter(|run| &run.model == model && run.arm == arm)
                .map(|run| run.rate)
                .collect();
            let key = format!("{model}.{arm}");
            values.put(format!("legacy.same_day.rust.{key}"), "tok/s", moments(&completed).0);
            values.put(format!("legacy.same_day.rust.with_failed.{key}"), "tok/s", moments(&every).0);
            values.put(format!("legacy.same_day.python.{key}"), "tok/s", moments(&other).0);
            let gap = 100.0 * (moments(&completed).0 / moments(&other).0 - 1.0);
            values.put(format!("legacy.same_day.gap.{key}"), "%", gap);
            let runs = run_rates(&own);
            let estimate = shared::ratio_of(&runs, &other, "run");
            match &estimate {
                Ok(estimate) => {
                    ratios.entry(arm).or_default().push((at as f64, estimate.clone()));
                    values.put_estimate(format!("same_day.ratio.{key}"), "", estimate.clone());
                }
                Err(error) => values.lacks(format!("same_day.ratio.{key}"), error.to_string()),
            }
            let sample = |values| Sample::new(values, "run");
            let question = format!("Do the rates differ on one day? ({model}, {arm})");
            let two = Two { a: &runs, b: &other, replicate: "run", unit: "tok/s" };
            family.add_welch(values, &format!("same_day.{key}"), &question, two);
            let equal = sample(&runs).and_then(|runs| {
                hypothesis::equivalent_ratio(runs, sample(&other)?, Margin::ratio(MARGIN), ALPHA)
            });
            family.add_equivalence(
                values,
                &format!("same_day.equal.{key}"),
                &format!("Are they equal within 3 %? ({model}, {arm})"),
                equal,
            );
            table.push_row([
                model.as_str().into(),
                arm.into(),
                moments(&runs).0.into(),
                moments(&other).0.into(),
                cell(estimate),
                gap.into(),
            ]);
        }
    }
    let outside = outside(&rust, &python, values);
    let mut plot = Plot::new(
        "same-day",
        "Rust over Python on one day",
        Axis::categories("model", models.clone()),
        Axis::linear("ratio of decode rates", ""),
    )
    .caption("Ratio of geometric means with Welch's interval over runs.")
    .horizontal(1.0, "no difference");
    for (arm, name) in [("baseline", "defaults against options"), ("chimera", "same options")] {
        let mut series = Series::new(name, Style::Points);
        for (at, estimate) in ratios.remove(arm).unwrap_or_default() {
            series = series.estimate(at, &estimate);
        }
        plot = plot.series(series);
    }
    let files = |name: &str| {
        values.get(&format!("files.same_day.{name}")).map_or_else(String::new, crate::Value::shown)
    };
    let parity = format!(
        "Files read per run: {} by the Rust agents, {} by the Python agents; where these differ the prompts are not the same, \
         even on one day.",
        files("rust"),
        files("python")
    );
    let section = Section::new("same-day", "Both languages on one day")
        .table(table)
        .plot(plot)
        .table(outside)
        .note(NoteKind::Limit, parity);
    Ok((section, models))
}

/// Wall time that is neither prompt evaluation nor decode: load, transport, and what the client did.
fn outside(rust: &[SingleCall], python: &[PythonRun], values: &mut Values) -> Table {
    let mut table = Table::new("outside", "Wall time of a run outside prompt evaluation and decode")
        .caption(
            "Mean over runs with its t interval. It holds the model's load, which the Python file does not tell apart, and for \
             Python the reading of files.",
        )
        .column(Column::text("language", "Language"))
        .column(Column::number("outside", "Outside", "s"));
    let own: Vec<f64> =
        by(rust, |call| (call.model.as_str(), call.config.as_str(), call.arm.as_str(), call.run))
            .into_values()
            .filter_map(|run| {
                run.iter()
                    .map(|call| {
                        Some(
                            call.metric(Metric::E2eClient)?
                                - call.metric(Metric::PrefillServer)?
                                - call.metric(Metric::DecodeServer)?,
                        )
                    })
                    .sum::<Option<f64>>()
            })
            .collect();
    let other: Vec<f64> = python.iter().map(|run| run.outside_s).collect();
    for (language, seconds) in [("rust", &own), ("python", &other)] {
        let estimate = shared::mean(seconds, "run");
        if let Ok(estimate) = &estimate {
            values.put_estimate(format!("same_day.outside.{language}"), "s", estimate.clone());
        }
        table.push_row([language.into(), cell(estimate)]);
    }
    table
}
