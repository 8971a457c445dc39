//! Values in time, and waits cut short: what is labelled, what is cut, what is only said.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::censored::KaplanMeier;
use chimera_stats::random::Resampling;
use chimera_stats::series::{Course, Criteria, Label, Penalty};
use chimera_stats::{Sample, StatsError, intervals, robust, series};
use support::{Normals, share};

fn sample(values: &[f64]) -> Sample<'_> {
    Sample::new(values, "request").unwrap()
}

#[test]
fn a_percentile_beyond_the_limit_is_not_known() {
    let times = [1.0, 2.0, 3.0, 5.0, 5.0];
    let fit = KaplanMeier::new(sample(&times), &[true, true, true, false, false]).unwrap();
    assert_eq!(fit.quantile(0.6, 0.95).unwrap().unwrap().point, 3.0);
    assert_eq!(fit.quantile(0.9, 0.95).unwrap(), None);
    assert!(matches!(KaplanMeier::new(sample(&times), &[false; 5]), Err(StatsError::Degenerate { .. })));
    assert!(matches!(KaplanMeier::new(sample(&times), &[true; 4]), Err(StatsError::Mismatched { .. })));
    assert!(fit.quantile(1.0, 0.95).is_err());
}

/// The median of exponential waits under a limit that cuts every fifth short.
#[test]
fn censored_medians_cover() {
    let truth = std::f64::consts::LN_2;
    let covered = share(800, |normals| {
        let waits: Vec<f64> = (0..60).map(|_| -normals.uniform().ln()).collect();
        let finished: Vec<bool> = waits.iter().map(|w| *w <= 1.6).collect();
        let times: Vec<f64> = waits.iter().map(|w| w.min(1.6)).collect();
        let fit = KaplanMeier::new(sample(&times), &finished).unwrap();
        fit.quantile(0.5, 0.95).unwrap().unwrap().interval.is_some_and(|i| i.contains(truth))
    });
    assert!((0.92..=0.98).contains(&covered), "{covered}");
}

#[test]
fn trimming_nothing_is_the_mean_and_wild_values_do_not_carry_it() {
    let values = [10.0, 10.5, 9.5, 10.2, 9.8, 10.1, 9.9, 1e6];
    let plain = robust::trimmed_mean(sample(&values), 0.0, 0.95).unwrap();
    let mean = intervals::mean_t(sample(&values), 0.95).unwrap();
    assert_eq!(plain.point, mean.point);
    assert!((plain.interval.unwrap().high / mean.interval.unwrap().high - 1.0).abs() < 1e-12);
    let trimmed = robust::trimmed_mean(sample(&values), 0.2, 0.95).unwrap();
    assert!((trimmed.point - 10.083).abs() < 0.01 && trimmed.method.contains("trimmed by 1 of 8"));
    assert!((robust::winsorised_mean(sample(&values), 0.2).unwrap() - 10.1).abs() < 0.1);
    assert!(robust::trimmed_mean(sample(&values), 0.5, 0.95).is_err());
    let one = robust::trimmed_mean(sample(&values[..3]), 0.4, 0.95).unwrap();
    assert_eq!((one.point, one.interval), (10.0, None));
}

/// An autoregressive series of coefficient 0.8 is worth a ninth of its length.
#[test]
fn dependence_costs_what_it_should() {
    let mut normals = Normals::new(4);
    let mut value = 0.0;
    let values: Vec<f64> = (0..20_000)
        .map(|_| {
            value = 0.8 * value + normals.next();
            value
        })
        .collect();
    let size = series::effective_size(sample(&values)).unwrap();
    assert!((size.inflation / 9.0 - 1.0).abs() < 0.15, "{size:?}");
    let independent: Vec<f64> = (0..5_000).map(|_| normals.next()).collect();
    let size = series::effective_size(sample(&independent)).unwrap();
    assert!(size.effective > 4_000.0, "{size:?}");
    assert!(matches!(series::effective_size(sample(&[2.0; 9])), Err(StatsError::Degenerate { .. })));
    assert!(matches!(series::autocorrelation(sample(&[1.0, 2.0]), 2), Err(StatsError::TooFew { .. })));
}

fn noisy(normals: &mut Normals, levels: &[(f64, usize)], sd: f64) -> Vec<f64> {
    levels
        .iter()
        .flat_map(|(level, n)| std::iter::repeat_n(*level, *n))
        .map(|level| level + sd * normals.next())
        .collect()
}

#[test]
fn no_change_is_found_where_there_is_none() {
    let quiet = share(300, |normals| {
        let values = noisy(normals, &[(10.0, 100)], 1.0);
        series::pelt(sample(&values), Penalty::Modified, 3).unwrap().len() == 1
    });
    assert!(quiet > 0.9, "{quiet}");
    let drawn = Resampling::new(199, 1);
    let rejected = share(200, |normals| {
        let values = noisy(normals, &[(10.0, 40)], 1.0);
        !series::e_divisive(sample(&values), 5, 0.05, drawn).unwrap().changes.is_empty()
    });
    assert!(rejected <= 0.06 + 0.045, "{rejected}");
}

#[test]
fn changes_are_found_where_they_are() {
    let drawn = Resampling::new(199, 1);
    let found = share(50, |normals| {
        let values = noisy(normals, &[(10.0, 40), (13.0, 40)], 1.0);
        let by_cost = series::pelt(sample(&values), Penalty::Modified, 3).unwrap();
        let by_energy = series::e_divisive(sample(&values), 5, 0.05, drawn).unwrap();
        let near = |at: usize| at.abs_diff(40) <= 3;
        by_cost.len() == 2 && near(by_cost[1].start) && near(by_energy.changes[0].at)
    });
    assert!(found > 0.85, "{found}");
    // A change of spread alone is one for the energy distance and none for the mean.
    let mut normals = Normals::new(9);
    let mut values = noisy(&mut normals, &[(0.0, 60)], 1.0);
    values.extend(noisy(&mut normals, &[(0.0, 60)], 8.0));
    let by_energy = series::e_divisive(sample(&values), 5, 0.05, drawn).unwrap();
    assert!(by_energy.changes[0].at.abs_diff(60) <= 8, "{by_energy:?}");
    assert_eq!(by_energy.stretches.len(), by_energy.changes.len() + 1);
}

#[test]
fn constant_and_hopeless_series() {
    let drawn = Resampling::new(100, 1);
    let constant = [0.1; 20];
    assert_eq!(series::pelt(sample(&constant), Penalty::Modified, 2).unwrap().len(), 1);
    let changes = series::e_divisive(sample(&constant), 2, 0.05, drawn).unwrap();
    assert!(changes.changes.is_empty() && changes.rejected.is_none());
    let steady = series::steady_state(sample(&constant), Criteria::default()).unwrap();
    assert_eq!((steady.course, steady.from), (Course::Flat, Some(0)));
    assert!(series::pelt(sample(&constant), Penalty::Modified, 0).is_err());
    assert!(series::pelt(sample(&constant), Penalty::Value(-1.0), 1).is_err());
    assert!(series::e_divisive(sample(&constant[..5]), 3, 0.05, drawn).is_err());
    assert!(series::e_divisive(sample(&constant), 1, 0.05, drawn).is_err());
    assert!(series::steady_state(sample(&[1.0, 2.0]), Criteria::default()).is_err());
    assert!(matches!(series::mad_labels(sample(&constant)), Err(StatsError::Degenerate { .. })));
    assert!(series::tukey_labels(sample(&constant)).unwrap().outside().next().is_none());
}

#[test]
fn a_warm_up_is_cut_and_shown() {
    let mut normals = Normals::new(6);
    let mut values = vec![30.0, 21.0, 16.0];
    values.extend(noisy(&mut normals, &[(10.0, 60)], 0.2));
    let trimmed = series::trim_warm_up(sample(&values), Criteria::default()).unwrap();
    assert_eq!(trimmed.cut, [30.0, 21.0, 16.0]);
    assert_eq!(trimmed.kept, values[3..]);
    let evidence = trimmed.evidence;
    assert_eq!((evidence.course, evidence.from), (Course::FallsThenSteady, Some(3)));
    assert!(evidence.before_over_after.unwrap() > 2.0 && evidence.halves.is_ok_and(|p| p > 0.01));
    assert!(evidence.drift.unwrap().0.abs() < 0.02 && evidence.effective.unwrap().effective > 20.0);
    let rates: Vec<f64> = values.iter().map(|v| 100.0 / v).collect();
    let rising = series::steady_state(sample(&rates), Criteria::default()).unwrap();
    assert_eq!(rising.course, Course::RisesThenSteady);
}

#[test]
fn a_series_that_never_settles_is_left_whole() {
    let mut normals = Normals::new(7);
    let late = noisy(&mut normals, &[(10.0, 50), (14.0, 12)], 0.2);
    let trimmed = series::trim_warm_up(sample(&late), Criteria::default()).unwrap();
    assert_eq!((trimmed.evidence.course, trimmed.evidence.from), (Course::NotSettled, None));
    assert!(trimmed.cut.is_empty() && trimmed.kept.len() == 62);
    // A creep of six per cent, too slow for a step that would stay.
    let found = share(40, |normals| {
        let creep: Vec<f64> = (0..200).map(|i| 10.0 + 0.003 * f64::from(i) + 0.25 * normals.next()).collect();
        let course = series::steady_state(sample(&creep), Criteria::default()).unwrap();
        matches!(course.course, Course::Drifting | Course::NotSettled)
    });
    assert!(found > 0.9, "{found}");
}

#[test]
fn labels_point_and_drop_nothing() {
    let values = [10.0, 10.2, 9.9, 10.1, 9.8, 10.0, 10.1, 11.0, 25.0, 4.0];
    for labels in [series::tukey_labels(sample(&values)), series::mad_labels(sample(&values))] {
        let labels = labels.unwrap();
        assert_eq!(labels.labels.len(), values.len());
        assert_eq!((labels.labels[8], labels.labels[9]), (Label::FarHigh, Label::FarLow));
        assert_eq!(labels.labels[0], Label::Inside);
        assert!(labels.outside().all(|i| i >= 7));
    }
}
