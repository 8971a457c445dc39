//! Breaks and crossings: found where they are, not where there are none, and refused where the data cannot say.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::random::Resampling;
use chimera_stats::rank::{KendallMethod, kendall, spearman};
use chimera_stats::regression::{
    Aggregator, Level, Scale, Scheme, breaks_bootstrap, crossover, crossover_sensitivity, segmented,
};
use chimera_stats::{Blocks, StatsError};
use support::{Normals, share};

#[test]
fn a_break_is_found_and_a_line_is_left_whole() {
    let x: Vec<f64> = (1..=40).map(f64::from).collect();
    let whole = share(200, |normals| {
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 0.2 * x + 0.5 * normals.next()).collect();
        segmented(&x, &y, 3, 4, 0.95).unwrap().breaks.is_empty()
    });
    assert!(whole > 0.85, "{whole}");
    let near = share(200, |normals| {
        let y: Vec<f64> = x
            .iter()
            .map(|x| if *x <= 22.0 { 5.0 } else { 5.0 + 0.8 * (x - 22.0) } + 0.5 * normals.next())
            .collect();
        let found = segmented(&x, &y, 3, 4, 0.95).unwrap();
        found.evidence() > 10.0 && found.breaks.iter().any(|b| (b - 22.5).abs() <= 3.0)
    });
    assert!(near > 0.9, "{near}");
    assert!(segmented(&x, &x, 0, 3, 0.95).is_err());
    assert!(segmented(&x, &x, 2, 2, 0.95).is_err());
    assert!(matches!(segmented(&[1.0; 9], &x[..9], 2, 3, 0.95), Err(StatsError::Degenerate { .. })));
    // A line without noise is one line, whatever is offered.
    assert!(segmented(&x, &x, 3, 3, 0.95).unwrap().breaks.is_empty());
}

/// Arms that cross at 6, measured in eight blocks that shift both.
fn levels(normals: &mut Normals, cross: f64) -> Vec<Level> {
    let shifts: Vec<f64> = (0..8).map(|_| 0.3 * normals.next()).collect();
    let mut arm = |value: f64| {
        let block = |shift: &f64| (0..5).map(|_| value + shift + 0.3 * normals.next()).collect();
        Blocks::new(shifts.iter().map(block).collect()).unwrap()
    };
    [1.0, 3.0, 5.0, 7.0, 9.0, 12.0]
        .iter()
        .map(|x| Level { x: *x, a: arm(2.0 + x), b: arm(2.0 + cross + 0.4 * (x - cross)) })
        .collect()
}

#[test]
fn crossings_cover() {
    let drawn = Resampling::new(300, 1);
    let covered = share(300, |normals| {
        let levels = levels(normals, 6.0);
        let found =
            crossover(&levels, Scale::Linear, Aggregator::Mean, Scheme::Hierarchical, drawn, 0.95).unwrap();
        assert!(found.first_lower_before);
        found.interval.is_some_and(|i| i.contains(6.0))
    });
    assert!((0.90..=0.99).contains(&covered), "{covered}");
    let all = crossover_sensitivity(
        &levels(&mut Normals::new(1), 6.0),
        Scale::Linear,
        Scheme::Hierarchical,
        drawn,
        0.95,
    )
    .unwrap();
    assert!(all.one_direction && all.crossovers.len() == 4);
    assert!(all.spread.unwrap() < 1.2, "{all:?}");
}

#[test]
fn a_crossing_outside_the_range_is_none() {
    let drawn = Resampling::new(200, 1);
    let far = levels(&mut Normals::new(2), 40.0);
    let found = crossover(&far, Scale::Linear, Aggregator::Mean, Scheme::Hierarchical, drawn, 0.95).unwrap();
    assert_eq!((found.at, found.interval), (None, None));
    assert!(found.crossing < 0.05);
    let near = levels(&mut Normals::new(2), 6.0);
    let with =
        |levels: &[Level], scale| crossover(levels, scale, Aggregator::Mean, Scheme::Case, drawn, 0.95);
    assert!(matches!(with(&near[..2], Scale::Linear), Err(StatsError::TooFew { .. })));
    let mut uneven = near.clone();
    uneven[1].b = Blocks::new(vec![vec![1.0], vec![2.0]]).unwrap();
    assert!(matches!(with(&uneven, Scale::Linear), Err(StatsError::Mismatched { .. })));
    uneven = near.clone();
    uneven[0].x = -1.0;
    assert!(matches!(with(&uneven, Scale::LogLog), Err(StatsError::NotPositive { .. })));
    let one_x: Vec<Level> = near.iter().map(|l| Level { x: 2.0, ..l.clone() }).collect();
    assert!(matches!(with(&one_x, Scale::Linear), Err(StatsError::Degenerate { .. })));
}

#[test]
fn kendall_says_what_it_cannot_reach() {
    let few = kendall(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).unwrap();
    assert!((few.smallest_p - 1.0 / 3.0).abs() < 1e-12 && !few.can_reach(0.05));
    let many: Vec<f64> = (0..120).map(f64::from).collect();
    let far = kendall(&many, &many).unwrap();
    assert_eq!(far.method, KendallMethod::NormalApproximation);
    assert!(far.can_reach(1e-6) && (far.tau - 1.0).abs() < 1e-12);
    assert!(matches!(kendall(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), Err(StatsError::Degenerate { .. })));
    assert!(matches!(kendall(&[1.0, 2.0], &[1.0, 2.0]), Err(StatsError::TooFew { .. })));
}

/// Points of two levels with a slope each, which break at 20.5.
fn broken(normals: &mut Normals, x: &[f64]) -> Vec<f64> {
    let level = |x: f64| if x < 20.5 { 5.0 + 0.05 * x } else { 5.5 + 0.3 * (x - 20.0) };
    x.iter().map(|x| level(*x) + 0.5 * normals.next()).collect()
}

#[test]
fn intervals_of_breaks_cover() {
    let x: Vec<f64> = (1..=40).map(f64::from).collect();
    let drawn = Resampling::new(200, 1);
    let covered = share(200, |normals| {
        let found = breaks_bootstrap(&x, &broken(normals, &x), 2, 4, drawn, 0.95).unwrap();
        // A study whose fit is one line has no break to be sure of, and counts as a miss.
        found.breaks.first().is_some_and(|b| b.interval.is_some_and(|i| i.contains(20.5)))
    });
    assert!(covered >= 0.93, "{covered}");
    let found = breaks_bootstrap(&x, &broken(&mut Normals::new(1), &x), 2, 4, drawn, 0.95).unwrap();
    assert_eq!(found.breaks.len(), 1);
    assert!(found.same_count > 0.9 && !found.breaks[0].is_at_edge(), "{found:?}");
    assert_eq!(found, breaks_bootstrap(&x, &broken(&mut Normals::new(1), &x), 2, 4, drawn, 0.95).unwrap());
}

/// Two steps offered one break: the resamples go now to one, now to the other, and that is said.
#[test]
fn a_break_at_two_places_or_at_the_edge_is_said() {
    let x: Vec<f64> = (1..=45).map(f64::from).collect();
    let drawn = Resampling::new(400, 1);
    let torn = share(40, |normals| {
        let step = |x: f64| f64::from(u8::from(x > 15.5)) + f64::from(u8::from(x > 30.5));
        let y: Vec<f64> = x.iter().map(|x| 4.0 * step(*x) - 0.267 * x + 0.4 * normals.next()).collect();
        let found = breaks_bootstrap(&x, &y, 2, 4, drawn, 0.95).unwrap();
        found
            .breaks
            .iter()
            .any(|b| b.is_multimodal() && b.modes.iter().map(|m| m.share).sum::<f64>() <= 1.0 + 1e-12)
    });
    assert!(torn > 0.6, "{torn}");
    // A step after the fourth point is as far out as pieces of four points allow.
    let edge = share(40, |normals| {
        let y: Vec<f64> = x.iter().map(|x| if *x < 4.5 { 9.0 } else { 0.0 } + 0.4 * normals.next()).collect();
        let found = breaks_bootstrap(&x, &y, 2, 4, drawn, 0.95).unwrap();
        found.breaks.iter().any(chimera_stats::regression::Break::is_at_edge)
    });
    assert!(edge > 0.9, "{edge}");
    // A line has no break; what resamples see in it is told.
    let line: Vec<f64> = x.iter().map(|x| 0.3 * x + (7.0 * x).sin()).collect();
    let none = breaks_bootstrap(&x, &line, 3, 4, drawn, 0.95).unwrap();
    assert!(none.breaks.is_empty() && none.same_count > 0.2 && none.same_count < 1.0, "{none:?}");
    let long: Vec<f64> = (0..513).map(f64::from).collect();
    assert!(matches!(
        breaks_bootstrap(&long, &long, 2, 3, drawn, 0.95),
        Err(StatsError::InvalidParameter { .. })
    ));
    let few = Resampling::new(99, 1);
    assert!(matches!(breaks_bootstrap(&x, &line, 2, 3, few, 0.95), Err(StatsError::InvalidParameter { .. })));
}

/// Normal pairs with a correlation: tau is 2 / pi asin(r), Spearman's rho 6 / pi asin(r / 2).
#[test]
fn intervals_of_rank_correlations_cover() {
    for (r, n) in [(0.0_f64, 10), (0.6, 10), (0.6, 30), (0.9, 30)] {
        let pairs = |normals: &mut Normals| -> (Vec<f64>, Vec<f64>) {
            (0..n)
                .map(|_| {
                    let (x, noise) = (normals.next(), normals.next());
                    (x, r * x + (1.0 - r * r).sqrt() * noise)
                })
                .unzip()
        };
        let tau = 2.0 / std::f64::consts::PI * r.asin();
        let rho = 6.0 / std::f64::consts::PI * (r / 2.0).asin();
        let of_tau = share(2_000, |normals| {
            let (x, y) = pairs(normals);
            kendall(&x, &y).unwrap().estimate(0.95).unwrap().interval.is_some_and(|i| i.contains(tau))
        });
        let of_rho = share(2_000, |normals| {
            let (x, y) = pairs(normals);
            spearman(&x, &y).unwrap().estimate(0.95).unwrap().interval.is_some_and(|i| i.contains(rho))
        });
        for (name, covered) in [("tau", of_tau), ("rho", of_rho)] {
            assert!((0.93..=0.975).contains(&covered), "{name} at {r}, {n} points: {covered}");
        }
    }
    let perfect = kendall(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let estimate = perfect.estimate(0.95).unwrap();
    assert!((estimate.point - 1.0).abs() < 1e-15);
    assert_eq!((estimate.interval, estimate.standard_error), (None, None));
    let four = spearman(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]).unwrap();
    assert_eq!(four.estimate(0.95).unwrap().interval, None);
    assert!(matches!(four.estimate(1.0), Err(StatsError::InvalidParameter { .. })));
    // Exchanged and reversed data turn the interval round.
    let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 1.0, 5.0, 3.0, 6.0, 4.0]);
    let there = kendall(&x, &y).unwrap().estimate(0.9).unwrap().interval.unwrap();
    let back = kendall(&y.map(|v| -v), &x).unwrap().estimate(0.9).unwrap().interval.unwrap();
    assert!((there.low + back.high).abs() < 1e-12 && (there.high + back.low).abs() < 1e-12);
}
