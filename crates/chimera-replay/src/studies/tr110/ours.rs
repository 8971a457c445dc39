//! Two agents against one by our definitions: tokens over the span against the tokens of a solo run over its time. The solo
//! runs are those of the report before, made earlier and cold. And what the order of the tests does to every comparison of
//! scenarios.

use std::collections::BTreeMap;

use chimera_stats::{
    Estimate, Interval, Sample, StatsError,
    hypothesis::{self, Alternative, Test},
    rank,
};

use super::{
    SCENARIOS,
    runs::{Run, by_test},
};
use crate::{
    LEVEL, Values,
    studies::{
        family::{Family, put},
        shared::{difference, mean, of_sums, plain_mean},
        tr109::Arm,
    },
};

/// Welch's test of two groups.
fn welch(a: &[f64], b: &[f64], unit: &'static str) -> Result<Test, StatsError> {
    hypothesis::welch_t(Sample::new(a, unit)?, Sample::new(b, unit)?, Alternative::TwoSided)
}

/// One estimate over another of independent data. Limits are recovered from both intervals on logs (MOVER; Zou and Donner
/// 2008, *Statistics in Medicine* 27): exact in neither, close to the linearised interval where both are narrow.
fn quotient(numerator: Estimate, denominator: &Estimate) -> Estimate {
    let limits = numerator.interval.zip(denominator.interval);
    let point = numerator.point / denominator.point;
    let interval = limits.filter(|(a, b)| a.low > 0.0 && b.low > 0.0).map(|(a, b)| {
        let gap = |own: f64, limit: f64| (own / limit).ln();
        let low = gap(numerator.point, a.low).hypot(gap(denominator.point, b.high));
        let high = gap(numerator.point, a.high).hypot(gap(denominator.point, b.low));
        Interval { low: point * (-low).exp(), high: point * high.exp(), level: LEVEL }
    });
    Estimate {
        point,
        standard_error: None,
        interval,
        method: "ratio of independent ratios of sums, limits recovered on logs".into(),
        ..numerator
    }
}

fn scaled(estimate: Estimate, factor: f64) -> Estimate {
    Estimate {
        point: factor * estimate.point,
        standard_error: estimate.standard_error.map(|error| factor * error),
        interval: estimate.interval.map(|interval| interval.map(|value| factor * value)),
        ..estimate
    }
}

/// Solo and concurrent rates, speed-up, efficiency and slow-down.
pub(super) fn speedups(values: &mut Values, tests: &mut Family, runs: &[Run], solo: &[Arm]) {
    let tokens: Vec<f64> = solo.iter().map(|arm| arm.tokens).collect();
    let walls: Vec<f64> = solo.iter().map(|arm| arm.wall_s).collect();
    let decode: Vec<f64> = solo.iter().map(Arm::decode_s).collect();
    let alone: Vec<f64> = solo.iter().map(|arm| arm.tokens / arm.wall_s).collect();
    let solo_rate = of_sums(&tokens, &walls, "run");
    let solo_decode = of_sums(&tokens, &decode, "run");
    values.put("legacy.rate.solo", "tok/s", plain_mean(&alone));
    put(values, "rate.solo", "tok/s", solo_rate.clone());
    put(values, "decode_rate.solo", "tok/s", solo_decode.clone());
    values.put("runs.incomplete", "", runs.iter().filter(|run| !run.complete()).count() as f64);
    for scenario in SCENARIOS {
        let legacy = values.point(&format!("legacy.rate.aggregate.{scenario}")).unwrap_or(f64::NAN);
        values.put(format!("legacy.true_speedup.{scenario}"), "", legacy / plain_mean(&alone));
        let own: Vec<&Run> = runs.iter().filter(|run| run.scenario == *scenario && run.complete()).collect();
        let tokens: Vec<f64> = own.iter().map(|run| run.tokens()).collect();
        let walls: Vec<f64> = own.iter().map(|run| run.wall_s).collect();
        let decode: Vec<f64> = own.iter().map(|run| run.a.decode_s() + run.b.decode_s()).collect();
        let rate = of_sums(&tokens, &walls, "run");
        let each = of_sums(&tokens, &decode, "run");
        put(values, format!("rate.aggregate.{scenario}"), "tok/s", rate.clone());
        put(values, format!("decode_rate.agent.{scenario}"), "tok/s", each.clone());
        let speedup = rate.and_then(|rate| Ok(quotient(rate, solo_rate.as_ref().map_err(Clone::clone)?)));
        put(values, format!("speedup.{scenario}"), "", speedup.clone());
        put(values, format!("efficiency.{scenario}"), "%", speedup.map(|speedup| scaled(speedup, 50.0)));
        let decode =
            each.clone().and_then(|each| Ok(quotient(each, solo_decode.as_ref().map_err(Clone::clone)?)));
        put(values, format!("speedup.decode.{scenario}"), "", decode.map(|share| scaled(share, 2.0)));
        let slowdown = solo_decode.clone().and_then(|solo| Ok(quotient(solo, &each?)));
        put(values, format!("slowdown.{scenario}"), "", slowdown);
        let rates: Vec<f64> = own.iter().map(|run| run.rate()).collect();
        tests.add(values, &format!("speedup.{scenario}"), welch(&rates, &alone, "run"));
    }
}

fn spearman(values: &mut Values, name: &str, pairs: impl Iterator<Item = (f64, f64)>) {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.unzip();
    put(values, name, "", rank::spearman(&x, &y).and_then(|rho| rho.estimate(LEVEL)));
}

/// What the published index is made of.
pub(super) fn index(values: &mut Values, runs: &[Run], late: &[&Run]) {
    let apart = runs.iter().map(|run| (run.balance() - run.index()).abs());
    values.put("balance.largest_deviation", "pp", apart.fold(0.0, f64::max));
    let pairs =
        |of: fn(&Run) -> f64| late.iter().filter(|run| run.complete()).map(move |run| (run.index(), of(run)));
    spearman(values, "balance.spearman_token_ratio", pairs(Run::token_ratio));
    spearman(values, "balance.spearman_rate", pairs(Run::rate));
    let overheads: Vec<f64> = runs.iter().map(Run::overhead_s).collect();
    put(values, "coordination_overhead.mean", "s", mean(&overheads, "run"));
    values.put("coordination_overhead.max", "s", overheads.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let slow = runs.iter().filter(|run| run.slow_ttft());
    values.put("contention.slow_ttft", "runs", slow.clone().count() as f64);
    values.put("contention.slow_ttft_not_flagged", "runs", slow.filter(|run| !run.contention).count() as f64);
    let quick = runs.iter().filter(|run| run.contention && !run.slow_ttft()).count();
    values.put("contention.flagged_without_slow_ttft", "runs", quick as f64);
}

/// Tests before the first with equal options, and the others: the order in which they were run.
pub(super) fn halves(runs: &[Run]) -> (Vec<&Run>, Vec<&Run>) {
    let first = runs.iter().position(|run| run.scenario == "chimera_homo").unwrap_or(runs.len());
    (runs.iter().take(first).collect(), runs.iter().skip(first).collect())
}

/// Name, unit and value of a run.
type Measure = (&'static str, &'static str, fn(&Run) -> f64);

/// Early tests against late ones, the same configuration at two times, the three scenarios at one time.
pub(super) fn order(values: &mut Values, tests: &mut Family, runs: &[Run]) {
    let (early, late) = halves(runs);
    let measures: [Measure; 4] = [
        ("wall", "s", |run| run.wall_s),
        ("index", "%", Run::index),
        ("ttft", "ms", Run::mean_ttft_ms),
        ("rate", "tok/s", Run::rate),
    ];
    for (name, unit, of) in measures {
        for (when, half) in [("early", &early), ("late", &late)] {
            let all: Vec<f64> = half.iter().map(|run| of(run)).collect();
            put(values, format!("order.{name}.{when}"), unit, mean(&all, "run"));
        }
        let by_test = |half: &[&Run]| -> Vec<f64> {
            let mut groups: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
            for run in half {
                groups.entry(run.test).or_default().push(of(run));
            }
            groups.values().map(|own| plain_mean(own)).collect()
        };
        let (a, b) = (by_test(&early), by_test(&late));
        put(values, format!("order.{name}.early_minus_late"), unit, difference(&a, &b, "test"));
        tests.add(values, &format!("order.{name}"), welch(&a, &b, "test"));
    }
    values.put("order.early_runs", "", early.len() as f64);
    let same = early.iter().filter(|run| run.scenario == "chimera_homo").count();
    values.put("order.early_equal_options", "", same as f64);
    repeats(values, tests, runs);
    let last = late.iter().map(|run| run.phase).max();
    let at_once = |scenario: &str, of: fn(&Run) -> f64| -> Vec<f64> {
        late.iter()
            .filter(|run| Some(run.phase) == last && run.scenario == scenario && run.complete())
            .map(|run| of(run))
            .collect()
    };
    let everywhere = |scenario: &str| -> Vec<f64> {
        runs.iter().filter(|run| run.scenario == scenario).map(Run::index).collect()
    };
    for other in ["baseline_vs_chimera", "chimera_hetero"] {
        let (a, b) = (everywhere("chimera_homo"), everywhere(other));
        put(values, format!("index.homo_minus_{other}"), "pp", difference(&a, &b, "run"));
        tests.add(values, &format!("index.homo_minus_{other}"), welch(&a, &b, "run"));
        let named: [Measure; 2] = [("index", "pp", Run::index), ("rate", "tok/s", Run::rate)];
        for (name, unit, of) in named {
            let (a, b) = (at_once("chimera_homo", of), at_once(other, of));
            let name = format!("at_once.{name}.homo_minus_{other}");
            put(values, name.as_str(), unit, difference(&a, &b, "run"));
            tests.add(values, &name, welch(&a, &b, "run"));
        }
    }
}

/// Configurations that were tested more than once, by options.
pub(super) fn repeated(runs: &[Run]) -> Vec<Vec<u32>> {
    let mut same: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
    for (test, own) in by_test(runs) {
        if let Some(first) = own.first() {
            same.entry((&first.scenario, &first.options)).or_default().push(test);
        }
    }
    same.into_values().filter(|tests| tests.len() > 1).collect()
}

fn repeats(values: &mut Values, tests: &mut Family, runs: &[Run]) {
    let by_test = by_test(runs);
    let index = |test: u32| -> Vec<f64> {
        by_test.get(&test).map(|own| own.iter().map(|run| run.index()).collect()).unwrap_or_default()
    };
    let mut widest: Option<(f64, u32, u32)> = None;
    for group in repeated(runs) {
        for (place, first) in group.iter().enumerate() {
            for second in group.iter().skip(place + 1) {
                let (a, b) = (index(*first), index(*second));
                let gap = (plain_mean(&a) - plain_mean(&b)).abs();
                if widest.is_none_or(|(known, ..)| gap > known) {
                    widest = Some((gap, *first, *second));
                }
            }
        }
    }
    let Some((gap, first, second)) = widest else {
        values.lacks("repeat.widest", "no configuration was tested twice");
        values.lacks("repeat.first", "no configuration was tested twice");
        values.lacks("repeat.second", "no configuration was tested twice");
        values.lacks("repeat.difference", "no configuration was tested twice");
        return;
    };
    values.put("repeat.widest", "pp", gap);
    values.put("repeat.first", "", f64::from(first));
    values.put("repeat.second", "", f64::from(second));
    let (a, b) = (index(first), index(second));
    put(values, "repeat.difference", "pp", difference(&a, &b, "run"));
    tests.add(values, "repeat", welch(&a, &b, "run"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(point: f64, low: f64, high: f64) -> Estimate {
        Estimate {
            point,
            standard_error: None,
            interval: Some(Interval { low, high, level: LEVEL }),
            method: "test".into(),
            unit: "run".into(),
            n: 5,
        }
    }

    #[test]
    fn limits_of_a_quotient_by_hand() {
        // On logs both half widths are ln 1.1, so together ln 1.1 times the root of two.
        let quotient = quotient(estimate(100.0, 100.0 / 1.1, 110.0), &estimate(50.0, 50.0 / 1.1, 55.0));
        let half = (1.1_f64.ln() * 2.0_f64.sqrt()).exp();
        let interval = quotient.interval.unwrap();
        assert!((quotient.point - 2.0).abs() < 1e-12);
        assert!((interval.high - 2.0 * half).abs() < 1e-12 && (interval.low - 2.0 / half).abs() < 1e-12);
    }
}
