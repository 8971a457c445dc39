//! TR111 v2 by our definitions: rates as tokens over seconds with runs or directories as replicates, failed calls apart,
//! cold calls apart from warm ones, the stages apart from each other.

use std::collections::BTreeMap;

use chimera_records::Metric;
use chimera_report::{Axis, Cell, Column, NoteKind, Plot, Section, Series, Style, Table};
use chimera_stats::{
    Sample,
    hypothesis::{self, Margin},
    ratio,
};

use super::{
    calls::{SingleCall, by, even_rate, largest, median, moments, rate, smallest, sums},
    family::{Family, Two},
    is_control,
};
use crate::{
    ALPHA, LEVEL, ReplayError, Values,
    studies::shared::{self, cell},
};

/// Generations this many times longer than the median count as runaways.
const RUNAWAY: f64 = 4.0;
/// Differences below this share count as none.
const MARGIN: f64 = 0.03;
/// Decode rates that differ by less than this share count as equal.
const EQUAL: f64 = 0.01;

fn directories(all: &[SingleCall]) -> BTreeMap<&str, Vec<&SingleCall>> {
    by(all, |call| call.config.as_str())
}

fn runs<'a>(
    calls: impl IntoIterator<Item = &'a SingleCall>,
) -> BTreeMap<(&'a str, &'a str, u32), Vec<&'a SingleCall>> {
    by(calls, |call| (call.config.as_str(), call.arm.as_str(), call.run))
}

fn logs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.ln()).collect()
}

/// Rates of the arms, and what the options change.
pub(super) fn arms(
    all: &[SingleCall],
    values: &mut Values,
    family: &mut Family,
) -> Result<Section, ReplayError> {
    let lengths: Vec<f64> = all.iter().filter(|call| !call.failed()).map(|call| call.tokens).collect();
    let usual = median(&lengths);
    let mut table = Table::new("arms", "Decode rate by arm and stage")
        .caption("Tokens over seconds of decode, as the server counts them; intervals over runs. Failed calls are counted, not averaged.")
        .column(Column::text("arm", "Arm"))
        .column(Column::text("stage", "Stage"))
        .column(Column::number("rate", "Decode rate", "tok/s"))
        .column(Column::number("calls", "Calls", ""))
        .column(Column::number("failed", "Failed", ""))
        .column(Column::number("incomplete", "Without a duration", ""))
        .column(Column::number("runaway", "Runaways", ""));
    for (arm, calls) in by(all, |call| call.arm.as_str()) {
        for stage in ["both", "analysis", "report"] {
            let own: Vec<&SingleCall> =
                calls.iter().copied().filter(|call| stage == "both" || call.stage == stage).collect();
            let (tokens, seconds): (Vec<f64>, Vec<f64>) =
                runs(own.iter().copied()).into_values().filter_map(sums).unzip();
            let estimate = shared::of_sums(&tokens, &seconds, "run");
            let name = if stage == "both" { arm.to_owned() } else { format!("{arm}.{stage}") };
            if let Ok(estimate) = &estimate {
                values.put_estimate(format!("decode_rate.server.{name}"), "tok/s", estimate.clone());
            }
            let failed = own.iter().filter(|call| call.failed()).count();
            let incomplete = own.iter().filter(|call| !call.failed() && call.decode().is_none()).count();
            let runaway = own.iter().filter(|call| call.tokens > RUNAWAY * usual).count();
            if stage == "both" {
                values.put(format!("calls.failed.{arm}"), "", failed as f64);
                values.put(format!("calls.incomplete.{arm}"), "", incomplete as f64);
                values.put(format!("calls.runaway.{arm}"), "", runaway as f64);
            }
            table.push_row([
                arm.into(),
                stage.into(),
                cell(estimate),
                own.len().into(),
                failed.into(),
                incomplete.into(),
                runaway.into(),
            ]);
        }
        let (tokens, seconds): (Vec<f64>, Vec<f64>) = runs(calls.iter().copied())
            .into_values()
            .filter(|run| run.iter().all(|call| call.run > 1 && !call.failed()))
            .filter_map(|run| Some((run.iter().map(|call| call.tokens).sum::<f64>(), run.first()?.wall_s?)))
            .unzip();
        if let Ok(estimate) = shared::of_sums(&tokens, &seconds, "run") {
            values.put_estimate(format!("wall_rate.warm.{arm}"), "tok/s", estimate);
        }
    }
    let effects = effects(all, values, family);
    let plot = plot(all);
    Ok(Section::new("arms", "What the options change").table(table).table(effects).plot(plot).note(
        NoteKind::Limit,
        "In every directory the defaults ran before the options: an effect of order is inside each effect.",
    ))
}

/// Options over defaults, by stage, over the directories whose arms differ; and the directory whose arms do not.
fn effects(all: &[SingleCall], values: &mut Values, family: &mut Family) -> Table {
    let mut table = Table::new("effects", "Decode rate under the options over that under the defaults")
        .caption("Geometric mean of the directories' ratios with its t interval; the control ran the defaults twice, its replicates are runs.")
        .column(Column::text("stage", "Stage"))
        .column(Column::number("ratio", "Ratio", ""))
        .column(Column::number("directories", "Replicates", ""));
    for stage in ["both", "analysis", "report"] {
        let (own, base): (Vec<f64>, Vec<f64>) = directories(all)
            .into_values()
            .filter(|directory| !is_control(directory))
            .filter_map(|directory| {
                let of = |arm: &str| {
                    rate(
                        directory
                            .iter()
                            .copied()
                            .filter(|call| call.arm == arm && (stage == "both" || call.stage == stage)),
                    )
                };
                Some((of("chimera")?, of("baseline")?))
            })
            .unzip();
        let estimate = Sample::new(&own, "directory")
            .and_then(|own| ratio::paired(own, Sample::new(&base, "directory")?, LEVEL));
        if let Ok(estimate) = &estimate {
            values.put_estimate(format!("effect.chimera.{stage}"), "", estimate.clone());
        }
        let (own_log, base_log) = (logs(&own), logs(&base));
        let question = match stage {
            "both" => "Do the options change the decode rate, both stages together?",
            "analysis" => "Do the options change the decode rate of the first call?",
            _ => "Do the options change the decode rate of the second call?",
        };
        let two = Two { a: &own_log, b: &base_log, replicate: "directory", unit: "" };
        family.add_paired(values, &format!("effect.{stage}"), question, two);
        if stage == "analysis" {
            let equal = Sample::new(&own, "directory").and_then(|own| {
                let base = Sample::new(&base, "directory")?;
                hypothesis::equivalent_paired_ratio(own, base, Margin::ratio(EQUAL), ALPHA)
            });
            let question = "Is the decode rate of the first call equal within 1 %?";
            family.add_equivalence(values, "effect.analysis.equal", question, equal);
        }
        table.push_row([stage.into(), cell(estimate), own.len().into()]);
    }
    let control = directories(all).into_values().find(|directory| is_control(directory)).unwrap_or_default();
    let of = |arm: &str| -> Vec<f64> {
        runs(control.iter().copied().filter(|call| call.arm == arm)).into_values().filter_map(rate).collect()
    };
    let (second, first) = (of("chimera"), of("baseline"));
    let estimate = shared::ratio_of(&second, &first, "run");
    if let Ok(estimate) = &estimate {
        values.put_estimate("effect.control", "", estimate.clone());
    }
    let two = Two { a: &second, b: &first, replicate: "run", unit: "tok/s" };
    family.add_welch(values, "effect.control", "Do two arms of the same options differ?", two);
    table.push_row(["control, both".into(), cell(estimate), first.len().into()]);
    table
}

fn plot(all: &[SingleCall]) -> Plot {
    let directories = directories(all);
    let mut plot = Plot::new(
        "rates",
        "Decode rate by directory and arm",
        Axis::categories("directory", directories.keys().map(|config| config.replace('_', " "))),
        Axis::linear("decode rate", "tok/s"),
    )
    .caption("Tokens over seconds of decode of completed calls; bars are t intervals over runs.");
    for (arm, name) in [("baseline", "defaults"), ("chimera", "its options")] {
        let mut series = Series::new(name, Style::Points);
        for (at, directory) in directories.values().enumerate() {
            let (tokens, seconds): (Vec<f64>, Vec<f64>) =
                runs(directory.iter().copied().filter(|call| call.arm == arm))
                    .into_values()
                    .filter_map(sums)
                    .unzip();
            if let Ok(estimate) = shared::of_sums(&tokens, &seconds, "run") {
                series = series.estimate(at as f64, &estimate);
            }
        }
        plot = plot.series(series);
    }
    plot
}

/// Evaluation of the second call's prompt by context size.
pub(super) fn truncation(
    all: &[SingleCall],
    values: &mut Values,
    family: &mut Family,
) -> Result<Section, ReplayError> {
    let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for call in all.iter().filter(|call| call.stage == "report") {
        if let Some(seconds) = call.metric(Metric::PrefillServer) {
            let context = if call.options[1].is_empty() { "default" } else { &call.options[1] };
            groups.entry(context.to_owned()).or_default().push(seconds);
        }
    }
    let mut table = Table::new("prompts", "Evaluation of the second call's prompt by context")
        .caption("Mean over runs with its t interval; the prompts are of one length, about eleven thousand characters.")
        .column(Column::text("context", "num_ctx"))
        .column(Column::number("prefill", "Prompt evaluation", "s"))
        .column(Column::number("runs", "Runs", ""));
    let mut options = Vec::new();
    for (context, seconds) in &groups {
        let estimate = shared::mean(seconds, "run");
        if let Ok(estimate) = &estimate {
            values.put_estimate(format!("prefill.server.report.{context}"), "s", estimate.clone());
        }
        if context != "default" {
            options.extend_from_slice(seconds);
        }
        table.push_row([context.as_str().into(), cell(estimate), seconds.len().into()]);
    }
    let empty = Vec::new();
    let default = groups.get("default").unwrap_or(&empty);
    if let Ok(estimate) = shared::mean(&options, "run") {
        values.put_estimate("prefill.server.report.options", "s", estimate);
    }
    if let Ok(estimate) = shared::ratio_of(&options, default, "run") {
        values.put_estimate("prefill.ratio.options.default", "", estimate);
    }
    let two = Two { a: &options, b: default, replicate: "run", unit: "s" };
    family.add_welch(
        values,
        "prefill.default",
        "Is the second prompt evaluated faster under the options?",
        two,
    );
    for (a, b) in [("256", "512"), ("256", "1024"), ("512", "1024")] {
        let (first, second) = (groups.get(a).unwrap_or(&empty), groups.get(b).unwrap_or(&empty));
        match shared::ratio_of(second, first, "run") {
            Ok(estimate) => values.put_estimate(format!("prefill.ratio.{a}.{b}"), "", estimate),
            Err(error) => values.lacks(format!("prefill.ratio.{a}.{b}"), error.to_string()),
        }
        let test = Sample::new(second, "run").and_then(|second| {
            hypothesis::equivalent_ratio(second, Sample::new(first, "run")?, Margin::ratio(MARGIN), ALPHA)
        });
        let question = format!("Is its evaluation equal, within 3 %, under num_ctx {a} and {b}?");
        family.add_equivalence(values, &format!("prefill.{a}.{b}"), &question, test);
    }
    Ok(Section::new("truncation", "The second prompt under small contexts").table(table).paragraph(
        "A prompt that fits is evaluated in a time that does not depend on the context; one that does not fit is cut to it. \
         Equal and shorter times under all contexts below the default would speak for one effective context, smaller than the \
         prompt.",
    ))
}

/// Times to the first token, cold and warm, by each definition that the data allow.
pub(super) fn first_tokens(all: &[SingleCall], values: &mut Values) -> Result<Section, ReplayError> {
    let place = || ReplayError::at("times to the first token");
    let cold: Vec<f64> = all
        .iter()
        .filter(|call| call.cold() == Some(true))
        .filter_map(|call| call.metric(Metric::TtftClient))
        .collect();
    values.put("calls.cold", "", cold.len() as f64);
    if cold.is_empty() {
        values.lacks("ttft.client.cold.median", "no call was cold");
    } else {
        values.put("ttft.client.cold.median", "s", median(&cold));
        values.put("ttft.client.cold.min", "s", smallest(&cold));
        values.put("ttft.client.cold.max", "s", largest(&cold));
    }
    let mut table = Table::new("first-tokens", "Time to the first token, warm")
        .caption("Mean over the runs of which no call was cold; the published mean over all calls, cold ones within it, beside them.")
        .column(Column::text("arm", "Arm"))
        .column(Column::number("client", "First token at the client", "s"))
        .column(Column::number("server", "Load plus prompt evaluation", "s"))
        .column(Column::number("prompt", "Prompt evaluation alone", "s"))
        .column(Column::number("mixed", "Mean of all calls", "s"))
        .column(Column::number("cold", "Cold calls", ""));
    for (arm, calls) in by(all, |call| call.arm.as_str()) {
        let warm: Vec<Vec<&SingleCall>> = runs(calls.iter().copied())
            .into_values()
            .filter(|run| run.iter().all(|call| call.cold() == Some(false)))
            .collect();
        let mut cells = vec![Cell::from(arm)];
        for (name, metric) in [
            ("ttft.client.warm", Metric::TtftClient),
            ("ttft.server.warm", Metric::TtftServer),
            ("prefill.server.warm", Metric::PrefillServer),
        ] {
            let means: Vec<f64> = warm
                .iter()
                .filter_map(|run| {
                    let times: Option<Vec<f64>> = run.iter().map(|call| call.metric(metric)).collect();
                    times.map(|times| moments(&times).0)
                })
                .collect();
            let estimate = shared::mean(&means, "run");
            if let Ok(estimate) = &estimate {
                values.put_estimate(format!("{name}.{arm}"), "s", estimate.clone());
            }
            cells.push(cell(estimate));
        }
        let mixed: Vec<f64> = calls.iter().filter_map(|call| call.ttft_ms).map(|ms| ms / 1e3).collect();
        let cold = calls.iter().filter(|call| call.cold() == Some(true)).count();
        values.put(format!("calls.cold.{arm}"), "", cold as f64);
        cells.push(moments(&mixed).0.into());
        cells.push(cold.into());
        table.push_row(cells);
    }
    let control: Vec<&SingleCall> =
        all.iter().filter(|call| call.config == "baseline_default" && call.arm == "baseline").collect();
    values.put(
        "calls.cold.baseline_default",
        "",
        control.iter().filter(|call| call.cold() == Some(true)).count() as f64,
    );
    let overheads: Vec<f64> = all
        .iter()
        .filter_map(|call| Some(call.metric(Metric::TtftClient)? - call.metric(Metric::TtftServer)?))
        .collect();
    let sample = Sample::new(&overheads, "call").map_err(place())?;
    values.put("overhead.ttft.median", "s", sample.median());
    Ok(Section::new("first-tokens", "First tokens").table(table).paragraph(format!(
        "{} of {} calls found the model unloaded: the first of a process or of an arm with other options. Between what the server \
         reports and what the client sees lies a median of {}: of all differences between clients that is the part a client \
         could own.",
        cold.len(),
        all.len(),
        chimera_report::show_number(sample.median(), "s")
    )))
}

/// Whether levels of an option, and whole configurations, differ. The arm of the defaults takes part as a placebo: its
/// directories bear the labels and ran without the options.
pub(super) fn options(all: &[SingleCall], values: &mut Values, family: &mut Family) {
    for (arm, name) in [("chimera", "options"), ("baseline", "placebo")] {
        let mut rates: Vec<([String; 3], f64)> = Vec::new();
        let mut configs: Vec<Vec<f64>> = Vec::new();
        for directory in directories(all).into_values().filter(|directory| !is_control(directory)) {
            let Some(levels) = directory
                .iter()
                .map(|call| &call.options)
                .find(|options| options.iter().all(|o| !o.is_empty()))
            else {
                continue;
            };
            let own: Vec<f64> = runs(directory.iter().copied().filter(|call| call.arm == arm))
                .into_values()
                .filter_map(|run| even_rate(&run, 2))
                .collect();
            if !own.is_empty() {
                rates.push((levels.clone(), moments(&own).0));
            }
            if own.len() > 2 {
                configs.push(own);
            }
        }
        for (place, option) in ["num_gpu", "num_ctx", "temperature"].into_iter().enumerate() {
            let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for (levels, rate) in &rates {
                groups.entry(&levels[place]).or_default().push(*rate);
            }
            let question = format!("Does {option} change the rate? ({name}, over configurations)");
            family.add(
                values,
                &format!("{option}.{name}"),
                &question,
                anova(groups.values(), "configuration"),
            );
        }
        let question = format!("Do the configurations differ? ({name}, over runs)");
        family.add(values, &format!("configs.{name}"), &question, anova(configs.iter(), "run"));
    }
}

fn anova<'a>(
    groups: impl Iterator<Item = &'a Vec<f64>>,
    unit: &'static str,
) -> Result<hypothesis::Test, chimera_stats::StatsError> {
    let samples: Vec<Sample<'_>> = groups.map(|group| Sample::new(group, unit)).collect::<Result<_, _>>()?;
    hypothesis::one_way_anova(&samples)
}
