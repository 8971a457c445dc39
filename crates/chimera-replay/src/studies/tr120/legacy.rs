//! The published tables by the published formula: mean, type-7 quantiles, maximum and SD over all samples of a mode.

use chimera_report::{Column, Section, Table};
use chimera_stats::{
    Sample,
    hypothesis::{self, Alternative, RankNull},
};

use super::{
    super::{
        family::cell,
        shared::{median, plain_mean},
    },
    read::{ARMS, Run},
};
use crate::{ALPHA, ReplayError, Values};

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// All runs, pilots included.
pub(super) fn values(values: &mut Values, runs: &[Run]) -> Result<(), ReplayError> {
    let (mut samples, mut flips) = (0, 0);
    for run in runs {
        let key = run.key();
        samples += run.arms.iter().map(Vec::len).sum::<usize>();
        values.put(format!("failures.{key}"), "", run.failed as f64);
        for (arm, name) in ARMS.iter().enumerate() {
            let prefix = format!("legacy.{key}.{name}");
            describe(values, &prefix, &run.latencies(arm))?;
            let events: Vec<f64> = run.arms[arm].iter().filter_map(|sample| sample.event_ms).collect();
            if !events.is_empty() {
                describe(values, &format!("{prefix}.event"), &events)?;
                let gap = median(&run.latencies(arm)).zip(median(&events)).map(|(wall, event)| wall - event);
                values.put(format!("event.{key}.{name}.gap"), "ms", gap.unwrap_or(f64::NAN));
            }
        }
        match run.graphs {
            Some(graphs) => values.put(format!("legacy.{key}.graphs"), "", graphs),
            None => values.lacks(format!("legacy.{key}.graphs"), "no graph was counted"),
        }
        let of = |what: &str| values.point(&format!("legacy.{key}.{what}"));
        let delta = |what: &str| Some(of(&format!("compiled.{what}"))? - of(&format!("eager.{what}"))?);
        flips +=
            usize::from(delta("mean").zip(delta("p50")).is_some_and(|(mean, median)| mean * median < 0.0));
        rank_test(values, run)?;
    }
    values.put("legacy.samples", "", samples as f64);
    values.put("legacy.mode_runs", "", runs.len() as f64);
    values.put("paradox.mode_runs", "", flips as f64);
    Ok(())
}

fn describe(values: &mut Values, prefix: &str, ms: &[f64]) -> Result<(), ReplayError> {
    let Ok(sample) = Sample::new(ms, "sample") else {
        for what in ["n", "mean", "sd", "max", "p50", "p95", "p99"] {
            values.lacks(format!("{prefix}.{what}"), "the arm has no sample");
        }
        return Ok(());
    };
    values.put(format!("{prefix}.n"), "", ms.len() as f64);
    values.put(format!("{prefix}.mean"), "ms", plain_mean(ms));
    values.put(format!("{prefix}.sd"), "ms", sample.sd().unwrap_or(f64::NAN));
    values.put(format!("{prefix}.max"), "ms", sample.max());
    let sorted = sample.sorted();
    for (name, p) in QUANTILES {
        values.put(
            format!("{prefix}.{name}"),
            "ms",
            sorted.quantile(p).map_err(ReplayError::at("quantiles"))?,
        );
    }
    Ok(())
}

fn rank_test(values: &mut Values, run: &Run) -> Result<(), ReplayError> {
    let name = format!("legacy.{}.mann_whitney_p", run.key());
    let (eager, compiled) = (run.latencies(0), run.latencies(1));
    let (Ok(a), Ok(b)) = (Sample::new(&eager, "sample"), Sample::new(&compiled, "sample")) else {
        values.lacks(name, "an arm has no sample");
        return Ok(());
    };
    let test = hypothesis::mann_whitney(a, b, Alternative::TwoSided, RankNull::Normal { continuity: true })
        .map_err(ReplayError::at("Mann-Whitney"))?;
    match test.p(ALPHA) {
        Ok(p) => values.put(name, "", p),
        Err(why) => values.lacks(name, why.to_string()),
    }
    Ok(())
}

/// One row per mode of a run and arm.
pub(super) fn section(values: &Values, runs: &[Run]) -> Section {
    let mut table = Table::new("legacy", "Every mode of every run")
        .caption("Over all samples of a process. The backend is what the compiled label really ran.")
        .column(Column::text("run", "Run"))
        .column(Column::text("mode", "Mode"))
        .column(Column::text("arm", "Arm"))
        .column(Column::text("backend", "Backend"))
        .column(Column::number("n", "Samples", ""))
        .column(Column::number("mean", "Mean", "ms"))
        .column(Column::number("p50", "p50", "ms"))
        .column(Column::number("p95", "p95", "ms"))
        .column(Column::number("p99", "p99", "ms"))
        .column(Column::number("max", "Maximum", "ms"));
    for run in runs {
        for (arm, name) in ARMS.iter().enumerate() {
            let of = |what: &str| cell(values, &format!("legacy.{}.{name}.{what}", run.key()));
            table.push_row([
                run.name.as_str().into(),
                run.mode.as_str().into(),
                (*name).into(),
                (if arm == 0 { "eager" } else { run.backend.as_str() }).into(),
                of("n"),
                of("mean"),
                of("p50"),
                of("p95"),
                of("p99"),
                of("max"),
            ]);
        }
    }
    Section::new("legacy", "Published tables by the published formula").table(table)
}
