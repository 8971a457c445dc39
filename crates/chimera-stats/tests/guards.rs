//! When a test speaks and when it does not: too few values, no noise, ranks that cannot reach an alpha; and what it says
//! of many A/A comparisons and of many true differences.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::hypothesis::{self, Alternative, Decision, Margin, Null, RankNull, Refusal, Test};
use chimera_stats::random::Resampling;
use chimera_stats::{Sample, StatsError};
use support::{Normals, share};

const BOTH: Alternative = Alternative::TwoSided;

fn sample(values: &[f64]) -> Sample<'_> {
    Sample::new(values, "block").unwrap()
}

fn mean_gap(a: &[f64], b: &[f64]) -> f64 {
    a.iter().sum::<f64>() / a.len() as f64 - b.iter().sum::<f64>() / b.len() as f64
}

/// Every test of two arms.
fn every_test(a: &[f64], b: &[f64]) -> Vec<Test> {
    let (a, b) = (sample(a), sample(b));
    let drawn = Resampling::new(2_000, 1);
    vec![
        hypothesis::welch_t(a, b, BOTH).unwrap(),
        hypothesis::student_t(a, b, BOTH).unwrap(),
        hypothesis::paired_t(a, b, BOTH).unwrap(),
        hypothesis::mann_whitney(a, b, BOTH, RankNull::Auto).unwrap(),
        hypothesis::mann_whitney(a, b, BOTH, RankNull::Normal { continuity: true }).unwrap(),
        hypothesis::brunner_munzel(a, b, BOTH).unwrap(),
        hypothesis::kolmogorov_smirnov(a, b).unwrap(),
        hypothesis::wilcoxon_paired(a, b, BOTH, RankNull::Auto).unwrap(),
        hypothesis::sign_paired(a, b, BOTH).unwrap(),
        hypothesis::permutation(a, b, mean_gap, BOTH, drawn).unwrap(),
        hypothesis::permutation_paired(a, b, |d| d.iter().sum(), BOTH, drawn).unwrap(),
    ]
}

#[test]
fn two_values_give_no_p_whatever_the_test() {
    for test in every_test(&[1.0, 2.0], &[5.0, 9.0]) {
        assert_eq!(test.p(0.05), Err(Refusal::TooFew { needed: 3, got: 2 }), "{}", test.name);
        assert!(matches!(test.decide(0.05), Decision::Refused { .. }), "{}", test.name);
        assert_eq!(test.smallest_p(), None);
    }
}

#[test]
fn constant_values_give_no_p_whatever_the_test() {
    for value in [3.0, 0.1, -1e300, 0.0] {
        for test in every_test(&[value; 6], &[value; 6]) {
            assert_eq!(test.p(0.05), Err(Refusal::NoNoise), "{} of {value}", test.name);
            assert_eq!(test.statistic, None, "{}", test.name);
        }
    }
    // 0.1 three times over does not have the mean 0.1 in floating point; that is no noise either.
    let one = hypothesis::one_sample_t(sample(&[0.1; 7]), 0.2, BOTH).unwrap();
    assert_eq!(one.p(0.05), Err(Refusal::NoNoise));
}

/// Three against three blocks can never reach 0.05 by ranks, however far apart they are; t can.
#[test]
fn three_blocks_support_no_rank_test() {
    let (a, b) = ([1.0, 2.0, 3.0], [40.0, 50.0, 61.0]);
    let u = hypothesis::mann_whitney(sample(&a), sample(&b), BOTH, RankNull::Auto).unwrap();
    assert_eq!(u.p(0.05), Err(Refusal::CannotReach { smallest_p: 0.1, alpha: 0.05 }));
    assert_eq!(u.p(0.1), Ok(0.1));
    assert_eq!(
        u.p(0.05).unwrap_err().to_string(),
        "no p at alpha 0.05: whatever the order of these values, p is at least 0.1"
    );
    for test in every_test(&a, &b) {
        let name = &*test.name;
        match name {
            "Welch t" | "Student t" | "paired t" => assert!(test.p(0.05).is_ok(), "{name}"),
            "Brunner-Munzel" => assert_eq!(test.p(0.05), Err(Refusal::NoNoise)),
            _ => assert!(matches!(test.p(0.05), Err(Refusal::CannotReach { .. })), "{name}: {test:?}"),
        }
    }
    // The published smallest p-values of four against four and five against five.
    let smallest = |n: usize| {
        let a: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let b: Vec<f64> = (n..2 * n).map(|i| i as f64).collect();
        hypothesis::mann_whitney(sample(&a), sample(&b), BOTH, RankNull::Auto).unwrap().p(0.05).unwrap()
    };
    assert!((smallest(4) - 2.0 / 70.0).abs() < 1e-15 && (smallest(5) - 2.0 / 252.0).abs() < 1e-15);
}

#[test]
fn ties_raise_the_floor() {
    let a = [1.0, 1.0, 1.0, 1.0, 1.0];
    let b = [1.0, 1.0, 1.0, 1.0, 2.0];
    let u = hypothesis::mann_whitney(sample(&a), sample(&b), BOTH, RankNull::Auto).unwrap();
    // One value differs: it is in either arm with probability one half.
    assert_eq!(u.smallest_p(), Some(1.0));
    let d = hypothesis::kolmogorov_smirnov(sample(&a), sample(&b)).unwrap();
    assert_eq!(d.smallest_p(), Some(1.0));
}

#[test]
fn a_decision_is_about_an_alpha() {
    let a = [10.1, 9.8, 10.3, 10.0, 9.9, 10.2];
    let b = [10.6, 10.2, 10.9, 10.4, 10.5, 10.7];
    let test = hypothesis::welch_t(sample(&a), sample(&b), BOTH).unwrap();
    let p = test.p(0.05).unwrap();
    assert_eq!(test.decide(0.05), Decision::Rejected { p });
    assert_eq!(test.decide(p / 2.0), Decision::NotRejected { p });
    let back: Test = serde_json::from_str(&serde_json::to_string(&test).unwrap()).unwrap();
    assert_eq!(back, test);
}

#[test]
fn large_samples_take_the_approximations() {
    let mut normals = Normals::new(5);
    let a: Vec<f64> = (0..3_000).map(|_| normals.next()).collect();
    let b: Vec<f64> = (0..3_000).map(|_| 0.2 + normals.next()).collect();
    let (a, b) = (sample(&a), sample(&b));
    let d = hypothesis::kolmogorov_smirnov(a, b).unwrap();
    assert_eq!(d.null, Null::Kolmogorov);
    let u = hypothesis::mann_whitney(a, b, BOTH, RankNull::Auto).unwrap();
    assert_eq!(u.null, Null::Normal);
    assert!(d.p(0.05).unwrap() < 0.01 && u.p(0.05).unwrap() < 0.01);
    assert!(matches!(
        hypothesis::mann_whitney(a, b, BOTH, RankNull::Exact),
        Err(StatsError::InvalidParameter { .. })
    ));
}

#[test]
fn drawn_permutations_come_near_the_exact_ones() {
    let a = [10.1, 9.8, 10.3, 10.0, 9.9, 10.2, 10.05];
    let b = [10.3, 10.2, 10.4, 10.1, 10.15, 10.7, 9.95];
    let with =
        |n| hypothesis::permutation(sample(&a), sample(&b), mean_gap, BOTH, Resampling::new(n, 7)).unwrap();
    let (exact, drawn) = (with(10_000), with(3_000));
    assert_eq!((exact.null, drawn.null), (Null::Exact, Null::Drawn { arrangements: 3_000 }));
    let (p, q) = (exact.p(0.05).unwrap(), drawn.p(0.05).unwrap());
    assert!((p - q).abs() < 4.0 * (p / 3_000.0).sqrt(), "{p} and {q}");
    assert_eq!(drawn, with(3_000), "a seed decides");
    assert!(matches!(
        hypothesis::permutation(sample(&a), sample(&b), |_, _| f64::NAN, BOTH, Resampling::new(100, 1)),
        Err(StatsError::NotFinite { .. })
    ));
}

#[test]
fn bad_margins_are_refused() {
    let a = sample(&[1.0, 2.0, 3.0]);
    assert!(hypothesis::equivalent_mean(a, Margin { low: 1.0, high: 1.0 }, 0.05).is_err());
    assert!(hypothesis::equivalent_mean(a, Margin::difference(1.0), 0.5).is_err());
    assert!(
        hypothesis::equivalent_ratio(a, a, Margin::difference(1.0), 0.05).is_err(),
        "a ratio is positive"
    );
    assert!(hypothesis::paired_t(a, sample(&[1.0]), BOTH).is_err());
}

/// Replicates of one law in both arms: the tests reject no more often than they say.
#[test]
fn a_a_comparisons_are_rejected_at_alpha() {
    let draw = |normals: &mut Normals| -> Vec<f64> { (0..8).map(|_| 20.0 + normals.next()).collect() };
    let names = every_test(&[1.0, 2.0, 3.0], &[2.0, 3.0, 5.0]).into_iter().map(|t| t.name);
    let mut rejections = vec![0_u32; 11];
    let studies = 1_500;
    for seed in 0..studies {
        let mut normals = Normals::new(seed);
        let (a, b) = (draw(&mut normals), draw(&mut normals));
        for (count, test) in rejections.iter_mut().zip(every_test(&a, &b)) {
            *count += u32::from(matches!(test.decide(0.05), Decision::Rejected { .. }));
        }
    }
    for (name, count) in names.zip(rejections) {
        // Alpha and one point, and three standard errors of the count itself.
        let rate = f64::from(count) / studies as f64;
        let limit = if name == "Brunner-Munzel" { 0.08 } else { 0.06 };
        assert!(rate <= limit + 0.017, "{name}: {rate}");
    }
}

/// Arms that differ by exactly the margin are called equivalent no more often than alpha.
#[test]
fn false_equivalence_is_at_most_alpha() {
    let rate = share(3_000, |normals| {
        let a: Vec<f64> = (0..10).map(|_| 100.0 * (0.02 * normals.next()).exp()).collect();
        let b: Vec<f64> = (0..10).map(|_| 103.0 * (0.02 * normals.next()).exp()).collect();
        hypothesis::equivalent_ratio(sample(&b), sample(&a), Margin::ratio(0.03), 0.05).unwrap().is_shown()
    });
    assert!(rate <= 0.06, "{rate}");
    // And equal arms are recognised.
    let found = share(500, |normals| {
        let a: Vec<f64> = (0..10).map(|_| 100.0 * (0.02 * normals.next()).exp()).collect();
        let b: Vec<f64> = (0..10).map(|_| 100.0 * (0.02 * normals.next()).exp()).collect();
        hypothesis::equivalent_ratio(sample(&b), sample(&a), Margin::ratio(0.03), 0.05).unwrap().is_shown()
    });
    assert!(found > 0.8, "{found}");
}

/// A report of twenty true hypotheses: the chance of any rejection under Holm is at most alpha.
#[test]
fn familywise_error_under_holm() {
    let rate = share(1_500, |normals| {
        let p: Vec<f64> = (0..20)
            .map(|_| {
                let a: Vec<f64> = (0..6).map(|_| normals.next()).collect();
                let b: Vec<f64> = (0..6).map(|_| normals.next()).collect();
                hypothesis::welch_t(sample(&a), sample(&b), BOTH).unwrap().p(0.05).unwrap()
            })
            .collect();
        hypothesis::holm(&p).unwrap().iter().any(|p| *p <= 0.05)
    });
    assert!(rate <= 0.067, "{rate}");
}
