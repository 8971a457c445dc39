//! Straight lines and planes against the recorded values of other programs.

use chimera_stats::random::Resampling;
use chimera_stats::regression::{
    Coefficient, DegenerateResamples, LinearFit, influence, leave_one_out, multiple, ols,
    pairs_bootstrap_slope, theil_sen, wls,
};
use serde_json::Value;

use crate::{cases, close, close_interval, close_p, has, num, nums};

/// Magnitude of the terms that cancel to the intercept.
fn intercept_scale(expected: &Value, x: &[f64], y: &[f64]) -> f64 {
    let most = |v: &[f64]| v.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    most(y).max(num(&expected["slope"]).abs() * most(x))
}

fn check_fit(name: &Value, fit: &LinearFit, expected: &Value, x: &[f64], y: &[f64]) {
    let scale = intercept_scale(expected, x, y);
    let spread = |v: &[f64]| {
        v.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)) - v.iter().fold(f64::INFINITY, |m, v| m.min(*v))
    };
    let slope_scale = spread(y) / spread(x);
    close(name, "slope", fit.slope.value, num(&expected["slope"]), slope_scale);
    close(name, "intercept", fit.intercept.value, num(&expected["intercept"]), scale);
    close(name, "R2", fit.r_squared.unwrap(), num(&expected["r_squared"]), 1.0);
    if !has(expected, "slope_se") {
        assert_eq!(
            (fit.dof, fit.slope.p, fit.slope.interval, fit.residual_sd),
            (0, None, None, None),
            "{name}"
        );
        return;
    }
    close(name, "residual sd", fit.residual_sd.unwrap(), num(&expected["residual_sd"]), 0.0);
    close(name, "slope se", fit.slope.standard_error.unwrap(), num(&expected["slope_se"]), 0.0);
    let interval = nums(&expected["slope_interval"]);
    close_interval(name, "slope interval", fit.slope.interval, &interval, slope_scale);
    close_p(name, "slope p", fit.slope.p.unwrap(), num(&expected["slope_p"]));
    close(name, "intercept se", fit.intercept.standard_error.unwrap(), num(&expected["intercept_se"]), 0.0);
    close_p(name, "intercept p", fit.intercept.p.unwrap(), num(&expected["intercept_p"]));
    let band = &expected["band"];
    let x = num(&band["x"]);
    close_interval(name, "mean band", fit.mean_at(x), &nums(&band["mean"]), scale);
    close_interval(name, "prediction band", fit.prediction_at(x), &nums(&band["prediction"]), scale);
}

#[test]
fn lines_agree() {
    for case in cases("ols.json") {
        let name = &case["name"];
        let (x, y) = (nums(&case["x"]), nums(&case["y"]));
        check_fit(name, &ols(&x, &y, 0.95).unwrap(), &case["fit"], &x, &y);
        let weighted = wls(&x, &y, &nums(&case["weights"]), 0.95).unwrap();
        check_fit(&format!("{name}, weighted").into(), &weighted, &case["weighted"], &x, &y);
    }
}

#[test]
fn influences_agree() {
    for case in cases("ols.json") {
        let name = &case["name"];
        let points = influence(&nums(&case["x"]), &nums(&case["y"])).unwrap();
        let leverage = nums(&case["fit"]["leverage"]);
        assert_eq!(points.len(), leverage.len());
        for (point, expected) in points.iter().zip(&leverage) {
            close(name, "leverage", point.leverage, *expected, 0.0);
        }
        match case["fit"]["cooks"].as_array() {
            None => assert!(points.iter().all(|p| p.cooks_distance.is_none()), "{name}"),
            Some(cooks) => {
                for (point, expected) in points.iter().zip(cooks) {
                    match expected {
                        Value::Null => assert_eq!(point.cooks_distance, None, "{name}"),
                        // A residual that almost vanishes has few digits, and so has its distance.
                        _ => close(name, "Cook", point.cooks_distance.unwrap(), num(expected), 1e-2),
                    }
                }
            }
        }
    }
}

#[test]
fn lines_without_a_point_agree() {
    let mut checked = 0;
    for case in cases("ols.json") {
        let name = &case["name"];
        let (x, y) = (nums(&case["x"]), nums(&case["y"]));
        if x.len() < 3 {
            assert!(leave_one_out(&x, &y, 0.95).is_err(), "{name}");
            continue;
        }
        let without = leave_one_out(&x, &y, 0.95).unwrap().without;
        assert_eq!(without.len(), x.len());
        for (got, expected) in without.iter().zip(case["without"].as_array().unwrap()) {
            let Some(fit) = &got.fit else {
                assert!(expected.is_null(), "{name} without {}", got.index);
                continue;
            };
            close(name, "slope", fit.slope.value, num(&expected["slope"]), fit.slope.value.abs() + 1.0);
            if has(expected, "r_squared") {
                close(name, "R2", fit.r_squared.unwrap(), num(&expected["r_squared"]), 1.0);
            }
            if let (true, Some(p)) = (has(expected, "slope_p"), fit.slope.p) {
                close_p(name, "p", p, num(&expected["slope_p"]));
            }
            checked += 1;
        }
    }
    assert!(checked > 50);
}

#[test]
fn theil_sen_agrees() {
    for case in cases("ols.json") {
        let name = &case["name"];
        let line = theil_sen(&nums(&case["x"]), &nums(&case["y"]), 0.95).unwrap();
        let expected = &case["theil_sen"];
        close(name, "slope", line.slope, num(&expected[0]), 0.0);
        close(name, "intercept", line.intercept, num(&expected[1]), line.intercept.abs() + 1.0);
        close_interval(name, "interval", line.interval, &nums(expected)[2..], 0.0);
    }
}

#[test]
fn pairs_bootstrap_agrees_with_polyfit() {
    let mut checked = 0;
    for case in cases("ols.json").iter().filter(|case| has(case, "pairs")) {
        let log10 = |key: &str| nums(&case[key]).into_iter().map(f64::log10).collect::<Vec<f64>>();
        let (x, y) = (log10("x"), log10("y"));
        let resampling = Resampling::numpy(500, 42);
        let boot = |degenerate| pairs_bootstrap_slope(&x, &y, resampling, degenerate, 0.95).unwrap();
        let got = boot(DegenerateResamples::MinimumNorm);
        close_interval(&case["name"], "slope", Some(got.interval), &nums(&case["pairs"]), 0.0);
        assert_eq!(got.degenerate as u64, case["degenerate"].as_u64().unwrap());
        assert_eq!(boot(DegenerateResamples::Discard).degenerate, got.degenerate);
        checked += 1;
    }
    assert!(checked >= 4);
}

#[test]
fn planes_agree() {
    for case in cases("multiple.json") {
        let name = &case["name"];
        let columns: Vec<Vec<f64>> = case["columns"].as_array().unwrap().iter().map(nums).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let fit = multiple(&columns, &nums(&case["y"]), 0.95).unwrap();
        let check = |what: &str, got: &Coefficient, value: &Value, se: &Value, p: &Value| {
            close(name, what, got.value, num(value), num(se));
            close(name, what, got.standard_error.unwrap(), num(se), 0.0);
            close_p(name, what, got.p.unwrap(), num(p));
        };
        check("intercept", &fit.intercept, &case["intercept"], &case["intercept_se"], &case["intercept_p"]);
        for (j, got) in fit.coefficients.iter().enumerate() {
            check("coefficient", got, &case["coefficients"][j], &case["se"][j], &case["p"][j]);
            let interval = nums(&case["intervals"][j]);
            close_interval(name, "interval", got.interval, &interval, num(&case["se"][j]));
        }
        close(name, "R2", fit.r_squared.unwrap(), num(&case["r_squared"]), 1.0);
        close(name, "adjusted R2", fit.adjusted_r_squared.unwrap(), num(&case["adjusted"]), 1.0);
        close(name, "residual sd", fit.residual_sd.unwrap(), num(&case["residual_sd"]), 0.0);
        for (got, expected) in fit.leverage.iter().zip(nums(&case["leverage"])) {
            close(name, "leverage", *got, expected, 1.0);
        }
    }
}
