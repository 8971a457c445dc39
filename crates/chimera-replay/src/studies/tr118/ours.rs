//! The comparisons by our definitions. One repetition of a run gives one value: the geometric mean, over the scenarios that
//! both arms finished, of the end-to-end time of a call. Scenarios are never mixed into a spread, a failed record has no
//! time, and the first repetition stands apart, as a first sample does in a live run. Repetitions follow each other in one process: they say how
//! well that process repeats, not how another day would come out.

use std::collections::{BTreeMap, BTreeSet};

use chimera_records::Metric;
use chimera_report::{Cell, Verdict};
use chimera_stats::{Estimate, Sample, hypothesis, hypothesis::Margin};

use super::data::{BACKENDS, BASELINE, Record, Run};
use crate::{
    ALPHA, ReplayError, Values,
    studies::shared::{difference, mean, of_sums, plain_mean, ratio_of, welch_p},
};

/// Differences within ten per cent count as none.
const MARGIN: f64 = 0.10;
const UNIT: &str = "repetition";

/// The tests of a report, adjusted together.
#[derive(Debug, Default)]
pub(super) struct Family(Vec<(String, Option<f64>)>);

impl Family {
    pub(super) fn add(&mut self, name: impl Into<String>, p: Option<f64>) {
        self.0.push((name.into(), p));
    }

    /// Writes `p.<name>` and `p_holm.<name>`.
    pub(super) fn finish(self, values: &mut Values) -> Result<(), ReplayError> {
        let raw: Vec<Option<f64>> = self.0.iter().map(|(_, p)| *p).collect();
        let adjusted = hypothesis::holm_of(&raw).map_err(ReplayError::at("Holm's adjustment"))?;
        for ((name, p), adjusted) in self.0.into_iter().zip(adjusted) {
            match p.zip(adjusted) {
                Some((p, adjusted)) => {
                    values.put(format!("p.{name}"), "", p);
                    values.put(format!("p_holm.{name}"), "", adjusted);
                }
                None => {
                    for kind in ["p", "p_holm"] {
                        values.lacks(format!("{kind}.{name}"), "too few repetitions, or none that vary");
                    }
                }
            }
        }
        Ok(())
    }
}

/// End-to-end seconds of a record: mean over its calls, each by the metric of live runs.
fn seconds(record: &Record) -> Option<f64> {
    let calls: Option<Vec<f64>> = record.prompts.iter().map(|p| Metric::E2eClient.of(&p.trial)).collect();
    calls.filter(|calls| !calls.is_empty()).map(|calls| plain_mean(&calls))
}

/// One value per repetition of a backend over `scenarios`; repetitions that lack one of them are left out.
fn per_repetition(run: &Run, backend: &str, scenarios: &BTreeSet<&str>, from: u32) -> Vec<f64> {
    let mut logs: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    let own = run.ok(backend).filter(|r| r.rep >= from && scenarios.contains(r.scenario.as_str()));
    for (rep, seconds) in own.filter_map(|r| Some((r.rep, seconds(r)?))) {
        logs.entry(rep).or_default().push(seconds.ln());
    }
    logs.into_values().filter(|l| l.len() == scenarios.len()).map(|l| plain_mean(&l).exp()).collect()
}

/// Time of `b` over time of `a` on the scenarios that both finished: how many times faster `a` is. Puts the estimate
/// without the first repetition, that with it, the smallest change that this design would find, and adds the test.
fn faster(
    values: &mut Values,
    family: &mut Family,
    run: &Run,
    (a, b): (&str, &str),
    name: &str,
) -> Result<(), ReplayError> {
    let [of_a, of_b] = [run.whole_scenarios(a), run.whole_scenarios(b)];
    let common: BTreeSet<&str> = of_a.intersection(&of_b).copied().collect();
    let with_first = format!("{name}.with_first");
    if common.is_empty() {
        for absent in [name, with_first.as_str()] {
            values.lacks(absent, "there is no scenario that both finished");
        }
        family.add(name, None);
        return Ok(());
    }
    for (name, from) in [(name, 1), (with_first.as_str(), 0)] {
        let [own, other] = [a, b].map(|backend| per_repetition(run, backend, &common, from));
        if own.len() < 2 || other.len() < 2 {
            values.lacks(name, "fewer than two repetitions");
            if from == 1 {
                family.add(name, None);
            }
            continue;
        }
        let at = || ReplayError::at(name.to_owned());
        values.put_estimate(name, "", ratio_of(&other, &own, UNIT).map_err(at())?);
        if from == 0 {
            continue;
        }
        let logs = [&own, &other].map(|v| v.iter().map(|v| v.ln()).collect::<Vec<f64>>());
        family.add(name, welch_p(&logs[1], &logs[0], UNIT).map_err(at())?);
        let error = difference(&logs[1], &logs[0], UNIT).map_err(at())?.standard_error.unwrap_or(f64::NAN);
        let n = own.len().min(other.len());
        let least = hypothesis::minimum_detectable(error, n, ALPHA, 0.8).map_err(at())?;
        match least {
            Some(least) => values.put(format!("{name}.detectable"), "%", 100.0 * least.exp_m1()),
            None => values.lacks(format!("{name}.detectable"), "fewer than three repetitions"),
        }
        let samples = [&other, &own].map(|v| Sample::new(v, UNIT));
        if let [Ok(other), Ok(own)] = samples {
            let equal =
                hypothesis::equivalent_ratio(other, own, Margin::ratio(MARGIN), ALPHA).map_err(at())?;
            match equal.p() {
                Ok(p) => values.put(format!("{name}.equivalence_p"), "", p),
                Err(why) => values.lacks(format!("{name}.equivalence_p"), why.to_string()),
            }
        }
    }
    Ok(())
}

/// All backends of a run against its baseline, and the two reduced precisions against each other.
pub(super) fn run(
    values: &mut Values,
    family: &mut Family,
    label: &str,
    run: &Run,
) -> Result<(), ReplayError> {
    let mode = &run.mode;
    for backend in BACKENDS {
        throughput(values, &format!("throughput.{label}.{mode}.{backend}"), run, backend)?;
        if mode == "generate" {
            steps(values, label, run, backend)?;
        }
        if backend != BASELINE {
            faster(values, family, run, (backend, BASELINE), &format!("speedup.{label}.{mode}.{backend}"))?;
        }
    }
    if mode == "prefill" {
        let pair = ("tensorrt-int8", "tensorrt-fp16");
        faster(values, family, run, pair, &format!("int8_against_fp16.{label}"))?;
    }
    let failed = run.records.iter().filter_map(|record| record.failed.as_ref());
    let counted = failed.filter(|trial| Metric::E2eClient.of(trial).is_none()).count();
    values.put(format!("failed.{label}.{mode}"), "", counted as f64);
    Ok(())
}

/// Padded tokens over seconds, as a ratio of sums over repetitions.
fn throughput(values: &mut Values, name: &str, run: &Run, backend: &str) -> Result<(), ReplayError> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for record in run.ok(backend).filter(|r| r.rep > 0) {
        for prompt in &record.prompts {
            let sum = sums.entry(record.rep).or_default();
            sum.0 += prompt.tokens;
            sum.1 += Metric::E2eClient.of(&prompt.trial).unwrap_or(f64::NAN);
        }
    }
    if sums.len() < 2 {
        values.lacks(name, "fewer than two repetitions succeeded");
        return Ok(());
    }
    let (tokens, seconds): (Vec<f64>, Vec<f64>) = sums.into_values().unzip();
    let estimate = of_sums(&tokens, &seconds, UNIT).map_err(ReplayError::at(name))?;
    values.put_estimate(name, "tok/s", estimate);
    Ok(())
}

/// First step and pace of the steps after it, of single prompts: a batch of copies would count its tokens four times.
fn steps(values: &mut Values, label: &str, run: &Run, backend: &str) -> Result<(), ReplayError> {
    for (quantity, unit, metric) in
        [("ttft", "s", Metric::TtftClient), ("decode_rate", "tok/s", Metric::DecodeRateClient)]
    {
        let name = format!("{quantity}.{label}.{backend}");
        let mut reps: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for record in run.ok(backend).filter(|r| r.batch == 1.0 && r.rep > 0) {
            let of_calls = record.prompts.iter().filter_map(|p| metric.of(&p.trial));
            reps.entry(record.rep).or_default().extend(of_calls);
        }
        let means: Vec<f64> = reps.values().filter(|v| !v.is_empty()).map(|v| plain_mean(v)).collect();
        if means.is_empty() {
            values.lacks(name, "no successful generation of a single prompt");
        } else {
            values.put_estimate(&name, unit, mean(&means, UNIT).map_err(ReplayError::at(name.clone()))?);
        }
    }
    Ok(())
}

/// What a test says of "the first is faster": an estimate of how many times, and its adjusted p.
pub(super) fn verdict(values: &Values, name: &str) -> Verdict {
    let p = values.point(&format!("p_holm.{name}"));
    match (values.point(name), p) {
        (None, _) => Verdict::NotMeasured,
        (Some(ratio), Some(p)) if p <= ALPHA && ratio > 1.0 => Verdict::Supported,
        (Some(_), Some(p)) if p <= ALPHA => Verdict::Contradicted,
        _ if values.point(&format!("{name}.equivalence_p")).is_some_and(|p| p <= ALPHA) => {
            Verdict::Equivalent
        }
        _ => Verdict::Inconclusive,
    }
}

/// A quantity for a table.
pub(super) fn cell(values: &Values, name: &str) -> Cell {
    match values.get(name) {
        Some(crate::Value::Number { value, .. }) => Cell::Number { value: *value, unit: None },
        Some(crate::Value::Estimate { estimate, .. }) => estimate.into(),
        Some(crate::Value::Absent { reason }) => Cell::missing(reason.clone()),
        None => Cell::missing("not in these data"),
    }
}

/// An estimate by name.
pub(super) fn estimate<'v>(values: &'v Values, name: &str) -> Option<&'v Estimate> {
    match values.get(name)? {
        crate::Value::Estimate { estimate, .. } => Some(estimate),
        _ => None,
    }
}
