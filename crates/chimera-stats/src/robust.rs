//! Means that a few wild values cannot carry away: trimmed and winsorised. They estimate the centre of the bulk, not the
//! mean: of a skewed quantity that one pays for (seconds, joules) they are the wrong number.

use std::borrow::Cow;

use crate::error::in_range;
use crate::intervals::around;
use crate::summary::mean;
use crate::{Estimate, Sample, StatsError};

/// How many values go from either end.
fn cut(sample: Sample<'_>, share: f64) -> Result<usize, StatsError> {
    if !(0.0..0.5).contains(&share) {
        return Err(StatsError::InvalidParameter {
            name: "trimmed share",
            value: share,
            expected: "a value from 0 to below 0.5",
        });
    }
    Ok((share * sample.len() as f64).floor() as usize)
}

/// Mean without the smallest and the largest `share` of values (rounded down), with the interval of Tukey and McLaughlin
/// (1963, *Sankhya A* 25): winsorised standard deviation, degrees of freedom of the values kept. No interval from fewer
/// than two kept values.
///
/// # Errors
/// [`StatsError::InvalidParameter`] unless 0 <= share < 0.5 and 0 < level < 1, [`StatsError::Overflow`].
pub fn trimmed_mean(sample: Sample<'_>, share: f64, level: f64) -> Result<Estimate, StatsError> {
    crate::error::check_level(level)?;
    let g = cut(sample, share)?;
    let sorted = sample.sorted();
    let kept = &sorted.values()[g..sample.len() - g];
    let point = mean(kept);
    let (n, h) = (sample.len() as f64, kept.len() as f64);
    let (standard_error, interval) = if kept.len() < 2 {
        (None, None)
    } else {
        let winsorised = winsorised(sorted.values(), g);
        let sd = Sample::trusted(&winsorised, "").sd()?;
        // The share kept is h / n exactly, so that a mean without trimming has its usual interval.
        let se = in_range("trimmed mean", sd * ((n - 1.0) / (h * (h - 1.0))).sqrt())?;
        (Some(se), Some(around(point, se, h - 1.0, level)?))
    };
    Ok(Estimate {
        point,
        standard_error,
        interval,
        method: Cow::Owned(format!(
            "mean trimmed by {g} of {} at either end, Tukey-McLaughlin t",
            sample.len()
        )),
        unit: Cow::Borrowed(sample.unit()),
        n: sample.len(),
    })
}

/// Mean with the smallest and the largest `share` of values (rounded down) set to the nearest value kept.
///
/// # Errors
/// [`StatsError::InvalidParameter`] unless 0 <= share < 0.5.
pub fn winsorised_mean(sample: Sample<'_>, share: f64) -> Result<f64, StatsError> {
    let g = cut(sample, share)?;
    Ok(mean(&winsorised(sample.sorted().values(), g)))
}

fn winsorised(sorted: &[f64], g: usize) -> Vec<f64> {
    let (low, high) = (sorted[g], sorted[sorted.len() - 1 - g]);
    sorted.iter().map(|v| v.clamp(low, high)).collect()
}
