//! Descriptions of one sample: centre, spread, shape. Not inference: for intervals see [`crate::intervals`] and
//! [`crate::bootstrap`].

use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_lengths, in_range};
use crate::{Sample, StatsError};

/// Sum with Neumaier's compensation, so that a large offset does not eat the digits of small values
/// (Neumaier 1974, *Z. angew. Math. Mech.* 54).
pub(crate) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
        total = next;
    }
    // After an overflow the compensation is NaN; the plain total says what happened.
    if lost.is_finite() { total + lost } else { total }
}

/// Mean of values that are known to be finite and not empty. It cannot overflow: it lies between two of them.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let total = sum(values.iter().copied());
    if total.is_finite() {
        return total / n;
    }
    // Near the largest float even the sum of the shares may round beyond it.
    sum(values.iter().map(|v| v / n)).clamp(-max_abs(values), max_abs(values))
}

/// Deviations from the mean, the mean, and the root of the sum of squares (scaled, so that it neither overflows nor
/// underflows early).
pub(crate) fn centred(values: &[f64]) -> (Vec<f64>, f64, f64) {
    let rough = mean(values);
    let deviations: Vec<f64> = values.iter().map(|v| v - rough).collect();
    // The mean of the deviations is the rounding error of the mean: negligible beside the mean, not beside a tiny
    // spread around a large one.
    let rest = mean(&deviations);
    let deviations: Vec<f64> = deviations.iter().map(|d| d - rest).collect();
    let norm = norm(&deviations);
    (deviations, rough + rest, norm)
}

/// Euclidean norm, scaled by the largest entry.
pub(crate) fn norm(values: &[f64]) -> f64 {
    let scale = max_abs(values);
    if scale == 0.0 || !scale.is_finite() {
        return scale;
    }
    scale * sum(values.iter().map(|v| (v / scale).powi(2))).sqrt()
}

/// Largest absolute value, 0 for none.
pub(crate) fn max_abs(values: &[f64]) -> f64 {
    values.iter().fold(0.0_f64, |m, v| m.max(v.abs()))
}

/// Whether deviations of this norm are nothing but rounding of `n` values as large as `magnitude`.
pub(crate) fn is_rounding(norm: f64, n: usize, magnitude: f64) -> bool {
    norm <= 8.0 * f64::EPSILON * magnitude * (n as f64).sqrt()
}

/// Numerator over denominator, each summed first: the throughput of many requests is tokens over seconds, not the mean
/// of their rates.
///
/// # Errors
/// [`StatsError::Mismatched`] lengths, [`StatsError::NotFinite`] values, [`StatsError::Degenerate`] if the denominator
/// sums to zero, [`StatsError::Overflow`].
pub fn ratio_of_sums(numerator: &[f64], denominator: &[f64]) -> Result<f64, StatsError> {
    const WHAT: &str = "ratio of sums";
    check_lengths(WHAT, numerator.len(), denominator.len())?;
    check_finite(WHAT, numerator)?;
    check_finite(WHAT, denominator)?;
    let below = sum(denominator.iter().copied());
    if below == 0.0 {
        return Err(StatsError::Degenerate { what: WHAT, reason: "the denominator sums to zero" });
    }
    in_range(WHAT, sum(numerator.iter().copied()) / below)
}

impl Sample<'_> {
    /// Arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        mean(self.values())
    }

    /// Median: type-7 quantile at 0.5.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.sorted().median()
    }

    /// Smallest value.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.values().iter().fold(f64::INFINITY, |m, v| m.min(*v))
    }

    /// Largest value.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.values().iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v))
    }

    /// Standard deviation with divisor n - 1.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 2 values, [`StatsError::Overflow`].
    pub fn sd(&self) -> Result<f64, StatsError> {
        self.require("standard deviation", 2)?;
        let (_, _, norm) = centred(self.values());
        in_range("standard deviation", norm / ((self.len() - 1) as f64).sqrt())
    }

    /// Variance with divisor n - 1.
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 2 values, [`StatsError::Overflow`].
    pub fn variance(&self) -> Result<f64, StatsError> {
        in_range("variance", self.sd()?.powi(2))
    }

    /// Standard error of the mean, sd / sqrt(n).
    ///
    /// # Errors
    /// As [`Sample::sd`].
    pub fn standard_error(&self) -> Result<f64, StatsError> {
        Ok(self.sd()? / (self.len() as f64).sqrt())
    }

    /// Median absolute deviation from the median, as it is: multiply by 1.4826 to compare with a normal sd.
    ///
    /// # Errors
    /// [`StatsError::Overflow`].
    pub fn mad(&self) -> Result<f64, StatsError> {
        self.sorted().mad()
    }

    /// Coefficient of variation, sd / |mean|.
    ///
    /// # Errors
    /// As [`Sample::sd`]; [`StatsError::Degenerate`] if the mean is zero.
    pub fn cv(&self) -> Result<f64, StatsError> {
        let mean = self.mean();
        let sd = self.sd()?;
        if mean == 0.0 {
            return Err(StatsError::Degenerate {
                what: "coefficient of variation",
                reason: "the mean is zero",
            });
        }
        in_range("coefficient of variation", sd / mean.abs())
    }

    /// Geometric mean of positive values.
    ///
    /// # Errors
    /// [`StatsError::NotPositive`].
    pub fn geometric_mean(&self) -> Result<f64, StatsError> {
        in_range("geometric mean", mean(&self.ln()?).exp())
    }

    /// Harmonic mean of positive values.
    ///
    /// # Errors
    /// [`StatsError::NotPositive`], [`StatsError::Overflow`].
    pub fn harmonic_mean(&self) -> Result<f64, StatsError> {
        crate::error::check_positive("harmonic mean", self.values())?;
        // Relative to the smallest value, so that the reciprocals of tiny values stay in range.
        let least = self.min();
        let relative = sum(self.values().iter().map(|v| least / v));
        in_range("harmonic mean", self.len() as f64 / relative * least)
    }

    /// Adjusted Fisher-Pearson skewness G1 = g1 sqrt(n (n - 1)) / (n - 2) (Joanes and Gill 1998, *The Statistician* 47).
    ///
    /// # Errors
    /// [`StatsError::TooFew`] below 3 values, [`StatsError::Degenerate`] if they are constant.
    pub fn skewness(&self) -> Result<f64, StatsError> {
        const WHAT: &str = "skewness";
        self.require(WHAT, 3)?;
        let (deviations, _, norm) = centred(self.values());
        if is_rounding(norm, self.len(), max_abs(self.values())) {
            return Err(StatsError::Degenerate { what: WHAT, reason: "the values are constant" });
        }
        let n = self.len() as f64;
        let rms = in_range(WHAT, norm)? / n.sqrt();
        let g1 = sum(deviations.iter().map(|d| (d / rms).powi(3))) / n;
        Ok(g1 * (n * (n - 1.0)).sqrt() / (n - 2.0))
    }
}

/// What a table prints of one sample. Absent means that n does not support it, never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation, n - 1; absent for one value.
    pub sd: Option<f64>,
    /// sd / |mean|; absent for one value or a mean of zero.
    pub cv: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// First quartile, type 7.
    pub q25: f64,
    /// Median.
    pub median: f64,
    /// Third quartile, type 7.
    pub q75: f64,
    /// Largest value.
    pub max: f64,
    /// Median absolute deviation, unscaled.
    pub mad: f64,
    /// 90th percentile, type 7, only where n certifies it.
    pub p90: Option<f64>,
    /// 95th percentile, likewise.
    pub p95: Option<f64>,
    /// 99th percentile, likewise.
    pub p99: Option<f64>,
    /// 99.9th percentile, likewise.
    pub p999: Option<f64>,
}

impl Summary {
    /// Summarises a sample.
    ///
    /// # Errors
    /// [`StatsError::Overflow`].
    pub fn of(sample: Sample<'_>) -> Result<Self, StatsError> {
        let sorted = sample.sorted();
        let mean = sample.mean();
        let sd = if sample.len() >= 2 { Some(sample.sd()?) } else { None };
        Ok(Self {
            n: sample.len(),
            mean,
            sd,
            cv: sd.map(|sd| sd / mean.abs()).filter(|cv| cv.is_finite()),
            min: sorted.at(0.0),
            q25: sorted.at(0.25),
            median: sorted.median(),
            q75: sorted.at(0.75),
            max: sorted.at(1.0),
            mad: sorted.mad()?,
            p90: sorted.certified(0.9),
            p95: sorted.certified(0.95),
            p99: sorted.certified(0.99),
            p999: sorted.certified(0.999),
        })
    }
}
