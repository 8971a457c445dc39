//! Trends, change points, steady state and outliers against the recorded values of other programs.

use chimera_stats::censored::KaplanMeier;
use chimera_stats::hypothesis::{self, Alternative, RankNull};
use chimera_stats::random::Resampling;
use chimera_stats::{Sample, robust, series};

use crate::{cases, close, close_interval, close_p, has, num, nums};

#[test]
fn robust_means_agree() {
    for case in cases("robust.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "block").unwrap();
        for cut in case["cuts"].as_array().unwrap() {
            let share = num(&cut["share"]);
            let trimmed = robust::trimmed_mean(sample, share, 0.95).unwrap();
            close(name, "trimmed", trimmed.point, num(&cut["trimmed"]), 0.0);
            let winsorised = robust::winsorised_mean(sample, share).unwrap();
            close(name, "winsorised", winsorised, num(&cut["winsorised"]), 0.0);
            match &cut["interval"] {
                serde_json::Value::Null => assert_eq!(trimmed.interval, None, "{name}, {share}"),
                interval => close_interval(name, "trimmed", trimmed.interval, &nums(interval), trimmed.point),
            }
        }
    }
}

#[test]
fn censored_quantiles_agree() {
    for case in cases("censored.json") {
        let name = &case["name"];
        let times = nums(&case["times"]);
        let finished: Vec<bool> = serde_json::from_value(case["finished"].clone()).unwrap();
        let fit = KaplanMeier::new(Sample::new(&times, "request").unwrap(), &finished).unwrap();
        assert_eq!(fit.censored, finished.iter().filter(|f| !**f).count(), "{name}");
        let (at, survival) = (nums(&case["at"]), nums(&case["survival"]));
        assert_eq!(fit.steps.len(), at.len(), "{name}");
        for (step, (at, survival)) in fit.steps.iter().zip(at.into_iter().zip(survival)) {
            assert_eq!(step.time, at, "{name}");
            close(name, "survival", step.survival, survival, 1.0);
            assert_eq!(fit.survival_at(at), step.survival, "{name}");
        }
        for quantile in case["quantiles"].as_array().unwrap() {
            let got = fit.quantile(num(&quantile[0]), 0.95).unwrap();
            let limit = |i: usize| quantile[i].as_f64();
            assert_eq!(got.as_ref().map(|e| e.point), limit(1), "{name}: {quantile}");
            if let Some(got) = got {
                let expected = limit(2).zip(limit(3));
                assert_eq!(got.interval.map(|i| (i.low, i.high)), expected, "{name}: {quantile}");
            }
        }
    }
}

#[test]
fn dependence_agrees() {
    for case in cases("dependence.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "request").unwrap();
        let expected = nums(&case["acf"]);
        let got = series::autocorrelation(sample, expected.len() - 1).unwrap();
        for (got, expected) in got.into_iter().zip(expected) {
            close(name, "autocorrelation", got, expected, 1.0);
        }
        let (got, expected) = (series::effective_size(sample).unwrap(), nums(&case["geyer"]));
        close(name, "effective", got.effective, expected[0], 1.0);
        close(name, "inflation", got.inflation, expected[1], 1.0);
        assert_eq!(got.lags as f64, expected[2], "{name}");
    }
}

#[test]
fn change_points_and_labels_agree() {
    for case in cases("changes.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "request").unwrap();
        for expected in case["pelt"].as_array().unwrap() {
            let penalty =
                expected["penalty"].as_f64().map_or(series::Penalty::Modified, series::Penalty::Value);
            let least = expected["least"].as_u64().unwrap() as usize;
            let got = series::pelt(sample, penalty, least).unwrap();
            let mut ends = vec![0.0];
            ends.extend(got.iter().map(|stretch| stretch.end as f64));
            assert_eq!(ends, nums(&expected["ends"]), "{name}: {expected}");
        }
        let expected = nums(&case["energy"]);
        let changes = series::e_divisive(sample, 3, 0.05, Resampling::new(199, 1)).unwrap();
        let first = changes.changes.first().copied().or(changes.rejected).unwrap();
        assert_eq!(first.at as f64, expected[0], "{name}");
        close(name, "energy", first.statistic, expected[1], 1.0);
        for (key, labels) in
            [("tukey", series::tukey_labels(sample).unwrap()), ("mad", series::mad_labels(sample).unwrap())]
        {
            let limits = [labels.near.0, labels.near.1, labels.far.0, labels.far.1];
            for (got, expected) in limits.into_iter().zip(nums(&case[key])) {
                close(name, key, got, expected, 1.0);
            }
        }
    }
}

#[test]
fn trends_and_skewness_agree() {
    let (mut exact, mut skewed) = (0, 0);
    for case in cases("trends.json") {
        let name = &case["name"];
        let values = nums(&case["values"]);
        let sample = Sample::new(&values, "block").unwrap();
        for (side, alternative) in [
            ("two-sided", Alternative::TwoSided),
            ("less", Alternative::Less),
            ("greater", Alternative::Greater),
        ] {
            for (key, null) in [
                ("exact", RankNull::Exact),
                ("normal", RankNull::Normal { continuity: true }),
                ("plain", RankNull::Normal { continuity: false }),
            ] {
                if has(&case, key) {
                    let test = series::mann_kendall(sample, alternative, null).unwrap();
                    close(name, "S", test.statistic.unwrap(), num(&case["s"]), 0.0);
                    close_p(name, &format!("{key}, {side}"), test.p(1.0).unwrap(), num(&case[key][side]));
                    exact += usize::from(key == "exact");
                }
            }
            let test = hypothesis::skewness(sample, alternative).unwrap();
            if has(&case, "skewness") {
                let expected = nums(&case["skewness"][side]);
                close(name, "skewness", test.statistic.unwrap(), expected[0], 1.0);
                close_p(name, &format!("skewness, {side}"), test.p(1.0).unwrap(), expected[1]);
                skewed += 1;
            } else {
                assert!(test.p(1.0).is_err(), "{name}");
            }
        }
    }
    assert!(exact >= 40 && skewed >= 50, "{exact} and {skewed}");
}
