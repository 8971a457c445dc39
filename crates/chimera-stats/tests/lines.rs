//! Breaks and crossings: found where they are, not where there are none, and refused where the data cannot say.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::random::Resampling;
use chimera_stats::rank::{KendallMethod, kendall};
use chimera_stats::regression::{
    Aggregator, Level, Scale, Scheme, crossover, crossover_sensitivity, segmented,
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
