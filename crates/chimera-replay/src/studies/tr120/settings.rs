//! Settings over processes: one value per process, all processes of a setting, pilots included. A setting that ran once has
//! no interval.

use std::collections::BTreeMap;

use chimera_report::{Column, Headline, Section, Table};
use chimera_stats::{
    Sample,
    hypothesis::{self, Alternative},
};

use super::{
    super::{
        family::{Corrected, Family, cell, put, shown},
        shared::{geometric, mean, plain_mean},
    },
    read::Run,
};
use crate::{ReplayError, Values};

const UNIT: &str = "process";
const MODES: [&str; 3] = ["prefill", "kv_decode", "e2e_kv"];
const SETTINGS: [(&str, &str); 4] = [
    ("varlen", "static, own lengths"),
    ("padded", "static, padded"),
    ("dynamic", "shape-polymorphic"),
    ("inductor", "all with the compiler"),
];

fn setting(run: &Run) -> Option<&'static str> {
    match (run.dynamic, run.padding.as_str()) {
        (true, _) => Some("dynamic"),
        (false, "varlen") => Some("varlen"),
        (false, padding) if padding.starts_with("padded") => Some("padded"),
        // No counters: nobody knows which lengths it ran.
        _ => None,
    }
}

/// Adds `ratio.<mode>.<setting>`, `decode.*` and `fallback.runs`.
pub(super) fn replay(values: &mut Values, tests: &mut Family, runs: &[Run]) -> Result<(), ReplayError> {
    let mut ratios: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    let mut overheads = Vec::new();
    let mut counts = [0_u32; 4];
    let fallbacks = runs.iter().filter(|run| !run.is_inductor()).count();
    values.put("fallback.mode_runs", "", fallbacks as f64);
    for run in runs.iter().filter(|run| run.is_inductor()) {
        let Some(ratio) = run.ratio() else { continue };
        let mode = MODES.iter().find(|mode| **mode == run.mode).copied().unwrap_or("other");
        values.put(format!("ratio.{}", run.key()), "", ratio);
        ratios.entry((mode, "inductor")).or_default().push(ratio);
        if let Some(setting) = setting(run) {
            ratios.entry((mode, setting)).or_default().push(ratio);
        }
        if mode == "kv_decode" {
            overheads.push(overhead(values, run));
            if run.has_counters {
                let compiled = !run.counters_empty && !run.at_limit;
                counts[0] += 1;
                counts[1] += u32::from(run.counters_empty);
                counts[2] += u32::from(!run.counters_empty && run.at_limit);
                counts[3] += u32::from(compiled);
            }
        }
    }
    for (name, count) in ["runs_with_counters", "runs_without_graphs", "runs_at_limit", "runs_fully_compiled"]
        .into_iter()
        .zip(counts)
    {
        values.put(format!("decode.{name}"), "", f64::from(count));
    }
    put(values, "decode.overhead", "µs", mean(&overheads, UNIT));
    for mode in MODES {
        for (setting, _) in SETTINGS {
            let own = ratios.remove(&(mode, setting)).unwrap_or_default();
            let name = format!("ratio.{mode}.{setting}");
            put(values, name.as_str(), "", geometric(&own, UNIT));
            let logs: Vec<f64> = own.iter().map(|ratio| ratio.ln()).collect();
            let test = Sample::new(&logs, UNIT)
                .and_then(|s| hypothesis::one_sample_t(s, 0.0, Alternative::TwoSided));
            tests.add(values, &name, test);
        }
    }
    Ok(())
}

/// What the compiled label adds to one generated token, in microseconds.
fn overhead(values: &mut Values, run: &Run) -> f64 {
    let per_token = |arm: usize| {
        let tokens: Vec<f64> = run.arms[arm].iter().map(|sample| sample.tokens).collect();
        1e3 * plain_mean(&run.latencies(arm)) / plain_mean(&tokens)
    };
    let overhead = per_token(1) - per_token(0);
    values.put(format!("decode.overhead.{}", run.name), "µs", overhead);
    overhead
}

/// Padded prefill, the setting with the most processes.
pub(super) fn headline(values: &Values, corrected: &Corrected) -> Headline {
    let name = "ratio.prefill.padded";
    let faster = values.point(name).is_some_and(|ratio| ratio < 1.0);
    Headline::new(
        "prefill",
        "Compiled prefill of stable shapes is faster than eager",
        corrected.verdict(name, faster),
        format!(
            "Over processes with padded lengths, compiled over eager is {} ({}). In {} of {} modes of runs mean and median \
             disagree on which arm is faster.",
            shown(values, name),
            corrected.words(name),
            shown(values, "paradox.mode_runs"),
            shown(values, "legacy.mode_runs"),
        ),
    )
    .value(cell(values, name), "")
}

/// The table of settings.
pub(super) fn section(values: &Values, corrected: &Corrected) -> Section {
    let mut table = Table::new("settings", "Compiled over eager by setting")
        .caption(
            "Geometric mean over processes of the ratio of medians, scenarios weighted alike; t interval of the logarithms. \
             Runs that fell back to another backend are left out, runs without counters stand in the last group only.",
        )
        .column(Column::text("mode", "Mode"))
        .column(Column::text("setting", "Setting"))
        .column(Column::number("ratio", "Ratio", ""))
        .column(Column::text("p", "p"));
    for mode in MODES {
        for (setting, words) in SETTINGS {
            let name = format!("ratio.{mode}.{setting}");
            table.push_row([mode.into(), words.into(), cell(values, &name), corrected.words(&name).into()]);
        }
    }
    let mut text = format!(
        "{} modes of runs under the compiled label fell back to another backend. In decode modes the label adds {} per token.",
        shown(values, "fallback.mode_runs"),
        shown(values, "decode.overhead"),
    );
    if nothing_compiled(values) {
        text.push_str(
            " No such run was compiled throughout, so this is mostly the price of checking guards.",
        );
    }
    Section::new("settings", "The same question by our definitions: settings").table(table).paragraph(text)
}

/// Whether there were decode runs with counters and none of them ran compiled throughout.
pub(super) fn nothing_compiled(values: &Values) -> bool {
    let count = |what: &str| values.point(&format!("decode.{what}")).unwrap_or(0.0);
    count("runs_with_counters") > 0.0 && count("runs_fully_compiled") == 0.0
}
