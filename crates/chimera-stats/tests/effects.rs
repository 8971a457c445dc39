//! Effects: what turns round when the arms do, how often their intervals hold the truth, what they refuse; and the tests
//! of several groups under the same eyes.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::hypothesis::{self, Refusal, Test};
use chimera_stats::random::Resampling;
use chimera_stats::{Estimate, Sample, StatsError, effect};
use support::{Normals, share};

fn sample(values: &[f64]) -> Sample<'_> {
    Sample::new(values, "block").unwrap()
}

fn draw(normals: &mut Normals, n: usize, shift: f64) -> Vec<f64> {
    (0..n).map(|_| shift + normals.next()).collect()
}

type Effect = fn(Sample<'_>, Sample<'_>, f64) -> Result<Estimate, StatsError>;

const EFFECTS: [(&str, Effect); 9] = [
    ("Welch", effect::mean_difference_welch),
    ("Student", effect::mean_difference_student),
    ("paired", effect::mean_difference_paired),
    ("d", effect::cohen_d),
    ("paired d", effect::cohen_d_paired),
    ("g", effect::hedges_g),
    ("Cliff", effect::cliff_delta),
    ("Hodges-Lehmann", effect::hodges_lehmann),
    ("paired Hodges-Lehmann", effect::hodges_lehmann_paired),
];

#[test]
fn arms_exchanged_turn_the_sign_and_the_interval() {
    let mut normals = Normals::new(1);
    for _ in 0..20 {
        let (a, b) = (draw(&mut normals, 9, 0.0), draw(&mut normals, 9, 0.7));
        for (name, effect) in EFFECTS {
            let there = effect(sample(&a), sample(&b), 0.95).unwrap();
            let back = effect(sample(&b), sample(&a), 0.95).unwrap();
            let (i, j) = (there.interval.unwrap(), back.interval.unwrap());
            for (x, y) in [(there.point, back.point), (i.low, j.high), (i.high, j.low)] {
                assert!((x + y).abs() < 1e-9, "{name}: {x} and {y}");
            }
            assert!(i.contains(there.point), "{name}");
        }
    }
}

/// The intervals hold the truth as often as they say, on the data they are made for.
#[test]
fn intervals_of_effects_cover() {
    let truth = 0.8;
    // P(a > b) - P(a < b) of unit normals that far apart.
    let delta = 2.0 * 0.714_196_178_0 - 1.0;
    for (name, effect) in EFFECTS {
        let truth = if name == "Cliff" { delta } else { truth };
        let truth = if name == "paired d" { truth / 2.0_f64.sqrt() } else { truth };
        let covered = share(1_000, |normals| {
            let (a, b) = (draw(normals, 10, 0.8), draw(normals, 10, 0.0));
            effect(sample(&a), sample(&b), 0.95).unwrap().interval.is_none_or(|i| i.contains(truth))
        });
        assert!((0.925..=0.98).contains(&covered), "{name}: {covered}");
    }
}

#[test]
fn effects_refuse_what_has_no_scale() {
    let (a, b) = ([3.0; 5], [4.0; 5]);
    for (name, effect) in EFFECTS {
        let result = effect(sample(&a), sample(&b), 0.95);
        match name {
            "d" | "g" | "paired d" => assert!(matches!(result, Err(StatsError::Degenerate { .. })), "{name}"),
            "Cliff" => assert_eq!((result.as_ref().unwrap().point, result.unwrap().interval), (-1.0, None)),
            _ => assert!((result.unwrap().point + 1.0).abs() < 1e-12, "{name}"),
        }
        assert!(matches!(
            effect(sample(&a), sample(&[1.0, 2.0, 3.0, 4.0, 5.0]), 95.0),
            Err(StatsError::InvalidParameter { .. })
        ));
    }
    let three = [1.0, 2.0, 3.0];
    let shift = effect::hodges_lehmann(sample(&three), sample(&three), 0.95).unwrap();
    assert_eq!(shift.interval, None, "three against three have no limits at 0.95");
    let drawn = Resampling::new(100, 1);
    assert!(effect::shift_function(sample(&three), sample(&three), &[0.5, 1.0], drawn, 0.95).is_err());
    assert!(effect::shift_function(sample(&three), sample(&three), &[], drawn, 0.95).is_err());
}

#[test]
fn a_longer_tail_shows_in_the_shift_function_alone() {
    let mut normals = Normals::new(3);
    let a: Vec<f64> = (0..400).map(|_| normals.next()).collect();
    let b: Vec<f64> = a.iter().map(|v| if *v > 1.0 { v * 3.0 } else { *v }).collect();
    let shifts =
        effect::shift_function(sample(&b), sample(&a), &[0.25, 0.5, 0.95], Resampling::new(500, 1), 0.95)
            .unwrap();
    assert!(shifts[0].simultaneous.contains(0.0) && shifts[1].simultaneous.contains(0.0));
    assert!(shifts[2].simultaneous.low > 1.0, "{:?}", shifts[2]);
}

type GroupTest = fn(&[Sample<'_>]) -> Result<Test, StatsError>;

const GROUP_TESTS: [(&str, GroupTest); 6] = [
    ("ANOVA", hypothesis::one_way_anova),
    ("Welch", hypothesis::welch_anova),
    ("Levene", hypothesis::levene),
    ("Brown-Forsythe", hypothesis::brown_forsythe),
    ("Kruskal-Wallis", hypothesis::kruskal_wallis),
    ("Friedman", hypothesis::friedman),
];

#[test]
fn tests_of_groups_reject_at_alpha() {
    for (name, test) in GROUP_TESTS {
        let rate = share(1_500, |normals| {
            let groups = [draw(normals, 8, 5.0), draw(normals, 8, 5.0), draw(normals, 8, 5.0)];
            let groups = groups.each_ref().map(|g| sample(g));
            test(&groups).unwrap().p(0.05).unwrap() <= 0.05
        });
        // Levene about the mean is known to be liberal in small groups.
        let limit = if name == "Levene" { 0.10 } else { 0.06 };
        assert!(rate <= limit + 0.017, "{name}: {rate}");
    }
}

#[test]
fn tests_of_groups_refuse_what_says_nothing() {
    let two = [sample(&[1.0, 2.0]), sample(&[2.0, 4.0]), sample(&[0.5, 3.0])];
    let constant = [sample(&[0.1; 4]), sample(&[0.1; 4]), sample(&[0.1; 4])];
    for (name, test) in GROUP_TESTS {
        assert_eq!(test(&two).unwrap().p(0.05), Err(Refusal::TooFew { needed: 3, got: 2 }), "{name}");
        assert_eq!(test(&constant).unwrap().p(0.05), Err(Refusal::NoNoise), "{name}");
        assert!(matches!(test(&two[..1]), Err(StatsError::TooFew { .. })), "{name}");
    }
    assert_eq!(hypothesis::friedman_conover(&constant).unwrap()[0].adjusted, None);
    let mixed = [sample(&[1.0; 4]), sample(&[1.0, 2.0, 3.0, 4.0])];
    assert!(matches!(hypothesis::welch_anova(&mixed), Err(StatsError::Degenerate { .. })));
    let uneven = [sample(&[1.0, 2.0, 3.0]), sample(&[1.0, 2.0])];
    assert!(matches!(hypothesis::friedman(&uneven), Err(StatsError::Mismatched { .. })));
    assert!(matches!(effect::eta_squared(&constant, 0.9), Err(StatsError::Degenerate { .. })));
}

#[test]
fn tables_refuse_what_says_nothing() {
    use hypothesis::Alternative::TwoSided;
    let empty: [&[u64]; 2] = [&[0, 0], &[3, 4]];
    assert!(matches!(hypothesis::chi_squared(&empty, false), Err(StatsError::Degenerate { .. })));
    let ragged: [&[u64]; 2] = [&[1, 2], &[3, 4, 5]];
    assert!(matches!(hypothesis::chi_squared(&ragged, false), Err(StatsError::Mismatched { .. })));
    // No failures in either arm: only one table has these sums.
    let none = hypothesis::fisher_exact([[0, 10], [0, 12]], TwoSided).unwrap();
    assert_eq!(none.p(0.05), Err(Refusal::NoNoise));
    // One failure among eight: whatever the arm, p is one half at best.
    let one = hypothesis::fisher_exact([[1, 3], [0, 4]], TwoSided).unwrap();
    assert!(matches!(one.p(0.05), Err(Refusal::CannotReach { .. })));
    assert!(hypothesis::fisher_exact([[u64::MAX, 1], [1, 1]], TwoSided).is_err());
}
