//! Warnings about data: raised where they should be, seldom where they should not, told in plain words.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::diagnose::{self, ALPHA, Warning};
use chimera_stats::{Sample, StatsError};
use support::{Normals, share};

fn of(values: &[f64]) -> Vec<Warning> {
    diagnose::blocks(Sample::new(values, "block").unwrap()).unwrap()
}

fn normal(normals: &mut Normals, n: usize) -> Vec<f64> {
    (0..n).map(|_| 50.0 + 2.0 * normals.next()).collect()
}

fn is_drift(warning: &Warning) -> bool {
    matches!(warning, Warning::Drifts { .. })
}

fn is_tail(warning: &Warning) -> bool {
    matches!(warning, Warning::Lognormal { .. } | Warning::Skewed { .. })
}

fn is_dependence(warning: &Warning) -> bool {
    matches!(warning, Warning::Dependent { .. })
}

/// Of clean data each check warns of little more than its alpha; three binomial standard deviations are allowed.
#[test]
fn clean_blocks_raise_few_alarms() {
    const STUDIES: u64 = 4_000;
    for n in [5, 8, 10, 20, 50] {
        let rate =
            |is: fn(&Warning) -> bool| share(STUDIES, |normals| of(&normal(normals, n)).iter().any(is));
        for (name, is) in
            [("drift", is_drift as fn(&Warning) -> bool), ("tail", is_tail), ("dependence", is_dependence)]
        {
            assert!(rate(is) <= 1.25 * ALPHA + 0.0066, "{name}, {n} blocks: {}", rate(is));
        }
        let any = rate(|_| true);
        assert!(any <= 0.06 + 0.011, "{n} blocks: {any}");
    }
}

/// Lognormal blocks on the log scale are clean; on the raw scale the tail is named and the remedy with it.
#[test]
fn lognormal_blocks_are_sent_to_the_log_scale() {
    let lognormal = |normals: &mut Normals, n| -> Vec<f64> {
        (0..n).map(|_| 30.0 * (0.8 * normals.next()).exp()).collect()
    };
    let named = |n| {
        share(500, |normals| {
            of(&lognormal(normals, n)).iter().any(|w| matches!(w, Warning::Lognormal { .. }))
        })
    };
    assert!(named(40) > 0.85, "{}", named(40));
    assert!(named(12) > 0.25, "{}", named(12));
    let on_logs = share(2_000, |normals| {
        let logs: Vec<f64> = lognormal(normals, 20).iter().map(|v| v.ln()).collect();
        of(&logs).iter().any(is_tail)
    });
    assert!(on_logs <= 0.03, "{on_logs}");
    // An exponential tail on a large offset is as skewed on logarithms, and one to the left always is.
    let offset = share(300, |normals| {
        let values: Vec<f64> = (0..60).map(|_| 1_000.0 - normals.uniform().ln()).collect();
        of(&values).iter().any(|w| matches!(w, Warning::Skewed { of_logs: Some(_), .. }))
    });
    assert!(offset > 0.9, "{offset}");
    let left: Vec<f64> = lognormal(&mut Normals::new(4), 60).iter().map(|v| -v).collect();
    assert!(
        of(&left)
            .iter()
            .any(|w| matches!(w, Warning::Skewed { skewness, of_logs: None, .. } if *skewness < 0.0))
    );
}

#[test]
fn a_drift_is_found_and_measured() {
    // Two standard deviations from first to last block, as a machine that warms up.
    let drifting = |normals: &mut Normals, n: usize| -> Vec<f64> {
        let step = 4.0 / (n - 1) as f64;
        normal(normals, n).iter().enumerate().map(|(i, v)| v + step * i as f64).collect()
    };
    let found = |n| share(500, |normals| of(&drifting(normals, n)).iter().any(is_drift));
    assert!(found(20) > 0.4 && found(60) > 0.9, "{} and {}", found(20), found(60));
    // The interval of the slope holds the truth; counted over all studies, so that finding it does not choose them.
    let rises: Vec<f64> = (0..12).map(|i| 10.0 + 0.1 * f64::from(i)).collect();
    let Warning::Drifts { slope, interval, median, p, .. } = of(&rises).remove(0) else {
        unreachable!("a straight rise drifts")
    };
    assert!((slope - 0.1).abs() < 1e-12 && (median - 10.55).abs() < 1e-12);
    // Two of 12! orders.
    assert!((p * 479_001_600.0 / 2.0 - 1.0).abs() < 1e-6);
    assert!(interval.unwrap().contains(slope));
    // Turned round it falls as fast; scaled it is the same share.
    let falls: Vec<f64> = rises.iter().rev().map(|v| 8.0 * v).collect();
    let [Warning::Drifts { slope: down, p: same, .. }, ..] = &of(&falls)[..] else {
        unreachable!("a straight fall drifts")
    };
    assert!((down + 0.8).abs() < 1e-12 && (p - same).abs() < 1e-15);
}

#[test]
fn dependence_is_found_beyond_a_drift() {
    let dependent = |normals: &mut Normals| -> Vec<f64> {
        let mut level = 0.0;
        (0..40)
            .map(|_| {
                level = 0.7 * level + normals.next();
                level
            })
            .collect()
    };
    let found = share(300, |normals| of(&dependent(normals)).iter().any(is_dependence));
    assert!(found > 0.8, "{found}");
    // Around a straight drift nothing is left to depend.
    let around = share(300, |normals| {
        let values: Vec<f64> = (0..40).map(|i| 0.5 * f64::from(i) + normals.next()).collect();
        let warnings = of(&values);
        assert!(warnings.iter().any(is_drift));
        warnings.iter().any(is_dependence)
    });
    assert!(around < 0.04, "{around}");
}

#[test]
fn little_and_constant_data_are_named() {
    let few = of(&[1.0, 2.0, 3.0]);
    assert_eq!(few, [Warning::TooFew { unit: "block".into(), n: 3, needed: 5 }]);
    assert_eq!(few[0].to_string(), "3 blocks: an interval needs 5");
    assert_eq!(of(&[7.0])[0].to_string(), "1 block: an interval needs 5");
    let constant = of(&[0.1; 9]);
    assert_eq!(constant, [Warning::Constant { unit: "block".into(), value: 0.1 }]);
    assert_eq!(
        constant[0].to_string(),
        "every block is 0.1: an interval without width speaks of a coarse measure"
    );
    // Five blocks in order are just enough for a drift, four are not.
    assert!(of(&[1.0, 2.0, 3.0, 4.0, 5.0]).iter().any(is_drift));
    assert!(!of(&[1.0, 2.0, 3.0, 4.0]).iter().any(is_drift));
    assert!(matches!(
        diagnose::blocks(Sample::new(&[f64::MAX, f64::MIN, 0.0, 1.0, f64::MAX], "block").unwrap()),
        Err(StatsError::Overflow { .. })
    ));
}

#[test]
fn warnings_read_as_words_and_survive_json() {
    let drift = of(&[100.0, 101.0, 102.0, 103.0, 104.0, 105.0]);
    assert_eq!(
        drift[0].to_string(),
        "drifts by +0.98 % a block (95 % interval +0.98 to +0.98, Mann-Kendall p 0.003): an interval over blocks is of \
         a moving target"
    );
    let tail = Warning::Lognormal { skewness: 2.345, of_logs: -0.1, p: 0.0001 };
    assert_eq!(
        tail.to_string(),
        "looks lognormal (skewness 2.35, p < 0.001; -0.10 on logarithms): use the log scale"
    );
    let dependent = Warning::Dependent { unit: "run".into(), lag_1: 0.5, p: 0.0123, n: 20, effective: 6.66 };
    assert_eq!(
        dependent.to_string(),
        "neighbours resemble one another (lag-1 autocorrelation 0.50, p 0.012): 20 runs are worth 6.7, intervals are \
         too narrow"
    );
    let around_zero =
        Warning::Drifts { unit: "block".into(), slope: -0.5, interval: None, median: 0.0, p: 0.01 };
    assert!(around_zero.to_string().starts_with("drifts by -0.50 a block (Mann-Kendall p 0.010)"));
    let all = [drift, vec![tail, dependent, around_zero]].concat();
    let text = serde_json::to_string(&all).unwrap();
    assert!(text.starts_with(r#"[{"kind":"drifts","unit":"block""#), "{text}");
    assert_eq!(serde_json::from_str::<Vec<Warning>>(&text).unwrap(), all);
}
