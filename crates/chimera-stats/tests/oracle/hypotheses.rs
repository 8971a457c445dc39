//! Tests of one and two samples against the recorded values of other programs.

use chimera_stats::hypothesis::{self, Alternative, Margin, Null, RankNull, Test};
use chimera_stats::random::Resampling;
use chimera_stats::{Sample, StatsError};
use serde_json::Value;

use crate::{cases, close, close_p, has, num, nums};

const SIDES: [(&str, Alternative); 3] =
    [("two-sided", Alternative::TwoSided), ("less", Alternative::Less), ("greater", Alternative::Greater)];

/// The three p-values of a test, against an object of three.
#[track_caller]
fn sides(name: &Value, what: &str, expected: &Value, test: impl Fn(Alternative) -> Result<Test, StatsError>) {
    for (key, alternative) in SIDES {
        let got = test(alternative).unwrap();
        // Whether this design can reach an alpha is asked elsewhere.
        close_p(name, &format!("{what}, {key}"), got.p(1.0).unwrap(), num(&expected[key]));
    }
}

#[track_caller]
fn statistic(name: &Value, test: &Test, expected: &Value) {
    close(name, &test.name, test.statistic.unwrap(), num(expected), 1.0);
}

fn difference_of_means(a: &[f64], b: &[f64]) -> f64 {
    let scale = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    scale(a) - scale(b)
}

#[test]
fn tests_of_two_arms_agree() {
    for case in cases("two_arms.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());

        let welch = hypothesis::welch_t(a, b, Alternative::TwoSided).unwrap();
        statistic(name, &welch, &case["welch"]["t"]);
        let Null::StudentT { dof } = welch.null else { panic!("{name}: {:?}", welch.null) };
        close(name, "degrees of freedom", dof, num(&case["welch"]["dof"]), 0.0);
        sides(name, "Welch", &case["welch"]["p"], |side| hypothesis::welch_t(a, b, side));
        statistic(name, &hypothesis::student_t(a, b, Alternative::TwoSided).unwrap(), &case["student"]["t"]);
        sides(name, "Student", &case["student"]["p"], |side| hypothesis::student_t(a, b, side));

        let expected = &case["mann_whitney"];
        let u = hypothesis::mann_whitney(a, b, Alternative::TwoSided, RankNull::Auto).unwrap();
        statistic(name, &u, &expected["u"]);
        for (key, null) in [
            ("exact", RankNull::Exact),
            ("normal", RankNull::Normal { continuity: true }),
            ("plain", RankNull::Normal { continuity: false }),
        ] {
            if has(expected, key) {
                sides(name, key, &expected[key], |side| hypothesis::mann_whitney(a, b, side, null));
            }
        }
        let w = hypothesis::brunner_munzel(a, b, Alternative::TwoSided).unwrap();
        if has(&case, "brunner_munzel") {
            statistic(name, &w, &case["brunner_munzel"]["w"]);
            sides(name, "Brunner-Munzel", &case["brunner_munzel"]["p"], |side| {
                hypothesis::brunner_munzel(a, b, side)
            });
        } else {
            assert!(w.p(1.0).is_err() && w.statistic.is_none(), "{name}: no overlap, no noise");
        }
        let d = hypothesis::kolmogorov_smirnov(a, b).unwrap();
        statistic(name, &d, &case["ks"]["d"]);
        if has(&case["ks"], "exact") {
            close_p(name, "KS", d.p(1.0).unwrap(), num(&case["ks"]["exact"]));
        }
        if has(&case, "permutation") {
            sides(name, "permutation", &case["permutation"], |side| {
                let resampling = Resampling::new(30_000, 1);
                let test = hypothesis::permutation(a, b, difference_of_means, side, resampling)?;
                assert_eq!(test.null, Null::Exact, "{name}");
                Ok(test)
            });
        }
        let tost = &case["tost"];
        let margin = num(&tost["margin"]);
        let result = hypothesis::equivalent_welch(a, b, Margin::difference(margin), 0.05).unwrap();
        close_p(name, "TOST", result.p().unwrap(), num(&tost["p"]));
        close_p(name, "above the lower margin", result.above_low.p(1.0).unwrap(), num(&tost["lower"]));
        close_p(name, "below the upper margin", result.below_high.p(1.0).unwrap(), num(&tost["upper"]));
        let lopsided = Margin { low: -margin, high: 2.0 * margin };
        let result = hypothesis::equivalent_welch(a, b, lopsided, 0.05).unwrap();
        close_p(name, "TOST, lopsided", result.p().unwrap(), num(&tost["lopsided"]));
        if has(tost, "ratio") {
            let result = hypothesis::equivalent_ratio(a, b, Margin::ratio(0.25), 0.05).unwrap();
            close_p(name, "TOST of a ratio", result.p().unwrap(), num(&tost["ratio"]));
        }
    }
}

#[test]
fn tests_of_pairs_agree() {
    for case in cases("paired.json") {
        let name = &case["name"];
        let (a, b) = (nums(&case["a"]), nums(&case["b"]));
        let (a, b) = (Sample::new(&a, "block").unwrap(), Sample::new(&b, "block").unwrap());
        if has(&case, "t") {
            statistic(name, &hypothesis::paired_t(a, b, Alternative::TwoSided).unwrap(), &case["t"]["t"]);
            sides(name, "paired t", &case["t"]["p"], |side| hypothesis::paired_t(a, b, side));
            let against = b.values()[0];
            let one = hypothesis::one_sample_t(a, against, Alternative::TwoSided).unwrap();
            statistic(name, &one, &case["one"]["t"]);
            sides(name, "one-sample t", &case["one"]["p"], |side| hypothesis::one_sample_t(a, against, side));
            let margin = Margin::difference(num(&case["tost"]["margin"]));
            let result = hypothesis::equivalent_paired(a, b, margin, 0.05).unwrap();
            close_p(name, "TOST", result.p().unwrap(), num(&case["tost"]["p"]));
        }
        let enough = case["nonzero"].as_u64().unwrap() >= 3;
        if enough {
            let expected = &case["wilcoxon"];
            let test = hypothesis::wilcoxon_paired(a, b, Alternative::TwoSided, RankNull::Auto).unwrap();
            statistic(name, &test, &expected["t_plus"]);
            for (key, null) in [
                ("exact", RankNull::Exact),
                ("normal", RankNull::Normal { continuity: true }),
                ("plain", RankNull::Normal { continuity: false }),
            ] {
                if has(expected, key) {
                    sides(name, key, &expected[key], |side| hypothesis::wilcoxon_paired(a, b, side, null));
                }
            }
            let test = hypothesis::sign_paired(a, b, Alternative::TwoSided).unwrap();
            statistic(name, &test, &case["positive"]);
            sides(name, "sign", &case["sign"], |side| hypothesis::sign_paired(a, b, side));
        }
        if has(&case, "permutation") {
            let mean = |d: &[f64]| d.iter().sum::<f64>() / d.len() as f64;
            sides(name, "permutation", &case["permutation"], |side| {
                hypothesis::permutation_paired(a, b, mean, side, Resampling::new(5_000, 1))
            });
        }
    }
}

#[test]
fn adjustments_agree() {
    for case in cases("multiplicity.json") {
        let name = &case["name"];
        let p = nums(&case["p"]);
        for (key, got) in
            [("holm", hypothesis::holm(&p).unwrap()), ("bh", hypothesis::benjamini_hochberg(&p).unwrap())]
        {
            for (got, expected) in got.into_iter().zip(nums(&case[key])) {
                close_p(name, key, got, expected);
            }
        }
    }
}
