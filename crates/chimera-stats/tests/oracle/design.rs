//! Two-level bootstrap, ratios, variance components and power against the recorded values of other programs.

use chimera_stats::power::{self, Design, Noise};
use chimera_stats::random::Resampling;
use chimera_stats::two_level::{self, Limits};
use chimera_stats::{Blocks, Sample, StatsError, ratio, variance};
use serde_json::Value;

use crate::{cases, close, close_interval, has, num, nums};

fn blocks(value: &Value) -> Blocks {
    Blocks::new(serde_json::from_value(value.clone()).unwrap()).unwrap()
}

#[test]
fn two_level_bootstraps_agree_resample_by_resample() {
    let drawn = Resampling::numpy(400, 17);
    for case in cases("two_level.json") {
        let name = &case["name"];
        let (data, weights) = (blocks(&case["blocks"]), blocks(&case["weights"]));
        let other = blocks(&case["other"]);
        for (key, limits) in [("plain", Limits::Plain), ("expanded", Limits::Expanded)] {
            for (what, got) in [
                ("mean", two_level::mean(&data, drawn, limits, 0.95).unwrap()),
                ("p90", two_level::quantile(&data, 0.9, drawn, limits, 0.95).unwrap()),
                ("ratio", two_level::ratio_of_sums(&data, &weights, drawn, limits, 0.95).unwrap()),
                ("mean_ratio", two_level::mean_ratio(&data, &other, drawn, limits, 0.95).unwrap()),
                ("median_ratio", two_level::quantile_ratio(&data, &other, 0.5, drawn, limits, 0.95).unwrap()),
            ] {
                close_interval(name, what, got.interval, &nums(&case[key][what]), 0.0);
                if has(&case["point"], what) {
                    close(name, what, got.point, num(&case["point"][what]), 0.0);
                }
                if what == "mean" {
                    close(name, what, got.standard_error.unwrap(), num(&case[key]["se"]), 1.0);
                }
            }
        }
    }
}

#[test]
fn ratio_limits_agree() {
    for case in cases("ratio_limits.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        let size = num(&case["ratio"]).abs();
        let of_sums = ratio::of_sums(a, b, 0.95).unwrap();
        close(name, "of sums", of_sums.point, num(&case["ratio"]), 0.0);
        close_interval(name, "of sums", of_sums.interval, &nums(&case["of_sums"]), size);
        for (key, got) in [
            ("paired", ratio::fieller_paired(a, b, 0.95).unwrap()),
            ("unpaired", ratio::fieller(a, b, 0.95).unwrap()),
        ] {
            close(name, key, got.point, num(&case["ratio"]), 0.0);
            if has(&case, key) {
                let scale = size;
                close_interval(name, key, got.interval, &nums(&case[key]), scale);
            } else {
                assert_eq!(got.interval, None, "{name}, {key}");
                assert!(got.method.contains("unbounded"), "{name}");
            }
        }
    }
}

#[test]
fn variance_components_agree() {
    for case in cases("components.json") {
        let name = &case["name"];
        let runs: Vec<Blocks> = case["runs"].as_array().unwrap().iter().map(blocks).collect();
        let got = match &runs[..] {
            [blocks] => variance::two_level(blocks).unwrap(),
            runs => variance::three_level(runs).unwrap(),
        };
        let (squares, variances) = (nums(&case["squares"]), nums(&case["variances"]));
        assert_eq!(got.levels.len(), variances.len(), "{name}");
        for (level, (square, moment)) in got.levels.iter().zip(squares.into_iter().zip(variances)) {
            close(name, &level.level, level.mean_square, square, 1.0);
            close(name, &level.level, level.moment, moment, 1.0);
            assert_eq!(level.variance, level.moment.max(0.0), "{name}");
        }
        let shares: f64 = got.levels.iter().map(|level| level.share).sum();
        assert!((shares - 1.0).abs() < 1e-12 && got.intraclass() <= 1.0, "{name}");
    }
}

/// The simulation against the exact power of the t test.
#[test]
fn simulated_power_is_that_of_the_t_test() -> Result<(), StatsError> {
    let drawn = Resampling::new(20_000, 3);
    for case in cases("power.json") {
        let name = &case["name"];
        let blocks = case["blocks"].as_u64().unwrap() as usize;
        let wanted = num(&case["power"]);
        for (key, paired) in [("paired", true), ("unpaired", false)] {
            let effect = num(&case[key]);
            // Half of the variance in the block, half in four requests of each arm.
            let request_sd = if paired { 1.0 } else { 2.0_f64.sqrt() };
            let noise = Noise { block_sd: 0.5_f64.sqrt(), request_sd };
            let design = Design { blocks, requests: 4, paired };
            let found = power::power(noise, design, effect, 0.05, drawn)?;
            // Welch's degrees of freedom cost a little beside the pooled ones of the oracle.
            let cost = if paired { 0.0 } else { 0.02 };
            let difference = found.point - wanted;
            assert!(difference < 0.012 && difference > -0.012 - cost, "{name}, {key}: {}", found.point);
            let detectable = power::minimum_detectable(noise, design, 0.05, wanted, drawn)?;
            assert!((detectable / effect - 1.0).abs() < 0.03, "{name}, {key}: {detectable} not {effect}");
            let needed =
                power::required_blocks(noise, 4, paired, effect * 1.02, 0.05, wanted, drawn)?.unwrap();
            assert!(needed.abs_diff(blocks) <= 1, "{name}, {key}: {needed}");
        }
    }
    Ok(())
}
