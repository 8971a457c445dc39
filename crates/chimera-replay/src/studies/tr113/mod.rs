//! TR113: two Rust agents against one Ollama server. The published efficiency is the balance of the agents' end times. The
//! server took one request after the other, so the index says how early the first agent ended and nothing on speed; the
//! report's own runs tell what one agent reaches while the other waits, and that is the reference here.

mod pairs;
mod published;

use std::collections::BTreeMap;

use chimera_report::{Axis, Column, Headline, Plot, Section, Series, Style, Table, Verdict, show_number};
use chimera_stats::{Estimate, Sample, rank};

use super::{
    shared::{self, cell},
    tr111::{
        calls::moments,
        family::{Family, Two, verdict},
    },
};
use crate::{Artifacts, LEVEL, Limits, Replay, ReplayError, Replayed, Values};
use pairs::Pair;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr113];

/// The study.
struct Tr113;

const RUNS: &str = "agents/tr113/rust_multiagent_single_ollama_runs.csv";
/// The same program a day later, many runs: only a comparison, so the study runs without it.
const LATER: &str = "agents/tr114/rust_multiagent_tr110_v1_runs.csv";
const SCENARIOS: &[&str] = &["baseline_vs_chimera", "chimera_hetero", "chimera_homo"];

impl Replay for Tr113 {
    fn id(&self) -> &'static str {
        "tr113"
    }

    fn title(&self) -> &'static str {
        "Do two Rust agents on one Ollama server work in parallel?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let table = data.table(RUNS, pairs::COLUMNS)?;
        let all = pairs::read(&table)?;
        if all.is_empty() {
            return Err(table.wrong("there is no run"));
        }
        let mut values = Values::default();
        let mut family = Family::default();
        let mut sections = vec![published::section(&all, &mut values)];
        published::python(data, &mut values)?;
        let good: Vec<&Pair> = all.iter().filter(|pair| !pair.failed()).collect();
        values.put("runs.failed", "", (all.len() - good.len()) as f64);
        sections.push(queue(&good, &mut values, &mut family)?);
        sections.push(speed(&good, &mut values, &mut family)?);
        sections.push(options(&good, &mut values, &mut family));
        sections.push(later(data, &mut values)?);
        sections.push(family.judge(&mut values)?);
        let headline = headline(&values);
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

/// Whether the server took the agents one after the other, and what it did between them.
fn queue(good: &[&Pair], values: &mut Values, family: &mut Family) -> Result<Section, ReplayError> {
    let stamped: Vec<bool> = good.iter().filter_map(|pair| pair.serial()).collect();
    let serial = stamped.iter().filter(|serial| **serial).count();
    values.put("runs.serial", "", serial as f64);
    values.put("runs.serial.share", "%", 100.0 * serial as f64 / stamped.len() as f64);
    let mut table = Table::new("between", "From the first agent's end to the last agent's prompt")
        .caption("Mean over runs with its t interval: the last agent's first token, less its prompt's evaluation, after the first agent's end.")
        .column(Column::text("options", "Options of the agents"))
        .column(Column::number("between", "Between", "s"))
        .column(Column::number("runs", "Runs", ""));
    let between = |same: bool| -> Vec<f64> {
        good.iter().filter(|pair| pair.same_options() == same).filter_map(|pair| pair.between()).collect()
    };
    let (same, other) = (between(true), between(false));
    for (name, label, seconds) in [("same", "the same", &same), ("different", "different", &other)] {
        let estimate = shared::mean(seconds, "run");
        if let Ok(estimate) = &estimate {
            values.put_estimate(format!("between.{name}"), "s", estimate.clone());
        }
        table.push_row([label.into(), cell(estimate), seconds.len().into()]);
    }
    let two = runs(&other, &same, "s");
    family.add_welch(values, "between", "Do different options cost time between the agents?", two);
    Ok(Section::new("queue", "One after the other").table(table).paragraph(format!(
        "In {serial} of {} runs the last agent's first token came after the first agent had ended: the server took the requests \
         one after the other. An index of two such agents of equal work is 75 % by construction.",
        stamped.len()
    )))
}

fn runs<'v>(a: &'v [f64], b: &'v [f64], unit: &'static str) -> Two<'v> {
    Two { a, b, replicate: "run", unit }
}

/// Tokens over the span, against one agent alone in the same runs; and what the index makes of it.
fn speed(good: &[&Pair], values: &mut Values, family: &mut Family) -> Result<Section, ReplayError> {
    let mut table = Table::new("throughput", "Tokens of both agents over the span")
        .caption("Ratio of sums over runs with its interval. The last row is one agent alone: the first of each run, where it found its model loaded.")
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("rate", "Throughput", "tok/s"))
        .column(Column::number("runs", "Runs", ""));
    let ratio = |own: &[&Pair]| {
        let tokens: Vec<f64> = own.iter().map(|pair| pair.tokens()).collect();
        let seconds: Vec<f64> = own.iter().map(|pair| pair.wall_s).collect();
        shared::of_sums(&tokens, &seconds, "run")
    };
    for scenario in SCENARIOS.iter().copied().chain(["all"]) {
        let own: Vec<&Pair> =
            good.iter().copied().filter(|pair| scenario == "all" || pair.scenario == scenario).collect();
        let estimate = ratio(&own);
        if let Ok(estimate) = &estimate {
            values.put_estimate(format!("throughput.{scenario}"), "tok/s", estimate.clone());
        }
        table.push_row([scenario.into(), cell(estimate), own.len().into()]);
    }
    let alone: Vec<&Pair> = good.iter().copied().filter(|pair| pair.first.cold() == Some(false)).collect();
    let (tokens, seconds): (Vec<f64>, Vec<f64>) =
        alone.iter().map(|pair| (pair.first.tokens, pair.first.seconds)).unzip();
    let solo = shared::of_sums(&tokens, &seconds, "run");
    table.push_row(["one agent, warm".into(), cell(solo.clone()), alone.len().into()]);
    let solo_rates: Vec<f64> =
        tokens.iter().zip(&seconds).map(|(tokens, seconds)| tokens / seconds).collect();
    if let Ok(solo) = &solo {
        values.put_estimate("solo.throughput", "tok/s", solo.clone());
    }
    for (name, own) in [
        ("speedup", good.to_vec()),
        ("speedup.same_options", good.iter().copied().filter(|pair| pair.same_options()).collect()),
        ("speedup.different_options", good.iter().copied().filter(|pair| !pair.same_options()).collect()),
    ] {
        let rates: Vec<f64> = own.iter().map(|pair| pair.throughput()).collect();
        match shared::ratio_of(&rates, &solo_rates, "run") {
            Ok(estimate) => {
                if name == "speedup" {
                    values.put_estimate("efficiency", "%", halved(&estimate));
                }
                values.put_estimate(name, "", estimate);
            }
            Err(error) => {
                values.lacks(name, format!("no reference of one agent alone: {error}"));
                if name == "speedup" {
                    values.lacks("efficiency", format!("no reference of one agent alone: {error}"));
                }
            }
        }
    }
    let rates = |keep: fn(&Pair) -> bool| -> Vec<f64> {
        good.iter().filter(|pair| keep(pair)).map(|pair| pair.throughput()).collect()
    };
    let all_rates = rates(|_| true);
    let two = runs(&all_rates, &solo_rates, "tok/s");
    family.add_welch(values, "speedup", "Do two agents together differ from one alone?", two);
    let (same, different) = (rates(Pair::same_options), rates(|pair| !pair.same_options()));
    let two = runs(&same, &different, "tok/s");
    family.add_welch(values, "throughput.options", "Do equal options give another throughput?", two);
    let split = |cold: bool, what: fn(&Pair) -> f64| -> Vec<f64> {
        good.iter().filter(|pair| pair.first.cold() == Some(cold)).map(|pair| what(pair)).collect()
    };
    let index: (Vec<f64>, Vec<f64>) = (split(true, |pair| pair.index), split(false, |pair| pair.index));
    let speed: (Vec<f64>, Vec<f64>) = (split(true, Pair::throughput), split(false, Pair::throughput));
    for (name, label, unit, (cold, warm)) in [
        ("index.first_loads", "Is the index another where the first agent loads its model?", "%", &index),
        (
            "throughput.first_loads",
            "Is the throughput another where the first agent loads its model?",
            "tok/s",
            &speed,
        ),
    ] {
        match shared::difference(cold, warm, "run") {
            Ok(estimate) => values.put_estimate(name, unit, estimate),
            Err(error) => values.lacks(name, error.to_string()),
        }
        family.add_welch(values, name, label, runs(cold, warm, unit));
    }
    let indices: Vec<f64> = good.iter().map(|pair| pair.index).collect();
    let balance: Vec<f64> = good.iter().map(|pair| pair.token_balance()).collect();
    for (name, label, other) in [
        ("spearman.index.throughput", "Do index and throughput rank the runs alike?", &all_rates),
        ("spearman.index.tokens", "Do index and balance of tokens rank the runs alike?", &balance),
    ] {
        match rank::spearman(&indices, other) {
            Ok(rho) => {
                family.add_p(values, name, label, Ok(rho.p));
                match rho.estimate(LEVEL) {
                    Ok(estimate) => values.put_estimate(name, "", estimate),
                    Err(_) => values.put(name, "", rho.rho),
                }
            }
            Err(error) => {
                values.lacks(name, error.to_string());
                family.add_p(values, name, label, Err(error.to_string()));
            }
        }
    }
    let mut plot = Plot::new(
        "index",
        "The published index against throughput",
        Axis::linear("balance index", "%"),
        Axis::linear("tokens of both over the span", "tok/s"),
    )
    .caption("One point per run; the line is one agent alone.");
    for (name, same) in [("same options", true), ("different options", false)] {
        let mut series = Series::new(name, Style::Points);
        for pair in good.iter().filter(|pair| pair.same_options() == same) {
            series = series.point(pair.index, pair.throughput()).label(pair.config.clone());
        }
        plot = plot.series(series);
    }
    if let Ok(solo) = solo {
        plot = plot.horizontal(solo.point, "one agent alone");
    }
    Ok(Section::new("speed", "The index against speed").table(table).plot(plot))
}

/// A speed-up of two agents as efficiency, in per cent.
fn halved(speedup: &Estimate) -> Estimate {
    Estimate {
        point: 50.0 * speedup.point,
        standard_error: speedup.standard_error.map(|error| 50.0 * error),
        interval: speedup.interval.map(|interval| interval.map(|value| 50.0 * value)),
        ..speedup.clone()
    }
}

/// Scenario and temperature, as the report compared them.
fn options(good: &[&Pair], values: &mut Values, family: &mut Family) -> Section {
    let index = |scenario: &str| -> Vec<f64> {
        good.iter().filter(|pair| pair.scenario == scenario).map(|pair| pair.index).collect()
    };
    let (mixed, same) = (index("baseline_vs_chimera"), index("chimera_homo"));
    match shared::difference(&same, &mixed, "run") {
        Ok(estimate) => values.put_estimate("index.homo_minus_bvc", "%", estimate),
        Err(error) => values.lacks("index.homo_minus_bvc", error.to_string()),
    }
    let question = "Do equal options give another index than defaults against options?";
    family.add_welch(values, "index.scenario", question, runs(&same, &mixed, "%"));
    let by_config: BTreeMap<&str, f64> = good.iter().map(|pair| (pair.config.as_str(), pair.index)).collect();
    let (cool, warm): (Vec<f64>, Vec<f64>) = by_config
        .iter()
        .filter(|(config, _)| config.starts_with("bvc_"))
        .filter_map(|(config, index)| {
            let stem = config.strip_suffix("_temp0p6")?;
            Some((*index, *by_config.get(format!("{stem}_temp0p8").as_str())?))
        })
        .unzip();
    let mut table = Table::new("temperature", "Index at temperature 0.6 less that at 0.8")
        .caption("Pairs of runs of the first scenario that differ in nothing else, one run each.")
        .column(Column::number("difference", "Difference", "%"))
        .column(Column::number("wins", "0.6 above 0.8", ""))
        .column(Column::number("pairs", "Pairs", ""));
    let estimate = Sample::new(&cool, "pair").and_then(|cool| {
        chimera_stats::effect::mean_difference_paired(cool, Sample::new(&warm, "pair")?, LEVEL)
    });
    match &estimate {
        Ok(estimate) => values.put_estimate("index.temperature", "%", estimate.clone()),
        Err(error) => values.lacks("index.temperature", error.to_string()),
    }
    let wins = cool.iter().zip(&warm).filter(|(cool, warm)| cool > warm).count();
    values.put("index.temperature.wins", "", wins as f64);
    values.put("index.temperature.pairs", "", cool.len() as f64);
    let two = Two { a: &cool, b: &warm, replicate: "pair", unit: "%" };
    family.add_paired(values, "index.temperature", "Does the temperature change the index?", two);
    table.push_row([cell(estimate), wins.into(), cool.len().into()]);
    Section::new("options", "Scenario and temperature").table(table)
}

/// The same program one day later, with five runs per configuration, on one and on two servers.
fn later(data: &Artifacts, values: &mut Values) -> Result<Section, ReplayError> {
    let section = Section::new("later", "One day later, with repetitions");
    if !data.has(LATER) {
        for server in ["single", "dual"] {
            for scenario in SCENARIOS {
                values.lacks(
                    format!("later.throughput.{server}.{scenario}"),
                    "the runs of the following day are not among these data",
                );
            }
        }
        return Ok(section.paragraph("The runs of the following day are not among these data."));
    }
    let columns =
        ["dataset", "scenario", "a1_tokens_generated", "b1_tokens_generated", "concurrent_wall_time_s"];
    let table = data.table(LATER, &columns)?;
    let mut groups: BTreeMap<(bool, String), (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for row in table.rows() {
        let dual = row.text("dataset")?.ends_with("_dual");
        let (a, b) = (row.maybe("a1_tokens_generated")?, row.maybe("b1_tokens_generated")?);
        let seconds = row.maybe("concurrent_wall_time_s")?;
        if let Some(((a, b), seconds)) = a.zip(b).zip(seconds) {
            let group = groups.entry((dual, row.text("scenario")?.to_owned())).or_default();
            group.0.push(a + b);
            group.1.push(seconds);
        }
    }
    let mut printed = Table::new("later", "Tokens of both agents over the span, by servers")
        .caption("Ratio of sums with its interval over runs, and the mean of the runs' rates.")
        .column(Column::text("servers", "Servers"))
        .column(Column::text("scenario", "Scenario"))
        .column(Column::number("rate", "Throughput", "tok/s"))
        .column(Column::number("mean", "Mean of rates", "tok/s"))
        .column(Column::number("runs", "Runs", ""));
    for ((dual, scenario), (tokens, seconds)) in groups {
        let server = if dual { "dual" } else { "single" };
        let estimate = shared::of_sums(&tokens, &seconds, "run");
        match &estimate {
            Ok(estimate) => values.put_estimate(
                format!("later.throughput.{server}.{scenario}"),
                "tok/s",
                estimate.clone(),
            ),
            Err(error) => values.lacks(format!("later.throughput.{server}.{scenario}"), error.to_string()),
        }
        let rates: Vec<f64> = tokens.iter().zip(&seconds).map(|(tokens, seconds)| tokens / seconds).collect();
        values.put(format!("legacy.later.aggregate.{server}.{scenario}"), "tok/s", moments(&rates).0);
        printed.push_row([
            if dual { "two" } else { "one" }.into(),
            scenario.into(),
            cell(estimate),
            moments(&rates).0.into(),
            rates.len().into(),
        ]);
    }
    Ok(section.table(printed))
}

fn headline(values: &Values) -> Vec<Headline> {
    let mut headline = Vec::new();
    if let Some(speedup) = values.point("speedup") {
        let index = values.point("legacy.efficiency.mean.all").unwrap_or(f64::NAN);
        headline.push(
            Headline::new(
                "speedup",
                "Are two agents on one server faster than one after the other?",
                verdict(values, "speedup", speedup > 1.0),
                format!(
                    "Tokens of both over the span against one warm agent of the same runs; the published index of these runs is {}.",
                    show_number(index, "%")
                ),
            )
            .value(speedup, ""),
        );
    }
    if let Some((index, throughput)) =
        values.point("index.first_loads").zip(values.point("throughput.first_loads"))
    {
        let judged = ["index.first_loads", "throughput.first_loads"]
            .map(|name| verdict(values, name, true) == Verdict::Supported);
        let verdict = match judged {
            [true, true] if index * throughput < 0.0 => Verdict::Contradicted,
            [true, true] => Verdict::Supported,
            _ => Verdict::Inconclusive,
        };
        headline.push(
            Headline::new(
                "index",
                "Does a higher published efficiency mean more tokens per second?",
                verdict,
                format!(
                    "Where the first agent had to load its model, the index differs by {} points and the throughput by {}.",
                    show_number(index, ""),
                    show_number(throughput, "tok/s")
                ),
            )
            .value(throughput, "tok/s"),
        );
    }
    if let Some((difference, wins)) =
        values.point("index.temperature").zip(values.point("index.temperature.wins"))
    {
        headline.push(
            Headline::new(
                "temperature",
                "Does temperature 0.6 raise the index?",
                verdict(values, "index.temperature", difference > 0.0),
                format!(
                    "0.6 lies above 0.8 in {} of {} pairs, one run each.",
                    show_number(wins, ""),
                    show_number(values.point("index.temperature.pairs").unwrap_or(f64::NAN), "")
                ),
            )
            .value(difference, "%"),
        );
    }
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec![
            "Whether the server took the two requests one after the other.".into(),
            "What different options cost between two requests: a reload of the runner.".into(),
            "One agent's rate in the same minutes: the first of a run has the server for itself.".into(),
        ],
        cannot: vec![
            "A difference between languages: the Python agents had two servers, another workload and another month.".into(),
            "An effect of scenario, options or temperature on the index: each configuration ran once, and which agent the server \
             took first decides the index."
                .into(),
            "Causes below the server (memory fragmentation, scheduler overhead, buffering): nothing was recorded of them.".into(),
            "A solo baseline of its own: none was run; the first agents of the warm runs stand for it, and a run's own first agent \
             is part of both sides of the comparison."
                .into(),
        ],
    }
}
