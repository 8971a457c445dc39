//! TR111 v1: one call per configuration and arm, each after a cold load, the defaults always before the options. Five
//! folders of the same days recorded no token and no duration from the server; they are counted and left out. A sixth
//! repeated one configuration five times, warm: the only replicates there are.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::{Metric, Trial};
use chimera_report::{Axis, Cell, Column, Headline, Plot, Section, Series, Style, Table, show_number};
use chimera_stats::{
    Sample,
    hypothesis::{self, Alternative, Margin},
    ratio,
};

use super::{
    calls::{COLD_S, largest, moments, smallest, wins},
    family::{Family, Two, verdict},
};
use crate::{
    ALPHA, Artifacts, Call, LEVEL, Limits, Replay, ReplayError, Replayed, Values, call,
    studies::shared::{self, cell},
};

/// Calls of version 1.
pub(in crate::studies) const RUNS: &str = "agents/tr111/rust_microbench_v1_runs.csv";
const COLUMNS: &[&str] = &[
    "dir",
    "arm",
    "run",
    "num_gpu",
    "num_ctx",
    "temperature",
    "throughput_tokens_per_sec",
    "tokens_generated",
    "ttft_ms",
    "total_duration_ms",
    "load_duration_ms",
    "prompt_eval_duration_ms",
    "eval_duration_ms",
];
/// Differences below this share count as none.
const MARGIN: f64 = 0.01;

/// Version 1.
pub(super) struct Tr111V1;

/// One call of version 1.
#[derive(Debug, Clone)]
pub(in crate::studies) struct Micro {
    /// The configuration of the sweep, `manual_test`, or nothing outside the sweep.
    pub(in crate::studies) config: Option<String>,
    pub(in crate::studies) dir: String,
    pub(in crate::studies) arm: String,
    pub(in crate::studies) rate: Option<f64>,
    pub(in crate::studies) ttft_ms: Option<f64>,
    pub(in crate::studies) trial: Trial,
}

/// Reads the calls of version 1.
///
/// # Errors
/// A file that is not there or not in this layout, a call that comes twice.
pub(in crate::studies) fn read(data: &Artifacts) -> Result<Vec<Micro>, ReplayError> {
    let table = data.table(RUNS, COLUMNS)?;
    let mut seen = BTreeSet::new();
    let mut calls = Vec::with_capacity(table.len());
    for (id, row) in (0_u32..).zip(table.rows()) {
        let (dir, arm, run) = (row.text("dir")?, row.text("arm")?, row.number("run")? as u32);
        if !seen.insert((dir, arm, run)) {
            return Err(row.malformed(format!("run {run} of `{dir}`, {arm} comes twice")));
        }
        let tokens = row.number("tokens_generated")?;
        let ttft_ms = row.maybe("ttft_ms")?;
        let trial = call(
            id,
            &Call {
                backend: "ollama",
                model: "gemma3:latest",
                scenario: arm,
                block: run,
                generated: Some(tokens),
                load_ms: row.maybe("load_duration_ms")?,
                prompt_eval_ms: row.maybe("prompt_eval_duration_ms")?,
                eval_ms: row.maybe("eval_duration_ms")?,
                ttft_ms,
                total_ms: row.maybe("total_duration_ms")?,
                failure: (tokens <= 0.0).then_some("no token count was recorded"),
                ..Call::default()
            },
        );
        calls.push(Micro {
            config: dir.split_once("sweep/").map(|(_, config)| config.to_owned()),
            dir: dir.to_owned(),
            arm: arm.to_owned(),
            rate: row.maybe("throughput_tokens_per_sec")?,
            ttft_ms,
            trial,
        });
    }
    Ok(calls)
}

impl Micro {
    /// Part of the eighteen configurations, not a trial by hand.
    pub(in crate::studies) fn in_grid(&self) -> bool {
        self.config.as_deref().is_some_and(|config| config != "manual_test")
    }

    fn failed(&self) -> bool {
        self.trial.lanes.is_empty()
    }
}

/// Pairs of rates, defaults and options, by configuration.
pub(in crate::studies) fn pairs(calls: &[Micro], manual_too: bool) -> BTreeMap<String, (f64, f64)> {
    let mut arms: BTreeMap<&str, (Option<f64>, Option<f64>)> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.in_grid() || (manual_too && call.config.is_some())) {
        let Some(config) = &call.config else { continue };
        let rate = call.rate.filter(|_| !call.failed());
        let slot = arms.entry(config).or_default();
        match call.arm.as_str() {
            "baseline" => slot.0 = rate,
            _ => slot.1 = rate,
        }
    }
    arms.into_iter().filter_map(|(config, (base, own))| Some((config.to_owned(), (base?, own?)))).collect()
}

impl Replay for Tr111V1 {
    fn id(&self) -> &'static str {
        "tr111-v1"
    }

    fn title(&self) -> &'static str {
        "Which Ollama options make one call of the Rust agent faster?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let calls = read(data)?;
        let mut values = Values::default();
        let mut family = Family::default();
        let published = published(&calls, &mut values);
        let effect = effect(&calls, &mut values, &mut family)?;
        let tests = family.judge(&mut values)?;
        let headline = headline(&values);
        Ok(Replayed { values, headline, sections: vec![published, effect, tests], limits: limits() })
    }
}

fn published(calls: &[Micro], values: &mut Values) -> Section {
    for (name, manual) in [("grid", false), ("all", true)] {
        let own = |arm: &str| -> Vec<&Micro> {
            calls
                .iter()
                .filter(|call| call.arm == arm && (call.in_grid() || (manual && call.config.is_some())))
                .collect()
        };
        for arm in ["baseline", "chimera"] {
            let rates: Vec<f64> = own(arm).iter().filter_map(|call| call.rate).collect();
            let ttft: Vec<f64> = own(arm).iter().filter_map(|call| call.ttft_ms).collect();
            let (mean, sd) = moments(&rates);
            values.put(format!("legacy.tokens_s.mean.{arm}.{name}"), "tok/s", mean);
            values.put(format!("legacy.tokens_s.sd.{arm}.{name}"), "tok/s", sd);
            values.put(format!("legacy.tokens_s.cv.{arm}.{name}"), "%", 100.0 * sd / mean);
            values.put(format!("legacy.tokens_s.min.{arm}.{name}"), "tok/s", smallest(&rates));
            values.put(format!("legacy.tokens_s.max.{arm}.{name}"), "tok/s", largest(&rates));
            values.put(format!("legacy.ttft_ms.mean.{arm}.{name}"), "ms", moments(&ttft).0);
        }
        let both: Vec<f64> =
            ["baseline", "chimera"].into_iter().flat_map(own).filter_map(|call| call.ttft_ms).collect();
        let (mean, sd) = moments(&both);
        values.put(format!("legacy.ttft_ms.mean.{name}"), "ms", mean);
        values.put(format!("legacy.ttft_ms.sd.{name}"), "ms", sd);
        values.put(format!("legacy.ttft_ms.min.{name}"), "ms", smallest(&both));
        values.put(format!("legacy.ttft_ms.max.{name}"), "ms", largest(&both));
    }
    let grid = pairs(calls, false);
    let all: Vec<(f64, f64)> = grid.values().copied().collect();
    let total = wins(&all);
    values.put("legacy.wins", "", total.wins as f64);
    values.put("legacy.wins.share", "%", 100.0 * total.wins as f64 / total.pairs as f64);
    values.put("legacy.improvement.mean", "%", total.mean);
    values.put("legacy.improvement.max", "%", total.largest);
    values.put("legacy.improvement.min", "%", total.smallest);
    for level in ["gpu60", "gpu80", "gpu120", "ctx256", "ctx512", "ctx1024", "temp0p6", "temp0p8"] {
        let own: Vec<(f64, f64)> = grid
            .iter()
            .filter(|(config, _)| config.split('_').any(|part| part == level))
            .map(|(_, pair)| *pair)
            .collect();
        let one = wins(&own);
        values.put(format!("legacy.wins.share.{level}"), "%", 100.0 * one.wins as f64 / one.pairs as f64);
        values.put(format!("legacy.improvement.mean.{level}"), "%", one.mean);
    }
    let mut table = Table::new("published", "Configurations, one call each")
        .column(Column::text("config", "Configuration"))
        .column(Column::number("base", "Defaults", "tok/s"))
        .column(Column::number("own", "Options", "tok/s"))
        .column(Column::number("change", "Change", "%"));
    for (config, (base, own)) in &grid {
        values.put(format!("legacy.improvement.{config}"), "%", 100.0 * (own / base - 1.0));
        table.push_row([
            config.as_str().into(),
            (*base).into(),
            (*own).into(),
            (100.0 * (own / base - 1.0)).into(),
        ]);
    }
    Section::new("published", "Published tables by the published formula").table(table)
}

fn effect(calls: &[Micro], values: &mut Values, family: &mut Family) -> Result<Section, ReplayError> {
    let failed = calls.iter().filter(|call| call.failed()).count();
    values.put("calls.failed", "", failed as f64);
    let folders: BTreeSet<&str> =
        calls.iter().filter(|call| call.failed()).map(|call| call.dir.as_str()).collect();
    values.put("folders.without_tokens", "", folders.len() as f64);
    let cold = calls
        .iter()
        .filter(|call| call.in_grid())
        .filter(|call| Metric::LoadServer.of(&call.trial).is_some_and(|seconds| seconds > COLD_S))
        .count();
    let in_grid = calls.iter().filter(|call| call.in_grid()).count();
    values.put("calls.cold.share", "%", 100.0 * cold as f64 / in_grid as f64);
    let (base, own): (Vec<f64>, Vec<f64>) = pairs(calls, false).into_values().unzip();
    let unit = "configuration";
    let sample = |values| Sample::new(values, unit);
    let estimate = sample(&own).and_then(|own| ratio::paired(own, sample(&base)?, LEVEL));
    if let Ok(estimate) = &estimate {
        values.put_estimate("effect.options", "", estimate.clone());
    }
    let two = Two { a: &own, b: &base, replicate: unit, unit: "tok/s" };
    family.add_paired(
        values,
        "effect.paired",
        "Do the options change the rate? (paired t over configurations)",
        two,
    );
    let sign =
        sample(&own).and_then(|own| hypothesis::sign_paired(own, sample(&base)?, Alternative::TwoSided));
    family.add(values, "effect.sign", "Do the options win more often than a coin? (sign test)", sign);
    let equal = sample(&own).and_then(|own| {
        hypothesis::equivalent_paired_ratio(own, sample(&base)?, Margin::ratio(MARGIN), ALPHA)
    });
    family.add_equivalence(values, "effect.equal", "Is the rate equal within 1 %?", equal);
    let repeated = |arm: &str| -> Vec<f64> {
        calls
            .iter()
            .filter(|call| call.config.is_none() && call.arm == arm)
            .filter_map(|call| Metric::DecodeRateServer.of(&call.trial))
            .collect()
    };
    let (first, second) = (repeated("baseline"), repeated("chimera"));
    let again = shared::ratio_of(&second, &first, "run");
    if let Ok(estimate) = &again {
        values.put_estimate("effect.repeated", "", estimate.clone());
    }
    let two = Two { a: &second, b: &first, replicate: "run", unit: "tok/s" };
    let question = "Do the options change the rate where runs were repeated?";
    family.add_welch(values, "effect.repeated", question, two);
    let cold_ttft: Vec<f64> = calls
        .iter()
        .filter(|call| call.in_grid())
        .filter_map(|call| Metric::TtftClient.of(&call.trial))
        .collect();
    if let Ok(estimate) = shared::mean(&cold_ttft, "call") {
        values.put_estimate("ttft.client.cold", "s", estimate);
    }
    let mut table = Table::new("effect", "Rate under the options over that under the defaults")
        .column(Column::text("replicates", "Replicates"))
        .column(Column::number("ratio", "Ratio", ""))
        .column(Column::number("n", "n", ""))
        .row([Cell::from("configurations, one call each, cold"), cell(estimate), base.len().into()])
        .row([Cell::from("repeated runs of one configuration"), cell(again), first.len().into()]);
    table = table.caption(format!(
        "Geometric means with t intervals. {failed} calls in {} folders recorded no token and are left out.",
        folders.len()
    ));
    let mut series = Series::new("configurations", Style::Points);
    for (at, (base, own)) in base.iter().zip(&own).enumerate() {
        series = series.point(at as f64 + 1.0, 100.0 * (own / base - 1.0));
    }
    let plot = Plot::new(
        "changes",
        "Change of the rate by configuration",
        Axis::linear("configuration", ""),
        Axis::linear("options over defaults", "%"),
    )
    .series(series)
    .horizontal(0.0, "no change");
    Ok(Section::new("effect", "What the options change").table(table).plot(plot))
}

fn headline(values: &Values) -> Vec<Headline> {
    let mut headline = Vec::new();
    if let Some(ratio) = values.point("effect.options") {
        let change = 100.0 * (ratio - 1.0);
        let equal = super::family::equivalent(values, &["effect.equal".to_owned()]);
        headline.push(
            Headline::new(
                "equal",
                "Is the rate the same with and without the options?",
                equal,
                "Two one-sided tests against 1 %, over configurations, Holm-adjusted.",
            )
            .value(change, "%"),
        );
    }
    if let Some((wins, share)) = values.point("legacy.wins").zip(values.point("legacy.wins.share")) {
        headline.push(
            Headline::new(
                "wins",
                "Do the options win more often than a coin?",
                verdict(values, "effect.sign", share > 50.0),
                format!(
                    "{} wins, {} of the configurations; each win and loss is one call against one call.",
                    show_number(wins, ""),
                    show_number(share, "%")
                ),
            )
            .value(share, "%"),
        );
    }
    headline
}

fn limits() -> Limits {
    Limits {
        can: vec![
            "How far the rates of one call under the options and one under the defaults lie apart.".into(),
            "What a cold start of this model took, as a client saw it.".into(),
        ],
        cannot: vec![
            "Which configuration is best: each was run once.".into(),
            "A success rate of an optimisation: a gain of a tenth of a per cent in one call is below the noise of a repeated one."
                .into(),
            "An agent's workflow: one call without files, unlike the Python agent it was compared with.".into(),
            "Anything from the five folders without tokens: the server's last line was not recorded, and nobody knows why.".into(),
        ],
    }
}
