//! Published fits and bootstrap intervals, where the published data are at hand.

use chimera_stats::pcg64::Pcg64;
use chimera_stats::random::Resampling;
use chimera_stats::rank::spearman;
use chimera_stats::regression::{DegenerateResamples, leave_one_out, pairs_bootstrap_slope, power_law};
use serde_json::Value;

use crate::{num, root};

/// Published scaling fits, recomputed from their raw records outside this project. Where they lie beside the project,
/// every fit is checked; where not, that is said.
#[test]
fn published_scaling_fits_are_reproduced() {
    let path = root().join("../shared/reference/cost_scaling/golden_recomputed.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped 1: no published scaling fits beside the project");
        return;
    };
    let golden: Value = serde_json::from_str(&text).unwrap();
    let mut fits = 0;
    for (run, content) in golden["tr121"].as_object().unwrap() {
        for fit in content["fits"].as_array().unwrap() {
            check(run, fit, content["agg"].as_array().unwrap());
            fits += 1;
        }
    }
    assert!(fits >= 40, "only {fits} fits");
    for (key, n) in [("integers_0_7_size7_first3", 7), ("integers_0_5_size5_first3", 5)] {
        let mut rng = Pcg64::new(42);
        for row in golden["numpy_pcg64_seed42"][key].as_array().unwrap() {
            for expected in row.as_array().unwrap() {
                assert_eq!(u64::from(rng.below(n)), expected.as_u64().unwrap());
            }
        }
    }
}

fn check(run: &str, fit: &Value, agg: &[Value]) {
    let label = format!("{run} {} {} {}", fit["backend"], fit["bs"], fit["mode"]);
    let mut points: Vec<(f64, f64)> = agg
        .iter()
        .filter(|row| {
            row["backend"] == fit["backend"] && row["batch_size"] == fit["bs"] && row["mode"] == fit["mode"]
        })
        .map(|row| (num(&row["P"]), num(&row["lat"])))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
    assert_eq!(x.len() as u64, fit["n"].as_u64().unwrap(), "{label}");

    // Twelve decimals are given, so nothing agrees better than that.
    let near = |what: &str, got: f64, key: &str| {
        let expected = num(&fit[key]);
        assert!(
            (got - expected).abs() < 2e-11 * expected.abs().max(1.0),
            "{label}, {what}: {got} not {expected}"
        );
    };
    let law = power_law(&x, &y, 0.95).unwrap();
    let exponent = law.exponent();
    near("slope", exponent.value, "slope");
    near("R2", law.log_fit.r_squared.unwrap(), "r2");
    near("p", exponent.p.unwrap(), "p");
    let interval = exponent.interval.unwrap();
    near("t interval", interval.low, "t_lo");
    near("t interval", interval.high, "t_hi");
    near("rho", spearman(&x, &y).unwrap().rho, "rho");

    let log10 = |v: &[f64]| v.iter().map(|v| v.log10()).collect::<Vec<f64>>();
    let (lx, ly) = (log10(&x), log10(&y));
    let boot =
        pairs_bootstrap_slope(&lx, &ly, Resampling::numpy(1000, 42), DegenerateResamples::MinimumNorm, 0.95)
            .unwrap();
    near("bootstrap", boot.interval.low, "ci_lo");
    near("bootstrap", boot.interval.high, "ci_hi");
    if !fit["loo_min"].is_null() {
        let (low, high) = leave_one_out(&lx, &ly, 0.95).unwrap().slope_range().unwrap();
        near("leave-one-out", low, "loo_min");
        near("leave-one-out", high, "loo_max");
    }
}
