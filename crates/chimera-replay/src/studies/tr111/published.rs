//! The published tables of TR111 v2 by the published formula: unweighted means over the six calls of an arm, failed calls
//! as zero, stages mixed.

use std::collections::BTreeMap;

use chimera_report::{Cell, Column, Section, Table};

use super::calls::{SingleCall, by, largest, median, moments, rate, smallest, wins};
use crate::Values;

/// Fills `legacy.*`.
pub(super) fn sections(all: &[SingleCall], values: &mut Values) -> Vec<Section> {
    let mut table = Table::new("published", "Directories by the published formula")
        .caption(
            "Means over the six calls of an arm, a failed call counting as zero. The published table prints the first of the \
             two arms, which ran the server's defaults in every directory.",
        )
        .column(Column::text("config", "Directory"))
        .column(Column::number("base", "Defaults", "tok/s"))
        .column(Column::number("base-sd", "sd", "tok/s"))
        .column(Column::number("base-ttft", "TTFT", "s"))
        .column(Column::number("tokens", "Tokens", ""))
        .column(Column::number("own", "Its options", "tok/s"))
        .column(Column::number("own-completed", "without failed calls", "tok/s"))
        .column(Column::number("failed", "Failed calls", ""));
    let mut means: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
    let mut completed: Vec<(String, f64, f64)> = Vec::new();
    let mut ttfts = Vec::new();
    for (config, directory) in by(all, |call| call.config.clone()) {
        let arms = by(directory.iter().copied(), |call| call.arm.as_str());
        let mut row: BTreeMap<&str, (f64, f64, f64, f64)> = BTreeMap::new();
        for (arm, calls) in &arms {
            let column = |get: fn(&SingleCall) -> Option<f64>| -> Vec<f64> {
                calls.iter().filter_map(|call| get(call)).collect()
            };
            let (mean, sd) = moments(&column(|call| call.rate));
            let (ttft, ttft_sd) = moments(&column(|call| call.ttft_ms));
            let tokens: f64 = calls.iter().map(|call| call.tokens).sum();
            for (name, unit, value) in [
                ("tokens_s.mean", "tok/s", mean),
                ("tokens_s.sd", "tok/s", sd),
                ("tokens_s.cv", "%", 100.0 * sd / mean),
                ("ttft_ms.mean", "ms", ttft),
                ("ttft_ms.sd", "ms", ttft_sd),
                ("ttft_ms.cv", "%", 100.0 * ttft_sd / ttft),
                ("tokens", "tokens", tokens),
            ] {
                values.put(format!("legacy.{name}.{config}.{arm}"), unit, value);
            }
            means.entry(arm).or_default().push((config.clone(), mean));
            row.insert(arm, (mean, sd, ttft, tokens));
        }
        let base = row.get("baseline").copied();
        let own = row.get("chimera").copied();
        let rates: Vec<f64> = arms
            .get("chimera")
            .into_iter()
            .flatten()
            .filter(|call| !call.failed())
            .filter_map(|c| c.rate)
            .collect();
        let own_completed = moments(&rates).0;
        if let Some((mean, ..)) = base {
            completed.push((config.clone(), mean, own_completed));
        }
        if let Some((_, _, ttft, _)) = base {
            ttfts.push(ttft);
        }
        const NO_ARM: &str = "the arm is not there";
        table.push_row([
            config.into(),
            Cell::or_missing(base.map(|b| b.0), NO_ARM),
            Cell::or_missing(base.map(|b| b.1), NO_ARM),
            Cell::or_missing(base.map(|b| b.2 / 1e3), NO_ARM),
            Cell::or_missing(base.map(|b| b.3), NO_ARM),
            Cell::or_missing(own.map(|o| o.0), NO_ARM),
            Cell::or_missing(own_completed.is_finite().then_some(own_completed), NO_ARM),
            directory.iter().filter(|call| call.failed()).count().into(),
        ]);
    }
    for (arm, configs) in &means {
        let rates: Vec<f64> = configs.iter().map(|(_, mean)| *mean).collect();
        spread(values, &format!("legacy.configs.{arm}"), &rates);
    }
    let (ttft, ttft_sd) = moments(&ttfts);
    values.put("legacy.configs.ttft_ms.mean", "ms", ttft);
    values.put("legacy.configs.ttft_ms.sd", "ms", ttft_sd);
    let without: Vec<f64> = completed.iter().map(|(_, _, own)| *own).filter(|own| own.is_finite()).collect();
    spread(values, "legacy.configs.completed.chimera", &without);
    for (config, _, own) in &completed {
        values.put(format!("legacy.completed.tokens_s.mean.{config}.chimera"), "tok/s", *own);
    }
    let own: BTreeMap<&str, f64> =
        means.get("chimera").into_iter().flatten().map(|(config, mean)| (config.as_str(), *mean)).collect();
    let as_published: Vec<(f64, f64)> =
        completed.iter().filter_map(|(config, base, _)| Some((*base, *own.get(config.as_str())?))).collect();
    let dropped: Vec<(f64, f64)> = completed.iter().map(|(_, base, own)| (*base, *own)).collect();
    for (name, pairs) in [("legacy.wins", as_published), ("legacy.wins.completed", dropped)] {
        let wins = wins(&pairs);
        values.put(name, "", wins.wins as f64);
        values.put(format!("{name}.share"), "%", 100.0 * wins.wins as f64 / wins.pairs as f64);
        values.put(format!("{name}.mean"), "%", wins.mean);
        values.put(format!("{name}.best"), "%", wins.largest);
    }
    levels(all, values, &means);
    stages(all, values);
    vec![Section::new("published", "Published tables by the published formula").table(table)]
}

fn spread(values: &mut Values, name: &str, rates: &[f64]) {
    let (mean, sd) = moments(rates);
    values.put(format!("{name}.mean"), "tok/s", mean);
    values.put(format!("{name}.sd"), "tok/s", sd);
    values.put(format!("{name}.cv"), "%", 100.0 * sd / mean);
    values.put(format!("{name}.median"), "tok/s", median(rates));
    values.put(format!("{name}.max"), "tok/s", largest(rates));
    values.put(format!("{name}.min"), "tok/s", smallest(rates));
}

/// Means by the level of an option. The directory's level, also for the arm that ran the defaults: that is what was
/// published.
fn levels(all: &[SingleCall], values: &mut Values, means: &BTreeMap<&str, Vec<(String, f64)>>) {
    for (place, option) in ["num_gpu", "num_ctx", "temperature"].into_iter().enumerate() {
        let level_of: BTreeMap<String, String> = by(all, |call| call.config.clone())
            .into_iter()
            .filter_map(|(config, directory)| {
                let level =
                    directory.iter().map(|call| call.options[place].clone()).find(|o| !o.is_empty())?;
                Some((config, level))
            })
            .collect();
        for (arm, configs) in means {
            let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for (config, mean) in configs {
                if let Some(level) = level_of.get(config) {
                    groups.entry(level).or_default().push(*mean);
                }
            }
            for (level, rates) in groups {
                values.put(format!("legacy.level.{option}.{level}.{arm}"), "tok/s", moments(&rates).0);
            }
        }
    }
}

/// Rates by stage over the arm of the defaults; variation within a stage of a directory, averaged over directories.
fn stages(all: &[SingleCall], values: &mut Values) {
    for (arm, calls) in by(all, |call| call.arm.as_str()) {
        for (stage, calls) in by(calls, |call| call.stage.as_str()) {
            values.put(
                format!("legacy.stage.{stage}.{arm}"),
                "tok/s",
                rate(calls.iter().copied()).unwrap_or(f64::NAN),
            );
            let variations: Vec<f64> = by(calls, |call| call.config.as_str())
                .into_values()
                .filter_map(|calls| {
                    let rates: Vec<f64> =
                        calls.iter().filter(|call| !call.failed()).filter_map(|call| call.rate).collect();
                    let (mean, sd) = moments(&rates);
                    sd.is_finite().then_some(100.0 * sd / mean)
                })
                .collect();
            values.put(format!("legacy.stage_cv.{stage}.{arm}"), "%", moments(&variations).0);
        }
    }
    let warm: Vec<f64> = by(all.iter().filter(|call| call.arm == "baseline" && call.run > 1), |call| {
        (call.config.as_str(), call.run)
    })
    .into_values()
    .filter_map(|run| {
        Some(run.iter().map(|call| call.tokens).sum::<f64>() / run.first().and_then(|call| call.wall_s)?)
    })
    .collect();
    values.put("legacy.wall_rate.warm.baseline", "tok/s", moments(&warm).0);
    let prompts = by(all.iter().filter(|call| call.stage == "report" && !call.failed()), |call| {
        (call.arm.as_str(), call.options[1].clone())
    });
    for ((arm, context), calls) in prompts {
        let times: Vec<f64> = calls.iter().filter_map(|call| call.prompt_eval_ms).collect();
        let context = if context.is_empty() { "default".to_owned() } else { context };
        values.put(format!("legacy.prompt_eval_ms.report.{context}.{arm}"), "ms", moments(&times).0);
    }
}
