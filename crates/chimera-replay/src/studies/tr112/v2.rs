//! TR112 v2: the agents of TR109 and TR111 v2 as published, the parity they were said to have, five definitions of a time to
//! the first token on the same calls, and both languages on one day.

use chimera_records::Metric;
use chimera_report::{Cell, Column, Headline, Section, Table, Verdict, show_number};

use super::{python, same_day, v1::fisher};
use crate::{
    Artifacts, Limits, Replay, ReplayError, Replayed, Values,
    studies::tr111::{
        CALLS,
        calls::{self, SingleCall, by, largest, median, moments, smallest},
        family::{Family, verdict},
        micro,
    },
};

/// Version 2.
pub(super) struct Tr112;

/// Client-side first lines of the Python agents of TR117; a definition more, not needed.
const LINES: &str = "agents/tr117ma/python_phase1_phase3_runs.csv";

impl Replay for Tr112 {
    fn id(&self) -> &'static str {
        "tr112"
    }

    fn title(&self) -> &'static str {
        "Is the Rust agent faster than the Python agent?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[python::SWEEP, CALLS, micro::RUNS, same_day::RUST, same_day::PYTHON]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let arms = python::read(data)?;
        let rust = calls::read(&data.table(CALLS, calls::COLUMNS)?)?;
        let earlier = micro::read(data)?;
        let mut values = Values::default();
        let mut family = Family::default();
        python::put(&arms, &mut values);
        let mut sections = vec![published(&rust, &arms, &mut values)];
        sections.push(success(&rust, &arms, &earlier, &mut values, &mut family));
        sections.push(parity(&rust, &arms, &mut values));
        let (same_day, models) = same_day::section(data, &mut values, &mut family)?;
        sections.push(same_day);
        sections.push(definitions(data, &rust, &arms, &mut values)?);
        weeks(&rust, &earlier, &mut values);
        sections.push(family.judge(&mut values)?);
        let headline = headline(&values, &models);
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// Mean of the rates of the calls of each directory's arm, by directory; `failed` keeps failed calls as zero.
fn directories(rust: &[SingleCall], arm: &str, failed: bool) -> Vec<(String, f64)> {
    by(rust.iter().filter(|call| call.arm == arm && (failed || !call.failed())), |call| call.config.clone())
        .into_iter()
        .map(|(config, calls)| {
            let rates: Vec<f64> = calls.iter().filter_map(|call| call.rate).collect();
            (config, moments(&rates).0)
        })
        .collect()
}

fn published(rust: &[SingleCall], arms: &[python::Arm], values: &mut Values) -> Section {
    let default: Vec<&SingleCall> =
        rust.iter().filter(|call| call.config == "baseline_default" && call.arm == "baseline").collect();
    let (rate, sd) = moments(&default.iter().filter_map(|call| call.rate).collect::<Vec<_>>());
    let (ttft, ttft_sd) = moments(&default.iter().filter_map(|call| call.ttft_ms).collect::<Vec<_>>());
    values.put("legacy.rust.tokens_s.mean", "tok/s", rate);
    values.put("legacy.rust.tokens_s.sd", "tok/s", sd);
    values.put("legacy.rust.tokens_s.cv", "%", 100.0 * sd / rate);
    values.put("legacy.rust.ttft_ms.mean", "ms", ttft);
    values.put("legacy.rust.ttft_ms.cv", "%", 100.0 * ttft_sd / ttft);
    let configs: Vec<f64> = directories(rust, "baseline", true).into_iter().map(|(_, rate)| rate).collect();
    let (mean, config_sd) = moments(&configs);
    values.put("legacy.rust.configs.mean", "tok/s", mean);
    values.put("legacy.rust.configs.sd", "tok/s", config_sd);
    values.put("legacy.rust.configs.cv", "%", 100.0 * config_sd / mean);
    values.put("legacy.rust.configs.median", "tok/s", median(&configs));
    values.put("legacy.rust.configs.max", "tok/s", largest(&configs));
    values.put("legacy.rust.configs.min", "tok/s", smallest(&configs));
    let base = moments(&python::rates(arms, "baseline")).0;
    let best = largest(&python::rates(arms, "chimera"));
    let base_ttft =
        moments(&arms.iter().filter(|arm| arm.arm == "baseline").map(|arm| arm.ttft_ms).collect::<Vec<_>>())
            .0;
    values.put("legacy.gap.default", "%", 100.0 * (rate / base - 1.0));
    values.put("legacy.gap.full", "%", 100.0 * (mean / base - 1.0));
    values.put("legacy.gap.best", "%", 100.0 * (largest(&configs) / best - 1.0));
    values.put("legacy.gap.ttft", "%", 100.0 * (ttft / base_ttft - 1.0));
    values.put("legacy.optimised.rust", "%", 100.0 * (largest(&configs) / rate - 1.0));
    let point = |name: &str| values.point(name);
    let row = |label: &str, rust: &str, python: &str| {
        [
            Cell::from(label),
            Cell::or_missing(point(rust), "not in the data"),
            Cell::or_missing(point(python), "not in the data"),
        ]
    };
    let table = Table::new("published", "Both agents by the published formula")
        .caption(
            "Rust: means of the calls of TR111 v2 (the directory of the defaults; configurations: the arm of the defaults of \
             every directory). Python: means of the arms of TR109. The Python run that was published is not among the data.",
        )
        .column(Column::text("quantity", "Quantity"))
        .column(Column::number("rust", "Rust", ""))
        .column(Column::number("python", "Python", ""))
        .row(row("rate, tok/s", "legacy.rust.tokens_s.mean", "legacy.python.tokens_s.mean.baseline"))
        .row(row("its variation, %", "legacy.rust.tokens_s.cv", "legacy.python.tokens_s.cv.baseline"))
        .row(row("TTFT, ms", "legacy.rust.ttft_ms.mean", "legacy.python.ttft_ms.mean.baseline"))
        .row(row("rate of the configurations, tok/s", "legacy.rust.configs.mean", "legacy.python.tokens_s.mean.chimera"))
        .row(row("their variation, %", "legacy.rust.configs.cv", "legacy.python.tokens_s.cv.chimera"))
        .row(row("best, tok/s", "legacy.rust.configs.max", "legacy.python.tokens_s.max.chimera"));
    Section::new("published", "Published tables by the published formula").table(table)
}

/// How often the options won, by each set that the report could have meant.
fn success(
    rust: &[SingleCall],
    arms: &[python::Arm],
    earlier: &[micro::Micro],
    values: &mut Values,
    family: &mut Family,
) -> Section {
    let first = micro::pairs(earlier, false);
    python::success(values, "rust_v1", first.iter().map(|(config, pair)| (config.as_str(), *pair)));
    for (name, failed) in [("rust_v2", true), ("rust_v2_completed", false)] {
        let base = directories(rust, "baseline", failed);
        let own: std::collections::BTreeMap<String, f64> =
            directories(rust, "chimera", failed).into_iter().collect();
        let pairs: Vec<(&str, (f64, f64))> = base
            .iter()
            .filter_map(|(config, base)| Some((config.as_str(), (*base, *own.get(config)?))))
            .collect();
        values.put(format!("legacy.success.{name}.pairs"), "", pairs.len() as f64);
        python::success(values, name, pairs.into_iter());
    }
    let python_pairs = python::pairs(arms).len();
    let won =
        |values: &Values, name: &str| values.point(&format!("legacy.success.{name}.wins")).unwrap_or(0.0);
    family.add(
        values,
        "success",
        "Do the options win more often for Rust (v1 data) than for Python?",
        fisher((won(values, "rust_v1"), first.len()), (won(values, "python"), python_pairs)),
    );
    let mut table = Table::new("success", "How often the options won")
        .caption("One comparison per configuration: one call against one (v1), six against six (v2), two against two (Python).")
        .column(Column::text("set", "Data"))
        .column(Column::number("wins", "Wins", ""))
        .column(Column::number("share", "Share", "%"))
        .column(Column::number("mean", "Mean change", "%"));
    for (name, label) in [
        ("rust_v1", "Rust, TR111 v1"),
        ("rust_v2", "Rust, TR111 v2, failed calls as zero"),
        ("rust_v2_completed", "Rust, TR111 v2, failed calls left out"),
        ("python", "Python, TR109"),
    ] {
        let point = |what: &str| values.point(&format!("legacy.success.{name}.{what}"));
        table.push_row([
            label.into(),
            Cell::or_missing(point("wins"), "no pair"),
            Cell::or_missing(point("share"), "no pair"),
            Cell::or_missing(point("mean"), "no pair"),
        ]);
    }
    Section::new("success", "Wins of the options").table(table)
}

fn parity(rust: &[SingleCall], arms: &[python::Arm], values: &mut Values) -> Section {
    let files: Vec<f64> = rust.iter().filter_map(|call| call.files).collect();
    values.put("files.rust.mean", "", moments(&files).0);
    let none = arms.iter().filter(|arm| arm.files == 0.0).count();
    Section::new("parity", "Was it the same work?").paragraph(format!(
        "The Rust agent read {} files per run. {none} of {} runs of the Python agent read none: {}",
        show_number(moments(&files).0, ""),
        arms.len(),
        if none == arms.len() && moments(&files).0 > 0.0 {
            "its model analysed an empty set, and the two never did the same work."
        } else if none == 0 {
            "both had something to analyse."
        } else {
            "the work of the two differs from run to run."
        }
    ))
}

/// One time to the first token per definition that the series used.
fn definitions(
    data: &Artifacts,
    rust: &[SingleCall],
    arms: &[python::Arm],
    values: &mut Values,
) -> Result<Section, ReplayError> {
    let base: Vec<&SingleCall> = rust.iter().filter(|call| call.arm == "baseline").collect();
    let mut table = Table::new("definitions", "Five times to the first token")
        .caption(
            "Means over the calls of the arm of the defaults of TR111 v2, warm and cold apart and mixed; the last rows are of \
             other data, for which the first line at the client, or only a mixed mean, was recorded.",
        )
        .column(Column::text("definition", "Definition"))
        .column(Column::text("used", "Used by"))
        .column(Column::number("warm", "Warm", "s"))
        .column(Column::number("cold", "Cold", "s"))
        .column(Column::number("mixed", "Mixed", "s"));
    for (name, label, used, metric) in [
        ("ttft.client", "first token at the client", "TR111 to TR116, Rust", Metric::TtftClient),
        ("ttft.server", "load plus prompt evaluation", "TR108 to TR110, Python", Metric::TtftServer),
        ("prefill.server", "prompt evaluation alone", "TR116, Python", Metric::PrefillServer),
    ] {
        let times = |cold: Option<bool>| -> Option<f64> {
            let times: Vec<f64> = base
                .iter()
                .filter(|call| cold.is_none() || call.cold() == cold)
                .filter_map(|call| call.metric(metric))
                .collect();
            (!times.is_empty()).then(|| moments(&times).0)
        };
        let mut cells = vec![Cell::from(label), Cell::from(used)];
        for (kind, cold) in [("warm", Some(false)), ("cold", Some(true)), ("mixed", None)] {
            match times(cold) {
                Some(seconds) => values.put(format!("definitions.{name}.{kind}"), "s", seconds),
                None => values.lacks(format!("definitions.{name}.{kind}"), "no such call"),
            }
            cells.push(Cell::or_missing(times(cold), "no such call"));
        }
        table.push_row(cells);
    }
    const APART: &str = "not told apart";
    let line = if data.has(LINES) {
        let lines = data.table(LINES, &["a_ttft_ms", "b_ttft_ms", "read_buffer_size"])?;
        let mut seconds = Vec::new();
        for row in lines.rows().filter(|row| row.text("read_buffer_size").is_ok_and(str::is_empty)) {
            seconds.extend(
                [row.maybe("a_ttft_ms")?, row.maybe("b_ttft_ms")?].into_iter().flatten().map(|ms| ms / 1e3),
            );
        }
        (!seconds.is_empty()).then(|| moments(&seconds).0)
    } else {
        None
    };
    match line {
        Some(seconds) => values.put("definitions.first_line", "s", seconds),
        None => values.lacks("definitions.first_line", "its runs are not among these data"),
    }
    table.push_row([
        "first line at the client".into(),
        "TR117, Python, two agents".into(),
        Cell::missing(APART),
        Cell::missing(APART),
        Cell::or_missing(line, "its runs are not among these data"),
    ]);
    let mixed: Vec<f64> =
        arms.iter().filter(|arm| arm.arm == "baseline").map(|arm| arm.ttft_ms / 1e3).collect();
    values.put("definitions.mixed_mean", "s", moments(&mixed).0);
    table.push_row([
        "mean of a cold and a warm call".into(),
        "TR109, Python".into(),
        Cell::missing(APART),
        Cell::missing(APART),
        moments(&mixed).0.into(),
    ]);
    let text = match values
        .point("definitions.ttft.client.cold")
        .zip(values.point("definitions.prefill.server.warm"))
    {
        Some((most, least)) if least > 0.0 => format!(
            "On the same calls the choice of definition and of warm or cold moves the number by a factor of up to {}.",
            show_number(most / least, "")
        ),
        _ => "The data hold no cold call, or no warm one.".to_owned(),
    };
    Ok(Section::new("definitions", "Five times to the first token").table(table).paragraph(text))
}

/// The same Rust client in another week.
fn weeks(rust: &[SingleCall], earlier: &[micro::Micro], values: &mut Values) {
    let before: Vec<f64> = earlier
        .iter()
        .filter(|call| call.in_grid() && call.arm == "baseline")
        .filter_map(|call| call.rate)
        .collect();
    let configs: Vec<f64> = directories(rust, "baseline", true).into_iter().map(|(_, rate)| rate).collect();
    values.put("weeks.rust.before", "tok/s", moments(&before).0);
    values.put("weeks.rust.change", "%", 100.0 * (moments(&configs).0 / moments(&before).0 - 1.0));
}

fn headline(values: &Values, models: &[String]) -> Vec<Headline> {
    let mut headline = Vec::new();
    let point = |name: &str| values.point(name);
    let verdicts: Vec<Verdict> = models
        .iter()
        .filter_map(|model| {
            let ratio = point(&format!("same_day.ratio.{model}.chimera"))?;
            Some(verdict(values, &format!("same_day.{model}.chimera"), ratio > 1.0))
        })
        .collect();
    let all = |wanted: Verdict| !verdicts.is_empty() && verdicts.iter().all(|verdict| *verdict == wanted);
    let overall = if all(Verdict::Supported) {
        Verdict::Supported
    } else if all(Verdict::Contradicted) {
        Verdict::Contradicted
    } else {
        Verdict::Inconclusive
    };
    let changes: Vec<String> = models
        .iter()
        .filter_map(|model| {
            let ratio = point(&format!("same_day.ratio.{model}.chimera"))?;
            Some(format!("{model} {}", show_number(100.0 * (ratio - 1.0), "%")))
        })
        .collect();
    let mut one = Headline::new(
        "same-day",
        "On one day and with the same options, does the Rust agent decode faster?",
        overall,
        format!(
            "Rust against Python: {}. Supported or contradicted only where every model says so.",
            changes.join(", ")
        ),
    );
    if let Some(gap) = point("legacy.gap.full") {
        let gap = show_number(gap, "%");
        one.sentence.push_str(&format!(" The published comparison of different weeks gives {gap}."));
    }
    headline.push(one);
    let equal: Vec<Verdict> = models
        .iter()
        .map(|model| {
            super::super::tr111::family::equivalent(values, &[format!("same_day.equal.{model}.chimera")])
        })
        .collect();
    let equal = if !equal.is_empty() && equal.iter().all(|verdict| *verdict == Verdict::Equivalent) {
        Verdict::Equivalent
    } else {
        Verdict::Inconclusive
    };
    headline.push(Headline::new(
        "equal",
        "Are the two equal within 3 % there?",
        equal,
        "Two one-sided tests per model, Holm-adjusted over the report; equal only where all are.",
    ));
    if let Some(change) = point("weeks.rust.change") {
        headline.push(
            Headline::new(
                "weeks",
                "Is a difference between weeks a difference between languages?",
                Verdict::NotMeasured,
                format!(
                    "The same Rust client changed by {} between two dates of one week; the published gap between languages \
                     compares other dates still.",
                    show_number(change, "%")
                ),
            )
            .value(change, "%"),
        );
    }
    if let Some((rust, python)) = point("files.rust.mean").zip(point("files.python.mean")) {
        let verdict = if rust == python { Verdict::Supported } else { Verdict::Contradicted };
        headline.push(
            Headline::new(
                "parity",
                "Did both agents do the same work?",
                verdict,
                format!(
                    "Files read per run: {} by Rust, {} by Python.",
                    show_number(rust, ""),
                    show_number(python, "")
                ),
            )
            .value(python, ""),
        );
    }
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec![
            "What one server reported for two clients on one day, on three models.".into(),
            "How far the same client moves between two dates when the server changes.".into(),
            "Which agent read its files.".into(),
        ],
        cannot: vec![
            "A throughput of a language: the rate is the server's tokens over the server's seconds.".into(),
            "A comparison of times to the first token: Rust stamped warm calls at the client, Python averaged cold and warm server \
             durations."
                .into(),
            "Memory, start-up time, size, cost: nothing measured them.".into(),
            "Equal work: the Python agents read no file, so the second prompts differ, also on the day both ran.".into(),
            "A p of the published throughputs: six calls of one process against a single run.".into(),
        ],
    }
}
