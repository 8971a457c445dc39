//! Exact laws of several groups, their comparisons in pairs, and trends: when which law speaks, what it refuses, and its
//! laws of symmetry.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::hypothesis::{self, Alternative, GroupNull, Null, PostHoc, RankNull, Refusal, Test};
use chimera_stats::{Sample, StatsError, series};
use proptest::prelude::*;
use support::{Normals, share};

fn samples(groups: &[Vec<f64>]) -> Vec<Sample<'_>> {
    groups.iter().map(|g| Sample::new(g, "block").unwrap()).collect()
}

fn drawn(normals: &mut Normals, groups: usize, n: usize) -> Vec<Vec<f64>> {
    (0..groups).map(|_| (0..n).map(|_| normals.next()).collect()).collect()
}

/// The sizes up to which the exact law is the default, as documented.
#[test]
fn the_exact_law_is_taken_while_it_is_cheap() {
    let null = |groups, n, test: fn(&[Sample<'_>]) -> Result<Test, StatsError>| {
        test(&samples(&drawn(&mut Normals::new(1), groups, n))).unwrap().null
    };
    for (groups, n, exact) in
        [(2, 15, true), (3, 7, true), (4, 4, true), (2, 16, false), (3, 9, false), (4, 6, false)]
    {
        let found = null(groups, n, hypothesis::kruskal_wallis);
        assert_eq!(found == Null::Exact, exact, "{groups} of {n}: {found:?}");
    }
    for (arms, blocks, exact) in [
        (3, 60, true),
        (4, 15, true),
        (5, 6, true),
        (6, 3, true),
        (4, 25, false),
        (5, 9, false),
        (7, 3, false),
    ] {
        let found = null(arms, blocks, hypothesis::friedman);
        assert_eq!(found == Null::Exact, exact, "{arms} in {blocks}: {found:?}");
    }
}

#[test]
fn what_cannot_be_counted_is_refused_on_request() {
    let many = drawn(&mut Normals::new(2), 5, 9);
    let groups = samples(&many);
    assert!(matches!(
        hypothesis::kruskal_wallis_by(&groups, GroupNull::Exact),
        Err(StatsError::InvalidParameter { .. })
    ));
    let many = drawn(&mut Normals::new(2), 9, 4);
    assert!(matches!(
        hypothesis::friedman_by(&samples(&many), GroupNull::Exact),
        Err(StatsError::InvalidParameter { .. })
    ));
    let long: Vec<f64> = (0..121).map(f64::from).collect();
    assert!(matches!(
        series::mann_kendall(Sample::new(&long, "block").unwrap(), Alternative::TwoSided, RankNull::Exact),
        Err(StatsError::InvalidParameter { .. })
    ));
    // Too few values refuse before anything is counted.
    let two = drawn(&mut Normals::new(3), 3, 2);
    for test in [hypothesis::kruskal_wallis_by, hypothesis::friedman_by] {
        let test = test(&samples(&two), GroupNull::Exact).unwrap();
        assert_eq!(test.p(0.05), Err(Refusal::TooFew { needed: 3, got: 2 }));
    }
    // Four blocks cannot show a trend at 0.05, five can.
    let four = series::mann_kendall(
        Sample::new(&[1.0, 2.0, 3.0, 4.0], "block").unwrap(),
        Alternative::TwoSided,
        RankNull::Auto,
    );
    assert!(matches!(four.unwrap().p(0.05), Err(Refusal::CannotReach { .. })));
    let seven = hypothesis::skewness(
        Sample::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0], "block").unwrap(),
        Alternative::TwoSided,
    );
    assert_eq!(seven.unwrap().p(0.05), Err(Refusal::TooFew { needed: 8, got: 7 }));
    for test in [
        hypothesis::skewness(Sample::new(&[0.1; 9], "block").unwrap(), Alternative::TwoSided).unwrap(),
        series::mann_kendall(Sample::new(&[0.1; 9], "block").unwrap(), Alternative::Less, RankNull::Auto)
            .unwrap(),
    ] {
        assert_eq!(test.p(0.05), Err(Refusal::NoNoise));
    }
}

/// What the exact law is for: at three blocks chi-squared cannot reach 0.02, the exact law can (1 / 36).
#[test]
fn few_blocks_are_not_cautious_any_more() {
    let agreed: Vec<Vec<f64>> =
        (0..3).map(|arm| vec![f64::from(arm), 10.0 + f64::from(arm), 20.0 + f64::from(arm)]).collect();
    let arms = samples(&agreed);
    let p = |null| hypothesis::friedman_by(&arms, null).unwrap().p(1.0).unwrap();
    assert!((p(GroupNull::Exact) - 1.0 / 36.0).abs() < 1e-15);
    assert!(p(GroupNull::ChiSquared) > 0.049);
    let rejected = share(3_000, |normals| {
        hypothesis::kruskal_wallis(&samples(&drawn(normals, 3, 5))).unwrap().p(0.05).unwrap() <= 0.05
    });
    assert!((0.04..=0.05 + 0.012).contains(&rejected), "{rejected}");
}

/// Nemenyi's comparisons of equal arms err together at most at alpha; of one arm that differs they find it.
#[test]
fn comparisons_in_pairs_err_together_at_alpha() {
    type Pairs = fn(&[Sample<'_>]) -> Result<Vec<PostHoc>, StatsError>;
    for (name, pairs) in
        [("Nemenyi", hypothesis::friedman_nemenyi as Pairs), ("Dunn", hypothesis::kruskal_dunn)]
    {
        let any = |shift: f64| {
            share(1_500, |normals| {
                let mut groups = drawn(normals, 4, 10);
                groups[3].iter_mut().for_each(|v| *v += shift);
                pairs(&samples(&groups)).unwrap().iter().any(|pair| pair.adjusted.unwrap() <= 0.05)
            })
        };
        assert!(any(0.0) <= 0.05 + 0.017, "{name}: {}", any(0.0));
        assert!(any(3.0) > 0.95, "{name}: {}", any(3.0));
    }
    let constant = vec![vec![1.0; 4]; 3];
    for pairs in [hypothesis::friedman_nemenyi, hypothesis::kruskal_dunn] {
        let pairs = pairs(&samples(&constant)).unwrap();
        assert!(pairs.iter().all(|p| p.adjusted.is_none() && p.test.p(0.05) == Err(Refusal::NoNoise)));
    }
    let uneven = [vec![1.0, 2.0, 3.0], vec![1.0, 2.0]];
    assert!(matches!(hypothesis::friedman_nemenyi(&samples(&uneven)), Err(StatsError::Mismatched { .. })));
    assert!(matches!(hypothesis::kruskal_dunn(&samples(&uneven[..1])), Err(StatsError::TooFew { .. })));
}

fn groups() -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec((-9_i32..9).prop_map(f64::from), 4), 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn groups_may_trade_places_and_units(v in groups(), shift in -20_i32..20, power in -9_i32..9) {
        let moved: Vec<Vec<f64>> = v
            .iter()
            .rev()
            .map(|g| g.iter().map(|v| f64::from(power).exp2() * (v + f64::from(shift))).collect())
            .collect();
        for null in [GroupNull::Exact, GroupNull::ChiSquared] {
            for test in [hypothesis::kruskal_wallis_by, hypothesis::friedman_by] {
                let (there, moved) = (test(&samples(&v), null).unwrap(), test(&samples(&moved), null).unwrap());
                match (there.p(1.0), moved.p(1.0)) {
                    (Ok(a), Ok(b)) => prop_assert!((a - b).abs() < 1e-12 && a >= there.smallest_p().unwrap() - 1e-12),
                    (a, b) => prop_assert_eq!(a, b),
                }
            }
        }
        for pairs in [hypothesis::friedman_nemenyi, hypothesis::kruskal_dunn] {
            let (there, moved) = (pairs(&samples(&v)).unwrap(), pairs(&samples(&moved)).unwrap());
            // The first and the last arm trade places, and so does the sign.
            let (a, b) = (&there[1], &moved[1]);
            prop_assert_eq!((a.first, a.second), (0, 2));
            let opposite = a.test.statistic.zip(b.test.statistic).is_none_or(|(a, b)| (a + b).abs() < 1e-9);
            prop_assert!(opposite, "{:?} and {:?}", a, b);
        }
    }

    #[test]
    fn a_series_read_backwards_falls_as_it_rose(v in prop::collection::vec((-5_i32..5).prop_map(f64::from), 3..20)) {
        let back: Vec<f64> = v.iter().rev().copied().collect();
        let p = |v: &[f64], side, null| series::mann_kendall(Sample::new(v, "block").unwrap(), side, null).unwrap().p(1.0).ok();
        for null in [RankNull::Exact, RankNull::Normal { continuity: true }] {
            let (rise, fall) = (p(&v, Alternative::Greater, null), p(&back, Alternative::Less, null));
            prop_assert!(rise.zip(fall).is_none_or(|(a, b)| (a - b).abs() < 1e-12));
            prop_assert_eq!(rise.is_some(), fall.is_some());
            // A steeper trend is never less significant.
            let steeper: Vec<f64> = v.iter().enumerate().map(|(i, v)| v + 3.0 * i as f64).collect();
            if let (Some(before), Some(after)) = (rise, p(&steeper, Alternative::Greater, RankNull::Exact)) {
                prop_assert!(null != RankNull::Exact || after <= before + 1e-9);
            }
        }
    }
}
