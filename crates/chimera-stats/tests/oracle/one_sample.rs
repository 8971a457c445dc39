//! Summaries and intervals of one sample against the recorded values of other programs.

use chimera_stats::bootstrap::Centre;
use chimera_stats::random::Resampling;
use chimera_stats::{Sample, Summary, bootstrap, intervals, pcg64::Pcg64, ratio};
use serde_json::Value;

use crate::{cases, close, close_interval, has, num, nums};

#[test]
fn summaries_agree() {
    for case in cases("summary.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "value").unwrap();
        let size = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        // The mean of signed values may cancel; nothing else here does.
        close(name, "mean", sample.mean(), num(&case["mean"]), size);
        close(name, "median", sample.median(), num(&case["median"]), 0.0);
        close(name, "mad", sample.mad().unwrap(), num(&case["mad"]), size);
        let sorted = sample.sorted();
        for quantile in case["quantiles"].as_array().unwrap() {
            let p = num(&quantile[0]);
            close(name, "quantile", sorted.quantile(p).unwrap(), num(&quantile[1]), 0.0);
        }
        match case.get("sd") {
            Some(sd) => {
                close(name, "sd", sample.sd().unwrap(), num(sd), 0.0);
                if num(sd) < 1e100 && num(sd) > 1e-100 {
                    close(name, "variance", sample.variance().unwrap(), num(sd).powi(2), 0.0);
                }
            }
            None => assert!(sample.sd().is_err(), "{name}: one value has no sd"),
        }
        match case.get("cv") {
            Some(Value::Null) | None => assert!(sample.cv().is_err(), "{name}"),
            Some(cv) => close(name, "cv", sample.cv().unwrap(), num(cv), 0.0),
        }
        match case.get("skewness") {
            Some(g) => close(name, "skewness", sample.skewness().unwrap(), num(g), 1.0),
            None => assert!(sample.skewness().is_err(), "{name}"),
        }
        if has(&case, "geometric") {
            close(name, "geometric mean", sample.geometric_mean().unwrap(), num(&case["geometric"]), 0.0);
            close(name, "harmonic mean", sample.harmonic_mean().unwrap(), num(&case["harmonic"]), 0.0);
        } else {
            assert!(sample.geometric_mean().is_err() && sample.harmonic_mean().is_err(), "{name}");
        }
        if has(&case, "geometric_t") {
            let estimate = intervals::geometric_mean_t(sample, 0.95).unwrap();
            close_interval(name, "log t", estimate.interval, &nums(&case["geometric_t"]), 0.0);
        }
        for interval in case["t_intervals"].as_array().into_iter().flatten() {
            let interval = nums(interval);
            let estimate = intervals::mean_t(sample, interval[0]).unwrap();
            close_interval(name, "t", estimate.interval, &interval[1..], size);
        }
        for order in case["order"].as_array().unwrap() {
            let estimate = sorted.quantile_with_interval(num(&order["p"]), num(&order["level"])).unwrap();
            if order["interval"].is_null() {
                assert_eq!(estimate.interval, None, "{name}: {order}");
            } else {
                close_interval(name, "order statistics", estimate.interval, &nums(&order["interval"]), 0.0);
            }
        }
        let summary = Summary::of(sample).unwrap();
        assert_eq!(summary.p90.is_some(), values.len() >= 64, "{name}");
        assert_eq!(summary.p95.is_some(), values.len() >= 130, "{name}");
        assert_eq!(summary.p99.is_some(), values.len() >= 662, "{name}");
    }
}

#[test]
fn ratios_agree() {
    for case in cases("ratios.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        let expected = nums(&case["unpaired"]);
        let unpaired = ratio::unpaired(a, b, 0.95).unwrap();
        close(name, "unpaired", unpaired.point, expected[0], 0.0);
        close_interval(name, "unpaired", unpaired.interval, &expected[1..], 0.0);
        if has(&case, "paired") {
            let expected = nums(&case["paired"]);
            let paired = ratio::paired(a, b, 0.95).unwrap();
            close(name, "paired", paired.point, expected[0], 0.0);
            close_interval(name, "paired", paired.interval, &expected[1..], 0.0);
        } else {
            assert!(ratio::paired(a, b, 0.95).is_err(), "{name}");
        }
    }
}

#[test]
fn bootstraps_agree_resample_by_resample() {
    for case in cases("bootstraps.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "block").unwrap();
        let kind = case["statistic"].as_str().unwrap();
        let statistic = |values: &[f64]| {
            let sample = Sample::new(values, "value").unwrap();
            match kind {
                "mean" => sample.mean(),
                "median" => sample.median(),
                _ => sample.sd().unwrap(),
            }
        };
        let resampling = Resampling::numpy(999, case["seed"].as_u64().unwrap());
        let plain = bootstrap::percentile(sample, statistic, resampling, 0.95).unwrap();
        close_interval(name, "percentile", plain.interval, &nums(&case["percentile"]), 0.0);
        close(name, "standard error", plain.standard_error.unwrap(), num(&case["se"]), 0.0);
        let bca = bootstrap::bca(sample, statistic, resampling, 0.95).unwrap();
        close_interval(name, "BCa", bca.interval, &nums(&case["BCa"]), 0.0);
        let centre = match kind {
            "mean" => Some(Centre::Mean),
            "median" => Some(Centre::Median),
            _ => None,
        };
        if let Some(centre) = centre {
            let plain = bootstrap::percentile_of(sample, centre, resampling, 0.95).unwrap();
            close_interval(name, "percentile by name", plain.interval, &nums(&case["percentile"]), 0.0);
            let bca = bootstrap::bca_of(sample, centre, resampling, 0.95).unwrap();
            close_interval(name, "BCa by name", bca.interval, &nums(&case["BCa"]), 0.0);
        }
        if has(&case, "bootstrap_t") {
            let studentised = bootstrap::mean_bootstrap_t(sample, resampling, 0.95).unwrap();
            close_interval(name, "t", studentised.interval, &nums(&case["bootstrap_t"]), 0.0);
        }
    }
}

#[test]
fn the_generator_is_numpys() {
    for case in cases("pcg64.json") {
        let seed: u64 = case["seed"].as_str().unwrap().parse().unwrap();
        let mut rng = Pcg64::new(seed);
        for raw in case["raw"].as_array().unwrap() {
            assert_eq!(rng.next_u64().to_string(), raw.as_str().unwrap(), "{}", case["name"]);
        }
        for integers in case["integers"].as_array().unwrap() {
            let n = u32::try_from(integers[0].as_u64().unwrap()).unwrap();
            let mut rng = Pcg64::new(seed);
            for expected in integers[1].as_array().unwrap() {
                assert_eq!(u64::from(rng.below(n)), expected.as_u64().unwrap(), "{} below {n}", case["name"]);
            }
        }
    }
}
