//! The published tables by the published formulas: means of the calls' rates, load plus prompt evaluation, one run per
//! configuration, the weighted score.

use std::collections::BTreeMap;

use chimera_report::{Column, Section, Table};
use chimera_stats::Sample;

use super::{Arm, Pair, cell, runs::Score};
use crate::{Values, studies::shared::plain_mean};

/// Weights of depth, analysis, structure and citations in the code that scored.
const CODE_WEIGHTS: [f64; 4] = [0.30, 0.25, 0.25, 0.20];
/// And in the report's appendix.
const PRINTED_WEIGHTS: [f64; 4] = [0.35, 0.25, 0.20, 0.20];

fn moments(values: &mut Values, name: &str, unit: &'static str, own: &[f64]) {
    match Sample::new(own, "run") {
        Ok(sample) => {
            values.put(format!("{name}.mean"), unit, sample.mean());
            match sample.sd() {
                Ok(sd) => values.put(format!("{name}.sd"), unit, sd),
                Err(error) => values.lacks(format!("{name}.sd"), error.to_string()),
            }
        }
        Err(error) => {
            values.lacks(format!("{name}.mean"), error.to_string());
            values.lacks(format!("{name}.sd"), error.to_string());
        }
    }
}

/// Means over runs, differences by configuration, means by level. Gives the pair with the largest published gain.
pub(super) fn sweep<'p>(values: &mut Values, pairs: &'p [Pair]) -> Option<&'p Pair> {
    for index in 0..2 {
        let arms: Vec<(&str, &Arm)> = pairs.iter().map(|pair| pair.arms()[index]).collect();
        let arm = if index == 0 { "baseline" } else { "chimera" };
        let of = |value: fn(&Arm) -> Option<f64>| -> Vec<f64> {
            arms.iter().filter_map(|(_, arm)| value(arm)).collect()
        };
        moments(values, &format!("legacy.tokens_s.{arm}"), "tok/s", &of(Arm::mean_rate));
        moments(values, &format!("legacy.ttft_ms.{arm}"), "ms", &of(Arm::ttft_ms));
        moments(values, &format!("legacy.duration_s.{arm}"), "s", &of(|arm| Some(arm.wall_s)));
    }
    let mut best: Option<(f64, &Pair)> = None;
    let mut wins = 0_usize;
    for pair in pairs {
        let Pair { config, baseline, chimera, .. } = pair;
        let prefix = format!("legacy.delta.{config}");
        values.put(format!("{prefix}.duration_s"), "s", chimera.wall_s - baseline.wall_s);
        if let Some((a, b)) = chimera.ttft_ms().zip(baseline.ttft_ms()) {
            values.put(format!("{prefix}.ttft_ms"), "ms", a - b);
            values.put(format!("{prefix}.ttft_reduction"), "%", 100.0 * (b - a) / b);
        }
        if let Some((a, b)) = chimera.mean_rate().zip(baseline.mean_rate()) {
            let gain = 100.0 * (a / b - 1.0);
            wins += usize::from(a > b);
            values.put(format!("{prefix}.tokens_s"), "tok/s", a - b);
            values.put(format!("{prefix}.improvement"), "%", gain);
            if best.is_none_or(|(known, _)| gain > known) {
                best = Some((gain, pair));
            }
        }
    }
    values.put("legacy.wins", "", wins as f64);
    if let Some((gain, pair)) = best {
        values.put("legacy.best.improvement", "%", gain);
        values.put("legacy.best.tokens_s", "tok/s", pair.chimera.mean_rate().unwrap_or(f64::NAN));
        values.put("legacy.best.ttft_ms", "ms", pair.chimera.ttft_ms().unwrap_or(f64::NAN));
        let reduction = values.point(&format!("legacy.delta.{}.ttft_reduction", pair.config));
        values.put("legacy.best.ttft_reduction", "%", reduction.unwrap_or(f64::NAN));
    }
    for (index, option) in ["num_gpu", "num_ctx", "temperature"].into_iter().enumerate() {
        let mut rates: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for pair in pairs {
            let (rate, ttft) = rates.entry(pair.levels[index].as_str()).or_default();
            rate.extend(pair.chimera.mean_rate());
            ttft.extend(pair.chimera.ttft_ms());
        }
        for (level, (rate, ttft)) in rates {
            values.put(format!("legacy.level.{option}.{level}.tokens_s"), "tok/s", plain_mean(&rate));
            values.put(format!("legacy.level.{option}.{level}.ttft_ms"), "ms", plain_mean(&ttft));
        }
    }
    best.map(|(_, pair)| pair)
}

/// Scores by report and arm, and how far they are from each set of weights.
pub(super) fn quality(values: &mut Values, scores: &BTreeMap<(String, String), Score>) {
    let (mut code, mut printed) = (0.0_f64, 0.0_f64);
    let mut arms: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((config, arm), score) in scores {
        values.put(format!("legacy.quality.{config}.{arm}"), "", score.overall);
        values.put(format!("legacy.quality.{config}.{arm}.words"), "words", score.words);
        let (overall, reweighed) = arms.entry(arm).or_default();
        overall.push(score.overall);
        reweighed.push(score.weighted(PRINTED_WEIGHTS));
        code = code.max((score.overall - score.weighted(CODE_WEIGHTS)).abs());
        printed = printed.max((score.overall - score.weighted(PRINTED_WEIGHTS)).abs());
    }
    for (arm, (overall, reweighed)) in &arms {
        moments(values, &format!("legacy.quality.{arm}"), "", overall);
        values.put(format!("legacy.quality_printed_weights.{arm}.mean"), "", plain_mean(reweighed));
    }
    values.put("legacy.quality.from_code_weights", "", code);
    values.put("legacy.quality.from_printed_weights", "", printed);
}

/// The sweep as published, every configuration.
pub(super) fn section(values: &Values, pairs: &[Pair]) -> Section {
    let mut arms = Table::new("published-arms", "Arms")
        .caption("Means over one run per configuration; TTFT is the mean over a run's calls of load plus prompt evaluation.")
        .column(Column::text("arm", "Arm"))
        .column(Column::number("rate", "Mean of rates", "tok/s"))
        .column(Column::number("rate-sd", "sd", "tok/s"))
        .column(Column::number("ttft", "TTFT", "ms"))
        .column(Column::number("ttft-sd", "sd", "ms"))
        .column(Column::number("score", "Score", ""))
        .column(Column::number("reweighed", "Score with the printed weights", ""));
    for arm in ["baseline", "chimera"] {
        arms.push_row([
            arm.into(),
            cell(values, &format!("legacy.tokens_s.{arm}.mean")),
            cell(values, &format!("legacy.tokens_s.{arm}.sd")),
            cell(values, &format!("legacy.ttft_ms.{arm}.mean")),
            cell(values, &format!("legacy.ttft_ms.{arm}.sd")),
            cell(values, &format!("legacy.quality.{arm}.mean")),
            cell(values, &format!("legacy.quality_printed_weights.{arm}.mean")),
        ]);
    }
    let mut table = Table::new("published-configurations", "Configurations")
        .caption("Tuned minus default, one run each.")
        .column(Column::text("configuration", "Configuration"))
        .column(Column::number("rate", "Rate", "tok/s"))
        .column(Column::number("gain", "Rate", "%"))
        .column(Column::number("ttft", "TTFT", "ms"))
        .column(Column::number("duration", "Duration", "s"))
        .column(Column::number("default-score", "Score of the default", ""))
        .column(Column::number("score", "Score", ""));
    let mut ordered: Vec<&Pair> = pairs.iter().collect();
    let gain = |pair: &Pair| values.point(&format!("legacy.delta.{}.improvement", pair.config));
    ordered.sort_by(|a, b| {
        gain(b).unwrap_or(f64::NEG_INFINITY).total_cmp(&gain(a).unwrap_or(f64::NEG_INFINITY))
    });
    for pair in ordered {
        let delta = |what: &str| cell(values, &format!("legacy.delta.{}.{what}", pair.config));
        table.push_row([
            pair.config.as_str().into(),
            delta("tokens_s"),
            delta("improvement"),
            delta("ttft_ms"),
            delta("duration_s"),
            cell(values, &format!("legacy.quality.{}.baseline", pair.config)),
            cell(values, &format!("legacy.quality.{}.chimera", pair.config)),
        ]);
    }
    let shown = |name: &str| super::shown(values, name);
    Section::new("published", "Published tables by the published formula").table(arms).table(table).paragraph(format!(
        "The recorded scores differ from the code's weights by at most {} and from the printed weights by at most {}.",
        shown("legacy.quality.from_code_weights"),
        shown("legacy.quality.from_printed_weights"),
    ))
}
