//! The same questions by our definitions: tokens over seconds of decode, pairs as replicates, cold and warm runs apart, and
//! what was compared at all.

use std::collections::BTreeMap;

use chimera_report::{Axis, Column, Plot, Section, Series, Style, Table};
use chimera_stats::{
    Sample, StatsError, effect,
    hypothesis::{self, Alternative, Margin},
};

use super::{
    super::{
        family::{Corrected, Family, put},
        shared::{mean, of_sums, plain_mean},
    },
    Arm, Pair, cell,
    runs::Score,
    shown,
};
use crate::{ALPHA, LEVEL, Values};

/// Rates are called equivalent within this share of the default's rate.
const MARGIN: f64 = 0.01;

/// Whether a run found its model loaded: both calls together took less than half the arm's usual time to the first token.
fn warm(arm: &Arm, usual: f64) -> bool {
    arm.ttft_ms().is_some_and(|ttft| ttft < 0.5 * usual)
}

fn usual(pairs: &[Pair], arm: usize) -> f64 {
    let ttft: Vec<f64> = pairs.iter().filter_map(|pair| pair.arms()[arm].1.ttft_ms()).collect();
    Sample::new(&ttft, "run").map_or(f64::NAN, |sample| sample.median())
}

/// Pairs without a failed and without a warm run.
fn cold(pairs: &[Pair]) -> Vec<&Pair> {
    let usual = [usual(pairs, 0), usual(pairs, 1)];
    let is_cold = |pair: &&Pair| pair.arms().iter().zip(usual).all(|((_, arm), usual)| !warm(arm, usual));
    pairs.iter().filter(|pair| pair.complete()).filter(is_cold).collect()
}

/// What was run, in which order, and on what.
pub(super) fn protocol(values: &mut Values, pairs: &[Pair]) {
    let usual = [usual(pairs, 0), usual(pairs, 1)];
    let count = |holds: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|pair| holds(pair)).count() as f64;
    values.put("pairs", "", pairs.len() as f64);
    values.put("pairs.complete", "", count(&Pair::complete));
    values.put("pairs.cold", "", cold(pairs).len() as f64);
    values.put("order.tuned_first", "", count(&|pair| pair.chimera.start < pair.baseline.start));
    let mut runs: Vec<&Arm> = pairs.iter().flat_map(|pair| [&pair.baseline, &pair.chimera]).collect();
    values.put("runs", "", runs.len() as f64);
    values.put("runs.failed", "", runs.iter().filter(|arm| !arm.complete()).count() as f64);
    values.put("runs.chimera.complete", "", count(&|pair| pair.chimera.complete()));
    values.put("runs.warm", "", (0..2).map(|i| count(&|pair| warm(pair.arms()[i].1, usual[i]))).sum());
    let mut days: BTreeMap<i64, usize> = BTreeMap::new();
    for arm in &runs {
        *days.entry(arm.day() as i64).or_default() += 1;
    }
    let most = days.values().copied().max().unwrap_or(0);
    values.put("runs.another_day", "", (runs.len() - most) as f64);
    values.put("files.ingested.max", "files", runs.iter().map(|arm| arm.files).fold(0.0, f64::max));
    values.put("runs.without_files", "", runs.iter().filter(|arm| arm.files == 0.0).count() as f64);
    runs.sort_by(|a, b| a.start.total_cmp(&b.start));
    let (mut before_warm, mut before_others) = (Vec::new(), Vec::new());
    for both in runs.windows(2).filter(|both| both[0].day() == both[1].day()) {
        let gap = both[1].start - both[0].end;
        let tuned = pairs.iter().any(|pair| std::ptr::eq(&raw const pair.chimera, both[1]));
        if tuned {
            if warm(both[1], usual[1]) { before_warm.push(gap) } else { before_others.push(gap) }
        }
    }
    for (name, gaps) in [("order.gap_before_warm", before_warm), ("order.gap_before_tuned", before_others)] {
        match Sample::new(&gaps, "run") {
            Ok(gaps) => values.put(name, "s", gaps.median()),
            Err(error) => values.lacks(name, error.to_string()),
        }
    }
    for (index, arm) in ["baseline", "chimera"].into_iter().enumerate() {
        let own: Vec<&Arm> =
            pairs.iter().map(|pair| pair.arms()[index].1).filter(|arm| arm.complete()).collect();
        let tokens: Vec<f64> = own.iter().map(|arm| arm.tokens).collect();
        let decode: Vec<f64> = own.iter().map(|arm| arm.decode_s()).collect();
        let wall: Vec<f64> = own.iter().map(|arm| arm.wall_s).collect();
        put(values, format!("decode_rate.server.{arm}"), "tok/s", of_sums(&tokens, &decode, "run"));
        put(values, format!("throughput.{arm}"), "tok/s", of_sums(&tokens, &wall, "run"));
        let calls: Vec<(f64, f64)> =
            own.iter().filter(|arm| !warm(arm, usual[index])).filter_map(|arm| arm.ttft_of_calls()).collect();
        let (faster, slower): (Vec<f64>, Vec<f64>) = calls.into_iter().unzip();
        put(values, format!("ttft.server.faster_call.{arm}"), "ms", mean(&faster, "run"));
        put(values, format!("ttft.server.slower_call.{arm}"), "ms", mean(&slower, "run"));
    }
}

/// A comparison of the arms: values of pairs, tuned and default.
type Sides = (Vec<f64>, Vec<f64>);

fn sides(pairs: &[&Pair], value: impl Fn(&Arm) -> Option<f64>) -> Sides {
    pairs.iter().filter_map(|pair| Some((value(&pair.chimera)?, value(&pair.baseline)?))).unzip()
}

fn compare(values: &mut Values, tests: &mut Family, name: &str, unit: &'static str, (a, b): &Sides) {
    let both = || Ok::<_, StatsError>((Sample::new(a, "pair")?, Sample::new(b, "pair")?));
    put(values, name, unit, both().and_then(|(a, b)| effect::mean_difference_paired(a, b, LEVEL)));
    let test = both().and_then(|(a, b)| hypothesis::paired_t(a, b, Alternative::TwoSided));
    tests.add(values, name, test);
}

/// Tuned against default by pairs, with the warm run and without it. Gives whether the rates are equivalent.
pub(super) fn comparisons(
    values: &mut Values,
    tests: &mut Family,
    pairs: &[Pair],
    scores: &BTreeMap<(String, String), Score>,
) -> bool {
    let all: Vec<&Pair> = pairs.iter().filter(|pair| pair.complete()).collect();
    let cold = cold(pairs);
    for (which, pairs) in [("all_pairs", &all), ("cold_pairs", &cold)] {
        let decode = sides(pairs, |arm| Some(arm.tokens / arm.decode_s()));
        compare(values, tests, &format!("decode_rate.{which}"), "tok/s", &decode);
        compare(values, tests, &format!("tokens_s.{which}"), "tok/s", &sides(pairs, Arm::mean_rate));
        compare(values, tests, &format!("ttft.server.{which}"), "ms", &sides(pairs, Arm::ttft_ms));
        compare(values, tests, &format!("words.{which}"), "words", &sides(pairs, |arm| Some(arm.words)));
        let score = |pair: &Pair, arm: &str| {
            scores.get(&(pair.config.clone(), arm.to_owned())).map(|score| score.overall)
        };
        let quality: Sides =
            pairs.iter().filter_map(|pair| Some((score(pair, "chimera")?, score(pair, "baseline")?))).unzip();
        compare(values, tests, &format!("quality.{which}"), "", &quality);
    }
    let (a, b) = sides(&all, Arm::mean_rate);
    let sign = Sample::new(&a, "pair")
        .and_then(|a| hypothesis::sign_paired(a, Sample::new(&b, "pair")?, Alternative::TwoSided));
    tests.add(values, "wins", sign);
    equivalence(values, &sides(&cold, |arm| Some(arm.tokens / arm.decode_s())))
}

/// Two one-sided tests within the margin, and what a design of this size can detect.
fn equivalence(values: &mut Values, (a, b): &Sides) -> bool {
    let name = "decode_rate.equivalence.p";
    if a.is_empty() {
        values.lacks("decode_rate.margin", "no cold pair");
        values.lacks("decode_rate.minimum_detectable", "no cold pair");
        values.lacks(name, "no cold pair");
        return false;
    }
    let margin = MARGIN * plain_mean(b);
    values.put("decode_rate.margin", "tok/s", margin);
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let detectable = Sample::new(&differences, "pair").and_then(|sample| {
        hypothesis::minimum_detectable(sample.standard_error()?, sample.len(), ALPHA, 0.8)
    });
    match detectable {
        Ok(Some(smallest)) => values.put("decode_rate.minimum_detectable", "tok/s", smallest),
        Ok(None) => values.lacks("decode_rate.minimum_detectable", "too few pairs"),
        Err(error) => values.lacks("decode_rate.minimum_detectable", error.to_string()),
    }
    let test = Sample::new(&differences, "pair")
        .and_then(|sample| hypothesis::equivalent_mean(sample, Margin::difference(margin), ALPHA));
    match test.map(|test| (test.p(), test.is_shown())) {
        Ok((Ok(p), shown)) => {
            values.put(name, "", p);
            shown
        }
        Ok((Err(why), _)) => {
            values.lacks(name, why.to_string());
            false
        }
        Err(error) => {
            values.lacks(name, error.to_string());
            false
        }
    }
}

/// The run behind the published winner, by tokens over seconds and call by call.
pub(super) fn winner(values: &mut Values, pairs: &[Pair], best: Option<&Pair>) {
    let names = ["best.decode_rate.server", "best.rank", "best.slower_call", "best.faster_call", "best.warm"];
    let Some(best) = best else {
        for name in names {
            values.lacks(name, "no pair is complete");
        }
        return;
    };
    let rate = |arm: &Arm| arm.tokens / arm.decode_s();
    let own = rate(&best.chimera);
    let above = pairs.iter().filter(|pair| pair.chimera.complete() && rate(&pair.chimera) > own).count();
    values.put(names[0], "tok/s", own);
    values.put(names[1], "", (above + 1) as f64);
    let (slower, faster) = best.chimera.rate_of_calls().unwrap_or((f64::NAN, f64::NAN));
    values.put(names[2], "tok/s", slower);
    values.put(names[3], "tok/s", faster);
    values.put("best.warm", "", f64::from(u8::from(warm(&best.chimera, usual(pairs, 1)))));
    values.put("best.words", "words", best.chimera.words);
    values.put("best.tokens", "tokens", best.chimera.tokens);
}

/// Arms and differences by our definitions, with the pairs as replicates.
pub(super) fn section(values: &Values, corrected: &Corrected, pairs: &[Pair]) -> Section {
    let mut arms = Table::new("arms", "Arms")
        .caption(
            "Tokens over seconds of all runs with the interval over runs. Decode is what load and prompt evaluation leave of \
             the server's total. The two calls' TTFT are recovered from mean and 95th percentile, warm runs left out: the \
             slower one holds the load of the model.",
        )
        .column(Column::text("arm", "Arm"))
        .column(Column::number("decode", "Decode", "tok/s"))
        .column(Column::number("throughput", "Whole run", "tok/s"))
        .column(Column::number("faster", "TTFT, faster call", "ms"))
        .column(Column::number("slower", "TTFT, slower call", "ms"));
    for arm in ["baseline", "chimera"] {
        arms.push_row([
            arm.into(),
            cell(values, &format!("decode_rate.server.{arm}")),
            cell(values, &format!("throughput.{arm}")),
            cell(values, &format!("ttft.server.faster_call.{arm}")),
            cell(values, &format!("ttft.server.slower_call.{arm}")),
        ]);
    }
    let mut table = Table::new("differences", "Tuned minus default")
        .caption("Mean over pairs with its t interval; p of the paired t test, Holm-adjusted over the whole report.")
        .column(Column::text("quantity", "Quantity"))
        .column(Column::text("unit", "Unit"))
        .column(Column::number("all", "All pairs", ""))
        .column(Column::number("all-p", "p", ""))
        .column(Column::number("cold", "Cold pairs", ""))
        .column(Column::number("cold-p", "p", ""));
    for (name, words, unit) in [
        ("decode_rate", "Tokens over seconds of decode", "tok/s"),
        ("tokens_s", "Mean of the calls' rates", "tok/s"),
        ("ttft.server", "Load plus prompt evaluation", "ms"),
        ("quality", "Score", ""),
        ("words", "Length of the report", "words"),
    ] {
        table.push_row([
            words.into(),
            unit.into(),
            cell(values, &format!("{name}.all_pairs")),
            cell(values, &format!("{name}.all_pairs.p_holm")),
            cell(values, &format!("{name}.cold_pairs")),
            cell(values, &format!("{name}.cold_pairs.p_holm")),
        ]);
    }
    let section = Section::new("ours", "The same question by our definitions").table(arms).table(table).paragraph(format!(
        "Tuned is higher in {} of {} complete pairs (sign test: {}). {} of {} runs failed, {} found their model loaded.",
        shown(values, "legacy.wins"),
        shown(values, "pairs.complete"),
        corrected.words("wins"),
        shown(values, "runs.failed"),
        shown(values, "runs"),
        shown(values, "runs.warm"),
    ));
    if pairs.iter().all(|pair| !pair.complete()) {
        return section;
    }
    let mut plot = Plot::new(
        "ttft",
        "Load plus prompt evaluation by configuration",
        Axis::categories("configuration", pairs.iter().map(|pair| pair.config.as_str())),
        Axis::linear("mean of the two calls", "ms"),
    )
    .caption("One run per point. A run far below its arm found its model loaded.");
    for index in 0..2 {
        let name = if index == 0 { "default" } else { "tuned" };
        let mut series = Series::new(name, Style::Points);
        for (x, pair) in pairs.iter().enumerate() {
            if let Some(ttft) = pair.arms()[index].1.ttft_ms() {
                series = series.point(x as f64, ttft);
            }
        }
        plot = plot.series(series);
    }
    section.plot(plot)
}

/// What the runs worked on, and in which order.
pub(super) fn parity(values: &Values) -> Section {
    Section::new("protocol", "What was compared").list([
        format!(
            "{} of {} runs found no benchmark file to analyse; the most that any found is {}.",
            shown(values, "runs.without_files"),
            shown(values, "runs"),
            shown(values, "files.ingested.max"),
        ),
        format!(
            "The tuned run came first in {} of {} pairs.",
            shown(values, "order.tuned_first"),
            shown(values, "pairs"),
        ),
        format!("{} runs are from another day than the rest.", shown(values, "runs.another_day")),
        format!(
            "Before the warm run the log is silent for {}, before the other tuned runs for {} (median).",
            shown(values, "order.gap_before_warm"),
            shown(values, "order.gap_before_tuned"),
        ),
    ])
}
