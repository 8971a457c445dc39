//! The shift function: where along the distribution two arms differ (Doksum 1974, *Annals of Statistics* 2). A tail that
//! grows while the median stays is seen here and in no single number.

use serde::{Deserialize, Serialize};

use crate::error::{check_count, check_level, check_unit, in_range};
use crate::random::Resampling;
use crate::{Estimate, Interval, Sample, StatsError};

/// The difference at one quantile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The probability of the quantile.
    pub p: f64,
    /// Type-7 quantile of `a` minus that of `b`. Its interval holds for this quantile alone.
    pub difference: Estimate,
    /// Interval of the same at a level that holds for all quantiles asked for together (Bonferroni).
    pub simultaneous: Interval,
}

/// Differences of the quantiles at `probabilities`, a minus b, with percentile bootstrap intervals: each arm is resampled
/// on its own, first `a`, then `b`. Ten replicates or fewer in an arm leave little behind a decile.
///
/// # Errors
/// [`StatsError::TooFew`] below 3 values in an arm or without a probability, [`StatsError::InvalidParameter`] for a
/// probability or level outside (0, 1) or fewer than 100 resamples, [`StatsError::Overflow`].
pub fn shift_function(
    a: Sample<'_>,
    b: Sample<'_>,
    probabilities: &[f64],
    resampling: Resampling,
    level: f64,
) -> Result<Vec<Shift>, StatsError> {
    const METHOD: &str = "difference of quantiles (type 7), bootstrap percentile";
    check_level(level)?;
    check_count("quantiles of a shift function", 1, probabilities.len())?;
    a.require(METHOD, 3)?;
    b.require(METHOD, 3)?;
    for p in probabilities {
        check_unit("p", *p)?;
    }
    let observed = (a.sorted(), b.sorted());
    let mut indices = resampling.indices()?;
    let (mut ra, mut rb) = (vec![0.0; a.len()], vec![0.0; b.len()]);
    let mut drawn = vec![Vec::with_capacity(resampling.resamples); probabilities.len()];
    for _ in 0..resampling.resamples {
        indices.resample(a.values(), &mut ra);
        indices.resample(b.values(), &mut rb);
        let (sa, sb) = (Sample::trusted(&ra, "").sorted(), Sample::trusted(&rb, "").sorted());
        for (p, drawn) in probabilities.iter().zip(&mut drawn) {
            drawn.push(in_range(METHOD, sa.at(*p) - sb.at(*p))?);
        }
    }
    let joint = 1.0 - (1.0 - level) / probabilities.len() as f64;
    probabilities
        .iter()
        .zip(&drawn)
        .map(|(p, drawn)| {
            let drawn = Sample::trusted(drawn, "resample");
            let sorted = drawn.sorted();
            let interval = |level: f64| {
                let tail = (1.0 - level) / 2.0;
                Interval { low: sorted.at(tail), high: sorted.at(1.0 - tail), level }
            };
            let difference = Estimate {
                point: in_range(METHOD, observed.0.at(*p) - observed.1.at(*p))?,
                standard_error: Some(drawn.sd()?),
                interval: Some(interval(level)),
                method: METHOD.into(),
                unit: a.unit().into(),
                n: a.len().min(b.len()),
            };
            Ok(Shift { p: *p, difference, simultaneous: interval(joint) })
        })
        .collect()
}
