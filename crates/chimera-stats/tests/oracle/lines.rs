//! Kendall's tau, segmented lines and crossings against the recorded values of other programs.

use chimera_stats::Blocks;
use chimera_stats::random::Resampling;
use chimera_stats::rank::{kendall, spearman};
use chimera_stats::regression::{Aggregator, Level, Scale, Scheme, breaks_bootstrap, crossover, segmented};
use serde_json::Value;

use crate::{cases, close, close_interval, close_p, has, num, nums};

#[test]
fn kendalls_tau_agrees() {
    for case in cases("kendall.json") {
        let name = &case["name"];
        let got = kendall(&nums(&case["x"]), &nums(&case["y"])).unwrap();
        close(name, "tau", got.tau, num(&case["tau"]), 1.0);
        close_p(name, "p", got.p, num(&case["p"]));
        assert_eq!(serde_json::to_value(got.method).unwrap(), case["method"], "{name}");
        if has(&case, "smallest_p") {
            close_p(name, "smallest p", got.smallest_p, num(&case["smallest_p"]));
        }
        assert!(got.p >= got.smallest_p * (1.0 - 1e-12), "{name}");
    }
}

#[test]
fn segments_are_the_best_of_all() {
    for case in cases("segments.json") {
        let name = &case["name"];
        let got = segmented(&nums(&case["x"]), &nums(&case["y"]), 3, 3, 0.95).unwrap();
        assert_eq!(got.breaks, nums(&case["breaks"]), "{name}");
        for (got, expected) in got.bic.iter().zip(nums(&case["bic"])) {
            close(name, "BIC", got.unwrap(), expected, 1.0);
        }
        assert_eq!(got.segments.len(), got.breaks.len() + 1, "{name}");
        assert!(got.evidence() >= 0.0, "{name}");
        let drawn = Resampling::numpy(100, 7);
        let boot = breaks_bootstrap(&nums(&case["x"]), &nums(&case["y"]), 3, 3, drawn, 0.95).unwrap();
        assert_eq!(boot.fit, got, "{name}");
        close(name, "same count", boot.same_count, num(&case["same_count"]), 0.0);
        assert_eq!(boot.breaks.len(), got.breaks.len(), "{name}");
        for (which, place) in boot.breaks.iter().enumerate() {
            close(name, "edge", place.edge, num(&case["edges"][which]), 0.0);
            if case["drawn"][which].is_array() {
                close_interval(name, "break", place.interval, &nums(&case["drawn"][which]), 0.0);
            } else {
                assert_eq!(place.interval, None, "{name}");
            }
        }
    }
}

#[test]
fn intervals_of_rank_correlations_agree() {
    for case in cases("rank_intervals.json") {
        let name = &case["name"];
        let (x, y) = (nums(&case["x"]), nums(&case["y"]));
        for level in [0.9, 0.95] {
            for (key, got) in [
                ("spearman", spearman(&x, &y).unwrap().estimate(level).unwrap()),
                ("kendall", kendall(&x, &y).unwrap().estimate(level).unwrap()),
            ] {
                match &case[format!("{key} {level}")] {
                    Value::Null => assert_eq!((got.interval, got.standard_error), (None, None), "{name}"),
                    expected => {
                        close(name, key, got.point, num(&expected[0]), 1.0);
                        close_interval(name, key, got.interval, &nums(expected)[1..], 1.0);
                        close(name, key, got.standard_error.unwrap(), num(&expected[3]), 1.0);
                    }
                }
            }
        }
    }
}

#[test]
fn crossovers_agree_resample_by_resample() {
    let blocks = |value: &Value| Blocks::new(serde_json::from_value(value.clone()).unwrap()).unwrap();
    for case in cases("crossovers.json") {
        let name = &case["name"];
        let levels: Vec<Level> = case["levels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| Level { x: num(&l["x"]), a: blocks(&l["a"]), b: blocks(&l["b"]) })
            .collect();
        let scale = if case["log"].as_bool().unwrap() { Scale::LogLog } else { Scale::Linear };
        for expected in case["results"].as_array().unwrap() {
            let aggregator: Aggregator = serde_json::from_value(expected["aggregator"].clone()).unwrap();
            for (key, scheme) in [("case", Scheme::Case), ("hierarchical", Scheme::Hierarchical)] {
                let drawn = Resampling::numpy(200, 5);
                let got = crossover(&levels, scale, aggregator, scheme, drawn, 0.95).unwrap();
                assert_eq!(got.at.is_some(), has(expected, "at"), "{name}, {aggregator:?}");
                if let Some(at) = got.at {
                    close(name, "crossing", at, num(&expected["at"]), 1.0);
                }
                close(name, "share", got.crossing, num(&expected[key]["crossing"]), 0.0);
                if has(&expected[key], "interval") {
                    close_interval(name, key, got.interval, &nums(&expected[key]["interval"]), 1.0);
                } else {
                    assert_eq!(got.interval, None, "{name}, {key}");
                }
            }
        }
    }
}
