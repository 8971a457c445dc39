//! What the crate refuses, and what it leaves out: no p without noise or with fewer than three points, no interval from
//! one value, no verdict that the data do not carry.

use chimera_stats::models::{Choice, Form, Regressor, compare};
use chimera_stats::random::Resampling;
use chimera_stats::rank::spearman;
use chimera_stats::regression::{
    DegenerateResamples, influence, leave_one_out, logs, multiple, ols, pairs_bootstrap_slope, power_law,
    theil_sen, wls,
};
use chimera_stats::{
    Blocks, Sample, StatsError, Summary, bootstrap, intervals, quantile, ratio, ratio_of_sums,
};

#[test]
fn samples_are_checked() {
    assert!(matches!(Sample::new(&[], "block"), Err(StatsError::TooFew { needed: 1, got: 0, .. })));
    assert!(matches!(Sample::new(&[1.0, f64::NAN], "block"), Err(StatsError::NotFinite { index: 1, .. })));
    assert!(matches!(Blocks::new(vec![vec![1.0], vec![]]), Err(StatsError::TooFew { .. })));
    assert!(matches!(Blocks::new(vec![vec![f64::INFINITY]]), Err(StatsError::NotFinite { .. })));
    assert!(matches!(
        Sample::new(&[1.0, 0.0], "block").unwrap().ln(),
        Err(StatsError::NotPositive { index: 1, .. })
    ));
    assert!(matches!(logs(&[1.0, -2.0]), Err(StatsError::NotPositive { index: 1, .. })));
}

#[test]
fn errors_read_as_a_caller_needs_them() {
    let error = |e: StatsError| e.to_string();
    assert_eq!(error(Sample::new(&[], "block").unwrap_err()), "a sample needs at least 1 values, got 0");
    assert_eq!(error(ols(&[1.0, 1.0], &[1.0, 2.0], 0.95).unwrap_err()), "a line: x is constant");
    assert_eq!(error(ols(&[1.0], &[1.0, 2.0], 0.95).unwrap_err()), "a line: lengths 1 and 2 differ");
    assert_eq!(
        error(ols(&[1.0, 2.0], &[1.0, 2.0], 95.0).unwrap_err()),
        "level is 95, expected a value strictly between 0 and 1"
    );
}

#[test]
fn one_value_has_no_interval_and_few_blocks_have_none() {
    let one = intervals::mean_t(Sample::new(&[3.0], "block").unwrap(), 0.95).unwrap();
    assert_eq!((one.point, one.standard_error, one.interval, one.n), (3.0, None, None, 1));
    let four = intervals::over_blocks(Sample::new(&[1.0, 2.0, 3.0, 4.0], "block").unwrap(), 0.95).unwrap();
    assert_eq!(four.interval, None);
    assert!(four.standard_error.is_some());
    assert_eq!(four.method, "mean, t (no interval below 5 blocks)");
    assert_eq!(four.unit, "block");
    let one = Summary::of(Sample::new(&[3.0], "trial").unwrap()).unwrap();
    assert_eq!((one.sd, one.cv, one.p90), (None, None, None));
}

#[test]
fn block_estimates_by_hand() {
    let blocks = Blocks::new(vec![
        vec![1.0, 2.0, 9.0],
        vec![2.0, 4.0],
        vec![3.0],
        vec![2.0, 2.0, 2.0, 6.0],
        vec![5.0, 5.0, 2.0],
    ])
    .unwrap();
    assert_eq!(blocks.means(), [4.0, 3.0, 3.0, 3.0, 4.0]);
    assert_eq!(blocks.medians(), [2.0, 3.0, 3.0, 2.0, 5.0]);
    let estimate = intervals::block_means(&blocks, 0.95).unwrap();
    // sd of the means sqrt(0.3), t(0.975, 4) = 2.776445105.
    let half = 2.776_445_105 * (0.3_f64 / 5.0).sqrt();
    let interval = estimate.interval.unwrap();
    assert!((estimate.point - 3.4).abs() < 1e-12 && (interval.high - 3.4 - half).abs() < 1e-8);
    assert_eq!((estimate.n, &*estimate.unit, &*estimate.method), (5, "block", "mean, t"));
    assert_eq!(&*intervals::block_medians(&blocks, 0.95).unwrap().method, "mean of medians, t");
    let maxima = blocks.reduce(|block| Ok(block.max())).unwrap();
    assert_eq!(maxima, [9.0, 4.0, 3.0, 6.0, 5.0]);
}

#[test]
fn no_noise_no_p() {
    // Three points on a line: the slope is known, and there is nothing to test it against.
    let exact = ols(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0], 0.95).unwrap();
    assert!((exact.slope.value - 2.0).abs() < 1e-14);
    assert_eq!((exact.slope.p, exact.slope.t), (None, None));
    assert_eq!(exact.r_squared, Some(1.0));
    // A constant y has no variance to explain.
    let flat = ols(&[1.0, 2.0, 3.0], &[0.1, 0.1, 0.1], 0.95).unwrap();
    assert_eq!((flat.r_squared, flat.slope.p), (None, None));
    // Two points make a line and nothing else.
    let two = ols(&[1.0, 2.0], &[1.0, 4.0], 0.95).unwrap();
    assert!((two.slope.value - 3.0).abs() < 1e-14 && two.dof == 0);
    assert!(two.slope.interval.is_none() && two.slope.p.is_none() && two.residual_sd.is_none());
    assert!(two.mean_at(1.0).is_none() && two.prediction_at(1.0).is_none());
    let plane = multiple(&[&[1.0, 2.0, 4.0], &[1.0, 3.0, 1.0]], &[1.0, 2.0, 3.0], 0.95).unwrap();
    assert_eq!((plane.dof, plane.intercept.p, plane.residual_sd), (0, None, None));
}

#[test]
fn degenerate_regressors_are_refused() {
    let degenerate = |e: Result<(), StatsError>| matches!(e, Err(StatsError::Degenerate { .. }));
    let (same, y) = ([0.1 + 0.2, 0.3, 0.3], [1.0, 2.0, 3.0]);
    assert!(degenerate(ols(&same, &y, 0.95).map(drop)), "equal up to rounding is equal");
    assert!(degenerate(theil_sen(&[2.0; 3], &y, 0.95).map(drop)));
    assert!(degenerate(spearman(&[2.0; 3], &y).map(drop)));
    assert!(degenerate(power_law(&[2.0; 3], &y, 0.95).map(drop)));
    let x = [1.0, 2.0, 3.0, 4.0];
    let double = [2.0, 4.0, 6.0, 8.0];
    assert!(degenerate(multiple(&[&x, &double], &[1.0, 2.0, 2.0, 3.0], 0.95).map(drop)));
    assert!(degenerate(multiple(&[&x, &[7.0; 4]], &[1.0, 2.0, 2.0, 3.0], 0.95).map(drop)));
    assert!(matches!(multiple(&[&x, &double], &[1.0; 3], 0.95), Err(StatsError::Mismatched { .. })));
    assert!(matches!(multiple(&[], &[1.0; 3], 0.95), Err(StatsError::TooFew { .. })));
    assert!(matches!(wls(&x, &double, &[1.0, 1.0, 0.0, 1.0], 0.95), Err(StatsError::NotPositive { .. })));
}

#[test]
fn too_few_is_said() {
    let too_few = |e: Result<(), StatsError>| matches!(e, Err(StatsError::TooFew { .. }));
    assert!(too_few(spearman(&[1.0, 2.0], &[1.0, 2.0]).map(drop)));
    assert!(too_few(leave_one_out(&[1.0, 2.0], &[1.0, 2.0], 0.95).map(drop)));
    assert!(too_few(ols(&[1.0], &[1.0], 0.95).map(drop)));
    assert!(too_few(compare(&[1.0, 2.0], &[], &[]).map(drop)));
    let one = Sample::new(&[1.0], "block").unwrap();
    let two = Sample::new(&[1.0, 2.0], "block").unwrap();
    assert!(too_few(one.sd().map(drop)) && too_few(two.skewness().map(drop)));
    assert!(too_few(ratio::unpaired(one, two, 0.95).map(drop)));
    assert!(too_few(bootstrap::percentile(one, |v| v[0], Resampling::new(200, 1), 0.95).map(drop)));
    assert!(matches!(
        bootstrap::percentile(two, |v| v[0], Resampling::new(20, 1), 0.95),
        Err(StatsError::InvalidParameter { name: "resamples", .. })
    ));
}

#[test]
fn a_rank_test_says_what_it_cannot_reach() {
    let four = spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 4.0, 6.0, 9.0]).unwrap();
    // 2 of 24 permutations are in full order: p can never reach 0.05.
    assert_eq!((four.rho, four.p), (1.0, 2.0 / 24.0));
    assert!(!four.can_reach(0.05) && four.can_reach(0.1));
    // Ten points in full order: the t approximation would say zero.
    let ten: Vec<f64> = (0..10).map(f64::from).collect();
    let full = spearman(&ten, &ten).unwrap();
    assert!((full.p / (2.0 / 3_628_800.0) - 1.0).abs() < 1e-12, "{}", full.p);
    // Seven points at rho = 6/7: the t approximation would say 0.0137.
    let seven = spearman(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], &[3.0, 2.0, 1.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
    assert!((seven.rho - 6.0 / 7.0).abs() < 1e-12);
    assert_eq!(seven.p, 120.0 / 5040.0);
}

#[test]
fn out_of_range_results_are_errors_not_infinities() {
    let huge = [f64::MAX, -f64::MAX];
    let sample = Sample::new(&huge, "value").unwrap();
    assert_eq!(sample.mean(), 0.0);
    assert!(matches!(sample.sd(), Err(StatsError::Overflow { .. })));
    let big = [1e200, 2e200];
    let sample = Sample::new(&big, "value").unwrap();
    assert!(sample.sd().is_ok() && matches!(sample.variance(), Err(StatsError::Overflow { .. })));
    assert_eq!(Sample::new(&[f64::MAX; 3], "value").unwrap().mean(), f64::MAX);
    assert!(matches!(ratio_of_sums(&[1.0], &[0.0]), Err(StatsError::Degenerate { .. })));
    assert!(matches!(ratio_of_sums(&[1.0], &[1.0, 2.0]), Err(StatsError::Mismatched { .. })));
    assert_eq!(ratio_of_sums(&[10.0, 90.0], &[1.0, 1.0]).unwrap(), 50.0);
    assert!(quantile::certifying_n(0.5, 1.0, 1).is_err());
}

#[test]
fn a_bootstrap_refuses_what_it_cannot_judge() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0];
    let sample = Sample::new(&values, "block").unwrap();
    let resampling = Resampling::new(200, 9);
    let wrong = bootstrap::percentile(sample, |_| f64::NAN, resampling, 0.95);
    assert!(matches!(wrong, Err(StatsError::NotFinite { .. })));
    // The maximum: no resample lies above it, so BCa has half of its ties only; it is still defined.
    let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(bootstrap::bca(sample, most, resampling, 0.95).is_ok());
    let constant = Sample::new(&[2.0; 5], "block").unwrap();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let interval = bootstrap::bca(constant, mean, resampling, 0.95).unwrap().interval.unwrap();
    assert_eq!((interval.low, interval.high), (2.0, 2.0));
    assert!(matches!(
        bootstrap::mean_bootstrap_t(constant, resampling, 0.95),
        Err(StatsError::Degenerate { .. })
    ));
    let three = Sample::new(&values[..3], "block").unwrap();
    // A ninth of all resamples of three values are constant.
    assert!(bootstrap::mean_bootstrap_t(three, Resampling::new(2000, 9), 0.95).is_err());
    let five = bootstrap::mean_bootstrap_t(sample, Resampling::new(20_000, 9), 0.95).unwrap();
    assert!(five.method.contains("resamples without spread"), "{}", five.method);
    let pairs = pairs_bootstrap_slope(
        &values,
        &[2.0, 3.0, 5.0, 4.0, 7.0],
        Resampling::new(2000, 9),
        DegenerateResamples::Discard,
        0.9,
    )
    .unwrap();
    assert!(pairs.interval.contains(pairs.slope) && pairs.degenerate < 20);
}

#[test]
fn a_far_point_that_makes_the_slope_is_named() {
    // Six sizes close together without trend, and one far away that bends everything.
    let x = [5.0_f64, 25.0, 45.0, 50.0, 75.0, 96.0, 0.1].map(f64::ln);
    let y = [9.0_f64, 11.0, 8.5, 10.5, 9.5, 10.0, 2.0].map(f64::ln);
    let full = ols(&x, &y, 0.95).unwrap();
    assert!(full.slope.p.unwrap() < 0.05);
    let without = leave_one_out(&x, &y, 0.95).unwrap();
    assert_eq!(without.deciding_points(&full, 0.05).unwrap(), [6]);
    let points = influence(&x, &y).unwrap();
    assert!(points[6].leverage > 0.8 && points[6].cooks_distance.unwrap() > 1.0);
    // Without doubt: a clean law is decided by no point.
    let law = [1.0_f64, 2.0, 4.0, 8.0, 16.0, 32.0].map(f64::ln);
    let times = [1.0, 1.32, 1.7, 2.35, 3.0, 4.05].map(f64::ln);
    let full = ols(&law, &times, 0.95).unwrap();
    assert!(leave_one_out(&law, &times, 0.95).unwrap().deciding_points(&full, 0.05).unwrap().is_empty());
    // The only point with another x makes the slope all alone.
    let lever = ([0.0, 0.0, 0.0, 1.0], [1.0, 1.2, 0.9, 5.0]);
    let full = ols(&lever.0, &lever.1, 0.95).unwrap();
    let without = leave_one_out(&lever.0, &lever.1, 0.95).unwrap();
    assert!(without.without[3].fit.is_none());
    assert!(without.deciding_points(&full, 0.05).unwrap().contains(&3));
}

#[test]
fn rivals_are_told_apart_only_where_the_data_do() {
    let forms = [Form::Linear, Form::Power, Form::OffsetPower];
    let x = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let regressors = [Regressor { name: "parameters", values: &x }];
    let wobble = [1.01, 0.99, 1.005, 0.995, 1.0, 1.01, 0.99, 1.0];
    let with =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { x.iter().zip(wobble).map(|(x, w)| f(*x) * w).collect() };

    let power = compare(&with(&|x| 3.0 * x.powf(0.4)), &regressors, &forms).unwrap();
    let chosen = power.chosen().unwrap();
    assert_eq!((chosen.name.as_str(), chosen.delta_aicc), ("power in parameters", Some(0.0)));
    assert!((chosen.curve.exponent - 0.4).abs() < 0.01);

    let line = compare(&with(&|x| 5.0 + 0.5 * x), &regressors, &forms).unwrap();
    assert_eq!(line.chosen().unwrap().form, Form::Linear);
    assert!((line.rivals[0].curve.offset - 5.0).abs() < 0.1);

    // Two regressors in fixed proportion cannot be told apart, and that is the answer.
    let bytes = x.map(|x| 4.0 * x);
    let both = [regressors[0], Regressor { name: "bytes", values: &bytes }];
    let twins = compare(&with(&|x| 3.0 * x.powf(0.4)), &both, &[Form::Power]).unwrap();
    assert!(matches!(&twins.choice, Choice::CloseCall { with } if with.len() == 1));
    assert!(twins.chosen().is_none());

    // Four points carry no AICc of three parameters: listed last, not judged.
    let few = compare(&[1.0, 2.1, 3.9, 8.2], &[Regressor { name: "x", values: &x[..4] }], &forms).unwrap();
    assert_eq!(few.rivals.last().unwrap().aicc, None);
    assert_eq!(few.choice, Choice::NotComparable);

    // A constant regressor is listed as such.
    let flat = compare(&x, &[Regressor { name: "width", values: &[2.0; 8] }], &forms).unwrap();
    assert_eq!(flat.unfitted.len(), 3);
    assert_eq!(flat.unfitted[0].reason, "a rival model: the regressor is constant");
    assert!(matches!(compare(&[1.0, 0.0, 2.0], &[], &[]), Err(StatsError::NotPositive { .. })));
}

#[test]
fn results_survive_a_round_trip_through_json() {
    let x = [1.0, 2.0, 4.0, 8.0, 16.0, 33.0];
    let y = [1.0, 1.4, 2.2, 2.9, 4.3, 5.5];
    let comparison =
        compare(&y, &[Regressor { name: "x", values: &x }], &[Form::Linear, Form::OffsetPower]).unwrap();
    let text = serde_json::to_string(&comparison).unwrap();
    assert_eq!(serde_json::from_str::<chimera_stats::models::Comparison>(&text).unwrap(), comparison);
    let law = power_law(&x, &y, 0.95).unwrap();
    let text = serde_json::to_string(&law).unwrap();
    assert_eq!(serde_json::from_str::<chimera_stats::regression::PowerLaw>(&text).unwrap(), law);
}
