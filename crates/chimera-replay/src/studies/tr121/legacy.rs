//! The published tables by the published formulas: power laws with resampled intervals, rank correlations with the t
//! approximation, decode fractions, first-use ratios, shadow prices. Named `legacy.<run>.<arm>.<phase>.…`.

use std::collections::{BTreeMap, BTreeSet};

use chimera_stats::{
    StatsError, hypothesis,
    random::Resampling,
    rank,
    regression::{self, DegenerateResamples},
};

use super::{
    cells::{self, Cell, Cells, MODES, Mode, Point, dimension, log10, median, points, quantile},
    read::{Call, Data, Shape},
};
use crate::{LEVEL, ReplayError, Values};

/// Shadow price of an hour, in USD.
pub(super) const HOUR: f64 = 1.006;
/// Tokens per second that a milliard of tokens in thirty days make.
const DEMAND: f64 = 1e9 / 2_592_000.0;

pub(super) fn values(values: &mut Values, data: &Data, cells: &Cells<'_>) -> Result<(), ReplayError> {
    for (run, arm) in cells::arms(cells) {
        let name = format!("legacy.{run}.{arm}");
        for mode in MODES {
            let all = points(cells, (run, arm), mode, None);
            let name = format!("{name}.{}", mode.name());
            for point in &all {
                values.put(format!("{name}.{}.ms", point.model), "ms", point.ms);
                values.put(format!("{name}.{}.rate", point.model), "tok/s", point.rate);
            }
            fit(values, &name, &all)?;
            let own = |key: &&cells::Key<'_>| run == "primary" && (key.0, key.1) == (run, arm);
            let prompts: BTreeSet<&str> = cells.keys().filter(own).map(|key| key.3).collect();
            for prompt in prompts {
                fit(values, &format!("{name}.{prompt}"), &points(cells, (run, arm), mode, Some(prompt)))?;
            }
            shapes(values, &name, &all, &data.shapes)?;
            overhead(values, &name, &all)?;
            warm(values, &name, cells, (run, arm), mode);
        }
        fractions(values, &name, cells, (run, arm));
    }
    for (run, arm) in cells::arms(cells) {
        prices(values, &format!("legacy.{run}.{arm}"), &points(cells, (run, arm), Mode::Both, None));
    }
    served(values, data)?;
    loads(values, cells);
    events(values, data);
    Ok(())
}

/// `.slope`, `.r2`, `.p`, `.t_low`, `.t_high`, `.boot_low`, `.boot_high`, `.rho`, `.rho_p`, `.theil_sen`, `.loo_min`, `.loo_max`.
fn fit(values: &mut Values, name: &str, points: &[Point<'_>]) -> Result<(), ReplayError> {
    if points.len() < 3 {
        values.lacks(format!("{name}.slope"), "fewer than three models");
        return Ok(());
    }
    let at = || ReplayError::at(name.to_owned());
    let x = log10(points.iter().map(|point| point.millions));
    let y = log10(points.iter().map(|point| point.ms));
    let line = regression::ols(&x, &y, LEVEL).map_err(at())?;
    values.put(format!("{name}.models"), "", points.len() as f64);
    values.put(format!("{name}.slope"), "", line.slope.value);
    values.put(format!("{name}.r2"), "", line.r_squared.unwrap_or(f64::NAN));
    values.put(format!("{name}.p"), "", line.slope.p.unwrap_or(f64::NAN));
    if let Some(interval) = line.slope.interval {
        values.put(format!("{name}.t_low"), "", interval.low);
        values.put(format!("{name}.t_high"), "", interval.high);
    }
    let resampling = Resampling::numpy(1_000, 42);
    // A resample of one model alone keeps the slope that the report's library gives it.
    let boot = regression::pairs_bootstrap_slope(&x, &y, resampling, DegenerateResamples::MinimumNorm, LEVEL)
        .map_err(at())?;
    values.put(format!("{name}.boot_low"), "", boot.interval.low);
    values.put(format!("{name}.boot_high"), "", boot.interval.high);
    let (rho, p) = spearman(&x, &y).map_err(at())?;
    values.put(format!("{name}.rho"), "", rho);
    values.put(format!("{name}.rho_p"), "", p);
    let robust = regression::theil_sen(&x, &y, LEVEL).map_err(at())?;
    values.put(format!("{name}.theil_sen"), "", robust.slope);
    if points.len() > 3 {
        let without = regression::leave_one_out(&x, &y, LEVEL).map_err(at())?;
        let (low, high) = without.slope_range().unwrap_or((f64::NAN, f64::NAN));
        values.put(format!("{name}.loo_min"), "", low);
        values.put(format!("{name}.loo_max"), "", high);
    }
    Ok(())
}

/// Rank correlation with the p of the t approximation, as published: not to be believed of so few models.
fn spearman(x: &[f64], y: &[f64]) -> Result<(f64, f64), StatsError> {
    let rho = rank::spearman(x, y)?.rho;
    let dof = (x.len() - 2) as f64;
    let t = rho * (dof / (1.0 - rho * rho)).sqrt();
    // A perfect order: the approximation calls it certain, of three models as of three hundred.
    if 1.0 - rho * rho < 1e-12 {
        return Ok((rho, 0.0));
    }
    Ok((rho, hypothesis::t_test_from(t, 1.0, x.len() - 1)?.unwrap_or(f64::NAN)))
}

/// Depth and width: `.rho_layers`, `.rho_width`, `.beta`, `.gamma`, `.joint_r2`, and the line in layers.
fn shapes(
    values: &mut Values,
    name: &str,
    points: &[Point<'_>],
    shapes: &BTreeMap<String, Shape>,
) -> Result<(), ReplayError> {
    if points.len() < 4 {
        return Ok(());
    }
    let at = || ReplayError::at(format!("{name}: architecture"));
    let Some((layers, width)) =
        dimension(points, shapes, |s| s.layers).zip(dimension(points, shapes, |s| s.width))
    else {
        return Ok(());
    };
    let ms: Vec<f64> = points.iter().map(|point| point.ms).collect();
    for (what, figure) in [("layers", &layers), ("width", &width)] {
        let (rho, p) = spearman(figure, &ms).map_err(at())?;
        values.put(format!("{name}.rho_{what}"), "", rho);
        values.put(format!("{name}.rho_{what}_p"), "", p);
    }
    let logs = |values: &[f64]| regression::logs(values).map_err(at());
    let size: Vec<f64> = points.iter().map(|point| point.millions).collect();
    let fit = regression::multiple(&[&logs(&size)?, &logs(&layers)?], &logs(&ms)?, LEVEL).map_err(at())?;
    if let [beta, gamma] = fit.coefficients.as_slice() {
        values.put(format!("{name}.beta"), "", beta.value);
        values.put(format!("{name}.gamma"), "", gamma.value);
    }
    values.put(format!("{name}.joint_r2"), "", fit.r_squared.unwrap_or(f64::NAN));
    values.put(format!("{name}.joint_adjusted_r2"), "", fit.adjusted_r_squared.unwrap_or(f64::NAN));
    let line = regression::ols(&layers, &ms, LEVEL).map_err(at())?;
    values.put(format!("{name}.layers_intercept"), "ms", line.intercept.value);
    values.put(format!("{name}.layers_slope"), "ms", line.slope.value);
    values.put(format!("{name}.layers_r2"), "", line.r_squared.unwrap_or(f64::NAN));
    Ok(())
}

/// Latency = offset + slope times parameters.
fn overhead(values: &mut Values, name: &str, points: &[Point<'_>]) -> Result<(), ReplayError> {
    let Some((first, last)) = points.first().zip(points.last()).filter(|_| points.len() >= 3) else {
        return Ok(());
    };
    let x: Vec<f64> = points.iter().map(|point| point.millions).collect();
    let y: Vec<f64> = points.iter().map(|point| point.ms).collect();
    let line = regression::ols(&x, &y, LEVEL).map_err(ReplayError::at(format!("{name}: offset")))?;
    values.put(format!("{name}.offset"), "ms", line.intercept.value);
    values.put(format!("{name}.offset_slope"), "ms", line.slope.value);
    values.put(format!("{name}.offset_r2"), "", line.r_squared.unwrap_or(f64::NAN));
    for (end, point) in [("min", first), ("max", last)] {
        values.put(format!("{name}.offset_share_{end}"), "", line.intercept.value / line.at(point.millions));
    }
    Ok(())
}

/// Ratios of first use over later uses: of every cell, largest, median, p95.
fn warm(values: &mut Values, name: &str, cells: &Cells<'_>, of: (&str, &str), mode: Mode) {
    let mut ratios = Vec::new();
    for ((run, arm, model, scenario), cell) in cells {
        if (*run, *arm) == of
            && let Some(ratio) = cell.warm_ratio(mode)
        {
            if *run == "primary" {
                values.put(format!("{name}.{model}.{scenario}.warm_ratio"), "", ratio);
            }
            ratios.push(ratio);
        }
    }
    for (what, p) in [("median", 0.5), ("p95", 0.95), ("max", 1.0)] {
        let found = quantile(ratios.iter().copied(), p);
        values.put(format!("{name}.warm_ratio_{what}"), "", found.unwrap_or(f64::NAN));
    }
}

/// Decode over decode plus prefill, of geometric means: quartiles over models.
fn fractions(values: &mut Values, name: &str, cells: &Cells<'_>, of: (&str, &str)) {
    let decode = points(cells, of, Mode::Decode, None);
    let both = points(cells, of, Mode::Both, None);
    let fractions: Vec<f64> = decode.iter().zip(&both).map(|(decode, both)| decode.ms / both.ms).collect();
    for (what, p) in [("fraction", 0.5), ("fraction_p25", 0.25), ("fraction_p75", 0.75)] {
        values.put(format!("{name}.{what}"), "", quantile(fractions.iter().copied(), p).unwrap_or(f64::NAN));
    }
}

/// USD per million tokens with the prompt counted, and workers for a milliard of tokens a month.
fn prices(values: &mut Values, name: &str, points: &[Point<'_>]) {
    for point in points {
        values.put(format!("{name}.{}.usd_per_1m", point.model), "USD", 1e6 / point.rate / 3_600.0 * HOUR);
        values.put(format!("{name}.{}.workers", point.model), "", DEMAND / point.rate);
    }
}

/// Early stops of served models, what the extrapolation to the target does, and the fit without the stopped calls.
fn served(values: &mut Values, data: &Data) -> Result<(), ReplayError> {
    let name = "legacy.primary.ollama";
    let own: Vec<&Call> = data
        .calls
        .iter()
        .filter(|call| call.run == "primary" && call.is_served() && !call.warm && call.timing.is_some())
        .collect();
    let stopped = |call: &&&Call| call.generated < call.target;
    values.put(format!("{name}.calls"), "", own.len() as f64);
    values.put(format!("{name}.stopped_early"), "", own.iter().filter(stopped).count() as f64);
    let complete: Vec<Call> = own.iter().filter(|call| !stopped(call)).map(|call| (*call).clone()).collect();
    let whole = cells::cells(&complete);
    for mode in [Mode::Decode, Mode::Both] {
        let points = points(&whole, ("primary", "ollama"), mode, None);
        fit(values, &format!("{name}.{}.complete", mode.name()), &points)?;
    }
    let prompts: BTreeSet<&str> = own.iter().map(|call| call.scenario.as_str()).collect();
    for prompt in prompts {
        let all: Vec<&&Call> = own.iter().filter(|call| call.scenario == prompt).collect();
        let early = all.iter().filter(|call| call.generated < call.target).count();
        values.put(format!("{name}.stopped_share.{prompt}"), "%", 100.0 * early as f64 / all.len() as f64);
    }
    let models: BTreeSet<&str> = own.iter().map(|call| call.model.as_str()).collect();
    for model in models {
        let calls: Vec<&&Call> = own.iter().filter(|call| call.model == model).collect();
        let tokens: Vec<f64> = calls.iter().map(|call| call.generated).collect();
        let raw: Vec<f64> = calls.iter().filter_map(|call| Some(call.timing?.decode_raw)).collect();
        // Every call may have the same length: then there is no line.
        let Ok(line) = regression::ols(&tokens, &raw, LEVEL) else {
            values.lacks(format!("{name}.{model}.linear_r2"), "every call has the same number of tokens");
            continue;
        };
        values.put(format!("{name}.{model}.linear_r2"), "", line.r_squared.unwrap_or(f64::NAN));
        values.put(format!("{name}.{model}.linear_slope"), "ms", line.slope.value);
        let errors = || calls.iter().filter_map(|call| Some(call.timing?.decode - line.at(call.target)));
        for (what, p) in [("median", 0.5), ("min", 0.0), ("max", 1.0)] {
            let error = quantile(errors(), p).unwrap_or(f64::NAN);
            values.put(format!("{name}.{model}.projection_error_{what}"), "ms", error);
        }
    }
    Ok(())
}

/// First use with the load that the server reports: `.cold_ratio` per cell, and the loads of later calls.
fn loads(values: &mut Values, cells: &Cells<'_>) {
    let name = "legacy.primary.ollama";
    let mut steady = Vec::new();
    for ((_, _, model, scenario), cell) in
        cells.iter().filter(|(key, _)| (key.0, key.1) == ("primary", "ollama"))
    {
        let loaded = |calls: &[(&Call, super::read::Timing)]| {
            median(calls.iter().filter_map(|(call, timing)| Some(timing.prefill + call.load?)))
        };
        let ratio = loaded(&cell.warm).zip(loaded(&cell.measured)).map(|(warm, later)| warm / later);
        values.put(format!("{name}.{model}.{scenario}.cold_ratio"), "", ratio.unwrap_or(f64::NAN));
        steady.extend(median(cell.measured.iter().filter_map(|(call, _)| call.load)));
    }
    for (what, p) in [("min", 0.0), ("max", 1.0)] {
        let load = quantile(steady.iter().copied(), p);
        values.put(format!("{name}.load_{what}"), "ms", load.unwrap_or(f64::NAN));
    }
}

/// Wall clock against the device's events, as shares of the wall clock.
fn events(values: &mut Values, data: &Data) {
    let own = || {
        data.calls
            .iter()
            .filter(|call| call.run == "primary" && call.backend == "gpu" && !call.warm)
            .filter_map(|call| call.timing.and_then(|timing| Some((timing, timing.events?))))
    };
    for mode in MODES {
        let gaps: Vec<f64> = own()
            .map(|(timing, (prefill, decode))| {
                let event = match mode {
                    Mode::Prefill => prefill,
                    Mode::Decode => decode,
                    Mode::Both => prefill + decode,
                };
                (mode.ms(&timing) - event).abs() / mode.ms(&timing)
            })
            .collect();
        let name = format!("legacy.primary.gpu.{}.event_gap", mode.name());
        values.put(format!("{name}_median"), "", median(gaps.iter().copied()).unwrap_or(f64::NAN));
        values.put(format!("{name}_p95"), "", quantile(gaps, 0.95).unwrap_or(f64::NAN));
    }
}

/// The cell of the largest first-use ratio of one arm.
pub(super) fn peak<'c, 'd>(
    cells: &'c Cells<'d>,
    of: (&str, &str),
) -> Option<(&'d str, &'d str, &'c Cell<'d>)> {
    cells
        .iter()
        .filter(|((run, arm, _, _), cell)| (*run, *arm) == of && cell.warm_ratio(Mode::Prefill).is_some())
        .max_by(|a, b| {
            let ratio = |cell: &Cell<'_>| cell.warm_ratio(Mode::Prefill).unwrap_or(0.0);
            ratio(a.1).total_cmp(&ratio(b.1))
        })
        .map(|((_, _, model, scenario), cell)| (*model, *scenario, cell))
}
