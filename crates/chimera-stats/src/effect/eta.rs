//! Eta squared: the share of all variance that lies between groups.

use crate::error::check_level;
use crate::hypothesis::Between;
use crate::noncentral::f_noncentrality;
use crate::{Estimate, Interval, Sample, StatsError};

/// Largest F, times its degrees of freedom, with an interval: the law's mixture has as many terms as its root.
const FARTHEST: f64 = 1e5;

/// Sum of squares between groups over the total. It is biased upwards in small samples. The interval is that of the
/// population's share, from the non-centrality lambda of F as lambda / (lambda + N) (Steiger 2004, *Psychological
/// Methods* 9), so it may lie below the point and start at 0; the usual level for it is 0.9. No interval
/// where F times its degrees of freedom passes 100,000: the law is not computed there, and such groups need no statistics.
///
/// # Errors
/// [`StatsError::TooFew`] below 2 groups or without a second value in any, [`StatsError::Degenerate`] if no group varies,
/// [`StatsError::InvalidParameter`] level, [`StatsError::Overflow`].
pub fn eta_squared(groups: &[Sample<'_>], level: f64) -> Result<Estimate, StatsError> {
    const METHOD: &str = "eta squared, non-central F";
    check_level(level)?;
    let between = Between::new(groups, METHOD)?;
    let Some(f) = between.f() else {
        return Err(StatsError::Degenerate { what: METHOD, reason: "no group varies within itself" });
    };
    let (numerator, denominator) = (between.numerator, between.denominator);
    let total = between.n as f64;
    let tail = (1.0 - level) / 2.0;
    let share = |p: f64| {
        f_noncentrality(f, numerator, denominator, p)
            .map(|noncentrality| noncentrality / (noncentrality + total))
    };
    let interval = if numerator * f <= FARTHEST {
        Some(Interval { low: share(1.0 - tail)?, high: share(tail)?, level })
    } else {
        None
    };
    Ok(Estimate {
        point: numerator * f / (numerator * f + denominator),
        standard_error: None,
        interval,
        method: METHOD.into(),
        unit: groups.first().map_or("", Sample::unit).into(),
        n: between.n,
    })
}
