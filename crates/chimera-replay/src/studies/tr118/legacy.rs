//! The published formulas: a record's value is the mean over its prompts, a backend's the mean over scenarios of the mean
//! over repetitions, its spread that of all records of all scenarios together, its tests Student's on the same pool.

use std::collections::BTreeMap;

use chimera_stats::{Sample, effect, hypothesis, hypothesis::Alternative, intervals};

use super::data::{BACKENDS, BASELINE, Record, Run};
use crate::{ALPHA, LEVEL, ReplayError, Values, studies::shared::plain_mean};

/// Mean over scenarios of the mean over repetitions of a record's value; none without a record.
pub(super) fn overall<'r>(
    records: impl Iterator<Item = &'r Record>,
    value: impl Fn(&Record) -> f64,
) -> Option<f64> {
    let means: Vec<f64> = by_scenario(records, value).values().map(|values| plain_mean(values)).collect();
    (!means.is_empty()).then(|| plain_mean(&means))
}

/// Values of the records of each scenario.
pub(super) fn by_scenario<'r>(
    records: impl Iterator<Item = &'r Record>,
    value: impl Fn(&Record) -> f64,
) -> BTreeMap<&'r str, Vec<f64>> {
    let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for record in records {
        groups.entry(&record.scenario).or_default().push(value(record));
    }
    groups
}

/// Everything the report prints of a run, under `legacy.<label>.<mode>`.
pub(super) fn run(values: &mut Values, label: &str, run: &Run) -> Result<(), ReplayError> {
    let prefix = format!("legacy.{label}.{}", run.mode);
    let failed = run.records.iter().filter(|r| !r.ok).count();
    values.put(format!("{prefix}.records"), "", run.records.len() as f64);
    values.put(format!("{prefix}.degraded"), "", failed as f64);
    let pool = |backend: &str, value: fn(&Record) -> f64| run.ok(backend).map(value).collect::<Vec<f64>>();
    for backend in BACKENDS {
        let name = |quantity: &str| format!("{prefix}.{backend}.{quantity}");
        let own = run.records.iter().filter(|r| r.backend == backend);
        values.put(name("records"), "", own.clone().count() as f64);
        values.put(name("degraded"), "", own.filter(|r| !r.ok).count() as f64);
        values.put(name("scenarios"), "", by_scenario(run.ok(backend), Record::latency).len() as f64);
        for (quantity, unit, value) in MEASURES {
            let Some(point) = overall(run.ok(backend), value) else {
                values.lacks(name(quantity), "every record of this backend failed, or it has none");
                continue;
            };
            values.put(name(quantity), unit, point);
            for (scenario, of_scenario) in by_scenario(run.ok(backend), value) {
                values.put(name(&format!("{scenario}.{quantity}")), unit, plain_mean(&of_scenario));
            }
            let (own, base) = (pool(backend, value), pool(BASELINE, value));
            spread(values, &name(quantity), unit, &own)?;
            if backend != BASELINE && !base.is_empty() {
                compared(values, &name(quantity), &own, &base)?;
            }
        }
        let throughputs = [name("throughput"), format!("{prefix}.{BASELINE}.throughput")];
        if let [Some(own), Some(base)] = throughputs.map(|name| values.point(&name)) {
            values.put(name("speedup"), "", own / base);
        }
        let latencies = [name("latency"), format!("{prefix}.{BASELINE}.latency")];
        if let [Some(own), Some(base)] = latencies.map(|name| values.point(&name)) {
            values.put(name("speedup_by_latency"), "", base / own);
            values.put(name("latency_change"), "%", 100.0 * (own / base - 1.0));
        }
    }
    Ok(())
}

/// A quantity of a record: name, unit, how it is computed.
type Measure = (&'static str, &'static str, fn(&Record) -> f64);

/// What the report measures of a record.
pub(super) const MEASURES: [Measure; 2] =
    [("throughput", "tok/s", Record::rate), ("latency", "ms", Record::latency)];

/// Standard deviation and t interval over all records, scenarios mixed.
fn spread(values: &mut Values, name: &str, unit: &'static str, pool: &[f64]) -> Result<(), ReplayError> {
    let sample = Sample::new(pool, "record").map_err(ReplayError::at(name))?;
    if let Ok(sd) = sample.sd() {
        values.put(format!("{name}_sd"), unit, sd);
    }
    if let Some(interval) = intervals::mean_t(sample, LEVEL).map_err(ReplayError::at(name))?.interval {
        values.put(format!("{name}_low"), unit, interval.low);
        values.put(format!("{name}_high"), unit, interval.high);
    }
    Ok(())
}

/// Student's t, its p and Cohen's d over all records, second arm the baseline: positive where the backend has more.
pub(super) fn compared(
    values: &mut Values,
    name: &str,
    own: &[f64],
    base: &[f64],
) -> Result<(), ReplayError> {
    let at = || ReplayError::at(name.to_owned());
    let (a, b) = (Sample::new(own, "record").map_err(at())?, Sample::new(base, "record").map_err(at())?);
    if own.len() < 3 || base.len() < 3 {
        for suffix in ["t", "p", "d"] {
            values.lacks(format!("{name}_{suffix}"), "fewer than three records");
        }
        return Ok(());
    }
    let test = hypothesis::student_t(a, b, Alternative::TwoSided).map_err(at())?;
    match (test.statistic, test.p(ALPHA)) {
        (Some(t), Ok(p)) => {
            values.put(format!("{name}_t"), "", t);
            values.put(format!("{name}_p"), "", p);
            let d = effect::cohen_d(a, b, LEVEL).map_err(at())?;
            values.put(format!("{name}_d"), "", d.point);
        }
        _ => {
            for suffix in ["t", "p", "d"] {
                values.lacks(format!("{name}_{suffix}"), "the records do not vary");
            }
        }
    }
    Ok(())
}
