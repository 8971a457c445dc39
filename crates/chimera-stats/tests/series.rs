//! Values in time, and waits cut short: what is labelled, what is cut, what is only said.
#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use chimera_stats::censored::KaplanMeier;
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
