//! What the published numbers rest on: the fit without each model, prefill against one decode step, first use against the
//! order of execution, the denominator of a price, and the same cell in another run.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::Metric;
use chimera_stats::{
    Sample, StatsError,
    hypothesis::{self, Alternative},
    rank, ratio, regression,
};

use super::{
    super::{
        family::{Family, put},
        shared::{geometric, mean, of_sums},
    },
    cells::{Cells, MODES, Mode, dimension, line, median, points},
    legacy::{HOUR, peak},
    read::{Call, Data},
    records,
};
use crate::{LEVEL, ReplayError, Values};

/// A prefill shorter than this many decode steps, of a prompt of more than [`SHORT`] tokens, is what a cache hit looks like.
pub(super) const STEPS: f64 = 1.5;
const SHORT: f64 = 8.0;
/// The pair whose price is a headline of the report.
pub(super) const PAIR: (&str, &str) = ("gpt-oss-20b:latest", "qwen2.5:7b");

/// The published fits of the primary run without each model: `loo.<arm>.<phase>.without.<model>.slope|r2|p`, and exact rank
/// correlations.
pub(super) fn without(values: &mut Values, data: &Data, cells: &Cells<'_>) -> Result<(), ReplayError> {
    for arm in ["cpu", "gpu", "ollama"] {
        for mode in MODES {
            let all = points(cells, ("primary", arm), mode, None);
            if all.len() < 4 {
                continue;
            }
            let name = format!("{arm}.{}", mode.name());
            for skip in 0..all.len() {
                let mut others = all.clone();
                let left_out = others.remove(skip).model;
                let fit = line(&others)?;
                let name = format!("loo.{name}.without.{left_out}");
                values.put(format!("{name}.slope"), "", fit.slope.value);
                values.put(format!("{name}.r2"), "", fit.r_squared.unwrap_or(f64::NAN));
                values.put(format!("{name}.p"), "", fit.slope.p.unwrap_or(f64::NAN));
            }
            let ms: Vec<f64> = all.iter().map(|point| point.ms).collect();
            let size: Vec<f64> = all.iter().map(|point| point.millions).collect();
            let layers = dimension(&all, &data.shapes, |shape| shape.layers);
            for (figure, x) in [("params", Some(size)), ("layers", layers)] {
                let Some(x) = x else { continue };
                let rho = rank::spearman(&x, &ms).map_err(ReplayError::at(name.clone()))?;
                values.put(format!("rank.{name}.{figure}"), "", rho.rho);
                values.put(format!("rank.{name}.{figure}.p"), "", rho.p);
            }
        }
    }
    Ok(())
}

/// Logarithms of prompt tokens and of prefill, per prompt.
type Logs = (Vec<f64>, Vec<f64>);

/// Prefill in units of one decode step, and how it grows with the prompt: `cache.<arm>.steps`, `.cells`, `.flagged`, `.growth`.
/// The local models have no cache of prompts: they are the control, without which a short prefill says nothing.
pub(super) fn cache(values: &mut Values, tests: &mut Family, cells: &Cells<'_>) {
    let mut logs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for arm in ["cpu", "gpu", "ollama"] {
        let mut steps: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut lines: BTreeMap<&str, Logs> = BTreeMap::new();
        for ((_, _, model, _), cell) in cells.iter().filter(|(key, _)| (key.0, key.1) == ("primary", arm)) {
            let prompt = median(cell.measured.iter().map(|(call, _)| call.prompt));
            let (Some(prefill), Some(step), Some(prompt)) = (cell.median(Mode::Prefill), cell.step(), prompt)
            else {
                continue;
            };
            if prompt > 0.0 {
                let line = lines.entry(model).or_default();
                line.0.push(prompt.ln());
                line.1.push(prefill.ln());
            }
            if prompt > SHORT {
                steps.entry(model).or_default().push(prefill / step);
            }
        }
        let all: Vec<f64> = steps.values().flatten().copied().collect();
        let name = format!("cache.{arm}");
        values.put(format!("{name}.cells"), "", all.len() as f64);
        values.put(format!("{name}.flagged"), "", all.iter().filter(|ratio| **ratio < STEPS).count() as f64);
        values.put(format!("{name}.steps.min"), "", all.iter().copied().fold(f64::NAN, f64::min));
        values.put(format!("{name}.steps.max"), "", all.iter().copied().fold(f64::NAN, f64::max));
        let means: Vec<f64> = steps.values().map(|ratios| log_mean(ratios).exp()).collect();
        put(values, format!("{name}.steps"), "", geometric(&means, "model"));
        logs.insert(arm, means.iter().map(|ratio| ratio.ln()).collect());
        let slopes: Vec<f64> = lines
            .values()
            .filter(|(x, _)| x.len() > 1)
            .filter_map(|(x, y)| regression::slope(x, y).ok())
            .collect();
        put(values, format!("{name}.growth"), "", mean(&slopes, "model"));
    }
    let of = |arm: &str| logs.get(arm).map_or(&[][..], Vec::as_slice);
    let test = Sample::new(of("ollama"), "model").and_then(|served| {
        hypothesis::welch_t(served, Sample::new(of("gpu"), "model")?, Alternative::TwoSided)
    });
    tests.add(values, "cache.control", test);
}

fn log_mean(values: &[f64]) -> f64 {
    values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64
}

/// First use of a backend in a run against the other first uses of that run: `first_use.<backend>.*`.
pub(super) fn first_use(values: &mut Values, tests: &mut Family, cells: &Cells<'_>) {
    for backend in ["cpu", "gpu", "ollama"] {
        let mut by_run: BTreeMap<&str, Vec<(u32, f64, &str)>> = BTreeMap::new();
        for ((run, _, model, _), cell) in cells {
            let first = cell.warm.iter().map(|(call, _)| call).min_by_key(|call| call.order);
            if let Some((call, ratio)) =
                first.zip(cell.warm_ratio(Mode::Prefill)).filter(|(call, _)| call.backend == backend)
            {
                by_run.entry(run).or_default().push((call.order, ratio, model));
            }
        }
        let name = format!("first_use.{backend}");
        let (mut first, mut others, mut peaks) = (Vec::new(), Vec::new(), 0.0);
        for uses in by_run.values_mut().filter(|uses| uses.len() > 1) {
            uses.sort_by_key(|(order, _, _)| *order);
            let Some(((_, own, _), rest)) = uses.split_first() else { continue };
            first.push(*own);
            others.push(median(rest.iter().map(|(_, ratio, _)| *ratio)).unwrap_or(f64::NAN));
            peaks += f64::from(u8::from(rest.iter().all(|(_, ratio, _)| ratio < own)));
        }
        values.put(format!("{name}.runs"), "", first.len() as f64);
        values.put(format!("{name}.peaks_at_first"), "", peaks);
        let paired = |f: fn(Sample<'_>, Sample<'_>) -> Result<chimera_stats::Estimate, StatsError>| {
            f(Sample::new(&first, "run")?, Sample::new(&others, "run")?)
        };
        put(values, name.as_str(), "", paired(|a, b| ratio::paired(a, b, LEVEL)));
        let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
        let (a, b) = (logs(&first), logs(&others));
        let test = Sample::new(&a, "run")
            .and_then(|a| hypothesis::paired_t(a, Sample::new(&b, "run")?, Alternative::TwoSided));
        tests.add(values, &name, test);
        elsewhere(values, &name, cells, backend, &by_run);
    }
}

/// The model of the published peak where it was not the first of its backend.
fn elsewhere(
    values: &mut Values,
    name: &str,
    cells: &Cells<'_>,
    backend: &str,
    by_run: &BTreeMap<&str, Vec<(u32, f64, &str)>>,
) {
    let Some((model, _, cell)) = peak(cells, ("primary", backend)) else { return };
    let order = cell.warm.iter().map(|(call, _)| call.order).min();
    let first = by_run.get("primary").and_then(|uses| uses.iter().map(|(order, _, _)| *order).min());
    values.put(format!("{name}.peak_is_first"), "", f64::from(u8::from(order.is_some() && order == first)));
    let other = by_run
        .values()
        .flat_map(|uses| uses.iter().skip(1))
        .filter(|(_, _, other)| *other == model)
        .map(|(_, ratio, _)| *ratio)
        .fold(f64::NAN, f64::max);
    values.put(format!("{name}.peak_model_elsewhere"), "", other);
}

/// Prices per output token beside those per total token: `cost.*`.
pub(super) fn price(values: &mut Values, tests: &mut Family, data: &Data, cells: &Cells<'_>) {
    let usd = |rate: f64| 1e6 / rate / 3_600.0 * HOUR;
    let mut by_prompt: BTreeMap<(&str, &str), [f64; 2]> = BTreeMap::new();
    for arm in ["cpu", "gpu", "ollama"] {
        for point in points(cells, ("primary", arm), Mode::Both, None) {
            let of = |call: &&Call| {
                call.run == "primary" && call.arm() == arm && call.model == point.model && !call.warm
            };
            let target = data.calls.iter().find(of).map_or(f64::NAN, |call| call.target);
            values.put(format!("cost.target.{arm}.{}", point.model), "USD", usd(1e3 * target / point.ms));
            let mut sums: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
            for call in data.calls.iter().filter(of) {
                if let Some(seconds) = seconds(call) {
                    let sums = sums.entry(&call.scenario).or_default();
                    sums[0] += call.generated * f64::from(call.batch);
                    sums[1] += seconds;
                    sums[2] += call.prompt;
                }
            }
            let column = |index: usize| sums.values().map(|sums| sums[index]).collect::<Vec<f64>>();
            let dollars: Vec<f64> = column(1).iter().map(|seconds| seconds / 3_600.0 * HOUR).collect();
            let tokens: Vec<f64> = column(0).iter().map(|tokens| tokens / 1e6).collect();
            put(
                values,
                format!("cost.output.{arm}.{}", point.model),
                "USD",
                of_sums(&dollars, &tokens, "prompt"),
            );
            for (scenario, [out, seconds, prompt]) in sums {
                by_prompt
                    .insert((point.model, scenario), [usd(out / seconds), usd((out + prompt) / seconds)]);
            }
        }
    }
    let total = |model: &str| values.point(&format!("legacy.primary.ollama.{model}.usd_per_1m"));
    let target = |model: &str| values.point(&format!("cost.target.ollama.{model}"));
    let pairs = [("large_small", PAIR), ("dense", ("llama3.1:8b-instruct-q4_0", "qwen2.5:7b"))];
    let ratios: Vec<(String, Option<f64>)> = pairs
        .iter()
        .flat_map(|(name, (a, b))| {
            let over = |get: &dyn Fn(&str) -> Option<f64>| Some(get(a)? / get(b)?);
            [(format!("cost.{name}.total"), over(&total)), (format!("cost.{name}.target"), over(&target))]
        })
        .collect();
    for (name, ratio) in ratios {
        match ratio {
            Some(ratio) => values.put(name, "", ratio),
            None => values.lacks(name, "one of the two models is not in these data"),
        }
    }
    // The same prompt under both denominators: how far the choice moves the ratio of the two models.
    let prompts: BTreeSet<&str> = by_prompt.keys().map(|(_, prompt)| *prompt).collect();
    let ratio = |prompt: &str, index: usize| {
        Some(by_prompt.get(&(PAIR.0, prompt))?[index] / by_prompt.get(&(PAIR.1, prompt))?[index])
    };
    let (out, all): (Vec<f64>, Vec<f64>) =
        prompts.into_iter().filter_map(|prompt| Some((ratio(prompt, 0)?, ratio(prompt, 1)?))).unzip();
    put(values, "cost.large_small.output", "", geometric(&out, "prompt"));
    let both = Sample::new(&out, "prompt").and_then(|out| Ok((out, Sample::new(&all, "prompt")?)));
    put(values, "cost.denominator", "", both.and_then(|(out, all)| ratio::paired(out, all, LEVEL)));
    let logs: Vec<f64> = out.iter().zip(&all).map(|(out, all)| (out / all).ln()).collect();
    let test =
        Sample::new(&logs, "prompt").and_then(|s| hypothesis::one_sample_t(s, 0.0, Alternative::TwoSided));
    tests.add(values, "cost.denominator", test);
}

/// Prefill and decode of a call as its record has them.
fn seconds(call: &Call) -> Option<f64> {
    if call.is_served() {
        let record = records::server(call);
        return Some(Metric::PrefillServer.of(&record)? + Metric::DecodeServer.of(&record)?);
    }
    call.timing.map(|timing| (timing.prefill + timing.decode_raw) / 1e3)
}

/// The same cell in other runs: `noise.<backend>.<phase>.cells|spread|between|within`. Decode at the primary run's number of tokens
/// only; prefill does not depend on it.
pub(super) fn noise(values: &mut Values, cells: &Cells<'_>) {
    for backend in ["cpu", "gpu", "ollama"] {
        for mode in [Mode::Prefill, Mode::Decode] {
            let mut runs: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
            let mut within = Vec::new();
            for ((_, arm, model, scenario), cell) in cells.iter().filter(|(key, _)| key.1 == backend) {
                let target = cell.measured.first().map_or(0.0, |(call, _)| call.target);
                if *arm != backend || (mode == Mode::Decode && target != 64.0) {
                    continue;
                }
                runs.entry((model, scenario)).or_default().extend(cell.median(mode));
                let logs: Vec<f64> = cell.measured.iter().map(|(_, timing)| mode.ms(timing).ln()).collect();
                within.extend(sd(&logs));
            }
            let name = format!("noise.{backend}.{}", mode.name());
            runs.retain(|_, medians| medians.len() > 1);
            values.put(format!("{name}.cells"), "", runs.len() as f64);
            let mut spreads: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            let mut between = Vec::new();
            for ((model, _), medians) in &runs {
                let (low, high) = (
                    medians.iter().copied().fold(f64::NAN, f64::min),
                    medians.iter().copied().fold(f64::NAN, f64::max),
                );
                spreads.entry(model).or_default().push(high / low);
                between.extend(sd(&medians.iter().map(|ms| ms.ln()).collect::<Vec<_>>()));
            }
            let largest = spreads.values().flatten().copied().fold(f64::NAN, f64::max);
            values.put(format!("{name}.spread.max"), "", largest);
            let means: Vec<f64> = spreads.values().map(|spreads| log_mean(spreads).exp()).collect();
            put(values, format!("{name}.spread"), "", geometric(&means, "model"));
            let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            values.put(format!("{name}.between"), "", average(&between));
            values.put(format!("{name}.within"), "", average(&within));
        }
    }
}

fn sd(values: &[f64]) -> Option<f64> {
    Sample::new(values, "value").ok()?.sd().ok()
}
