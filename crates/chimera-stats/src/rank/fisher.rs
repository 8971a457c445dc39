//! Intervals of rank correlations through Fisher's z. They are approximations for independent pairs from a continuous law;
//! the test of no correlation at all is the exact p beside them, and the two may disagree near the edge.

use std::borrow::Cow;

use crate::dist::normal_quantile;
use crate::error::check_level;
use crate::{Estimate, Interval, StatsError};

/// Below this many points there is no interval.
pub const INTERVAL_FROM: usize = 5;

/// The correlation `r` with the interval tanh(atanh r -+ z se), `se` the standard error of Fisher's z. None below
/// [`INTERVAL_FROM`] points, and at -1 and 1, where z is infinite.
pub(super) fn estimate(
    r: f64,
    se: f64,
    n: usize,
    level: f64,
    method: &'static str,
) -> Result<Estimate, StatsError> {
    check_level(level)?;
    // A quotient that should be 1 may miss it by a last digit.
    let supported = n >= INTERVAL_FROM && 1.0 - r.abs() > 8.0 * f64::EPSILON;
    let interval = supported.then(|| {
        let (z, half) = (r.atanh(), normal_quantile((1.0 + level) / 2.0) * se);
        Interval { low: (z - half).tanh(), high: (z + half).tanh(), level }
    });
    Ok(Estimate {
        point: r,
        standard_error: supported.then_some((1.0 - r) * (1.0 + r) * se),
        interval,
        method: Cow::Borrowed(method),
        unit: Cow::Borrowed("point"),
        n,
    })
}
