//! Kendall's tau, segmented lines and crossings against the recorded values of other programs.

use chimera_stats::Blocks;
use chimera_stats::random::Resampling;
use chimera_stats::rank::kendall;
use chimera_stats::regression::{Aggregator, Level, Scale, Scheme, crossover, segmented};
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
