//! What may come back.

use chimera_stats::hypothesis::{Equivalence, Test};
use chimera_stats::regression::{Coefficient, LinearFit};
use chimera_stats::{Estimate, Interval, StatsError};
use std::cell::Cell;

thread_local! {
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// How many values this thread has checked: a driver that never gets past the refusals would check none.
pub(crate) fn seen() -> u64 {
    SEEN.get()
}

pub(super) fn value(what: &str, result: Result<f64, StatsError>) {
    if let Ok(value) = result {
        finite(what, value);
    }
}

pub(super) fn finite(what: &str, value: f64) {
    SEEN.set(SEEN.get() + 1);
    assert!(value.is_finite(), "{what}: {value}");
}

pub(super) fn optional(what: &str, value: Option<f64>) {
    if let Some(value) = value {
        finite(what, value);
    }
}

pub(super) fn share(what: &str, value: f64) {
    SEEN.set(SEEN.get() + 1);
    assert!((0.0..=1.0).contains(&value), "{what}: {value}");
}

pub(super) fn interval(what: &str, interval: Option<Interval>) {
    if let Some(i) = interval {
        finite(what, i.low);
        finite(what, i.high);
        assert!(i.low <= i.high, "{what}: {i:?}");
    }
}

pub(super) fn estimate(result: Result<Estimate, StatsError>) {
    let Ok(estimate) = result else { return };
    finite(&estimate.method, estimate.point);
    assert!(estimate.standard_error.is_none_or(|se| se >= 0.0 && se.is_finite()), "{estimate:?}");
    interval(&estimate.method, estimate.interval);
}

pub(super) fn test(result: Result<Test, StatsError>) {
    let Ok(test) = result else { return };
    if let Ok(p) = test.p(0.05) {
        share(&test.name, p);
        finite(&test.name, test.statistic.unwrap_or(f64::NAN));
    }
    if let Some(smallest) = test.smallest_p() {
        share(&test.name, smallest);
    }
}

pub(super) fn equivalence(result: Result<Equivalence, StatsError>) {
    let Ok(result) = result else { return };
    if let Ok(p) = result.p() {
        share("equivalence", p);
    }
    estimate(Ok(result.estimate));
}

pub(super) fn coefficient(what: &str, c: &Coefficient) {
    finite(what, c.value);
    assert!(c.standard_error.is_none_or(|se| se >= 0.0), "{what}: {c:?}");
    interval(what, c.interval);
    if let Some(p) = c.p {
        share(what, p);
    }
}

pub(super) fn fit(fit: &LinearFit) {
    coefficient("slope", &fit.slope);
    coefficient("intercept", &fit.intercept);
    optional("residual sd", fit.residual_sd);
    // Beyond the points the line itself may leave the range of a float: only what is within them is asked.
    for band in [fit.mean_at(fit.x_mean), fit.prediction_at(fit.x_mean)].into_iter().flatten() {
        assert!(!band.low.is_nan() && !band.high.is_nan(), "{band:?}");
    }
}
