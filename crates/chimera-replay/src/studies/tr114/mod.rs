//! TR114: do two agents on two servers and one GPU run in parallel? The published efficiency divides the sum of the agents'
//! concurrent times by twice the wall time; it says how equal the two are, and cannot see that both became slower. The same
//! day's runs of one agent alone are in TR111's data, and with them the question has an answer.

pub(super) mod pairs;
mod solo;
mod tables;
mod v1;

use std::collections::BTreeMap;

use chimera_report::{Headline, Verdict};
use chimera_stats::{Estimate, Sample, hypothesis, hypothesis::Margin};

use super::{
    family::{Corrected, Family, cell, put, shown},
    shared::{difference, plain_mean},
};
use crate::{ALPHA, Artifacts, Limits, Replay, ReplayError, Replayed, Value, Values};
use pairs::{Layout, Pair, those};
use solo::{SOLO, Solo};

const RUNS: Layout = Layout {
    path: "agents/tr114/rust_multiagent_dual_runs.csv",
    arm: "",
    config: &["config"],
    calls: &[1, 2],
};
const PYTHON: &str = "agents/tr110/python_multiagent_runs.csv";

/// Scenarios by name in the data and in words.
pub(super) const SCENARIOS: [(&str, &str); 3] = [
    ("baseline_vs_chimera", "defaults against options"),
    ("chimera_hetero", "two sets of options"),
    ("chimera_homo", "the same options"),
];

/// Differences of the balance index that count as none, in percentage points.
const MARGIN: f64 = 2.0;

/// Versions of this report.
pub(super) const ALL: &[&dyn Replay] = &[&Tr114, &v1::Tr114V1];

struct Tr114;

impl Replay for Tr114 {
    fn id(&self) -> &'static str {
        "tr114"
    }

    fn title(&self) -> &'static str {
        "Do two Rust agents on two servers run in parallel on one GPU?"
    }

    fn needs(&self) -> &'static [&'static str] {
        &[RUNS.path, SOLO, PYTHON]
    }

    fn replay(&self, data: &Artifacts) -> Result<Replayed, ReplayError> {
        let mut values = Values::default();
        let mut tests = Family::default();
        let runs = pairs::read(data, &RUNS)?;
        let solo = solo::read(data)?;
        legacy(&mut values, &runs, &solo);
        ours(&mut values, &mut tests, &runs, &solo);
        python(data, &mut values, &mut tests, &runs)?;
        let corrected = tests.close(&mut values)?;
        let headline = vec![
            speedup(&values, &corrected),
            index(&values),
            slowdown(&values, &corrected),
            language(&values, &corrected),
        ];
        let rate = values.point("rate.solo").unwrap_or(f64::NAN);
        let sections = vec![
            tables::legacy(&values, &runs),
            tables::ours(&values, &corrected),
            tables::index(&runs, rate),
        ];
        Ok(Replayed { values, headline, sections, limits: limits() })
    }
}

fn legacy(values: &mut Values, runs: &[Pair], solo: &Solo) {
    let all = those(runs, |_| true);
    pairs::moments(values, "legacy.efficiency", "%", &pairs::indices(&all));
    let collect = |of: fn(&Pair) -> Option<f64>| runs.iter().filter_map(of).collect::<Vec<f64>>();
    pairs::moments(values, "legacy.speedup", "", &collect(|run| run.speedup));
    pairs::moments(values, "legacy.throughput_delta", "tok/s", &collect(|run| run.rate_delta));
    pairs::moments(values, "legacy.ttft_delta", "ms", &collect(|run| run.ttft_delta));
    for (scenario, _) in SCENARIOS {
        let own = those(runs, |run| run.scenario == scenario);
        pairs::moments(values, &format!("legacy.scenario.{scenario}"), "%", &pairs::indices(&own));
        let spread: Vec<f64> = configs(&own)
            .values()
            .filter_map(|group| Sample::new(&pairs::indices(group), "run").ok()?.sd().ok())
            .collect();
        values.put(format!("legacy.scenario.{scenario}.within_config_sd"), "pp", plain_mean(&spread));
    }
    let mut best = f64::NAN;
    for (config, group) in configs(&all) {
        let own = pairs::indices(&group);
        let mean = plain_mean(&own);
        best = best.max(mean);
        values.put(format!("legacy.config.{config}.mean"), "%", mean);
        values.put(format!("legacy.config.{config}.max"), "%", own.into_iter().fold(f64::NAN, f64::max));
    }
    values.put("legacy.best_config", "%", best);
    values.put("configs", "", configs(&all).len() as f64);
    let contended = runs.iter().filter(|run| run.contention).count() as f64;
    values.put("legacy.contention", "%", 100.0 * contended / runs.len() as f64);
    let (together, alone) = (plain_mean(&pairs::rates(&all)), plain_mean(&solo.all_rates));
    values.put("legacy.aggregate_rate", "tok/s", together);
    values.put("legacy.solo_rate", "tok/s", alone);
    values.put("legacy.true_speedup", "", together / alone);
    match span_hours(runs) {
        Some(hours) => values.put("duration", "h", hours),
        None => values.lacks("duration", "the rows carry no time stamps"),
    }
}

/// Runs by configuration.
pub(super) fn configs<'p>(pairs: &[&'p Pair]) -> BTreeMap<String, Vec<&'p Pair>> {
    let mut groups: BTreeMap<String, Vec<&Pair>> = BTreeMap::new();
    for pair in pairs {
        groups.entry(pair.config.clone()).or_default().push(pair);
    }
    groups
}

/// Seconds of a UTC stamp since the epoch: days by Hinnant's civil calendar.
fn seconds(stamp: &str) -> Option<f64> {
    let (day, time) = stamp.trim_end_matches('Z').split_once('T')?;
    let mut day = day.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (day.next()??, day.next()??, day.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    Some(days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
}

/// From the first stamp to the last.
fn span_hours(runs: &[Pair]) -> Option<f64> {
    let stamps: Vec<f64> = runs.iter().filter_map(|run| seconds(&run.stamp)).collect();
    let first = stamps.iter().copied().reduce(f64::min)?;
    let last = stamps.iter().copied().reduce(f64::max)?;
    Some((last - first) / 3_600.0)
}

/// Puts a speed-up over the solo rate, and half of it as the efficiency.
pub(super) fn put_speedup(
    values: &mut Values,
    suffix: &str,
    together: &Result<Estimate, chimera_stats::StatsError>,
    alone: &Result<Estimate, chimera_stats::StatsError>,
) {
    match (together, alone) {
        (Ok(together), Ok(alone)) => {
            let speedup = pairs::over(together, alone);
            let half = Estimate {
                point: 50.0 * speedup.point,
                standard_error: speedup.standard_error.map(|error| 50.0 * error),
                interval: speedup.interval.map(|interval| interval.map(|limit| 50.0 * limit)),
                ..speedup.clone()
            };
            values.put_estimate(format!("speedup{suffix}"), "", speedup);
            values.put_estimate(format!("efficiency{suffix}"), "%", half);
        }
        (Err(why), _) | (_, Err(why)) => {
            values.lacks(format!("speedup{suffix}"), why.to_string());
            values.lacks(format!("efficiency{suffix}"), why.to_string());
        }
    }
}

fn ours(values: &mut Values, tests: &mut Family, runs: &[Pair], solo: &Solo) {
    let all = those(runs, |_| true);
    let sound = pairs::sound(&all);
    pairs::counts(values, "", &all);
    values.put("runs.solo.failed", "", solo.failed as f64);
    let (together, alone) = (pairs::aggregate(&sound), solo.rate());
    put_speedup(values, "", &together, &alone);
    put(values, "rate.concurrent", "tok/s", together);
    put(values, "rate.solo", "tok/s", alone.clone());
    tests.add(values, "speedup", pairs::rates_differ(&pairs::rates(&sound), &solo.rates()));
    put_speedup(values, ".all_runs", &pairs::aggregate(&all), &alone);
    let ordinary: Vec<&Pair> = sound.iter().copied().filter(|run| !run.long()).collect();
    put_speedup(values, ".without_long", &pairs::aggregate(&ordinary), &alone);
    for (scenario, _) in SCENARIOS {
        let own: Vec<&Pair> = sound.iter().copied().filter(|run| run.scenario == scenario).collect();
        put(values, format!("rate.concurrent.{scenario}"), "tok/s", pairs::aggregate(&own));
        put_speedup(values, &format!(".{scenario}"), &pairs::aggregate(&own), &alone);
    }
    let (each, one) = (pairs::decode_rate(&sound), solo.decode_rate());
    match (&each, &one) {
        (Ok(each), Ok(one)) => values.put_estimate("slowdown", "", pairs::over(one, each)),
        (Err(why), _) | (_, Err(why)) => values.lacks("slowdown", why.to_string()),
    }
    put(values, "decode_rate.server.concurrent", "tok/s", each);
    put(values, "decode_rate.server.solo", "tok/s", one);
    pairs::balance(values, "", &all);
    // Do the scenarios differ in what they deliver?
    let groups: Vec<Vec<f64>> = SCENARIOS
        .iter()
        .map(|(scenario, _)| {
            let own: Vec<&Pair> = sound.iter().copied().filter(|run| run.scenario == *scenario).collect();
            pairs::rates(&own)
        })
        .collect();
    let samples: Result<Vec<Sample<'_>>, _> = groups.iter().map(|group| Sample::new(group, "run")).collect();
    tests.add(values, "scenario.rate", samples.and_then(|samples| hypothesis::welch_anova(&samples)));
}

/// The published index of the Python agents beside that of these, by all runs and by the scenario that shares its options.
fn python(
    data: &Artifacts,
    values: &mut Values,
    tests: &mut Family,
    runs: &[Pair],
) -> Result<(), ReplayError> {
    let table = data.table(PYTHON, &["test", "scenario", "concurrency_speedup"])?;
    let mut python: Vec<(String, f64)> = Vec::new();
    let mut tests_of: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in table.rows() {
        if let Some(speedup) = row.maybe("concurrency_speedup")? {
            python.push((row.text("scenario")?.to_owned(), 50.0 * speedup));
            tests_of.entry(row.text("test")?.to_owned()).or_default().push(50.0 * speedup);
        }
    }
    let theirs = |scenario: Option<&str>| -> Vec<f64> {
        python
            .iter()
            .filter(|(own, _)| scenario.is_none_or(|name| name == own))
            .map(|(_, index)| *index)
            .collect()
    };
    let all = pairs::indices(&those(runs, |_| true));
    let (mean, other) = (plain_mean(&all), theirs(None));
    values.put("legacy.python.mean", "%", plain_mean(&other));
    values.put("legacy.python.gap", "pp", mean - plain_mean(&other));
    let best = tests_of.values().map(|indices| plain_mean(indices)).fold(f64::NAN, f64::max);
    values.put("legacy.python.best_config", "%", best);
    let ours = values.point("legacy.best_config").unwrap_or(f64::NAN);
    values.put("legacy.python.best_gap", "pp", ours - best);
    let own = pairs::indices(&those(runs, |run| run.scenario == "chimera_homo"));
    let other = theirs(Some("chimera_homo"));
    values.put("legacy.python.gap.homo", "pp", plain_mean(&own) - plain_mean(&other));
    put(values, "python.gap.homo", "pp", difference(&own, &other, "run"));
    tests.add(values, "python.gap.homo", pairs::welch(&own, &other));
    pairs::detectable(values, "python.gap.homo.minimum_detectable", "pp", &own, &other);
    let same = Sample::new(&own, "run").and_then(|own| {
        hypothesis::equivalent_welch(own, Sample::new(&other, "run")?, Margin::difference(MARGIN), ALPHA)
    });
    match same.map(|same| same.p()) {
        Ok(Ok(p)) => values.put("python.gap.homo.equivalence_p", "", p),
        Ok(Err(why)) => values.lacks("python.gap.homo.equivalence_p", why.to_string()),
        Err(why) => values.lacks("python.gap.homo.equivalence_p", why.to_string()),
    }
    Ok(())
}

/// On which side of a value the interval of a quantity lies: below, above, or none.
pub(super) fn side(values: &Values, name: &str, of: f64) -> Option<std::cmp::Ordering> {
    let Value::Estimate { estimate, .. } = values.get(name)? else { return None };
    let interval = estimate.interval?;
    if interval.high < of {
        Some(std::cmp::Ordering::Less)
    } else if interval.low > of {
        Some(std::cmp::Ordering::Greater)
    } else {
        None
    }
}

/// Words for a speed-up by where its interval lies.
pub(super) fn faster(values: &Values, name: &str) -> &'static str {
    match side(values, name, 1.0) {
        Some(std::cmp::Ordering::Less) => "running them one after another is faster",
        Some(std::cmp::Ordering::Greater) => "together they are faster than one after another",
        _ => "the interval holds 1, so neither way is shown to be faster",
    }
}

/// Verdict of a claim that a quantity lies above a value: by its interval and, where there is one, the corrected test.
pub(super) fn above(values: &Values, name: &str, of: f64, significant: bool) -> Verdict {
    match side(values, name, of) {
        Some(std::cmp::Ordering::Greater) if significant => Verdict::Supported,
        Some(std::cmp::Ordering::Less) if significant => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    }
}

fn speedup(values: &Values, corrected: &Corrected) -> Headline {
    Headline::new(
        "speedup",
        "Two agents on two servers are faster than one after another",
        above(values, "speedup", 1.0, corrected.differs("speedup")),
        format!(
            "Together they deliver {}, one alone {}: a speed-up of {}, an efficiency of {} ({}); {}. The published \
             efficiency of the same runs is {}.",
            shown(values, "rate.concurrent"),
            shown(values, "rate.solo"),
            shown(values, "speedup"),
            shown(values, "efficiency"),
            corrected.words("speedup"),
            faster(values, "speedup"),
            shown(values, "legacy.efficiency.mean"),
        ),
    )
    .value(cell(values, "speedup"), "")
}

/// The headline on what the index measures; several reports share it.
pub(super) fn index(values: &Values) -> Headline {
    let verdict = above(values, "balance.spearman_length_ratio", 0.0, true);
    Headline::new(
        "index",
        "The published efficiency says how equal the two agents' outputs are",
        verdict,
        format!(
            "It differs from the balance of the two times by {} at most, and over runs its rank correlation with the ratio of \
             the two outputs is {}.",
            shown(values, "balance.identity_error"),
            shown(values, "balance.spearman_length_ratio"),
        ),
    )
    .value(cell(values, "balance.spearman_length_ratio"), "")
}

fn slowdown(values: &Values, corrected: &Corrected) -> Headline {
    Headline::new(
        "slowdown",
        "Each agent decodes more slowly beside another",
        above(values, "slowdown", 1.0, true),
        format!(
            "An agent decodes {} in company and {} alone, {} times slower; contention by the published rule (speed-up below \
             1.5) is {}. What the scenarios deliver {} ({}).",
            shown(values, "decode_rate.server.concurrent"),
            shown(values, "decode_rate.server.solo"),
            shown(values, "slowdown"),
            shown(values, "legacy.contention"),
            if corrected.differs("scenario.rate") { "differs" } else { "is not shown to differ" },
            corrected.words("scenario.rate"),
        ),
    )
    .value(cell(values, "slowdown"), "")
}

fn language(values: &Values, corrected: &Corrected) -> Headline {
    let same = values.point("python.gap.homo.equivalence_p").is_some_and(|p| p <= ALPHA);
    let ahead = values.point("python.gap.homo").is_some_and(|gap| gap > 0.0);
    let verdict = match corrected.verdict("python.gap.homo", ahead) {
        Verdict::Inconclusive if same => Verdict::Equivalent,
        other => other,
    };
    Headline::new(
        "language",
        "Rust coordinates two agents better than Python",
        verdict,
        format!(
            "With the same options on both agents the indices differ by {} ({}; equivalent within {MARGIN} pp: {}; smallest \
             detectable difference {}). Over all scenarios the difference is {}, but in the Python data scenario and \
             order cannot be told apart.",
            shown(values, "python.gap.homo"),
            corrected.words("python.gap.homo"),
            if same { "shown" } else { "not shown" },
            shown(values, "python.gap.homo.minimum_detectable"),
            shown(values, "legacy.python.gap"),
        ),
    )
    .value(cell(values, "python.gap.homo"), "pp")
}

fn limits() -> Limits {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Limits {
        can: list(&[
            "How many tokens two agents deliver together per second, against one agent alone two hours earlier on the same \
             machine with the same two-call workflow.",
            "How far the published efficiency follows the lengths of the two replies.",
            "What coordination costs: wall time less the longer agent's time.",
        ]),
        cannot: list(&[
            "Parallel efficiency by the published formula: the sum of two concurrent times over twice the longer one lies \
             between 50 and 100 % whatever the slow-down.",
            "A gain by two servers over one: no run of this version used one server.",
            "Effects of the options: 27 of 30 planned configurations are there (101, 102 and 105 are missing), each in one \
             block of five runs, and every level of `num_gpu` holds all layers.",
            "The work of different roles: both agents sent the same prompts; the stored role prompts were never sent.",
            "Rust against Python: the Python runs are a month older, and their wall times depend on when they were made.",
            "Why a call ended without a token or a reply ran to 7,157 of them: `done` and its reason were not kept. The first \
             counts as failed; the second is an output like another, with and without which the speed-up is printed.",
            "The denominator's drift: the solo runs were not interleaved with the dual ones.",
        ]),
    }
}
