//! Tests of several groups and of counts against the recorded values of other programs.

use chimera_stats::hypothesis::{self, Alternative, GroupNull, Null, PostHoc, Test};
use chimera_stats::{Sample, effect};
use serde_json::Value;

use crate::{cases, close, close_interval, close_p, has, num, nums};

#[track_caller]
fn agrees(name: &Value, test: &Test, expected: &Value) {
    let [statistic, p] = nums(expected)[..] else { panic!("{expected}") };
    close(name, &test.name, test.statistic.unwrap(), statistic, 1.0);
    close_p(name, &test.name, test.p(1.0).unwrap(), p);
}

#[test]
fn tests_of_groups_agree() {
    for case in cases("groups.json") {
        let name = &case["name"];
        let groups: Vec<Vec<f64>> = case["groups"].as_array().unwrap().iter().map(nums).collect();
        let groups: Vec<Sample<'_>> = groups.iter().map(|g| Sample::new(g, "block").unwrap()).collect();
        agrees(name, &hypothesis::one_way_anova(&groups).unwrap(), &case["anova"]);
        agrees(name, &hypothesis::welch_anova(&groups).unwrap(), &case["welch"]);
        agrees(name, &hypothesis::levene(&groups).unwrap(), &case["levene"]);
        agrees(name, &hypothesis::brown_forsythe(&groups).unwrap(), &case["brown_forsythe"]);
        let chi_squared = GroupNull::ChiSquared;
        agrees(name, &hypothesis::kruskal_wallis_by(&groups, chi_squared).unwrap(), &case["kruskal"]);
        let pairs = hypothesis::kruskal_dunn(&groups).unwrap();
        agree_in_pairs(name, &pairs, &case["dunn"], |name, pair, expected| {
            close_p(name, "Dunn", pair.test.p(1.0).unwrap(), num(&expected[2]));
            close_p(name, "Dunn, adjusted", pair.adjusted.unwrap(), num(&expected[3]));
        });
        let eta = effect::eta_squared(&groups, 0.9).unwrap();
        let expected = nums(&case["eta"]);
        close(name, "eta", eta.point, expected[0], 1.0);
        close_interval(name, "eta", eta.interval, &expected[1..], 1.0);
        if has(&case, "friedman") {
            agrees(name, &hypothesis::friedman_by(&groups, chi_squared).unwrap(), &case["friedman"]);
            let pairs = hypothesis::friedman_conover(&groups).unwrap();
            agree_in_pairs(name, &pairs, &case["conover"], |name, pair, expected| {
                if let Ok(p) = pair.test.p(1.0) {
                    close_p(name, "Conover", p, num(&expected[2]));
                    assert!(pair.adjusted.unwrap() >= p, "{name}");
                }
            });
            let pairs = hypothesis::friedman_nemenyi(&groups).unwrap();
            agree_in_pairs(name, &pairs, &case["nemenyi"], |name, pair, expected| {
                close(name, "q", pair.test.statistic.unwrap(), num(&expected[2]), 1.0);
                close_p(name, "Nemenyi", pair.test.p(1.0).unwrap(), num(&expected[3]));
                assert_eq!(pair.adjusted, pair.test.p(1.0).ok(), "{name}");
            });
        }
    }
}

fn agree_in_pairs(
    name: &Value,
    pairs: &[PostHoc],
    expected: &Value,
    agree: impl Fn(&Value, &PostHoc, &Value),
) {
    let expected = expected.as_array().unwrap();
    assert_eq!(pairs.len(), expected.len(), "{name}");
    for (pair, expected) in pairs.iter().zip(expected) {
        let indices = (expected[0].as_u64().unwrap(), expected[1].as_u64().unwrap());
        assert_eq!((pair.first as u64, pair.second as u64), indices, "{name}");
        agree(name, pair, expected);
    }
}

#[test]
fn exact_laws_of_groups_are_those_of_every_arrangement() {
    let mut of_blocks = 0;
    for case in cases("exact_groups.json") {
        let name = &case["name"];
        let groups: Vec<Vec<f64>> = case["groups"].as_array().unwrap().iter().map(nums).collect();
        let groups: Vec<Sample<'_>> = groups.iter().map(|g| Sample::new(g, "block").unwrap()).collect();
        let exact = |test: Test, expected: &Value| {
            assert_eq!(test.null, Null::Exact, "{name}");
            close_p(name, &test.name, test.p(1.0).unwrap(), num(&expected[0]));
            close_p(name, "smallest p", test.smallest_p().unwrap(), num(&expected[1]));
        };
        for null in [GroupNull::Auto, GroupNull::Exact] {
            exact(hypothesis::kruskal_wallis_by(&groups, null).unwrap(), &case["kruskal"]);
            if has(&case, "friedman") {
                exact(hypothesis::friedman_by(&groups, null).unwrap(), &case["friedman"]);
                of_blocks += 1;
            }
        }
    }
    assert!(of_blocks >= 12);
}

#[test]
fn tests_of_counts_agree() {
    for case in cases("contingency.json") {
        let name = &case["name"];
        let table: Vec<Vec<u64>> = serde_json::from_value(case["table"].clone()).unwrap();
        let rows: Vec<&[u64]> = table.iter().map(Vec::as_slice).collect();
        for (key, yates) in [("plain", false), ("yates", true)] {
            let result = hypothesis::chi_squared(&rows, yates).unwrap();
            agrees(name, &result.test, &case[key]);
            close(name, "expected", result.smallest_expected, num(&case["smallest_expected"]), 0.0);
        }
        if has(&case, "fisher") {
            let table = [[table[0][0], table[0][1]], [table[1][0], table[1][1]]];
            for (key, side) in [
                ("two-sided", Alternative::TwoSided),
                ("less", Alternative::Less),
                ("greater", Alternative::Greater),
            ] {
                let test = hypothesis::fisher_exact(table, side).unwrap();
                close_p(name, key, test.p(1.0).unwrap(), num(&case["fisher"][key]));
            }
        }
        let flat: Vec<u64> = table.concat();
        let shares: Vec<f64> = (1..=flat.len()).map(|i| i as f64).collect();
        agrees(name, &hypothesis::chi_squared_fit(&flat, &shares).unwrap().test, &case["fit"]);
    }
}
